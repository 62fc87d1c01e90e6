"""gc.print, gc.callback and gc.assert_: in every mode, in order, within branches and loops."""

from __future__ import annotations

import gc as collector
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, CheckError, DTypeError, GradientError, ShapeError
from graphc.ops.core import evaluate_graph


def eagerly(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    return gc.jit(function)(*arguments)


def by_reference(function: Callable[..., Any], *arguments: Any) -> Any:
    return evaluate_graph(*gc.jit(function).traced_call(*arguments))[0]


def statically(function: Callable[..., Any], *arguments: Any) -> Any:
    graph = gc.Graph()
    with graph.as_default():
        inputs = [gc.placeholder(a.dtype, a.shape) for a in arguments]
        result = gc.jit(function)(*inputs)
    with gc.Session(graph) as session:
        return session.run(result, dict(zip(inputs, [a.numpy() for a in arguments], strict=True)))


MODES = pytest.mark.parametrize("run", [eagerly, compiled, by_reference, statically])


@pytest.mark.parametrize("run", [eagerly, compiled, by_reference])
def test_in_order_within_branches_and_loops(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def halve(x: Any) -> Any:
        gc.print("start", x, {"braces": 1}, sep=" | ")
        while x.sum() > 1:
            x = x * 0.5
            gc.print("step", x.sum())
            if x[0] < 0.6:
                gc.print("small {}", end="!\n")
        gc.print("end", x)
        return x

    assert np.asarray(run(halve, gc.tensor([2.0, 1.0]))).tolist() == [0.5, 0.25]
    want = "start | [2. 1.] | {'braces': 1}\nstep 1.5\nstep 0.75\nsmall {}!\nend [0.5  0.25]\n"
    assert capsys.readouterr().out == want


def test_printing_happens_in_each_run_and_once_with_a_gradient(capsys: pytest.CaptureFixture[str]) -> None:
    @gc.jit
    def square(x: Any) -> Any:
        gc.print("x", x)
        return x * x

    for value in (1.0, 2.0):
        square(gc.tensor(value))
    x = gc.tensor(3.0, requires_grad=True)
    square(x).backward()
    assert x.grad.item() == 6.0
    assert gc.jit(gc.grad(square))(gc.tensor(4.0)).item() == 8.0
    assert capsys.readouterr().out == "x 1.0\nx 2.0\nx 3.0\nx 4.0\n"


def test_a_long_loop_prints_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    @gc.jit
    def count(x: Any) -> Any:
        for step in range(40):
            x = x + step
            gc.print(step)
        return x

    assert count(gc.tensor(0)).item() == sum(range(40))
    assert capsys.readouterr().out == "".join(f"{k}\n" for k in range(40))


@MODES
def test_callbacks_give_arrays(run: Any) -> None:
    seen: list[np.ndarray] = []

    def keep(pair: dict[str, np.ndarray]) -> dict[str, Any]:
        seen.append(pair["x"])
        return {"sorted": np.sort(pair["x"])[::-1], "count": np.asarray(pair["x"].size)}

    def function(x: Any) -> Any:
        result = gc.callback(keep, {"sorted": "f32[3]", "count": gc.spec("i64[]")}, {"x": x * 2})
        return result["sorted"] + result["count"]

    assert np.asarray(run(function, gc.tensor([1.0, 3.0, 2.0]))).tolist() == [9.0, 7.0, 5.0]
    assert [array.tolist() for array in seen] == [[2.0, 6.0, 4.0]]


@MODES
def test_callbacks_without_results_are_not_dropped(run: Any) -> None:
    calls: list[float] = []

    def function(x: Any) -> Any:
        assert gc.callback(lambda value: calls.append(float(value)), None, x.sum()) is None
        return x

    run(function, gc.tensor([1.0, 2.0]))
    assert calls == [3.0]


def test_what_callbacks_must_give() -> None:
    x = gc.tensor([1.0, 2.0])
    for run in (eagerly, compiled):
        with pytest.raises(ShapeError, match=r"gave an array of shape \(2,\), and \(3,\) was declared"):
            run(lambda v: gc.callback(np.sin, "f32[3]", v), x)
        with pytest.raises(DTypeError, match="gave an array of dtype float32, and int64 was declared"):
            run(lambda v: gc.callback(np.sin, "i64[2]", v), x)
        with pytest.raises(ArgumentError, match="another structure than result_types"):
            run(lambda v: gc.callback(lambda a: (a, a), "f32[2]", v), x)
    with pytest.raises(ArgumentError, match="takes specs"):
        gc.callback(np.sin, [3], x)
    with pytest.raises(GradientError, match="a Python function has no gradient"):
        gc.jit(gc.grad(lambda v: gc.callback(np.sin, "f32[2]", v).sum()))(x)


def test_one_function_is_one_callback_however_often_it_is_traced() -> None:
    graphs = [gc.jit(lambda v: gc.callback(np.sin, "f32[2]", v)).graph(gc.ones(2)) for _ in range(2)]
    keys = [next(n for n in graph.nodes() if n.op.name == "callback").attributes["function"] for graph in graphs]
    assert keys[0] == keys[1]


@MODES
def test_assertions(run: Any) -> None:
    def positive(x: Any) -> Any:
        gc.assert_(x > 0, "must be positive")
        return x

    assert np.asarray(run(positive, gc.tensor([1.0, 2.0]))).tolist() == [1.0, 2.0]
    with pytest.raises(CheckError, match="must be positive"):
        run(positive, gc.tensor([1.0, -2.0]))


@pytest.mark.parametrize("jitted", [False, True])
def test_in_a_batch_each_example_has_its_own_in_order(jitted: bool, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []

    def note(x: Any) -> Any:
        seen.append(float(x))
        return x * 10

    def function(x: Any, y: Any) -> Any:
        gc.print("x", x, y)
        return gc.callback(note, gc.spec("f32[]"), x) + y

    batched = gc.vmap(function, in_axes=(0, None))
    xs, y = gc.tensor([1.0, 2.0, 3.0]), gc.tensor(0.5)
    assert (gc.jit(batched) if jitted else batched)(xs, y).tolist() == [10.5, 20.5, 30.5]
    assert seen == [1.0, 2.0, 3.0]
    assert capsys.readouterr().out == "x 1.0 0.5\nx 2.0 0.5\nx 3.0 0.5\n"


@pytest.mark.parametrize("jitted", [False, True])
def test_in_a_batch_of_batches_the_outer_examples_come_first(jitted: bool, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []

    def note(x: Any) -> Any:
        seen.append(float(x))
        return x * 10

    def function(x: Any, y: Any) -> Any:
        gc.print(x)
        return gc.callback(note, gc.spec("f32[]"), x) + y

    batched = gc.vmap(gc.vmap(function, in_axes=(0, None)), in_axes=(1, 0), out_axes=1)
    xs, y = gc.tensor([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]), gc.tensor([0.0, 0.5])
    results = (gc.jit(batched) if jitted else batched)(xs, y)
    assert results.tolist() == [[10.0, 40.5], [20.0, 50.5], [30.0, 60.5]]
    assert seen == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert capsys.readouterr().out.split() == ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"]


def test_a_called_function_lives_as_long_as_the_graphs_that_call_it() -> None:
    class Double:
        def __call__(self, x: Any) -> Any:
            return x * 2

    def compiled_once(double: Double) -> tuple[Any, weakref.ref[Double]]:
        f = gc.jit(lambda x: gc.callback(double, "f32[2]", x))
        assert f(gc.ones(2)).tolist() == [2, 2]
        graph = f.graph(gc.ones(2))
        return graph, weakref.ref(double)

    graph, alive = compiled_once(Double())
    collector.collect()
    assert alive() is not None
    assert evaluate_graph(gc.parse(str(graph)), [np.ones(2, "float32")])[0].tolist() == [2, 2]
    del graph
    collector.collect()
    assert alive() is None
