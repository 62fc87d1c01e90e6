"""The one place where an op is either executed, recorded or traced.

Array functions are written once, on :func:`bind`. It hands a primitive to the *context* in charge: the innermost active trace
(a jitted function being traced, a static graph being built), else the context of an operand that is symbolic, else the eager
one, which computes at once.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from graphc.dtypes import DType
from graphc.ir.dims import Dim, DimExpr
from graphc.ir.primitive import Primitive, get_primitive
from graphc.ir.types import TensorType


class Array:
    """What array functions work on: an eager ``Tensor`` or a symbolic array of a graph under construction.

    ``context`` is who made it; ``weak`` says that it stands for a Python scalar, whose dtype yields in promotion.
    """

    __slots__ = ()

    context: Context
    weak: bool

    @property
    def dtype(self) -> DType:
        raise TypeError(f"{type(self).__name__} has no dtype")

    @property
    def shape(self) -> tuple[Dim, ...]:
        raise TypeError(f"{type(self).__name__} has no shape")

    @property
    def type(self) -> TensorType:
        """Dtype and shape as the IR's type."""
        return TensorType(self.dtype, self.shape)


class Context(Protocol):
    """Who runs ops: eager execution, or a graph under construction."""

    def bind(self, op: Primitive, operands: Sequence[Array], attributes: dict[str, Any]) -> tuple[Array, ...]:
        """Apply a primitive; operands were lifted by this context."""

    def lift(self, value: Any) -> Array:
        """``value`` (an Array of any context, an ndarray, a Python or NumPy scalar) as an array of this context."""

    def literal(self, value: Any, dtype: DType, weak: bool = False) -> Array:
        """A constant known when the program is written."""

    def view(self, x: Array, op: Primitive, attributes: dict[str, Any]) -> Array:
        """Apply a view op: the result shares memory with ``x``, and writes through either are seen by both."""

    def copy(self, x: Array) -> Array:
        """The same value in memory of its own."""

    def write(self, x: Array, value: Array) -> None:
        """Replace the contents of ``x``, and so of everything that shares its memory, by ``value`` of the same type."""

    def repeats_operands(self, operands: Sequence[Array]) -> bool:
        """Whether elementwise ops on ``operands`` broadcast by themselves, so that no node has to say it."""

    def check_usable(self, x: Any) -> None:
        """Raise for an array whose graph is complete: nothing can be computed from it any more."""

    def guard(self, relation: str, lhs: Dim, rhs: Dim) -> None:
        """Record that two sizes must be related so. Raises ShapeError where they are known not to be."""

    def stop_gradient(self, x: Array) -> Array:
        """``x`` cut off from differentiation."""

    def repetitions(self, operands: Sequence[Array]) -> Dim:
        """How often an op on ``operands`` happens at once: by ``vmap``, for examples that share them."""


class _State(threading.local):
    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.places: list[Context] = []  # who executes what has no operands, where that is not on the CPU
        self.symbolic: weakref.ref[Context] | None = None  # the context of the latest symbolic operand


_state = _State()
_eager: list[Context] = []
_on_devices: list[Context] = []
_places_set = 0  # how often a place is set, in any thread: while it is 0, nobody asks for it
_place_everywhere: Context | None = None
#: Who must see each op, in any thread: graphs under construction, recorders, whoever forces compiled kernels. While it is
#: empty, front ends may take short cuts past :func:`bind`.
observers: list[object] = []


def set_eager(context: Context) -> None:
    """Called once by the eager front end: the context in charge when no trace is."""
    _eager[:] = [context]


def eager_context() -> Context:
    """The context that executes at once, on the CPU."""
    return _eager[0]


def add_eager(context: Context) -> None:
    """Called by the eager front end for each device: another context that executes at once."""
    _on_devices.append(context)


def executes(context: Context) -> bool:
    """Whether ``context`` executes at once, so that its arrays have values now."""
    return context is _eager[0] or context in _on_devices


def host_array(array: Array) -> Any:
    """The elements of an array that has a value now, in the host's memory."""
    eager: Any = array
    return eager._host_array()


def place() -> Context:
    """The context that executes what has no operands on a device: the CPU's, unless another one was set."""
    if not _places_set:
        return _eager[0]
    places = _state.places
    return places[-1] if places else _place_everywhere or _eager[0]


def is_placed() -> bool:
    """Whether another place than the CPU was set, in any thread."""
    return _places_set > 0


