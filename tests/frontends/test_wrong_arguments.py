"""Whatever public functions are given, what they raise is an error of graphc's that points at the caller's line."""

from __future__ import annotations

import inspect
import random
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphcError
from graphc.tracebacks import without_internal_frames

CALLS: Final = 12
SECONDS: Final = 20.0

#: Functions of no arrays, or that act on the process; each has tests of its own.
NOT_CALLED: Final = {
    "print", "callback", "set_num_threads", "reset_default_graph", "record", "register_pytree", "make_repro",
    "set_grad_enabled", "empty", "empty_like", "parse_file", "base_recorded", "recorded", "reference", "root_reference",
    "saved", "seed", "storage", "wrap",
}  # fmt: skip


def _bad() -> list[Any]:
    return [
        None, "text", b"x", -1, 0, 3, 10**30, 1.5, float("nan"), float("inf"), True, (), (5,), (-2,), (0, 0), [1, [2]], {},
        ("a",), object(), slice(0, 2), Ellipsis, gc.float32, lambda *arguments: arguments, np.array(["a"]), np.ones(1, complex),
        gc.ones((2, 3)), gc.ones(0), gc.tensor([1, 2]), gc.tensor(True),
    ]  # fmt: skip


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in sorted(dir(gc)):
        function = getattr(gc, name)
        if not name.startswith("_") and name not in NOT_CALLED and callable(function) and not isinstance(function, type):
            yield name, function
    for name in sorted(dir(gc.Tensor)):
        function = getattr(gc.Tensor, name)
        is_public = not name.startswith("_") or name in ("__getitem__", "__setitem__", "__matmul__")
        if callable(function) and is_public and name not in NOT_CALLED:
            yield f"Tensor.{name}", function


FUNCTIONS: Final = dict(_functions())


def _arguments(rng: random.Random, name: str, function: Callable[..., Any], first: Any) -> tuple[list[Any], dict[str, Any]]:
    """Mostly bad arguments, as many as ``function`` takes; the first is mostly good."""
    args: list[Any] = []
    named: dict[str, Any] = {}
    for place, parameter in enumerate(inspect.signature(function).parameters.values()):
        is_good = place == 0 and (name.startswith("Tensor.") or rng.random() < 0.6)
        value = first if is_good else rng.choice(_bad())
        if parameter.kind is parameter.VAR_POSITIONAL:
            args += [rng.choice(_bad()) for _ in range(rng.randint(0, 2))] if len(args) == place else []
        elif parameter.kind is not parameter.VAR_KEYWORD and (parameter.default is parameter.empty or rng.random() < 0.3):
            if parameter.kind is not parameter.KEYWORD_ONLY and len(args) == place:
                args.append(value)
            else:
                named[parameter.name] = value
    return args, named


def _check(call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except GraphcError as error:
        assert error.location.filename in (__file__, "<gir>"), f"{what}: {error}"
        shown = without_internal_frames(error.__traceback__)
        assert shown is not None
        while shown is not None:
            assert "/graphc/frontends/" not in shown.tb_frame.f_code.co_filename
            shown = shown.tb_next
    except (TypeError, ValueError) as error:
        # Python itself says so of a call that does not fit the signature, and NumPy of an array as a flag.
        innermost = error.__traceback__
        while innermost is not None and innermost.tb_next is not None:
            innermost = innermost.tb_next
        assert innermost is not None
        is_ours = innermost.tb_frame.f_code.co_filename != __file__
        assert not is_ours or "truth value of an array" in str(error), f"{what}: {error!r}"


@pytest.fixture
def _limit() -> Iterator[None]:
    """A call that takes the sizes it is given at their word must not take the test run with it."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"a call took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_errors_are_graphcs(name: str) -> None:
    rng = random.Random(name)
    for _ in range(CALLS):
        args, named = _arguments(rng, name, FUNCTIONS[name], gc.ones((2, 3)))
        _check(lambda args=args, named=named: FUNCTIONS[name](*args, **named), f"{name}(*{args}, **{named})")


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_errors_are_graphcs_while_tracing(name: str) -> None:
    rng = random.Random(name)
    for _ in range(CALLS // 2):

        def function(x: Any, rng: random.Random = rng) -> Any:
            args, named = _arguments(rng, name, FUNCTIONS[name], x)
            target = getattr(type(x), name.partition(".")[2], None) if name.startswith("Tensor.") else FUNCTIONS[name]
            if target is not None:
                target(*args, **named)
            return x

        _check(lambda function=function: gc.jit(function, convert=False).graph(gc.ones((2, 3))), name)


def _calls() -> dict[str, Callable[[], Any]]:
    with gc.Graph() as graph:
        x = gc.placeholder(gc.float32, (2,), name="x")
        y = x * 2
    session = gc.Session(graph)
    calls: dict[str, Callable[[], Any]] = {}
    for number, bad in enumerate(_bad()):
        calls[f"run({number})"] = lambda bad=bad: session.run(bad, {x: [1, 2]})
        calls[f"feed({number})"] = lambda bad=bad: session.run(y, {x: bad})
        calls[f"feeds({number})"] = lambda bad=bad: session.run(y, bad)
        calls[f"call({number})"] = lambda bad=bad: gc.jit(lambda x: x * 2)(bad)
        calls[f"jit({number})"] = lambda bad=bad: gc.jit(bad)
        calls[f"static({number})"] = lambda bad=bad: gc.jit(lambda x: x, static_argnames=bad)
        calls[f"dynamic({number})"] = lambda bad=bad: gc.jit(lambda x: x, dynamic=bad)(gc.ones(2))
        calls[f"grad({number})"] = lambda bad=bad: gc.grad(gc.sum)(bad)
        calls[f"argnums({number})"] = lambda bad=bad: gc.grad(lambda x: x.sum(), argnums=bad)(gc.ones(2))
        calls[f"vmap({number})"] = lambda bad=bad: gc.vmap(lambda x: x, in_axes=bad)(gc.ones((2, 3)))
        calls[f"out_axes({number})"] = lambda bad=bad: gc.vmap(lambda x: x, out_axes=bad)(gc.ones((2, 3)))
        calls[f"placeholder({number})"] = lambda bad=bad: _in_graph(lambda: gc.placeholder(gc.float32, bad))
        calls[f"Variable({number})"] = lambda bad=bad: _in_graph(lambda: gc.Variable(bad))
        calls[f"SGD({number})"] = lambda bad=bad: gc.optim.SGD(bad, lr=0.1)
        calls[f"Adam({number})"] = lambda bad=bad: gc.optim.Adam([gc.ones(2).requires_grad_()], lr=bad)
        calls[f"normal({number})"] = lambda bad=bad: gc.random.normal(bad)
        calls[f"spec({number})"] = lambda bad=bad: gc.spec(bad)
    return calls


def _in_graph(make: Callable[[], Any]) -> Any:
    with gc.Graph():
        return make()


CALLABLES: Final = _calls()


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("name", CALLABLES)
def test_errors_of_functions_and_sessions_are_graphcs(name: str) -> None:
    _check(CALLABLES[name], name)
