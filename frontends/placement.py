"""Devices by name, and on which of them new arrays are made."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, TypeVar

from graphc.frontends.dispatch import (
    Array,
    Context,
    active_trace,
    eager_context,
    executes,
    is_placed,
    place,
    placing,
    pop_place,
    push_place,
    set_place,
)
from graphc.locations import current_location
from graphc.runtime.devices import canonical_name

A = TypeVar("A", bound=Array)


class device(str):
    """A device by name: ``"cpu"`` or ``"cuda"``, which is ``"cuda:0"``. A string with the parts :attr:`type` and :attr:`index`.

    As a context manager it is where arrays are made that are given no other device. Raises DeviceError for an unknown name.

    >>> with gc.device("cpu"):
    ...     x = gc.zeros(3)
    >>> x.device
    'cpu'
    """

    __slots__ = ()

    def __new__(cls, name: Any) -> device:
        return super().__new__(cls, canonical_name(name))

    @property
    def type(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]  # hides str.index
        """Which one of its kind; None for the CPU."""
        number = self.partition(":")[2]
        return int(number) if number else None

    def __enter__(self) -> device:
        push_place(context_on(self))
        return self

    def __exit__(self, *exception: object) -> None:
        pop_place()

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (str(self),)


CPU = device("cpu")


def context_on(name: Any) -> Context:
    """The context that executes on the device ``name``. Raises DeviceError where it is not there."""
    full = canonical_name(name)
    eager: Any = eager_context()
    found: Context = eager if full == "cpu" else eager.on_device(full)
    return found


def on(name: Any) -> AbstractContextManager[None]:
    """Within the block, new arrays are made on the device ``name``."""
    return placing(context_on(name))


def check_device(name: Any) -> None:
    """Raise DeviceError unless ``name`` is None or a known device."""
    if name is not None:
        canonical_name(name)


def noted(array: A) -> A:
    """``array``, which a function of the user's line has just made: errors about it name that line."""
    if executes(array.context):
        made: Any = array
        made._origin = current_location()
    return array


def device_like(array: Array) -> str | None:
    """Where to make what is like ``array``: None where that needs no saying."""
    if active_trace() is not None or (array.context is eager_context() and place() is array.context):
        return None
    return getattr(array, "device", None)


def set_default_device(name: Any) -> None:
    """From now on arrays are made on the device ``name``, in every thread, unless they are given another one.

    >>> gc.set_default_device("cpu")
    """
    set_place(context_on(name))


def get_default_device() -> device:
    """Where arrays are made that are given no device."""
    if not is_placed():
        return CPU
    context: Any = place()
    return device(context.name)
