"""Views of plain tensors, and writes through them, without the way through dispatch; see
:mod:`graphc.frontends.eager.operators`.

NumPy makes the view. Which view ops of the IR it stands for is worked out when somebody asks, which without gradients is
seldom. Where gradients want to know, it is looked up by dtype, shape and key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

from graphc.frontends.dispatch import observers, suspended
from graphc.frontends.eager.prepared import PreparedOp, prepare
from graphc.frontends.eager.recording import Record, Reference, is_tracked, recorders
from graphc.frontends.eager.scalars import holds
from graphc.frontends.grad_mode import mode
from graphc.frontends.storage import Chain
from graphc.ir.primitive import get_primitive
from graphc.locations import current_location

T = TypeVar("T", bound="type[Any]")

_MOST: Final = 1024  # views that are known; then all are forgotten
_NOT_PLAIN: Final = object()
_BOUND: Final = frozenset((int, type(None)))


class Unresolved:
    """How a view sees its storage: as ``general(x, key)`` of a tensor ``x`` over ``array``, which itself sees it ``before``."""

    __slots__ = ("array", "before", "general", "key")

    def __init__(self, before: Chain | Unresolved, array: Any, general: Callable[[Any, Any], Any], key: Any) -> None:
        self.before = before
        self.array = array
        self.general = general
        self.key = key

    def resolve(self, tensor: Any) -> Chain:
        """The chain of view ops."""
        pending = []
        chain: Any = self
        while type(chain) is Unresolved:
            pending.append(chain)
            chain = chain.before
        active, recorders.active = recorders.active, []
        try:
            with suspended():
                for view in reversed(pending):
                    chain = (*chain, *view.general(tensor.wrap(view.array), view.key)._chain)
        finally:
            recorders.active = active
        return chain  # type: ignore[no-any-return]


def quick_views(tensor: T) -> T:
    """Class decorator: give the class of eager tensors views that take the short way where there is one."""
    tensor.__getitem__, tensor.__setitem__ = _indexing(tensor, tensor.__getitem__, tensor.__setitem__)
    tensor.reshape = tensor.view = _reshape(tensor, tensor.reshape)
    tensor.T = _transposed(tensor, tensor.T)
    return tensor


def _indexing(
    tensor: Any, general_get: Callable[[Any, Any], Any], general_set: Callable[[Any, Any, Any], None]
) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any, Any], None]]:
    view_of = _view_maker(tensor, general_get)

    def __getitem__(self: Any, key: Any) -> Any:
        array = self._array
        if observers or type(array) is not np.ndarray:
            return general_get(self, key)
        is_int = type(key) is int
        identity = key if is_int else _identity(key)
        if identity is _NOT_PLAIN:
            return general_get(self, key)
        try:
            view = array[key, ...] if is_int else array[key]
        except (IndexError, ValueError):
            return general_get(self, key)
        if type(view) is not np.ndarray:  # all axes were given: NumPy makes a scalar of it
            view = array[(*key, ...)]
        return view_of(self, view, key, identity)

    def __setitem__(self: Any, key: Any, value: Any) -> None:
        array = self._array
        if (
            observers
            or type(array) is not np.ndarray
            or not array.flags.writeable
            or (type(key) is not int and _identity(key) is _NOT_PLAIN)
            or (mode.enabled and is_tracked(self))
        ):
            return general_set(self, key, value)
        storage = self._storage
        if type(value) is tensor:
            way = value._way
            if storage is not None and value._storage is storage:
                if type(way) is Unresolved and way.general is general_get and way.array is array and way.key == key:
                    return None  # what `x[key] += v` does last: the view was already written
                return general_set(self, key, value)
            new = value._array
            if new.dtype is not array.dtype or is_tracked(value):
                return general_set(self, key, value)
        elif holds(array.dtype, value):
            new = value
        else:
            return general_set(self, key, value)
        try:
            array[key] = new
        except (IndexError, ValueError):
            return general_set(self, key, value)
        if storage is not None:
            storage.version.count += 1
        return None

    __getitem__.__doc__, __setitem__.__doc__ = general_get.__doc__, general_set.__doc__
    return __getitem__, __setitem__


def _reshape(tensor: Any, general: Callable[..., Any]) -> Callable[..., Any]:
    view_of = _view_maker(tensor, general)

    def reshape(self: Any, *shape: Any) -> Any:
        array = self._array
        sizes = shape[0] if len(shape) == 1 and type(shape[0]) is tuple else shape
        if observers or type(array) is not np.ndarray or not array.flags.c_contiguous or not array.size:
            return general(self, *shape)
        for size in sizes:
            if type(size) is not int or size < -1:
                return general(self, *shape)
        if sizes == array.shape:
            return self
        try:
            view = array.reshape(sizes)
        except ValueError:
            return general(self, *shape)
        return view_of(self, view, view.shape, view.shape)

    reshape.__doc__ = general.__doc__
    return reshape


def _transposed(tensor: Any, general: property) -> property:
    assert general.fget is not None
    whole: Callable[[Any], Any] = general.fget
    view_of = _view_maker(tensor, lambda x, key: whole(x))

    def transposed(self: Any) -> Any:
        array = self._array
        if observers or type(array) is not np.ndarray or array.ndim != 2:
            return whole(self)
        return view_of(self, array.T, None, None)

    return property(transposed, doc=general.__doc__)


def _view_maker(tensor: Any, general: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any, Any], Any]:
    """``view_of(x, array, key, identity)``: the tensor that ``general(x, key)`` gives, over the ``array`` that NumPy made.
    ``identity`` stands for ``key`` in look-ups."""
    new = object.__new__
    known: dict[Any, tuple[PreparedOp, ...]] = {}

    def view_of(x: Any, array: Any, key: Any, identity: Any) -> Any:
        storage = x._storage
        if storage is None:
            storage = x.storage()
        result = new(tensor)
        result._array = array
        result._storage = storage
        result._reference = result._grad = result._hooks = result._type = None
        result._way = Unresolved(x._way, x._array, general, key)
        result.weak = x.weak
        if storage.value is None:
            result._seen = storage.written
            return result
        result._seen = -1  # derived from the base's reference when it is read
        if mode.enabled:
            lookup = (x._array.dtype, x._array.shape, identity)
            steps = known.get(lookup)
            if steps is None:
                if len(known) >= _MOST:
                    known.clear()
                added = result._chain[len(x._chain) :]
                steps = tuple([prepare(get_primitive(s.op), (s.operand,), dict(s.attributes)) for s in added])
                known[lookup] = steps
            location = current_location(2)
            reference = x.reference()
            for step in steps:
                flows = reference.source.requires_grad
                reference = Reference(Record(step.op, step.attributes, (reference,), step.types, flows, location), 0)
            result._reference = reference
            result._seen = storage.written
        return result

    return view_of


def _identity(key: Any) -> Any:
    """A basic index as something to look up; _NOT_PLAIN for any other."""
    kind = type(key)
    if kind is tuple:
        parts: list[Any] = []
        for item in key:
            if type(item) is int or item is None or item is Ellipsis:
                parts.append(item)
            elif type(item) is slice and type(item.start) in _BOUND and type(item.stop) in _BOUND and type(item.step) in _BOUND:
                parts.append((item.start, item.stop, item.step))
            else:
                return _NOT_PLAIN
        return tuple(parts)
    if kind is slice and type(key.start) in _BOUND and type(key.stop) in _BOUND and type(key.step) in _BOUND:
        return (slice, key.start, key.stop, key.step)
    return key if key is None or key is Ellipsis else _NOT_PLAIN
