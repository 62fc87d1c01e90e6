"""What a traced function may be called with, and which calls share a trace."""

import enum
import functools
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, ShapeError


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass
class Point:
    x: Any
    y: Any


class Reduction(enum.Enum):
    SUM = 1
    MEAN = 2


def vector(*values: float) -> Any:
    return gc.tensor(values)


def test_nested_arguments_and_results() -> None:
    @gc.jit
    def swap(tree: Any, *rest: Any, **named: Any) -> Any:
        point = tree["point"]
        return {"pair": Pair(point.y, point.x), "rest": [r * 2 for r in rest], "named": (named["k"] + 1, None, "text")}

    for _ in range(2):
        result = swap({"point": Point(vector(1.0), vector(2.0, 3.0))}, vector(4.0), vector(5.0), k=vector(6.0))
        assert isinstance(result["pair"], Pair)
        assert result["pair"].first.tolist() == [2.0, 3.0]
        assert [r.tolist() for r in result["rest"]] == [[8.0], [10.0]]
        assert result["named"][0].tolist() == [7.0]
        assert result["named"][1:] == (None, "text")
    assert swap.trace_count == 1


def test_containers_keep_their_kind() -> None:
    tree = OrderedDict(b=[vector(1.0)], a=(vector(2.0), Point(vector(3.0), None)))
    result = gc.jit(lambda t: t)(tree)
    assert isinstance(result, OrderedDict) and list(result) == ["b", "a"]
    assert isinstance(result["a"][1], Point)


def test_keyword_order_and_defaults_do_not_retrace() -> None:
    @gc.jit
    def f(x: Any, *, scale: Any, shift: Any = 1.0) -> Any:
        return x * scale + shift

    assert f(vector(1.0), scale=2.0, shift=3.0).tolist() == [5.0]
    assert f(vector(1.0), shift=4.0, scale=3.0).tolist() == [7.0]
    assert f.trace_count == 1
    assert f(vector(1.0), scale=2.0).tolist() == [3.0]


@pytest.mark.filterwarnings("ignore::graphc.errors.RetraceWarning")
def test_what_retraces() -> None:
    @gc.jit
    def f(x: Any, flag: Any = True) -> Any:
        return x + 1 if flag else x - 1

    calls = [
        (vector(1.0, 2.0), True), (vector(1.0, 2.0), False), (vector(1.0), True), (gc.tensor([1, 2]), True),
        (gc.ones((2, 2)), True), (gc.tensor([1.0, 2.0], requires_grad=True), True),
    ]  # fmt: skip
    for count, (x, flag) in enumerate(calls, start=1):
        f(x, flag)
        f(x, flag)
        assert f.trace_count == count
    f(vector(3.0, 4.0), True)
    assert f.trace_count == len(calls)


def test_a_changing_float_never_retraces() -> None:
    @gc.jit
    def step(x: Any, rate: float) -> Any:
        return x - rate * 2

    for rate in (0.1, 0.01, -3.0, float("inf"), 0.1):
        np.testing.assert_allclose(step(vector(1.0), rate).numpy(), np.float32(1) - np.float32(rate) * 2, rtol=1e-6)
    assert step.trace_count == 1


def test_an_int_is_a_run_time_value_until_its_value_is_needed() -> None:
    @gc.jit
    def scaled(x: Any, n: int) -> Any:
        return x * n

    assert [scaled(vector(1.0), n).tolist() for n in (2, 3, 4)] == [[2.0], [3.0], [4.0]]
    assert scaled.trace_count == 1

    @gc.jit
    def repeated(x: Any, n: int) -> Any:
        for _ in range(n):
            x = x * 2
        return x

    assert [repeated(vector(1.0), n).tolist() for n in (2, 3, 2, 3)] == [[4.0], [8.0], [4.0], [8.0]]
    assert repeated.trace_count == 2


def test_ints_as_axis_shape_index_and_condition() -> None:
    @gc.jit
    def f(x: Any, axis: int, n: int) -> Any:
        y = x.sum(axis)
        return gc.concat([y, gc.zeros((n,))])[n:] if n + 1 > 2 else y[n]

    x = gc.tensor(np.arange(6.0).reshape(2, 3))
    for axis, n in ((0, 2), (1, 2), (-1, 0), (0, 2)):
        y = np.arange(6.0).reshape(2, 3).sum(axis)
        want = np.concatenate([y, np.zeros(n)])[n:] if n + 1 > 2 else y[n]
        np.testing.assert_array_equal(f(x, axis, n).numpy(), want)


def test_python_numbers_stay_weak() -> None:
    f = gc.jit(lambda x, a, n: x * a + n)
    assert f(gc.tensor([1.0], dtype=gc.float16), 2.0, 3).dtype is gc.float16
    assert f(gc.tensor([1.0], dtype=gc.float64), 0.1, 0).item() == 0.1
    assert f(gc.tensor([1], dtype=gc.int8), 2, 3).dtype is gc.int8
    assert gc.jit(lambda a: a * 2)(3).dtype is gc.int64
    assert (gc.jit(lambda a: a * 2)(3.0) * gc.ones((1,), dtype=gc.float16)).dtype is gc.float16


