"""The state of a random generator: a key and a counter, which every mode treats as memory to read and to write."""

from __future__ import annotations

import operator
import os
import secrets
import threading
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from graphc.dtypes import DType, uint32, uint64
from graphc.errors import ArgumentError
from graphc.frontends.array.core import ArrayLike, astype
from graphc.frontends.array.elementwise import add, bitwise_xor
from graphc.frontends.array.movement import as_shape, stack
from graphc.frontends.dispatch import Array, active_trace, bind, context_of, eager_context, executes
from graphc.ir.dims import DimExpr, product
from graphc.ir.primitive import get_primitive

_WORD = 1 << 64
_NARROW = 0x243F6A8885A308D3  # changes a key into that of the uint32 draws: the first digits of pi's fraction
_lock = threading.RLock()  # a draw reads the counter and advances it: two threads must not get the same numbers


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


def _memory(value: Any) -> Array:
    """A uint64 scalar in memory of its own, of the graph under construction or on the CPU, whatever device draws are for."""
    if isinstance(value, Array) and executes(value.context):
        value = cast("Any", value).detach().item()
    context = context_of((value,)) if isinstance(value, Array) else active_trace() or eager_context()
    array = value if isinstance(value, Array) else context.literal(value, uint64)
    return context.copy(context.lift(array))


def _as_key(seed: Any) -> Any:
    """The key of a seed: an int, an integer scalar array, or None for one from the operating system."""
    if seed is None:
        if active_trace() is not None:
            raise ArgumentError(
                "a generator without a seed inside a traced function would get the same key at every call",
                hint="pass a seed, or make the generator outside",
            )
        return secrets.randbits(64)
    if isinstance(seed, Array):
        if seed.shape != () or not seed.dtype.is_integer:
            raise ArgumentError(f"a seed is an int or an integer scalar array, not {seed.type}")
        return astype(seed, uint64)
    if isinstance(seed, (bool, np.bool_)):
        raise ArgumentError(f"a seed is an int, not {seed!r}")
    try:
        number = operator.index(seed)
    except TypeError:
        raise ArgumentError(f"a seed is an int, not {seed!r}") from None
    if not -(_WORD >> 1) <= number < _WORD:
        raise ArgumentError(f"the seed {number} does not fit into 64 bits")
    return number % _WORD


class Stream:
    """A stream of random bits: ``random_bits`` of a key, from where the counter stands.

    Key and counter are uint64 scalars. In a graph they are captured like any tensor: read at each run, and the advanced
    counter is written back, so a seed gives the same numbers whether code is run eagerly, traced or in a session.
    """

    __slots__ = ("__weakref__", "_counter", "_key")

    def __init__(self, seed: int | Array | None = None) -> None:
        self._key = _memory(_as_key(seed))
        self._counter = _memory(0)

    def bits(self, shape: Any = (), dtype: DType = uint32, *, near: Sequence[ArrayLike] = ()) -> Array:
        """Uniform random uint32 or uint64 numbers; the counter advances by how many.

        ``near``: arrays that the numbers will meet, which tell what graph they belong to. The two widths read the
        streams of different keys, so that no word is given out twice.
        """
        sizes = as_shape(shape)
        with _lock:
            context = context_of((*near, self._key, self._counter))
            if executes(context):
                return self._drawn(context_of(near), sizes, dtype)
            key, counter = context.lift(self._key), context.lift(self._counter)
            if dtype is uint32:
                key = bitwise_xor(key, _NARROW)
            drawn = bind("random_bits", key, counter, shape=sizes, dtype=dtype)
            count: Any = product(sizes) * context.repetitions((key, counter))
            if isinstance(count, DimExpr):
                (size,) = context.bind(get_primitive("dimension"), (), {"dim": count})
                count = astype(size, uint64)
            context.write(counter, add(counter, count))
        return drawn

    def _drawn(self, context: Any, sizes: Any, dtype: DType) -> Array:
        """:meth:`bits` at once, on the device of ``context``; the state stays where it is."""
        key = bitwise_xor(self._key, _NARROW) if dtype is uint32 else self._key
        count: Any = product(sizes)
        drawn: Array
        (drawn,) = context.bind(
            get_primitive("random_bits"), [context.lift(key), context.lift(self._counter)], {"shape": sizes, "dtype": dtype}
        )
        self._counter.context.write(self._counter, add(self._counter, count))
        return drawn

    def manual_seed(self, seed: int | Array) -> Any:
        """Start the stream of ``seed`` from its beginning. Returns the generator."""
        self._store(_as_key(seed), 0)
        return self

    def get_state(self) -> Array:
        """Key and counter, as a uint64 array of two elements that :meth:`set_state` takes."""
        return stack([self._key, self._counter])

    def set_state(self, state: ArrayLike) -> Any:
        """Continue from ``state``. Returns the generator. Raises ArgumentError for what :meth:`get_state` did not
        make."""
        array = context_of((state,)).lift(np.asarray(state) if isinstance(state, (list, tuple)) else state)
        if array.dtype is not uint64 or array.shape != (2,):
            raise ArgumentError(
                f"the state of a generator is uint64 of shape (2,), not {array.type}",
                hint="pass what get_state() returned",
            )
        self._store(array[0], array[1])  # type: ignore[index]
        return self

    def _store(self, key: Any, counter: Any) -> None:
        with _lock:
            for memory, value in ((self._key, key), (self._counter, counter)):
                context = context_of((memory, value))
                new = context.lift(value) if isinstance(value, Array) else context.literal(value, uint64)
                context.write(context.lift(memory), context.copy(new))

    @classmethod
    def _at(cls, key: Any, counter: Any) -> Any:
        stream = cls.__new__(cls)
        stream._key = _memory(key)
        stream._counter = _memory(counter)
        return stream

    def spawn(self, count: int) -> list[Any]:
        """``count`` generators whose keys are drawn from this one: independent streams, for workers or layers."""
        keys = self.bits((operator.index(count),), uint64)
        return [self._at(key, 0) for key in keys]  # type: ignore[attr-defined]

    def split(self) -> Any:
        """One generator with a key drawn from this one."""
        return self._at(self.bits((), uint64), 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._at, (self._key.item(), self._counter.item())  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key={self._key!r}, counter={self._counter!r})"
