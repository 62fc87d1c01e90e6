"""Cotangents of slices are put together, not added up in zeros."""

import numpy as np
import pytest

import graphc as gc
from graphc.ir.builder import Builder
from graphc.ir.types import TensorType
from graphc.ops.core import evaluate_graph
from graphc.passes.cotangents import sum_cotangents

X = np.arange(24, dtype=np.float64).reshape(6, 4) + 1


def gradient(function, x=X):
    def loss(x):
        return function(x)

    graph = gc.jit(gc.grad(loss)).graph(gc.tensor(x))
    (flow,) = evaluate_graph(graph, [x])
    return graph, flow


def names(graph):
    return [node.op.name for node in graph.nodes()]


def test_rows_are_concatenated():
    weights = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0]
    graph, flow = gradient(lambda x: sum((x[i] * w).sum() for i, w in enumerate(weights)))
    assert names(graph).count("concatenate") == 1
    assert "pad" not in names(graph)
    np.testing.assert_array_equal(flow, np.repeat(weights, 4).reshape(6, 4))


def test_gaps_and_ends_are_zeros():
    graph, flow = gradient(lambda x: (x[1:2] * 2).sum() + (x[4:5] * 3).sum())
    assert names(graph).count("concatenate") == 1
    np.testing.assert_array_equal(flow[:, 0], [0, 2, 0, 0, 3, 0])


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]], ids=str)
def test_overlapping_windows_add_up(order):
    graph, flow = gradient(lambda x: sum((x[i : i + 2] * (i + 1)).sum() for i in order))
    np.testing.assert_array_equal(flow[:, 0], [1, 3, 5, 7, 9, 5])
    assert names(graph).count("concatenate") == 2  # the even windows and the odd ones


def test_axes_are_kept_apart_and_strides_left_alone():
    _, flow = gradient(lambda x: (x[0] * 2).sum() + (x[1:] * 3).sum() + (x[:, 0] * 5).sum() + (x[::2] * 7).sum())
    want = np.full((6, 4), 3.0)
    want[0] = 2
    want[:, 0] += 5
    want[::2] += 7
    np.testing.assert_array_equal(flow, want)


def test_a_symbolic_axis_beside_the_sliced_one():
    @gc.jit
    def f(x):
        return gc.grad(lambda x: (x[:, 0] * 2).sum() + (x[:, 2] * 3).sum())(x)

    graph = f.graph(gc.spec("f64[n, 4]"))
    (flow,) = evaluate_graph(graph, [X])
    np.testing.assert_array_equal(flow[0], [2, 0, 3, 0])


def test_what_is_no_part_is_added():
    b = Builder("f")
    x = b.parameter(TensorType(gc.float64, (4,)))
    small = b.parameter(TensorType(gc.float64, (2,)))

    def pad(value, low, high):
        return b.pad(small, b.constant(value, gc.float64), low=(low,), high=(high,), interior=(0,))

    assert sum_cotangents(b, []) is None
    assert sum_cotangents(b, [x]) is x
    lone = pad(0.0, 0, 2)
    assert sum_cotangents(b, [lone]) is lone
    ones = [pad(1.0, 0, 2), pad(1.0, 2, 0)]
    assert sum_cotangents(b, ones).node.op.name == "add"
    both = sum_cotangents(b, [pad(0.0, 2, 0), x, pad(0.0, 0, 2)])
    assert [v.node.op.name for v in both.node.inputs] == ["parameter", "concatenate"]
