"""Arrays in the memory of a device: what executables take and give there, and what a tensor on a device holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from graphc.errors import DeviceError
from graphc.runtime.layout import Layout

if TYPE_CHECKING:
    from graphc.runtime.devices import Device


class DeviceBuffer:
    """An array in a device's memory: like an ndarray it may be a view, of memory that lives as long as somebody holds it.

    ``memory`` is the device's own handle for the whole of it, which gives it back when it is collected.
    """

    __slots__ = ("__weakref__", "device", "dtype", "layout", "memory")

    def __init__(self, device: Device, memory: Any, dtype: Any, layout: Layout) -> None:
        self.device = device
        self.memory = memory
        self.dtype: np.dtype[Any] = np.dtype(dtype) if not isinstance(dtype, np.dtype) else dtype
        self.layout = layout

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layout.shape

    @property
    def ndim(self) -> int:
        return len(self.layout.shape)

    @property
    def size(self) -> int:
        return self.layout.size

    @property
    def nbytes(self) -> int:
        return self.layout.size * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        return self.layout.is_contiguous

    def view(self, op: str, attributes: Mapping[str, Any]) -> DeviceBuffer | None:
        """The same memory through a view op; None for a reshape that no strides can express."""
        layout = self.layout.view(op, attributes)
        return None if layout is None else DeviceBuffer(self.device, self.memory, self.dtype, layout)

    def contiguous(self) -> DeviceBuffer:
        """Itself where it lies row by row, else a copy that does."""
        return self if self.is_contiguous else self.copy()

    def copy(self) -> DeviceBuffer:
        """The same elements in memory of their own, row by row."""
        made = self.device.empty(self.shape, self.dtype)
        self.device.copy(self, made)
        return made

    def numpy(self) -> np.ndarray:
        """A new ndarray with the elements; waits for all work that they depend on."""
        return self.device.download(self.contiguous())

    @property
    def address(self) -> int:
        """Where the first element is in the device's address space."""
        return self.device.address(self.memory) + self.layout.offset * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the protocol by which CuPy, Numba and PyTorch take arrays on a GPU."""
        if self.dtype.kind == "V":
            raise AttributeError("__cuda_array_interface__ has no name for bfloat16; use DLPack")
        strides = None if self.is_contiguous else tuple([s * self.dtype.itemsize for s in self.layout.strides])
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": strides,
            "stream": self.device.stream,
        }

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise DeviceError(
            f"an array on {self.device.name} was given to code that works in the host's memory",
            hint="copy it first: x.cpu()",
        )

    __array__ = __array_function__ = _refuse

    def __array_ufunc__(self, *_: Any, **__: Any) -> NoReturn:
        self._refuse()

    def __repr__(self) -> str:
        return f"<DeviceBuffer {self.dtype}{list(self.shape)} on {self.device.name}>"


def device_of(arrays: Sequence[Any]) -> Device | None:
    """The device of the first of ``arrays`` that is on one; None where all are in the host's memory."""
    for array in arrays:
        if type(array) is DeviceBuffer:
            return array.device
    return None
