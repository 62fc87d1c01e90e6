"""Products of few tiles and a long depth, which several blocks share."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.backends.numba_cpu.structural.template import Element
from graphc.backends.numba_cuda.adapter import IS_SIMULATOR, link
from graphc.backends.numba_cuda.geometry import DEVICE, SIMULATOR
from graphc.backends.numba_cuda.machine import present_machine
from graphc.backends.numba_cuda.structural.pieces import pieces_of
from graphc.compile import compile_graph
from graphc.dtypes import as_dtype, float32
from graphc.ir.dims import evaluate_dim, symbol
from graphc.ir.graph import Graph
from tests.backends.numba_cuda.programs import ARCHITECTURES

PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "alone": (lambda x, y: x.T @ y, ("f32[n, 3]", "f32[n, 5]")),
    "with an epilogue": (lambda x, y, w: w - 0.5 * (x.T @ y), ("f32[n, 3]", "f32[n, 5]", "f32[3, 5]")),
    "both": (lambda x, y: (x.T @ y, gc.relu(x.T @ y)), ("f32[n, 3]", "f32[n, 5]")),
    "integers": (lambda x, y: x.T @ y, ("i16[n, 3]", "i16[n, 5]")),
    "halves": (lambda x, y: x.T @ y, ("f16[n, 3]", "f16[n, 5]")),
    "f64": (lambda x, y: x.T @ y, ("f64[n, 3]", "f64[n, 2]")),
}


def graph_of(name: str) -> Graph:
    function, types = PROGRAMS[name]
    graph: Graph = gc.jit(function, name="program").graph(*(gc.spec(t) for t in types))
    return graph


def count(tiles: int, depth: int) -> tuple[int, int]:
    """How many pieces of how many steps there are on a device, by the sizes and by the same arithmetic at run time."""
    element = Element(float32)
    known = pieces_of(DEVICE, DEVICE.tile, element, tiles, depth, 1, 3)
    later = pieces_of(DEVICE, DEVICE.tile, element, symbol("t"), symbol("d"), 1, 3)
    bindings = {"t": tiles, "d": depth}
    assert (evaluate_dim(later.count, bindings), evaluate_dim(later.depth, bindings)) == (known.count, known.depth)
    assert isinstance(known.count, int) and isinstance(known.depth, int)
    return known.count, known.depth


@pytest.mark.parametrize(
    ("tiles", "depth", "pieces", "steps"),
    [(1, 100, 1, 104), (1, 512, 2, 256), (28, 784, 3, 264), (28, 60000, 9, 6672), (133, 60000, 1, 60000), (0, 0, 1, 0)],
)
def test_there_are_as_many_as_keep_the_device_busy(tiles: int, depth: int, pieces: int, steps: int) -> None:
    assert count(tiles, depth) == (pieces, steps)
    assert pieces * steps >= depth and steps % DEVICE.tile.depth == 0


def test_one_piece_needs_no_scratch_and_no_second_kernel() -> None:
    later = pieces_of(DEVICE, DEVICE.tile, Element(float32), 1, symbol("d"), 15, 3)
    (scratch,) = later.scratch
    for depth, elements in ((100, 0), (512, 30)):
        assert [evaluate_dim(size, {"d": depth}) for size in scratch.shape] == [elements]
    assert pieces_of(DEVICE, DEVICE.tile, Element(float32), 1, 100, 15, 3).scratch == ()


def test_pieces_are_added_up_in_the_dtype_of_the_sums() -> None:
    (scratch,) = pieces_of(DEVICE, DEVICE.tile, Element(as_dtype("float16")), 1, 512, 15, 3).scratch
    assert scratch.dtype is float32


@pytest.mark.simulator
@pytest.mark.parametrize("n", [0, 1, 19, 20, 33, 81])
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_they_agree_with_the_reference(name: str, n: int) -> None:
    graph = graph_of(name)
    rng = np.random.default_rng(n)
    arrays = [
        rng.integers(-9, 9, [n if not isinstance(size, int) else size for size in p.type.shape]).astype(p.type.dtype.numpy)
        for p in graph.parameters
    ]
    compiled: Any = compile_graph(graph, "cuda")
    assert compiled.kernels()[1].name.endswith("_total")
    for got, want in zip(compiled(*arrays), compile_graph(graph, "reference")(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3 if want.dtype.itemsize == 2 else 1e-6)


@pytest.mark.parametrize(
    "function",
    [lambda x, y: gc.tanh(x[0].T @ y[0]), lambda x, y: gc.swapaxes(x, 1, 2) @ y],
    ids=["a polynomial after it", "a batch"],
)
def test_kernels_that_have_no_registers_left_are_not_divided(function: Callable[..., Any]) -> None:
    graph: Graph = gc.jit(function, name="program").graph(gc.spec("f32[2, n, 3]"), gc.spec("f32[2, n, 5]"))
    compiled: Any = compile_graph(graph, "cuda" if IS_SIMULATOR else "cuda:sm_90")
    assert not any(kernel.name.endswith("_total") for kernel in compiled.kernels())


@pytest.mark.simulator
def test_a_convolution_with_many_channels() -> None:
    graph: Graph = gc.jit(lambda x, k, b: gc.relu(gc.conv2d(x, k, b)), name="conv").graph(
        gc.spec("f32[1, 12, 3, 3]"), gc.spec("f32[2, 12, 2, 2]"), gc.spec("f32[2]")
    )
    rng = np.random.default_rng(1)
    arrays = [rng.integers(-3, 4, p.type.shape).astype("f4") for p in graph.parameters]
    compiled: Any = compile_graph(graph, "cuda")
    assert [kernel.name.endswith("_total") for kernel in compiled.kernels()] == [False, True]
    np.testing.assert_array_equal(compiled(*arrays)[0], compile_graph(graph, "reference")(*arrays)[0])


@pytest.mark.simulator
def test_sums_do_not_depend_on_the_number_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(81, 3)).astype("f4"), rng.normal(size=(81, 5)).astype("f4")
    (want,) = compile_graph(graph_of("alone"), "cuda")(x, y)
    monkeypatch.setattr(present_machine(), "geometry", replace(SIMULATOR, blocks=5))
    (got,) = compile_graph(graph_of("alone"), "cuda")(x, y)
    np.testing.assert_array_equal(got, want)


@pytest.mark.ptx
@pytest.mark.parametrize("name", ["with an epilogue", "halves"])
def test_their_code_fits_in_registers(name: str) -> None:
    compiled: Any = compile_graph(graph_of(name), f"cuda:{ARCHITECTURES[0]}")
    for kernel in compiled.kernels():
        for architecture in ARCHITECTURES:
            _, usage = link(kernel.code.ptx, architecture)
            assert (usage.spills, usage.stack) == (0, 0), f"{architecture}: {usage}"
