"""The text of kernels, for a device and for the simulator, as golden files."""

import numpy as np
import pytest

from graphc.backends.numba_cuda.emit import emit
from graphc.backends.numba_cuda.geometry import DEVICE, SIMULATOR, Geometry, Tile
from graphc.backends.numba_cuda.source import DeviceText, stored
from graphc.backends.numba_cuda.structural import LOWERINGS
from graphc.dtypes import bfloat16, bool_, float16, float32, int64
from graphc.ir.parser import parse
from graphc.ir.types import TensorType
from graphc.loops.plan import make_plan
from tests.conftest import Golden

GRAPHS = {
    "map": """graph @map(%x: f16[n, m], %y: f16[m]) -> (f16[n, m]) {
      %0: f16[n, m] = broadcast_in_dim(%y) {shape = (n, m), dims = (1)}
      %1: f16[n, m] = mul(%x, %0)
      %2: f16[n, m] = exp(%1)
      return %2
    }""",
    "rows": """graph @rows(%x: f32[n, m]) -> (f32[n, m]) {
      %0: f32[n] = reduce_sum(%x) {axes = (1)}
      %1: f32[n, m] = broadcast_in_dim(%0) {shape = (n, m), dims = (0)}
      %2: f32[n, m] = div(%x, %1)
      return %2
    }""",
    "columns": """graph @columns(%x: f64[n, m]) -> (f64[m]) {
      %0: f64[m] = reduce_max(%x) {axes = (0)}
      return %0
    }""",
    "short_columns": """graph @short_columns(%x: f32[4, m]) -> (f32[m]) {
      %0: f32[m] = reduce_sum(%x) {axes = (0)}
      return %0
    }""",
    "all": """graph @all(%x: i32[n]) -> (i64[]) {
      %0: i64[] = argmin(%x) {axis = 0}
      return %0
    }""",
}


@pytest.mark.parametrize("name", list(GRAPHS))
@pytest.mark.parametrize("geometry", [DEVICE, SIMULATOR], ids=lambda geometry: geometry.name)
def test_kernels(name: str, geometry: Geometry, golden: Golden) -> None:
    (kernel,) = make_plan(parse(GRAPHS[name])).kernels
    sources = emit(kernel, geometry)
    for source in sources:
        compile(source.source, "<kernel>", "exec")
    golden(f"golden/{name}_{geometry.name}.txt", "\n\n".join(source.source for source in sources))


def test_one_switch_chooses_shuffles_or_shared_memory() -> None:
    (kernel,) = make_plan(parse(GRAPHS["rows"])).kernels
    assert "shfl" in emit(kernel, DEVICE)[0].source
    assert "shfl" not in emit(kernel, SIMULATOR)[0].source


def test_a_matrix_product(golden: Golden) -> None:
    x, y, result = (TensorType(float32, shape) for shape in ((5, 9), (9, 7), (5, 7)))
    (source,) = LOWERINGS["dot_general"]({"contract": ((1,), (0,)), "batch": ((), ())}, [x, y], [result], SIMULATOR)
    assert (source.threads, source.per_block, source.extent) == (4, 1, 4)
    golden("golden/dot_general.txt", source.source)


def test_how_elements_are_stored() -> None:
    assert [stored(dtype) for dtype in (bool_, float16, bfloat16, float32, int64)] == ["u8", "u16", "u16", "f32", "i64"]


def test_tiles() -> None:
    for geometry in (DEVICE, SIMULATOR):
        for tile in (geometry.tile, geometry.wide_tile, geometry.narrow):
            assert tile.rows % tile.high == 0 and tile.columns % tile.wide == 0
            assert tile.threads % tile.depth == 0
            assert np.log2(tile.threads).is_integer()
    assert Tile(128, 64, 8, 8, 4).threads == 256


def test_a_text_takes_only_what_it_names() -> None:
    text = DeviceText("k", DEVICE)
    text.buffer("x", 3, bool_)
    text.size("n", 5)
    assert text.small_size("window", 3) == "3"
    assert text.small_size("window", 300) == "window"
    with text.points("p"):
        text.unravel("p", ["a", "b", "c"], ["i", "j", "k"])
    source = text.finish(30)
    assert source.sizes == (5, 300)
    assert [(p.name, p.slot, p.short) for p in source.parameters] == [("x", 3, "u8")]
    assert source.source == (
        "def k(x, n, window, extent):\n"
        "    for p in range(cuda.grid(1), extent, cuda.gridsize(1)):\n"
        "        k = p % c\n"
        "        i_2 = p // c\n"
        "        j = i_2 % b\n"
        "        i = i_2 // b\n"
    )


def test_the_kernels_of_one_op_share_their_scratch() -> None:
    x, i = TensorType(float16, (4, 3)), TensorType(int64, (5,))
    sources = LOWERINGS["scatter_add"]({"axes": (0,)}, [x, TensorType(float16, (5, 3)), i], [x], DEVICE)
    assert [source.name for source in sources] == ["encode", "scatter_add", "decode"]
    assert len({source.scratch for source in sources}) == 1
