"""Maps that read and write vectors: when, how wide, and what is done where memory does not allow it."""

import re
from typing import Any

import numpy as np
import pytest

from graphc.backends.numba_cuda.adapter import simulate
from graphc.backends.numba_cuda.emit import emit
from graphc.backends.numba_cuda.emit_map import vector_lanes
from graphc.backends.numba_cuda.geometry import SIMULATOR
from graphc.backends.numba_cuda.kernels import DeviceKernel
from graphc.compile import compile_graph
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.loops.kernel import Kernel
from graphc.loops.plan import make_plan
from tests.backends.numba_cuda.programs import ARCHITECTURES


def sum_of(dtype: str, *, op: str = "add", result: str = "") -> Graph:
    return parse(f"""graph @g(%x: {dtype}[n], %y: {dtype}[n]) -> ({result or dtype}[n]) {{
      %0: {result or dtype}[n] = {op}(%x, %y)
      return %0
    }}""")


BIAS = """graph @bias(%x: f32[n, m], %b: f32[m], %c: f32[n]) -> (f32[n, m]) {
  %0: f32[n, m] = broadcast_in_dim(%b) {shape = (n, m), dims = (1)}
  %1: f32[n, m] = broadcast_in_dim(%c) {shape = (n, m), dims = (0)}
  %2: f32[n, m] = mul(%x, %1)
  %3: f32[n, m] = add(%2, %0)
  return %3
}"""
TRANSPOSED = """graph @t(%x: f32[n, m]) -> (f32[m, n]) {
  %0: f32[m, n] = transpose(%x) {permutation = (1, 0)}
  %1: f32[m, n] = neg(%0)
  return %1
}"""
PADDED = """graph @s(%x: f32[n, 12], %y: f32[n, 8]) -> (f32[n, 8]) {
  %0: f32[n, 8] = slice(%x) {starts = (0, 3), limits = (n, 11), strides = (1, 1)}
  %1: f32[n, 8] = add(%0, %y)
  return %1
}"""


def only(graph: Graph) -> Kernel:
    (kernel,) = make_plan(graph).kernels
    return kernel


@pytest.mark.parametrize(
    ("dtype", "lanes"), [("f64", 2), ("i64", 2), ("f32", 4), ("u32", 4), ("f16", 8), ("bf16", 8), ("i16", 8), ("u8", 8)]
)
def test_a_thread_does_as_many_points_as_the_widest_element_allows(dtype: str, lanes: int) -> None:
    assert vector_lanes(only(sum_of(dtype))) == lanes


def test_the_widest_counts() -> None:
    assert vector_lanes(only(sum_of("f64", op="lt", result="bool"))) == 2
    assert vector_lanes(only(sum_of("u8", op="lt", result="bool"))) == 8


def test_memory_that_does_not_run_along_the_last_loop_is_read_point_by_point() -> None:
    assert vector_lanes(only(parse(TRANSPOSED))) == 1
    assert "load_" not in emit(only(parse(TRANSPOSED)), SIMULATOR)[0].source


def test_polynomials_are_not_copied_without_end() -> None:
    ops = "\n".join(f"%{i}: f16[n] = {op}(%{i - 1})" for i, op in enumerate(["exp", "sin", "log", "erf", "tan"], 1))
    graph = parse(f"graph @long(%x: f16[n]) -> (f16[n]) {{ %0: f16[n] = neg(%x)\n{ops}\nreturn %5 }}")
    assert vector_lanes(only(graph)) == 1


@pytest.mark.ptx
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("dtype", "vector"),
    [("f32", "v4.f32"), ("f64", "v2.f64"), ("f16", "v4.u32"), ("bf16", "v4.u32"), ("i64", "v2.u64"), ("u8", "v2.u32")],
)
def test_code_has_vector_instructions(dtype: str, vector: str, architecture: str) -> None:
    compiled: Any = compile_graph(sum_of(dtype), f"cuda:{architecture}")
    (kernel,) = compiled.kernels()
    found = set(re.findall(r"(?:ld|st)\.global\.(?:nc\.)?(v\d\.\w+)", kernel.code.ptx))
    assert found == {vector}
    bits = 64 if dtype == "u8" else 128
    assert {str(bits)} <= set(re.findall(r"(?:LDG|STG)\.E\.(\d+)", kernel.text("sass")))


@pytest.mark.simulator
@pytest.mark.parametrize("n", [1, 3, 4, 8, 11])
@pytest.mark.parametrize("m", [1, 4, 6, 8])
def test_rows_that_begin_between_vectors(n: int, m: int) -> None:
    rng = np.random.default_rng(n * m)
    x, b, c = (rng.random(shape).astype("f4") for shape in ((n, m), (m,), (n,)))
    (got,) = compile_graph(parse(BIAS), "cuda")(x, b, c)
    np.testing.assert_allclose(got, x * c[:, None] + b, rtol=1e-6)


@pytest.mark.simulator
def test_a_slice_that_begins_between_vectors() -> None:
    x, y = np.arange(36, dtype="f4").reshape(3, 12), np.ones((3, 8), "f4")
    (got,) = compile_graph(parse(PADDED), "cuda")(x, y)
    np.testing.assert_array_equal(got, x[:, 3:11] + y)


@pytest.mark.simulator
@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "i8"])
@pytest.mark.parametrize("first", [0, 1])
def test_buffers_that_begin_between_vectors(dtype: str, first: int) -> None:
    """The kernel itself, on memory that begins one element late, and does not end with a whole vector."""
    kernel = DeviceKernel(emit(only(sum_of(dtype, op="maximum")), SIMULATOR)[0], None)
    name = {"f32": "f4", "f64": "f8", "f16": "u2", "i8": "i1"}[dtype]
    room = np.zeros(64, "f8").view(name)
    x = room[first : first + 21]
    x[:] = np.arange(21)
    result = np.zeros(23, name)
    simulate(kernel.function, 2, kernel.source.threads, [x, x, result[:21], 21, 21])
    np.testing.assert_array_equal(result[:21], x)
    assert not result[21:].any()