def push_place(context: Context) -> None:
    """From now on, in this thread, what has no operands is executed by ``context``; until :func:`pop_place`."""
    global _places_set  # noqa: PLW0603
    _state.places.append(context)
    with _counting:
        _places_set += 1


def pop_place() -> None:
    """Undo the latest :func:`push_place` of this thread."""
    global _places_set  # noqa: PLW0603
    _state.places.pop()
    with _counting:
        _places_set -= 1


@contextmanager
def placing(context: Context) -> Iterator[None]:
    """Within the block, in this thread, what has no operands is executed by ``context``."""
    push_place(context)
    try:
        yield
    finally:
        pop_place()


def set_place(context: Context) -> None:
    """From now on, in every thread, what has no operands is executed by ``context``."""
    global _places_set, _place_everywhere  # noqa: PLW0603
    with _counting:
        was, _place_everywhere = _place_everywhere, None if context is _eager[0] else context
        _places_set += (_place_everywhere is not None) - (was is not None)


_counting = threading.Lock()


def active_trace() -> Context | None:
    """The innermost graph under construction in this thread, if any."""
    contexts = _state.contexts
    return contexts[-1] if contexts else None


@contextmanager
def tracing(context: Context) -> Iterator[None]:
    """Within the block, ``context`` is in charge in this thread."""
    _state.contexts.append(context)
    observers.append(context)
    try:
        yield
    finally:
        _state.contexts.remove(context)
        observers.remove(context)


@contextmanager
def suspended() -> Iterator[None]:
    """Within the block no trace is active: everything executes at once."""
    saved = _state.contexts
    _state.contexts = []
    try:
        yield
    finally:
        _state.contexts = saved


def context_of(operands: Sequence[Any]) -> Context:
    """The context in charge of an op on ``operands``."""
    contexts = _state.contexts
    if contexts:
        return contexts[-1]
    eager = _eager[0]
    on_device: Context | None = None
    for operand in operands:
        if isinstance(operand, Array) and operand.context is not eager:
            if operand.context in _on_devices:
                on_device = on_device or operand.context
                continue
            operand.context.check_usable(operand)
            _state.symbolic = weakref.ref(operand.context)
            return operand.context
    if on_device is not None:
        return on_device
    return eager if not _places_set or any(isinstance(operand, Array) for operand in operands) else place()


def context_of_sizes(sizes: Iterable[Any]) -> Context:
    """The context in charge of an op without operands that makes an array of ``sizes`` (or of anything else that holds a size).

    A symbolic size outside of any trace was taken from a symbolic array: from the latest one that this thread handled.
    """
    if not _state.contexts and _state.symbolic is not None and any(isinstance(size, DimExpr) for size in sizes):
        context = _state.symbolic()
        if context is not None:
            return context
    return context_of(())


def note_symbolic(context: Context) -> None:
    """Symbolic sizes that are met next are those of ``context``."""
    _state.symbolic = weakref.ref(context)


def _context_for(operands: Sequence[Any], attributes: dict[str, Any]) -> Context:
    if operands:
        return context_of(operands)
    return context_of_sizes(v for value in attributes.values() for v in (value if isinstance(value, tuple) else (value,)))


def bind(op: str, *operands: Any, **attributes: Any) -> Array:
    """Apply the one-result primitive called ``op``; operands must be of the types that it is strict about."""
    context = _context_for(operands, attributes)
    lifted = [context.lift(x) for x in operands]
    return context.bind(get_primitive(op), lifted, attributes)[0]


def bind_all(op: str, *operands: Any, **attributes: Any) -> tuple[Array, ...]:
    """:func:`bind` for a primitive with several results (or none)."""
    context = _context_for(operands, attributes)
    lifted = [context.lift(x) for x in operands]
    return context.bind(get_primitive(op), lifted, attributes)


def bind_near(x: Any, op: str, **attributes: Any) -> Array:
    """Apply a primitive without operands where ``x`` is: to the same graph, or on the same device."""
    context = context_of((x,)) if isinstance(x, Array) else _context_for((), attributes)
    return context.bind(get_primitive(op), (), attributes)[0]


def bind_view(op: str, x: Any, **attributes: Any) -> Array:
    """Apply the view op (reshape, transpose, slice, reverse, broadcast_in_dim): the result shares memory with ``x``."""
    context = context_of((x,))
    return context.view(context.lift(x), get_primitive(op), attributes)
