"""Every primitive with symbolic sizes: one graph, compiled once, run at several sizes, forward and backward."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.primitive import primitives
from graphc.ir.printer import print_graph
from graphc.ir.spec import parse_type
from graphc.ir.structure import first_difference
from graphc.ir.types import TensorType
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import differentiate
from tests.op_db import NOT_APPLIED, RECORDS
from tests.op_db_contraction import convolution
from tests.op_db_control_flow import branch, counting, step, with_gradient
from tests.op_db_core import callee
from tests.op_db_reduction import windows
from tests.op_record import assert_same, random_array

N, M = symbol("n"), symbol("m")
SIZES = ({"n": 6, "m": 4}, {"n": 9, "m": 5})
Case = tuple[tuple[str, ...], Mapping[str, Any]]
ROWS: Case = (("f32[n, m]",), {"axes": (0,)})
RUNNING: Case = (("f32[n, m]",), {"axis": 1, "reverse": False})
SCATTER: Case = (("f32[n, m]", "f32[2, m]", "i64[2]"), {"axes": (0,)})
POOL: Case = (("f32[n, m]",), windows((2, 2), (1, 2), ((1, 0), (0, 1))))

# Operand types and attributes; elementwise ops are made from their records below. An i64 operand holds indices below 4.
STRUCTURAL: dict[str, Case] = {
    "dimension": (("f32[n, m]",), {"dim": 2 * N + M}),
    "stop_gradient": (("f32[n, m]",), {}),
    "call": (("f64[n]", "f64[]"), {"graph": callee(parse_type("f64[]").dtype)}),
    "broadcast_in_dim": (("f32[n, m]", "f32[m]"), {"shape": (N, M), "dims": (1,)}),
    "reshape": (("f32[n, m]",), {"shape": (N * M,)}),
    "transpose": (("f32[n, m, 2]",), {"permutation": (2, 0, 1)}),
    "slice": (("f32[n, m]",), {"starts": (1, 0), "limits": (N, M - 1), "strides": (2, 1)}),
    "pad": (("f32[n, m]", "f32[]"), {"low": (1, -1), "high": (0, 2), "interior": (1, 0)}),
    "concatenate": (("f32[n, m]", "f32[3, m]", "f32[n, m]"), {"axis": 0}),
    "reverse": (("f32[n, m]",), {"axes": (0, 1)}),
    "iota": (("f32[n, m]",), {"dtype": parse_type("i32[]").dtype, "shape": (N, M), "axis": 1}),
    **dict.fromkeys(("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"), ROWS),
    **dict.fromkeys(("reduce_any", "reduce_all"), (("bool[n, m]",), {"axes": (1,)})),
    **dict.fromkeys(("argmax", "argmin"), (("f32[n, m]",), {"axis": 1})),
    **dict.fromkeys(("cumulative_sum", "cumulative_prod", "cumulative_max", "cumulative_min"), RUNNING),
    "gather": (("f32[n, m]", "i64[3]"), {"axes": (1,)}),
    **dict.fromkeys(("scatter_set", "scatter_add", "scatter_max", "scatter_min"), SCATTER),
    "dynamic_slice": (("f32[n, m]", "i64[]", "i64[]"), {"sizes": (2, M - 3)}),
    "dynamic_update_slice": (("f32[n, m]", "f32[2, 1]", "i64[]", "i64[]"), {}),
    **dict.fromkeys(("sort", "argsort"), (("f32[n, m]",), {"axis": 0, "descending": True})),
    "top_k": (("f32[n, m]",), {"k": 2}),
    "dot_general": (("f32[n, m]", "f32[m, 3]"), {"contract": ((1,), (0,)), "batch": ((), ())}),
    "conv_general": (("f32[n, 2, m]", "f32[3, 2, 3]"), convolution((1,), ((1, 1),))),
    **dict.fromkeys(("reduce_window_sum", "reduce_window_max", "reduce_window_min"), POOL),
    **dict.fromkeys(("reduce_window_argmax", "reduce_window_argmin"), POOL),
    "select_and_scatter": (("f32[n, m]", "f32[n, m]"), {"select": "max", **windows((2, 2), None, ((1, 0), (0, 1)))}),
    "attention": (("f32[n, m, 3]", "f32[n, 5, 3]", "f32[n, 5, 2]"), {"causal": True}),
    "attention_gradient": (
        ("f32[n, m, 3]", "f32[n, 5, 3]", "f32[n, 5, 2]", "f32[n, m, 2]", "f32[n, m]", "f32[n, m]"),
        {"causal": True},
    ),
    "random_bits": (("f32[n, m]", "u64[]", "u64[]"), {"shape": (N, M), "dtype": parse_type("u32[]").dtype}),
}
F64 = parse_type("f64[]").dtype
STRUCTURAL |= {
    "cond": (("i64[]", "f64[n]", "f64[n]"), {"branches": (branch(0, F64, N), branch(1, F64, N))}),
    "while_loop": (
        ("i64[]", "f64[n]", "i64[]", "f64[n]"),
        dict(zip(("cond", "body"), counting(F64, N), strict=True)) | {"constants": 2, "max_steps": 3},
    ),
    "scan": (
        ("f64[n]", "f64[n]", "f64[m, n]"),
        {"body": step(F64, N), "constants": 1, "carries": 1, "length": M, "reverse": True},
    ),
    "optimization_barrier": (("f64[n]", "f64[n, m]"), {}),
    "checkpoint": (("f64[n]", "f64[n]"), {"graph": branch(2, F64, N), "saved": ()}),
    "custom_vjp": (("f64[n]", "f64[n]", "f64[n]"), with_gradient(F64, N)),
}
ELEMENTWISE = sorted(name for name, op in primitives().items() if op.elementwise)
# Ops whose only sizes are those of a constant, or that have no results.
WITHOUT_SIZES = frozenset({"constant", "check"})
# The first operand gives the sizes, and is not one of the op's.
BINDS_ONLY = frozenset({"dimension", "iota", "random_bits", "broadcast_in_dim"})


def test_every_primitive_is_covered() -> None:
    assert set(STRUCTURAL) | set(ELEMENTWISE) == set(primitives()) - NOT_APPLIED - WITHOUT_SIZES


def case(name: str) -> tuple[tuple[TensorType, ...], Mapping[str, Any]]:
    if name in STRUCTURAL:
        texts, attributes = STRUCTURAL[name]
        return tuple(parse_type(t) for t in texts), attributes
    record = RECORDS[name]
    sample = next(iter(record.samples(np.random.default_rng(0), record.dtypes[-1])))
    return tuple(t.with_shape((N, 3, M)) for t in sample.types), sample.attributes


def graph_of(name: str) -> Graph:
    types, attributes = case(name)
    b = Builder(name)
    operands = [b.parameter(t, f"x{i}") for i, t in enumerate(types)]
    return b.finish(b.emit(name, *operands[name in BINDS_ONLY :], **attributes))


def inputs(graph: Graph, sizes: Mapping[str, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    result = []
    for type_ in graph.parameter_types:
        shape = [int(d) for d in type_.substitute(sizes).shape]
        if type_.dtype.name in ("int64", "uint64"):
            result.append(np.asarray(rng.integers(0, 2, shape)).astype(type_.dtype.numpy))
        else:
            result.append(random_array(rng, type_.dtype, shape, 0.2, 0.8))
    return result


@pytest.mark.parametrize("name", [*STRUCTURAL, *ELEMENTWISE])
def test_one_compilation_serves_all_sizes(name: str) -> None:
    graph = graph_of(name)
    verify(graph)
    assert first_difference(graph, parse(print_graph(graph))) is None
    compare(name, graph)


@pytest.mark.parametrize("name", [n for n in [*STRUCTURAL, *ELEMENTWISE] if RECORDS[n].differentiable])
def test_one_compiled_gradient_serves_all_sizes(name: str) -> None:
    forward = graph_of(name)
    wrt = [i for i, p in enumerate(forward.parameters) if p.dtype.is_inexact]
    graph = differentiate(forward, wrt)
    verify(graph)
    compare(name, graph)


def compare(name: str, graph: Graph) -> None:
    compiled = compile_graph(graph)
    for sizes in SIZES:
        arrays = inputs(graph, sizes)
        for got, want in zip(compiled(*arrays), evaluate_graph(graph, arrays), strict=True):
            assert_same(got, np.asarray(want), f"{name} at {sizes}", tolerance=tolerance(got))


def tolerance(got: np.ndarray) -> tuple[float, float]:
    if got.dtype.kind in "biu":
        return (0.0, 0.0)
    return {8: (1e-11, 1e-12), 4: (2e-5, 1e-5), 2: (1e-2, 1e-2)}[got.dtype.itemsize]
