"""The checks in `graphc.testing` pass on what is right and say what is wrong where something is not."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from graphc.frontends.array import activations, elementwise
from graphc.ir.graph import Graph
from graphc.testing import assert_equivalent, assert_graph_equal, assert_trace_count, check_gradients


def graph_of(constant: float) -> Graph:
    return gc.jit(lambda x: x + constant, name="f").graph(gc.spec("f32[n]"))


def test_gradients_of_every_order() -> None:
    x, y = gc.tensor([0.3, 1.2]), gc.tensor([2.0, -1.0])
    check_gradients(lambda a, b: a * elementwise.sin(b), [x, y], order=3)


def test_gradients_of_nested_arguments_and_jitted_functions() -> None:
    parameters = {"w": np.ones((2, 3)), "b": np.arange(3.0) / 3}

    @gc.jit
    def layer(p: dict[str, Any], power: int) -> Any:
        return {"y": elementwise.tanh(p["w"] + p["b"]) ** power, "count": p["w"].shape[0]}

    check_gradients(layer, [parameters, 2])


def test_gradients_of_numbers() -> None:
    check_gradients(lambda x: x**3, [2.0])


def test_a_wrong_gradient_is_named() -> None:
    def half_detached(x: Any, p: dict[str, Any]) -> Any:
        return x.sum() + (p["w"] * p["w"].detach()).sum()

    with pytest.raises(AssertionError) as caught:
        check_gradients(half_detached, [gc.tensor([1.0]), {"w": gc.tensor([[0.5, 2.0]])}])
    text = str(caught.value)
    assert text.startswith("gradient of order 1 of half_detached with respect to args[1]['w'][0, 0]:\n")
    ours, theirs = (float(line.rsplit(" ", 1)[1]) for line in text.splitlines()[1:3])
    assert theirs == pytest.approx(2 * ours, rel=1e-6)


def test_a_wrong_second_gradient_is_named() -> None:
    def square(x: Any) -> Any:
        """x², whose derivative is 2x in value, but constant to differentiation."""
        return 2 * x.detach() * x - (x * x).detach()

    check_gradients(square, [gc.tensor(1.5)], order=1)
    with pytest.raises(AssertionError, match=r"gradient of order 2 of square with respect to args\[0\]:\n.* 0\.0\n"):
        check_gradients(square, [gc.tensor(1.5)], order=2)


def test_nothing_to_differentiate_is_an_error() -> None:
    with pytest.raises(GradientError, match="no argument of f is floating"):
        check_gradients(named("f"), [gc.tensor([1, 2])])
    with pytest.raises(GradientError, match="no result of f is floating"):
        check_gradients(named("f", lambda x: x > 0), [gc.tensor([1.0])])
    with pytest.raises(ArgumentError, match="order must be at least 1"):
        check_gradients(named("f"), [gc.tensor([1.0])], order=0)


def named(name: str, function: Any = lambda x: x) -> Any:
    def f(x: Any) -> Any:
        return function(x)

    f.__name__ = name
    return f


def test_equal_graphs() -> None:
    assert_graph_equal(graph_of(1.0), graph_of(1.0))
    assert_graph_equal(graph_of(1.0), str(graph_of(1.0)).replace("f32[n]", "f32[m]").replace("(n)", "(m)"))


def test_different_graphs_are_shown() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_graph_equal(graph_of(1.0), graph_of(2.0))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("the graphs differ: the first graph has node")
    assert "-  %0: f32[] = constant() {value = dense<f32[]: 2.0>}" in lines
    assert "+  %0: f32[] = constant() {value = dense<f32[]: 1.0>}" in lines


def test_equivalent_functions_and_graphs() -> None:
    x = gc.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, float("inf")]])
    assert_equivalent(activations.softmax, [x])
    assert_equivalent(graph_of(1.0), [np.arange(4, dtype="float32")])


def test_a_function_that_writes_gets_fresh_inputs_in_every_mode() -> None:
    w, x = gc.tensor([1.0, 2.0]), gc.tensor([1.0, 3.0])

    def f(x: Any, scale: float) -> Any:
        x[0] += 5.0
        return x @ w, x, scale

    assert_equivalent(f, [x, 0.5])
    assert x.tolist() == [1.0, 3.0]


def test_modes_that_differ_are_named() -> None:
    def f(x: Any) -> Any:
        return x * (2.0 if type(x) is gc.Tensor else 3.0)

    expected = r"result: jit differs from eager in 2 of 3 elements, first at \[0\]: 3.0 instead of 2.0"
    with pytest.raises(AssertionError, match=expected):
        assert_equivalent(f, [gc.tensor([1.0, 0.0, 2.0])])


def test_dtype_structure_nan_and_infinity_count() -> None:
    x = gc.tensor([1.0])
    by_mode = [
        (lambda t: t.astype(gc.float64) if type(t) is gc.Tensor else t, "float32 of shape"),
        (lambda t: (t,) if type(t) is gc.Tensor else [t], "another structure than eager"),
        (lambda t: t / 0.0 if type(t) is gc.Tensor else t, r"1.0 instead of inf"),
        (lambda t: t - t if type(t) is gc.Tensor else t * float("nan"), r"nan instead of 0.0"),
    ]
    for function, message in by_mode:
        with pytest.raises(AssertionError, match=message):
            assert_equivalent(function, [x])


def test_tolerance() -> None:
    def f(x: Any) -> Any:
        return x if isinstance(x, gc.Tensor) else x * 1.001

    assert_equivalent(f, [gc.tensor([1.0])], rtol=0.01)
    with pytest.raises(AssertionError):
        assert_equivalent(f, [gc.tensor([1.0])])


def test_trace_count() -> None:
    f = gc.jit(lambda x: x + 1)
    with assert_trace_count(f, 1):
        f(gc.tensor([1.0]))
        f(gc.tensor([2.0]))
    with pytest.raises(AssertionError, match="was traced 1 times in this block, not 0"), assert_trace_count(f, 0):
        f(gc.tensor([[1.0]]))
