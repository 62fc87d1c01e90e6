"""What a function that a transform traces may read from around it, in every surrounding."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import InPlaceError
from tests.frontends.transforms.modes import array, close


def test_python_numbers_of_a_jitted_function_keep_their_precision_and_guards() -> None:
    @gc.jit
    def function(x: Any, rate: float, count: int) -> Any:
        return gc.vmap(lambda row: row * rate + sum(range(count)))(x)

    x = np.ones((3, 2))
    for _ in range(2):
        assert function(x, 0.1, 3).dtype is gc.float64
        assert function(x, 0.1, 3)[0, 0].item() == 1 * 0.1 + 3
        assert function(x, 0.7, 3)[0, 0].item() == 1 * 0.7 + 3
    assert function.trace_count == 1
    assert function(x, 0.1, 4)[0, 0].item() == 0.1 + 6
    assert function.trace_count == 2


def test_captured_tensors_may_be_bound_to_others() -> None:
    w = gc.tensor([1.0, 2.0])
    function = gc.jit(gc.vmap(lambda row: (row * w).sum()))
    assert function(gc.ones((3, 2))).tolist() == [3.0] * 3
    w = gc.tensor([5.0, 5.0])
    assert function(gc.ones((3, 2))).tolist() == [10.0] * 3
    assert function.trace_count == 1


def test_arrays_of_several_surroundings_meet() -> None:
    eager, plain = gc.tensor(array(2)), array(2, seed=1)

    def outer(x: Any) -> Any:
        traced = gc.exp(x[0])

        def middle(row: Any) -> Any:
            local = row + traced
            return gc.vmap(lambda scalar: (scalar * local * eager + plain).sum())(row)

        return gc.vmap(middle)(x)

    x = array(3, 2, seed=2)
    want = [[((s * (row + np.exp(x[0]))) * array(2) + plain).sum() for s in row] for row in x]
    close(outer(gc.tensor(x)), want)
    close(gc.jit(outer)(x), want)
    graph = gc.Graph()
    with graph:
        given = gc.placeholder("f32[3, 2]")
        result = outer(given)
    with gc.Session(graph) as session:
        close(session.run(result, {given: x}), want)


def test_a_static_variable_is_read_and_not_written() -> None:
    graph = gc.Graph()
    with graph:
        w = gc.Variable(array(2), name="w")
        x = gc.placeholder("f32[3, 2]")
    result = gc.vmap(lambda row: (row * w).sum())(x)  # outside of the `with` block: the graph is known by its tensors
    with gc.Session(graph) as session:
        session.run(w.initializer)
        close(session.run(result, {x: array(3, 2, seed=1)}), array(3, 2, seed=1) @ array(2))
    with graph, pytest.raises(InPlaceError, match="'w' is changed in place"):
        gc.vmap(lambda row: w.detach().add_(1))(x)


def test_the_gradient_of_a_captured_tensor_can_be_read() -> None:
    w = gc.tensor(array(2), requires_grad=True)
    (w**2).sum().backward()
    step = lambda row: row - 0.5 * w.grad  # noqa: E731
    close(gc.vmap(step)(gc.zeros((3, 2))), np.tile(-array(2), (3, 1)))
    close(gc.jit(gc.vmap(step))(gc.zeros((3, 2))), np.tile(-array(2), (3, 1)))


def test_a_recording_sees_the_ops() -> None:
    x = gc.tensor(array(3, 2))
    with gc.record() as recorder:
        result = gc.vmap(lambda row: gc.exp(row).sum())(x)
    graph = recorder.graph(outputs=[result], inputs=[x])
    assert [n.op.name for n in graph.nodes()] == ["parameter", "exp", "reduce_sum"]


def test_views_of_one_memory_may_be_read_but_not_written() -> None:
    base = gc.zeros(4)
    head, tail = base[:2], base[2:]
    total = gc.vmap(lambda x: (head + tail).sum() + x)(gc.ones(3))
    assert total.tolist() == [1.0] * 3

    def write(x: Any) -> Any:
        head[0] = 1.0
        return base.sum() + x

    for wrap in (lambda f: f, gc.jit):
        with pytest.raises(InPlaceError, match="whose memory it also reads as another array"):
            wrap(gc.vmap(write))(gc.ones(3))
    assert base.sum().item() == 0
