"""Random programs of branches, loops, scans, checkpoints and writes, nested in each other: eager, jitted and interpreted runs
agree, in values and gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.compile import compile_graph
from graphc.ir.parser import parse
from graphc.ir.printer import print_graph
from graphc.ir.structure import first_difference
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.pipeline import pipeline

#: A few programs in the usual profile, many in the full one: each has dozens of kernels, and takes a second to compile.
IS_FULL = settings.default.max_examples > 200
Statement = tuple[Any, ...]
ROWS = np.array([[0.3, -0.2, 0.9], [-0.5, 0.1, 0.4], [0.8, 0.7, -0.6]])
CAPTURED = {2: ROWS, 1: np.array([2, 0, 1])}  # by rank: the tensors in closures
SIMPLE = ("sine", "mix", "pick", "scale", "product", "sum", "write", "write view")
LEAF = st.tuples(st.sampled_from(SIMPLE), st.integers(0, 2))


# Eagerly, a checkpoint keeps what it reads, and may not find it changed.
PURE = st.lists(st.tuples(st.sampled_from(SIMPLE[:4]), st.integers(0, 2)), min_size=1, max_size=3)


def blocks(inside: st.SearchStrategy[Statement]) -> st.SearchStrategy[Statement]:
    body = st.lists(inside, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.just("if"), st.integers(0, 2), body, body),
        st.tuples(st.just("switch"), body, body, body),
        st.tuples(st.just("for"), st.integers(0, 3), body),
        st.tuples(st.just("while"), st.integers(0, 3), body),
        st.tuples(st.just("scan"), st.booleans(), body),
        st.tuples(st.just("checkpoint"), st.sampled_from(["nothing", "products"]), PURE),
    )


PROGRAMS = st.lists(st.recursive(LEAF, blocks, max_leaves=6), min_size=1, max_size=4)


def run(program: list[Statement], v: Any, w: Any) -> Any:
    """The program on a vector and a matrix; it also has a scalar, and memory that statements write."""
    memory = v * 0.5

    def step(statement: Statement, state: tuple[Any, Any]) -> tuple[Any, Any]:
        v, s = state
        kind, *rest = statement
        if kind in SIMPLE:
            return simple(kind, rest[0], v, s)
        if kind == "if":
            i, a, b = rest
            return gc.cond(v[i] > s, lambda: block(a, (v, s)), lambda: block(b, (v, s)))  # type: ignore[no-any-return]
        if kind == "switch":
            return gc.switch(gc.argmax(v), [lambda t=body: block(t, (v, s)) for body in rest])  # type: ignore[misc, no-any-return]
        if kind == "for":
            return gc.fori_loop(0, rest[0], lambda i, c: block(rest[1], (c[0], c[1] + i)), (v, s))  # type: ignore[no-any-return]
        if kind == "while":
            n, body = rest
            final = gc.while_loop(
                lambda c: (c[0] < n) & (c[1][1] < 9), lambda c: (c[0] + 1, block(body, c[1])), (0, (v, s)), max_steps=4
            )
            return final[1]  # type: ignore[no-any-return]
        if kind == "scan":
            reverse, body = rest

            def along(c: Any, x: Any) -> Any:
                c = block(body, (gc.tanh(c[0] + x), c[1]))
                return c, c[0] * x

            (v, s), ys = gc.scan(along, (v, s), gc.tensor(ROWS), reverse=reverse)
            return v + ys.sum(axis=0) * 0.1, s
        policy, body = rest
        return gc.checkpoint(lambda v, s: block(body, (v, s)), policy=policy)(v, s)  # type: ignore[no-any-return]

    def simple(kind: str, i: int, v: Any, s: Any) -> tuple[Any, Any]:
        if kind == "sine":
            return gc.sin(v) + 0.1 * s, s
        if kind == "mix":
            return gc.tanh(w @ v), s + 0.5
        if kind == "scale":
            return v * s, s * v[i]
        if kind == "product":
            return gc.cos(v * (memory + 0.0)), gc.tanh(s * v[i])
        if kind == "pick":
            return v[gc.tensor([2, 0, 1])], v[i] * 0.5
        if kind == "sum":
            return v + memory * 0.25, gc.sin(v.sum() + memory[i])
        if kind == "write":
            memory[i] = v[i] * 0.5 + s * 0.25
        else:
            part = memory[i:]
            part[0] = gc.sin(part[0] + 0.0) + v[0] * 0.5
        return v, s

    def block(body: list[Statement], state: tuple[Any, Any]) -> tuple[Any, Any]:
        for statement in body:
            state = step(statement, state)
        return state

    v, s = block(program, (v, v[0] * 0.1))
    return v.sum() + s + (memory * memory).sum()


V = np.array([0.4, -0.7, 0.2])
W = np.array([[0.5, -0.3, 0.2], [0.1, 0.6, -0.4], [-0.2, 0.3, 0.7]])


def check(function: Callable[..., Any], tolerance: float, *, native: bool) -> None:
    """The value and gradients of an eager run are those of the graph, of what the passes make of it, and of its kernels."""
    arrays = [gc.tensor(V), gc.tensor(W)]
    value, gradient = gc.value_and_grad(function, (0, 1))(*arrays)
    want = [value.numpy(), gradient[0].numpy(), gradient[1].numpy()]
    graph = gc.jit(gc.value_and_grad(function, (0, 1))).graph(*arrays)
    verify(graph)
    assert first_difference(graph, parse(print_graph(graph))) is None
    optimized = pipeline("cpu").run(graph, verify=True)
    inputs = [V, W, *[CAPTURED[p.type.ndim] for p in graph.parameters[2:]]]
    runs = [evaluate_graph(graph, inputs), evaluate_graph(optimized, inputs)]
    if native:
        runs.append(compile_graph(graph)(*inputs))
    for results in runs:
        for got, expected in zip(results, want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@settings(max_examples=150 if IS_FULL else 12)
@given(PROGRAMS)
def test_graphs_and_passes_give_what_eager_runs_give(program: list[Statement]) -> None:
    check(lambda v, w: run(program, v, w), 1e-9, native=False)


@settings(max_examples=150 if IS_FULL else 5)
@given(PROGRAMS)
def test_kernels_give_what_eager_runs_give(program: list[Statement]) -> None:
    check(lambda v, w: run(program, v, w), 1e-9, native=True)


@settings(max_examples=40 if IS_FULL else 3)
@given(st.lists(st.recursive(LEAF, blocks, max_leaves=4), min_size=1, max_size=2))
def test_second_derivatives(program: list[Statement]) -> None:
    def slope(v: Any, w: Any) -> Any:
        first, second = gc.grad(lambda v, w: run(program, v, w), (0, 1))(v, w)
        return (first * first).sum() + gc.sin(second).sum()

    check(slope, 1e-7, native=False)
