"""Who computes matrix products: BLAS or kernels of our own, by measurement or as GRAPHC_MATMUL says."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.backends.numba_cpu import measured, product_choice
from graphc.backends.numba_cpu.backend import compile
from graphc.backends.numba_cpu.blas import Blas, find_blas
from graphc.backends.numba_cpu.measured import Times
from graphc.compile import compile_graph
from graphc.dtypes import float32
from graphc.errors import ArgumentError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.types import TensorType
from graphc.runtime.determinism import deterministic
from graphc.runtime.disk_cache import CHOICE, DiskCache
from graphc.runtime.threads import get_num_threads, set_num_threads


def product() -> Graph:
    b = Builder("product")
    x, y = (b.parameter(TensorType(float32, shape)) for shape in ((5, 7), (7, 3)))
    return b.finish([b.dot_general(x, y, contract=((1,), (0,)), batch=((), ()))])


@pytest.mark.parametrize(("choice", "library"), [("blas", True), ("own", False)])
def test_the_choice_is_followed(choice: str, library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MATMUL", choice)
    executable = compile_graph(product())
    assert (not executable.kernels()) is library
    rng = np.random.default_rng(0)
    x, y = rng.random((5, 7), np.float32), rng.random((7, 3), np.float32)
    np.testing.assert_allclose(executable(x, y)[0], x @ y, rtol=1e-6)


@pytest.mark.parametrize("choice", ["blas", "own"])
def test_maps_after_a_product_whoever_computes_it(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MATMUL", choice)
    b = Builder("dense")
    x, y, z = (b.parameter(TensorType(float32, shape)) for shape in ((5, 7), (7, 3), (5, 3)))
    graph = b.finish([b.tanh(b.add(b.dot_general(x, y, contract=((1,), (0,)), batch=((), ())), z))])
    arrays = [np.random.default_rng(0).random(type_.shape, np.float32) for type_ in graph.parameter_types]
    np.testing.assert_allclose(compile_graph(graph)(*arrays)[0], np.tanh(arrays[0] @ arrays[1] + arrays[2]), rtol=1e-5)


def test_another_choice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MATMUL", "mkl")
    with pytest.raises(ArgumentError, match=r"GRAPHC_MATMUL is 'mkl'\n(.|\n)*fix: set it to measured, own or blas"):
        compile_graph(product())


SIZES = {"m": 130, "k": 129, "n": 131}
LAYOUTS = [("m, k", "k, n", (1, 0)), ("k, m", "k, n", (0, 0)), ("m, k", "n, k", (1, 1)), ("k, m", "n, k", (0, 1))]
needs_blas = pytest.mark.skipif(find_blas() is None, reason="NumPy's BLAS cannot be called")


@pytest.fixture
def slow_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS wins every comparison, whatever the machine does."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(measured._process, "known", {})
    monkeypatch.setattr(product_choice, "compare", lambda ours, rival, clock: (ours(), rival(), Times(2.0, 1.0))[-1])
    monkeypatch.setattr(product_choice, "get_num_threads", lambda: 1024)


def names(executable: Any) -> list[str]:
    return [k.name for i in executable.program.instructions if i.rival is not None for k in i.rival.kernels({}) or i.kernels]


def graph_of(left: str, right: str, contract: tuple[int, int], dtype: str, batch: str = "", symbolic: bool = False) -> Graph:
    def shape(text: str) -> str:
        named = text if symbolic else ", ".join(str(SIZES[name]) for name in text.split(", "))
        return f"{batch}{named}"

    shift = 1 if batch else 0
    axes = ", ".join(f"({a + shift})" for a in contract)
    numbers = "((0), (0))" if batch else "((), ())"
    result = f"{dtype}[{shape('m, n')}]"
    return parse(f"""graph @product(%x: {dtype}[{shape(left)}], %y: {dtype}[{shape(right)}], %z: {result}) -> ({result}) {{
      %0: {result} = dot_general(%x, %y) {{contract = ({axes}), batch = {numbers}}}
      %1: {result} = add(%0, %z)
      %2: {result} = tanh(%1)
      return %2
    }}""")


def arrays_of(left: str, right: str, dtype: str, batch: tuple[int, ...] = ()) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(*batch, *(SIZES[name] for name in text.split(", "))) for text in (left, right, "m, n")]
    return [(rng.standard_normal(shape) / 10).astype({"f32": "float32", "f64": "float64"}[dtype]) for shape in shapes]


@needs_blas
@pytest.mark.usefixtures("slow_ours")
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("left", "right", "contract"), LAYOUTS)
def test_blas_from_the_tape(left: str, right: str, contract: tuple[int, int], dtype: str) -> None:
    graph = graph_of(left, right, contract, dtype)
    executable: Any = compile_graph(graph)
    arrays = arrays_of(left, right, dtype)
    assert names(executable) == [f"blas_product_{dtype}", "after_product"]
    want = compile_graph(graph, "reference")(*arrays)[0]
    np.testing.assert_allclose(executable(*arrays)[0], want, rtol=1e-4 if dtype == "f32" else 1e-12)


@needs_blas
@pytest.mark.usefixtures("slow_ours")
def test_blas_for_a_batch_of_symbolic_sizes() -> None:
    graph = graph_of("m, k", "k, n", (1, 0), "f32", batch="b, ", symbolic=True)
    executable: Any = compile_graph(graph)
    assert "chosen once sizes are known" in executable.stages()["kernels"]
    arrays = arrays_of("m, k", "k, n", "f32", (3,))
    np.testing.assert_allclose(executable(*arrays)[0], compile_graph(graph, "reference")(*arrays)[0], rtol=1e-4)
    assert "f32 3 × (130, 129) @ (129, 131): blas: 2e+03 ms by our kernels, 1e+03 ms by BLAS" in executable.stages()["plan"]


@needs_blas
@pytest.mark.usefixtures("slow_ours")
def test_deterministic_goes_back_to_our_kernels() -> None:
    graph = graph_of("m, k", "k, n", (1, 0), "f32")
    executable: Any = compile_graph(graph)
    arrays = arrays_of("m, k", "k, n", "f32")
    (want,) = compile(graph, blas=False)(*arrays)
    (by_blas,) = executable(*arrays)
    with deterministic():
        (got,) = executable(*arrays)
        assert names(executable) == ["product_f32"]
        assert "ours: results have to repeat bit for bit" in executable.stages()["kernels"]
    assert got.tobytes() == want.tobytes()
    assert executable(*arrays)[0].tobytes() == by_blas.tobytes()


@needs_blas
@pytest.mark.usefixtures("slow_ours")
def test_deterministic_results_do_not_depend_on_threads() -> None:
    executable: Any = compile_graph(graph_of("m, k", "k, n", (1, 0), "f32"))
    arrays = arrays_of("m, k", "k, n", "f32")
    before = get_num_threads()
    results = set()
    try:
        with deterministic():
            for count in (1, 2, 5):
                set_num_threads(count)
                results.add(executable(*arrays)[0].tobytes())
    finally:
        set_num_threads(before)
    assert len(results) == 1


@pytest.mark.usefixtures("slow_ours")
def test_ours_without_a_blas_or_with_too_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of("m, k", "k, n", (1, 0), "f32")
    monkeypatch.setattr(product_choice, "find_blas", lambda: None)
    executable: Any = compile_graph(graph)
    assert names(executable) == ["product_f32"] and "ours: no BLAS can be called" in executable.stages()["kernels"]
    blas = Blas("a library", 64, {}, lambda: 4096)
    monkeypatch.setattr(product_choice, "find_blas", lambda: blas)
    assert "BLAS would use 4096 threads, 1024 are allowed" in executable.stages()["kernels"]


def test_what_is_not_measured() -> None:
    for graph in (
        product(),
        parse("""graph @f(%x: bf16[256, 256], %y: bf16[256, 256]) -> (bf16[256, 256]) {
      %0: bf16[256, 256] = dot_general(%x, %y) {contract = ((1), (0)), batch = ((), ())}
      return %0
    }"""),
    ):
        executable: Any = compile_graph(graph)
        assert all(i.rival is None for i in executable.program.instructions)
        assert "chosen by measurement" not in executable.stages()["kernels"]


@needs_blas
@pytest.mark.usefixtures("slow_ours")
def test_a_large_product_is_compared_by_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_choice, "MOST_OPERATIONS", 1 << 18)
    graph = graph_of("m, k", "k, n", (1, 0), "f32", batch="b, ", symbolic=True)
    executable: Any = compile_graph(graph)
    arrays = arrays_of("m, k", "k, n", "f32", (3,))
    np.testing.assert_allclose(executable(*arrays)[0], compile_graph(graph, "reference")(*arrays)[0], rtol=1e-4)
    assert "blas: 2e+03 ms" in executable.stages()["plan"]


@pytest.mark.usefixtures("slow_ours")
def test_the_record_on_disk(tmp_path: Path) -> None:
    executable: Any = compile_graph(graph_of("m, k", "n, k", (1, 1), "f32"))
    names(executable)
    (entry,) = [f.entry for f in DiskCache(tmp_path / "kernels", 1 << 30).entries() if f.path.name.startswith(CHOICE)]
    assert entry is not None
    assert entry.fields["name"] == ("product f32 (130, 129) @ (129, 131), b transposed and its epilogue, 1024 threads")


@needs_blas
@pytest.mark.usefixtures("slow_ours")
def test_settings_that_change_while_threads_compute() -> None:
    graph = graph_of("m, k", "k, n", (1, 0), "f32")
    executable: Any = compile_graph(graph)
    arrays = arrays_of("m, k", "k, n", "f32")
    (want,) = compile(graph, blas=False)(*arrays)
    failures: list[BaseException] = []
    is_over = threading.Event()

    def compute() -> None:
        try:
            while not is_over.is_set():
                np.testing.assert_allclose(executable(*arrays)[0], want, rtol=1e-4, atol=1e-5)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=compute) for _ in range(3)]
    before = get_num_threads()
    for thread in threads:
        thread.start()
    try:
        for count in range(100):
            with deterministic():
                assert executable(*arrays)[0].tobytes() == want.tobytes()
            set_num_threads(1 + count % 3)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
        set_num_threads(before)
    assert not failures
