"""Operands that are computed while they are packed, against the reference."""

from typing import Any

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.dtypes import as_dtype
from graphc.ir.graph import Graph
from graphc.ir.parser import parse

NARROW = ["i8", "u8", "i16", "bf16", "f16", "bool"]
SIZES = [(1, 5, 3), (4, 40, 37), (9, 400, 33), (30, 390, 300), (270, 16, 130)]


def program(dtype: str, left: str, right: str, contract: tuple[int, int], which: int) -> Graph:
    """Dequantize the operand ``which``: ``(w - zero) * scale``, one scale a column of memory and one zero point a row."""
    named = (left, right)[which]
    first, last = named.split(", ")
    shapes = [f"f32[{left}]", f"f32[{right}]"]
    given = list(shapes)
    given[which] = f"{dtype}[{named}]"
    own = ["%x", "%y"]
    own[which] = "%w"
    parameters = f"%x: {given[0]}, %y: {given[1]}, %s: f32[{last}], %z: f32[{first}], %r: f32[m, n]"
    return parse(f"""graph @dense({parameters}) -> (f32[m, n]) {{
      %a: f32[{named}] = convert_element_type({("%x", "%y")[which]}) {{dtype = f32}}
      %b: f32[{named}] = broadcast_in_dim(%z) {{shape = ({named}), dims = (0)}}
      %c: f32[{named}] = sub(%a, %b)
      %d: f32[{named}] = broadcast_in_dim(%s) {{shape = ({named}), dims = (1)}}
      %w: f32[{named}] = mul(%c, %d)
      %e: f32[m, n] = dot_general({own[0]}, {own[1]}) {{contract = (({contract[0]}), ({contract[1]})), batch = ((), ())}}
      %f: f32[m, n] = add(%e, %r)
      return %f
    }}""")


def numbers(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    kind = as_dtype(dtype)
    if kind.is_floating:
        return rng.standard_normal(shape).astype(kind.numpy)
    return rng.integers(0 if kind.kind != "int" else -100, 2 if kind.is_bool else 100, shape).astype(kind.numpy)


def check(dtype: str, layout: tuple[str, str, tuple[int, int]], which: int, sizes: tuple[int, int, int]) -> None:
    left, right, contract = layout
    graph = program(dtype, left, right, contract, which)
    compiled: Any = compile_graph(graph)
    assert "packs it, and never stored" in compiled.stages()["kernels"]
    values = dict(zip("mkn", sizes, strict=True))
    rng = np.random.default_rng(0)
    types = [str(t.dtype) for t in graph.parameter_types]
    shapes = [tuple(values[str(dim)] for dim in t.shape) for t in graph.parameter_types]
    arrays = [numbers(rng, t, shape) for t, shape in zip(types, shapes, strict=True)]
    (got,), (want,) = compiled(*arrays), compile_graph(graph, "reference")(*arrays)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(want).max())))


LAYOUTS = [("m, k", "k, n", (1, 0)), ("k, m", "k, n", (0, 0)), ("m, k", "n, k", (1, 1)), ("k, m", "n, k", (0, 1))]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sizes", SIZES)
def test_layouts_and_sizes(layout: tuple[str, str, tuple[int, int]], which: int, sizes: tuple[int, int, int]) -> None:
    check("i8", layout, which, sizes)


@pytest.mark.parametrize("dtype", NARROW)
def test_dtypes(dtype: str) -> None:
    check(dtype, LAYOUTS[0], 1, (9, 40, 37))


def test_both_operands_and_no_epilogue() -> None:
    graph = parse("""graph @both(%x: u8[m, k], %y: bf16[k, n]) -> (f32[m, n]) {
      %a: f32[m, k] = convert_element_type(%x) {dtype = f32}
      %b: f32[k, n] = convert_element_type(%y) {dtype = f32}
      %c: f32[m, n] = dot_general(%a, %b) {contract = ((1), (0)), batch = ((), ())}
      return %c
    }""")
    rng = np.random.default_rng(0)
    arrays = [numbers(rng, "u8", (17, 50)), numbers(rng, "bf16", (50, 41))]
    (got,), (want,) = compile_graph(graph)(*arrays), compile_graph(graph, "reference")(*arrays)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-3)


def test_nothing_is_summed() -> None:
    graph = program("i8", "m, k", "k, n", (1, 0), 1)
    arrays = [np.ones((3, 0), np.float32), np.ones((0, 4), np.int8), np.ones(4, np.float32), np.ones(0, np.float32)]
    (got,) = compile_graph(graph)(*arrays, np.full((3, 4), 2, np.float32))
    np.testing.assert_array_equal(got, np.full((3, 4), 2, np.float32))


def test_the_wide_matrix_is_never_stored() -> None:
    graph = parse("""graph @f(%x: f32[2, 512], %y: i8[512, 1024]) -> (f32[2, 1024]) {
      %b: f32[512, 1024] = convert_element_type(%y) {dtype = f32}
      %c: f32[2, 1024] = dot_general(%x, %b) {contract = ((1), (0)), batch = ((), ())}
      return %c
    }""")
    compiled: Any = compile_graph(graph)
    assert compiled.memory({}).temporaries == 0
