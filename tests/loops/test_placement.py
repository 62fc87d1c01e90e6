"""Kernels that write straight into a region of an array."""

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.loops.plan import KernelStep, make_plan
from graphc.passes.pipeline import pipeline

RNG = np.random.default_rng(0)


def stencil(a):
    a[1:-1, 2:] = a[:-2, :-2] + a[2:, 2:]


def small_stencil(a):
    a[:1, 2:] = a[1:2, 2:] * 2


def same_region(a):
    a[2:4] *= 2


def rows(a):
    a[1:] = a[1:] + a[0]


def block(a):
    a[1:3, 1:2] = 5


def read_twice(a):
    update = a[:2] * 2
    a[2:4] = update
    return update


def reduced(a):
    a[0] = gc.sum(a, axis=0) if not isinstance(a, np.ndarray) else np.sum(a, axis=0)


def two(a):
    a[:-1] = a[1:] * 1
    a[:, :-1] = a[:, 1:] * 1


#: The function, how many kernels write a region, and whether one of them needs the rest copied.
CASES = [(stencil, 1, True), (small_stencil, 0, False), (same_region, 1, False), (rows, 1, True), (block, 1, False),
         (read_twice, 0, False), (reduced, 0, False), (two, 2, True)]  # fmt: skip


@pytest.mark.parametrize(("function", "placed", "copies"), CASES, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 3)], ids=str)
def test_regions(function, placed, copies, shape):
    x = RNG.random(shape)
    graph = gc.jit(function).graph(x)
    plan = make_plan(pipeline("cpu").run(graph), place_updates=True)
    assert sum(isinstance(step, KernelStep) and step.placement is not None for step in plan.steps) == placed
    expected = x.copy()
    function(expected)
    compiled = compile_graph(graph)
    np.testing.assert_allclose(compiled(x)[-1], expected, rtol=1e-14)
    a = gc.tensor(x)
    run = gc.jit(function)
    run(a)
    np.testing.assert_allclose(a.numpy(), expected, rtol=1e-14)
    program = next(iter(run._families.values())).programs[0]
    names = [kernel.name for kernel in program._in_place.kernels()]
    assert ("copy_outside" in names) is copies


def test_what_is_still_read_is_copied_around_the_region():
    def function(a):
        before = a * 1
        before[1:3] += 1
        return before, a + 0.5

    x = RNG.random((6, 2))
    changed, same = gc.jit(function)(gc.tensor(x))
    expected = x.copy()
    expected[1:3] += 1
    np.testing.assert_array_equal(changed.numpy(), expected)
    np.testing.assert_array_equal(same.numpy(), x + 0.5)


def test_symbolic_sizes_are_not_placed():
    def function(a):
        a[1:3] = 5.0

    graph = gc.jit(function).graph(gc.spec("f32[n, 2]"))
    plan = make_plan(pipeline("cpu").run(graph), place_updates=True)
    assert all(getattr(step, "placement", None) is None for step in plan.steps)
    (result,) = compile_graph(graph)(np.zeros((4, 2), np.float32))
    np.testing.assert_array_equal(result[:, 0], [0, 5, 5, 0])


def test_the_plan_says_where():
    plan = make_plan(pipeline("cpu").run(gc.jit(block).graph(np.zeros((5, 4)))), place_updates=True)
    assert plan.describe().endswith("writes the region of f64[2, 1] that begins at (1, 1)")