def test_numpy_arrays_and_scalars_are_inputs() -> None:
    f = gc.jit(lambda x, s: x * s)
    assert f(np.arange(3.0), np.float64(2)).tolist() == [0.0, 2.0, 4.0]
    assert f(np.arange(3.0) + 1, np.float64(3)).tolist() == [3.0, 6.0, 9.0]
    assert f.trace_count == 1
    assert f(np.arange(3.0), np.float64(2)).dtype is gc.float64


def test_static_values() -> None:
    @gc.jit
    def reduce(x: Any, how: Reduction, name: str | None = None) -> Any:
        assert name is None or isinstance(name, str)
        return x.sum() if how is Reduction.SUM else x.mean()

    x = vector(1.0, 3.0)
    assert reduce(x, Reduction.SUM).item() == 4.0
    assert reduce(x, Reduction.MEAN, "m").item() == 2.0
    assert reduce(x, Reduction.SUM).item() == 4.0
    assert reduce.trace_count == 2


def test_named_static_arguments() -> None:
    @gc.jit(static_argnames=("shape",), static_argnums=(1,))
    def f(x: Any, n: int, *, shape: Any) -> Any:
        assert type(n) is int and type(shape) is tuple
        return gc.broadcast_to(x, shape) * n

    assert f(vector(1.0), 2, shape=(2, 1)).tolist() == [[2.0], [2.0]]
    assert f(vector(1.0), 2, shape=(2, 1)).tolist() == [[2.0], [2.0]]
    assert f.trace_count == 1
    f(vector(1.0), 3, shape=(2, 1))
    assert f.trace_count == 2


def test_functions_as_static_arguments() -> None:
    apply = gc.jit(lambda g, x: g(x))
    assert apply(gc.exp, vector(0.0)).tolist() == [1.0]
    assert apply(gc.neg if hasattr(gc, "neg") else gc.negative, vector(1.0)).tolist() == [-1.0]
    assert apply.trace_count == 2


def test_methods_and_several_instances() -> None:
    class Layer:
        def __init__(self, scale: float) -> None:
            self.w = vector(scale)

        @gc.jit
        def __call__(self, x: Any) -> Any:
            return x * self.w

    first, second = Layer(2.0), Layer(5.0)
    assert first(vector(1.0)).tolist() == [2.0]
    assert second(vector(1.0)).tolist() == [5.0]
    assert first(vector(3.0)).tolist() == [6.0]
    first.w = vector(7.0)
    assert first(vector(1.0)).tolist() == [7.0]


def test_partials_lambdas_and_decorated_functions() -> None:
    scale = functools.partial(lambda a, b: a * b, vector(3.0))
    assert gc.jit(scale)(vector(2.0)).tolist() == [6.0]
    f = gc.jit(lambda x: x + 1)
    assert f(vector(1.0)).tolist() == [2.0]

    @gc.jit
    def documented(x: Any) -> Any:
        """Says what it does."""
        return x

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "Says what it does."


def test_nested_jit_is_part_of_the_outer_graph() -> None:
    inner = gc.jit(lambda x, n: x * 2 if n > 1 else x)

    @gc.jit
    def outer(x: Any) -> Any:
        return inner(inner(x, 2), 0) + 1

    assert outer(vector(3.0)).tolist() == [7.0]
    assert outer(vector(4.0)).tolist() == [9.0]
    assert outer.trace_count == 1
    assert inner.trace_count == 0


def test_recursion_with_a_python_bound() -> None:
    @gc.jit
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else x * power(x, n - 1)

    assert power(vector(2.0), 5).tolist() == [32.0]


def test_errors_of_calls() -> None:
    f = gc.jit(lambda x: x)
    with pytest.raises(TypeError):
        f()
    with pytest.raises(ArgumentError, match="jit needs a function"):
        gc.jit(3)
    with pytest.raises(ArgumentError, match="generator or coroutine"):

        @gc.jit
        def generator(x: Any) -> Any:
            yield x

    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ArgumentError, match="contains itself"):
        f(loop)


def test_an_error_in_a_traced_function_names_the_line_and_leaves_no_trace_active() -> None:
    @gc.jit
    def bad(x: Any) -> Any:
        return x @ gc.ones((7, 7))

    for _ in range(2):
        with pytest.raises(ShapeError) as caught:
            bad(vector(1.0, 2.0))
        assert "return x @ gc.ones((7, 7))" in str(caught.value)
        assert isinstance(vector(1.0) + 1, gc.Tensor)
    assert bad(gc.ones((7,))).shape == (7,)
    with pytest.raises(ZeroDivisionError):
        gc.jit(lambda x: 1 / 0)(vector(1.0))
    assert (vector(1.0) + 1).tolist() == [2.0]


def test_what_is_after_the_stars_names_no_positional_argument() -> None:
    def total(*parts: Any, scale: float = 1.0) -> Any:
        return (parts[0] + parts[1]) * scale

    graph = gc.jit(total).graph(gc.spec("f32[]"), gc.spec("f32[]"), scale=2.0)
    assert [p.node.name for p in graph.parameters] == ["arg0", "arg1", "scale"]
