"""Which device arrays are on together, and the error where they are not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.errors import MixedDeviceError
from graphc.frontends.dispatch import Array


def describe(tensor: Any) -> str:
    """A tensor with its device and the line that made it."""
    origin = tensor.origin
    made = "made by an op on the CPU (GRAPHC_TENSOR_ORIGINS=1 keeps its line)"
    if origin is not None and origin.line:
        made = f"made at {origin}"
    return f"{tensor.type} on {tensor.device}, {made}"


def mixed_devices(what: str, one: Any, other: Any) -> MixedDeviceError:
    """The error for two tensors on different devices, which are named with the lines that made them."""
    target, moved = (one, other) if one.is_cuda else (other, one)
    return MixedDeviceError(
        f"{what} got tensors on different devices:\n  {describe(one)}\n  {describe(other)}",
        hint=f'move the one that is on {moved.device}: x.to("{target.device}"); or make it there: device="{target.device}"',
    )


def common_device(what: str, arrays: Iterable[Any]) -> str | None:
    """The device of the tensors among ``arrays``; None where there are none. Tensors without dimensions go with any.

    Raises MixedDeviceError, which says that ``what`` got them.
    """
    first: Any = None
    scalar: Any = None
    for array in arrays:
        if not isinstance(array, Array) or not hasattr(array, "origin"):
            continue
        if not array.shape and not array.is_cuda:  # type: ignore[attr-defined]
            scalar = array
        elif first is None:
            first = array
        elif first.device != array.device:  # type: ignore[attr-defined]
            raise mixed_devices(what, first, array)
    found = scalar if first is None else first
    return None if found is None else str(found.device)
