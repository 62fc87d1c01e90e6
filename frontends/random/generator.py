"""The generator with its distributions, the default one, and functions that draw from either."""

from __future__ import annotations

import inspect
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any

from graphc.errors import ArgumentError
from graphc.frontends.dispatch import Array, Context, active_trace, executes, place, placing, suspended
from graphc.frontends.placement import context_on, noted
from graphc.frontends.random import continuous, discrete
from graphc.frontends.random.stream import Stream

DEFAULT_SEED = 0


class Generator(Stream):
    """A source of random numbers: ``Generator(seed)``; without a seed, one from the operating system.

    Its state is a key (the seed) and a counter, which every draw advances by the number of elements drawn. Draws are
    Philox 4x32-10 bits (Salmon et al., SC '11) at the counter's position, so one seed gives the same numbers in every
    mode and on every backend. A traced function or static graph that draws reads the state when it runs, and advances
    it. A generator can be pickled and copied; the copy continues the stream by itself.

    Raises ArgumentError for a seed that is not an int of 64 bits or an integer scalar array.

    >>> g = gc.random.Generator(7)
    >>> g.uniform((2,))
    """

    __slots__ = ()

    uniform = continuous.uniform
    normal = continuous.normal
    truncated_normal = continuous.truncated_normal
    exponential = continuous.exponential
    gumbel = continuous.gumbel
    rand = continuous.rand
    randn = continuous.randn
    bernoulli = discrete.bernoulli
    randint = discrete.randint
    permutation = discrete.permutation
    shuffle = discrete.shuffle
    choice = discrete.choice
    categorical = discrete.categorical
    dropout = discrete.dropout


_default: list[Generator] = []
_creating = threading.Lock()


def default_generator() -> Generator:
    """The generator of the functions in ``gc.random`` that are given none. It starts from seed 0, so runs repeat."""
    if not _default:
        with _creating, suspended():
            if not _default:
                _default.append(Generator(DEFAULT_SEED))
    return _default[0]


def manual_seed(seed: int | Array) -> Generator:
    """Start the default generator from ``seed``. Returns it."""
    generator = default_generator()
    generator.manual_seed(seed)
    return generator


def seed(value: int | None = None) -> int:
    """Start the default generator from ``value``, or from the operating system's randomness. Returns the seed."""
    if value is None:
        if active_trace() is not None:
            raise ArgumentError("seed() without a value inside a traced function would repeat one seed at every call",
                                hint="seed outside of it, or pass a value", cause=ArgumentError.SEED)  # fmt: skip
        value = secrets.randbits(64)
    manual_seed(value)
    return value


def get_state() -> Array:
    """The state of the default generator (see ``Generator.get_state``)."""
    return default_generator().get_state()


def set_state(state: Any) -> None:
    """Set the state of the default generator (see ``Generator.set_state``)."""
    default_generator().set_state(state)


def _place_of(args: Sequence[Any], device: Any) -> Context | None:
    """Who is to make the numbers, where that is not who would anyway."""
    if device is not None:
        return context_on(device)
    for value in args:
        if isinstance(value, Array) and value.context is not place() and executes(value.context):
            return value.context
    return None


def _function(method: Callable[..., Any]) -> Callable[..., Any]:
    """``method`` as a function with two keywords: ``generator``, by default the default one, and ``device``, where the numbers
    are made, by default where array arguments are."""

    @wraps(method)
    def function(*args: Any, generator: Generator | None = None, device: Any = None, **kwargs: Any) -> Any:
        stream, context = default_generator() if generator is None else generator, _place_of(args, device)
        with nullcontext() if context is None else placing(context):
            drawn = method(stream, *args, **kwargs)
        return noted(drawn) if isinstance(drawn, Array) else drawn

    signature = inspect.signature(method)
    parameters = [*list(signature.parameters.values())[1:]]
    for name, annotation in (("generator", "Generator | None"), ("device", "Any")):
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


uniform = _function(continuous.uniform)
normal = _function(continuous.normal)
truncated_normal = _function(continuous.truncated_normal)
exponential = _function(continuous.exponential)
gumbel = _function(continuous.gumbel)
rand = _function(continuous.rand)
randn = _function(continuous.randn)
bernoulli = _function(discrete.bernoulli)
randint = _function(discrete.randint)
permutation = _function(discrete.permutation)
shuffle = _function(discrete.shuffle)
choice = _function(discrete.choice)
categorical = _function(discrete.categorical)
dropout = _function(discrete.dropout)
