"""One message for each cause of a retrace: what changed, from what to what, and how to avoid it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import RetraceError, RetraceWarning
from graphc.frontends.tracing import jit as jit_module
from graphc.frontends.tracing.causes import Cause


def last_causes(function: Any) -> tuple[Cause, ...]:
    return function.explain().traces[-1].causes  # type: ignore[no-any-return]


def why(function: Any, *calls: Callable[[], Any]) -> str:
    """The cause of the trace that the last of ``calls`` makes."""
    for call in calls:
        before = function.trace_count
        call()
    assert function.trace_count == before + 1
    (cause,) = last_causes(function)
    return str(cause)


def vector(*shape: int, dtype: str = "float32") -> gc.Tensor:
    return gc.ones(shape, dtype=dtype)


def test_first_call() -> None:
    f = gc.jit(lambda x: x + 1)
    assert why(f, lambda: f(vector(3))) == "first call"


def test_first_call_after_clear_cache() -> None:
    f = gc.jit(lambda x: x + 1)
    f(vector(3))
    f.clear_cache()
    assert why(f, lambda: f(vector(3))) == "first call after clear_cache()"


def test_dtype() -> None:
    f = gc.jit(lambda x: x + 1)
    assert why(f, lambda: f(vector(3)), lambda: f(vector(3, dtype="float64"))) == (
        "x: dtype float32 → float64\n"
        '  avoid: convert it before the call: x.astype("float32")'
    )  # fmt: skip


def test_rank() -> None:
    f = gc.jit(lambda x: x + 1)
    assert why(f, lambda: f(vector(3)), lambda: f(vector(3, 1))) == (
        "x: rank 1 → 2\n"
        "  avoid: reshape it to one number of dimensions"
    )  # fmt: skip


def test_the_second_size() -> None:
    f = gc.jit(lambda x: x + 1)
    assert why(f, lambda: f(vector(3)), lambda: f(vector(4))) == (
        "x.shape[0]: size 3 → 4, and any from now on\n"
        '  avoid: declare it from the start: gc.jit(f, dynamic={"x": 0})'
    )


def test_second_sizes_are_declared_together() -> None:
    f = gc.jit(lambda x, params: x.sum() + params["w"].sum())
    f(vector(3, 4), {"w": vector(5)})
    f(vector(4, 5), {"w": vector(6)})
    causes = last_causes(f)
    assert [cause.summary for cause in causes] == [
        "x.shape[0]: size 3 → 4, and any from now on",
        "x.shape[1]: size 4 → 5, and any from now on",
        "params['w'].shape[0]: size 5 → 6, and any from now on",
    ]
    (advice,) = {cause.advice for cause in causes}
    assert advice == 'declare it from the start: gc.jit(f, dynamic={"x": (0, 1), "params": 0})'


def test_size_where_sizes_are_fixed() -> None:
    f = gc.jit(lambda x: x + 1, static_shapes=True)
    assert why(f, lambda: f(vector(3)), lambda: f(vector(4))) == (
        "x.shape[0]: size 3 → 4\n"
        "  avoid: leave static_shapes=True out: then the size may vary"
    )  # fmt: skip


def test_sizes_that_cannot_vary() -> None:
    f = gc.jit(lambda x: x + gc.tensor(np.arange(x.shape[0])))
    advice = (
        "call it with few sizes, or mend what is in the way: it cannot be traced with sizes that vary: "
        "dtype('O') is not a dtype that graphc knows"
    )
    assert why(f, lambda: f(vector(3)), lambda: f(vector(4))) == f"x.shape[0]: size 3 → 4\n  avoid: {advice}"
    assert why(f, lambda: f(vector(5))) == f"x.shape[0]: size 4 → 5\n  avoid: {advice}"
    for n in (6, 7):
        f(vector(n))
    with pytest.warns(RetraceWarning) as caught:
        f(vector(8))
    assert [line for line in str(caught[0].message).splitlines() if "avoid" in line] == [f"  avoid: {advice}"]


def test_a_comparison_that_the_code_made() -> None:
    def f(x: Any) -> Any:
        return x if x.shape[0] == 3 else -x

    jitted = gc.jit(f, dynamic=True)
    text = why(jitted, lambda: jitted(vector(5)), lambda: jitted(vector(3)))
    line = f.__code__.co_firstlineno + 1
    assert text == (
        "x.shape[0] != 3: held for x.shape[0] = 5 → x.shape[0] = 3\n"
        f"  needed at {__file__}:{line}, in {f.__qualname__}\n"
        "      return x if x.shape[0] == 3 else -x\n"
        "                  ^\n"
        "  avoid: make the code independent of the size there, or call it with sizes that satisfy the guard"
    )


def test_two_sizes_that_met_elementwise() -> None:
    def f(x: Any, y: Any) -> Any:
        return x + y

    jitted = gc.jit(f, dynamic=True)
    text = why(jitted, lambda: jitted(vector(5), vector(5)), lambda: jitted(vector(5), vector(1)))
    first, second, source, *_ = text.splitlines()
    assert first == (
        "x.shape[0] == y.shape[0]: held for x.shape[0] = 5, y.shape[0] = 5 → x.shape[0] = 5, y.shape[0] = 1"
    )
    assert second == f"  needed at {__file__}:{f.__code__.co_firstlineno + 1}, in {f.__qualname__}"
    assert source.strip() == "return x + y"


def test_python_int() -> None:
    def f(x: Any, n: int) -> Any:
        return x * 2 if n > 3 else x

    jitted = gc.jit(f)
    text = why(jitted, lambda: jitted(vector(3), 2), lambda: jitted(vector(3), 5))
    assert text.splitlines() == [
        "n: value 2 → 5",
        f"  needed at {__file__}:{f.__code__.co_firstlineno + 1}, in {f.__qualname__}",
        "      return x * 2 if n > 3 else x",
        "             ^",
        "  avoid: use it in arithmetic on arrays only, where it is a run-time number",
    ]


def test_static_value() -> None:
    f = gc.jit(lambda x, mode: x + 1 if mode == "up" else x - 1)
    assert why(f, lambda: f(vector(3), "up"), lambda: f(vector(3), "down")) == (
        "mode: value 'up' → 'down'\n"
        "  avoid: values of this type are part of the graph; pass an array or a number if it may vary at run time"
    )


def test_static_object() -> None:
    class Model:
        def __repr__(self) -> str:
            return "Model()"

    f = gc.jit(lambda model, x: x + 1)
    first, second = Model(), Model()
    assert why(f, lambda: f(first, vector(3)), lambda: f(second, vector(3))) == (
        "model: value Model() → Model()\n"
        "  avoid: pass the same object each time: objects are compared by identity"
    )  # fmt: skip


def test_class() -> None:
    f = gc.jit(lambda x, y: x + y)
    assert why(f, lambda: f(vector(3), 1.0), lambda: f(vector(3), 1)) == (
        "y: class float → int\n"
        "  avoid: pass values of one class each time"
    )  # fmt: skip
    f(vector(3), vector(3))
    assert last_causes(f)[0].summary in ("y: class float → array", "y: class int → array")


def test_structure() -> None:
    f = gc.jit(lambda params: sum(p.sum() for p in params.values()))
    assert why(f, lambda: f({"w": vector(2)}), lambda: f({"w": vector(2), "b": vector(2)})) == (
        "arguments: structure params['w'] → params['b']\n"
        "  avoid: pass containers of one type, length and keys"
    )  # fmt: skip


def test_aliasing() -> None:
    f = gc.jit(lambda x, y: x + y)
    x, y = vector(3), vector(3)
    assert why(f, lambda: f(x, y), lambda: f(x, x)) == (
        "arguments: shared memory none → x and y\n"
        "  avoid: pass copies, or the same array each time"
    )  # fmt: skip


def test_views_of_one_memory() -> None:
    f = gc.jit(lambda x, y: x + y)
    x = vector(4)
    assert why(f, lambda: f(x[:2], x[2:]), lambda: f(x[:1], x[3:])) == (
        "x, y: views of one memory (2,), (2,) → (1,), (1,)\n"
        "  avoid: pass copies, or views alike"
    )  # fmt: skip


def test_gradient_mode() -> None:
    def without(f: Any) -> None:
        with gc.no_grad():
            f(vector(3))

    f = gc.jit(lambda x: x + 1)
    assert why(f, lambda: f(vector(3)), lambda: without(f)) == (
        "gradient mode: gradients are on → off\n"
        "  avoid: call it always, or never, within `with gc.no_grad():`"
    )  # fmt: skip


def test_requires_grad() -> None:
    f = gc.jit(lambda x: x + 1)
    assert why(f, lambda: f(vector(3)), lambda: f(vector(3).requires_grad_())) == (
        "x: requires_grad False → True\n"
        "  avoid: detach it: x.detach()"
    )  # fmt: skip


def test_weak_type() -> None:
    weak = gc.jit(lambda n: n * 2)(3.0)
    assert weak.weak
    f = gc.jit(lambda x: x + 1)
    assert why(f, lambda: f(gc.tensor(1.0)), lambda: f(weak)) == (
        "x: weak dtype no → yes\n"
        "  avoid: results of arithmetic on Python numbers alone are weak; make the array with gc.tensor(value, dtype=...)"
    )


def test_the_type_of_a_captured_tensor() -> None:
    w = vector(3)
    f = gc.jit(lambda x: x * w)
    f(vector(3))
    w = vector(3, dtype="float64")
    assert why(f, lambda: f(vector(3))) == (
        "w: type f32[3] → f64[3]\n"
        "  avoid: pass it as an argument, or bind the name to arrays of one type"
    )  # fmt: skip


def test_a_captured_tensor_requires_a_gradient() -> None:
    w = vector(3)
    f = gc.jit(lambda x: x * w)
    f(vector(3))
    w.requires_grad_()
    assert why(f, lambda: f(vector(3))) == (
        "w: requires_grad False → True\n"
        "  avoid: set requires_grad before the first call"
    )  # fmt: skip


class Cache:
    def __init__(self) -> None:
        self.rows = gc.zeros((2, 3))

    @gc.jit
    def total(self) -> Any:
        return self.rows.sum()


def test_the_size_of_a_captured_tensor() -> None:
    cache = Cache()
    cache.total()
    cache.rows = gc.ones((3, 3))
    assert why(Cache.total, cache.total) == "self.rows.shape[0]: size 2 → 3, and any from now on"
    cache.rows = gc.ones((5, 3))
    assert cache.total().item() == 15.0
    assert Cache.total.trace_count == 2


def test_gradients_that_appear() -> None:
    w = vector(3).requires_grad_()

    @gc.jit
    def step(x: Any) -> None:
        (x * w).sum().backward()

    assert why(step, lambda: step(vector(3)), lambda: step(vector(3))) == (
        "w.grad: type None → f32[3]\n"
        "  avoid: the first step of a training loop finds no gradients: that costs one more trace, and no more"
    )
    w.grad = None
    step(vector(3))
    assert step.trace_count == 2


def test_an_argument_that_is_captured_as_well() -> None:
    w = vector(3)
    f = gc.jit(lambda x: x * w)
    assert why(f, lambda: f(w), lambda: f(vector(3))) == (
        "x: captured as well yes → no\n"
        "  avoid: pass it, or capture it, but not both"
    )  # fmt: skip


def test_memory_that_is_written() -> None:
    v, w = vector(3), vector(3)

    @gc.jit
    def f(x: Any) -> Any:
        x += v
        return x + w

    f(vector(3))
    w = v
    assert why(f, lambda: f(vector(3))) == (
        "arrays: shared memory of arrays that are written → another way\n"
        "  avoid: write to arrays that share no memory with others"
    )  # fmt: skip


def test_programs_that_were_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit_module, "MAX_PROGRAMS", 1)
    f = gc.jit(lambda x: x + 1)
    calls = [lambda: f(vector(3)), lambda: f(vector(3, dtype="float64")), lambda: f(vector(3))]
    assert why(f, *calls).startswith("the program for this call was forgotten: a function keeps a bounded number\n  avoid: let")


def test_numpy_arrays_are_told_apart_like_tensors() -> None:
    f = gc.jit(lambda x: x + 1)
    f(np.ones(3, np.float32))
    f(vector(3))
    assert f.trace_count == 1
    f(np.ones(3))
    assert last_causes(f)[0].summary == "x: dtype float32 → float64"


def test_a_cause_as_data() -> None:
    f = gc.jit(lambda x: x + 1)
    f(vector(3))
    f(vector(3, 1))
    (cause,) = last_causes(f)
    assert cause.to_dict() == {
        "kind": "rank", "argument": "x", "field": "rank", "old": "1", "new": "2",
        "advice": "reshape it to one number of dimensions", "location": None,
    }  # fmt: skip


def test_several_causes_are_all_told() -> None:
    f = gc.jit(lambda x, y: x.sum() + y, max_traces=1)
    f(vector(3), 1.0)
    with pytest.raises(RetraceError) as caught:
        f(vector(3, 3, dtype="float64"), 2)
    assert caught.value.message.splitlines()[1:] == [
        "  x: dtype float32 → float64",
        "  x: rank 1 → 2",
        "  y: class float → int",
    ]
