"""Tensors whose memory is on a device, and the context that executes ops there: each through a kernel of its own.

What such tensors are, and how gradients are recorded, is what it is on the CPU; only bytes are elsewhere. Dispatch finds the
context by its operands, so nothing on the CPU's way asks about devices.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from graphc.dtypes import DType
from graphc.errors import ArgumentError, ArgumentTypeError, DeviceError, GradientError, MixedDeviceError
from graphc.frontends.array.core import is_scalar, scalar_dtype, show_shape
from graphc.frontends.array.methods import ArrayMethods
from graphc.frontends.dispatch import Array, Context
from graphc.frontends.eager import operators, reductions
from graphc.frontends.eager.autograd import Gradient
from graphc.frontends.eager.context import EagerContext, leaked
from graphc.frontends.eager.device_kernels import run_graph, run_op
from graphc.frontends.eager.execute import as_numpy
from graphc.frontends.eager.memory import Donated
from graphc.frontends.eager.prepared import prepare
from graphc.frontends.eager.recording import Leaf, Reference, recorders
from graphc.frontends.eager.tensor import CLASSES, Tensor
from graphc.frontends.mixed import describe, mixed_devices
from graphc.frontends.placement import device
from graphc.frontends.storage import VIEW_OPS
from graphc.ir.primitive import Primitive
from graphc.ir.types import TensorType
from graphc.locations import current_location, is_internal_code
from graphc.runtime.device_buffer import DeviceBuffer
from graphc.runtime.devices import Device
from graphc.runtime.dlpack import device_of, to_capsule
from graphc.runtime.layout import Layout


class DeviceTensor(Tensor):
    """A :class:`Tensor` whose ``_array`` is a :class:`~graphc.runtime.device_buffer.DeviceBuffer`."""

    __slots__ = ()

    _array: Any

    @classmethod
    def wrap(cls, array: Any, type_: TensorType | None = None) -> DeviceTensor:
        self = super().wrap(array, type_)
        self._origin = current_location(2)
        assert isinstance(self, DeviceTensor)
        return self

    @property
    def context(self) -> Context:  # type: ignore[override]  # that of its device
        return EagerContext.on_devices[self._array.device.name]

    @property
    def device(self) -> device:
        return device(self._array.device.name)

    def seed(self, gradient: Any) -> Gradient:
        if gradient is None and self._array.size == 1:
            return Gradient(self._array.device.upload(np.ones(self.shape, self._array.dtype)), None)
        return super().seed(gradient)

    def numpy(self) -> NoReturn:
        self._refuse("numpy()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        self._refuse("np.asarray() or a function of NumPy's")

    def _refuse(self, what: str) -> NoReturn:
        if isinstance(self._array, Donated):
            self._array.refuse()
        raise DeviceError(
            f"{what} of a tensor on {self.device} (shape {show_shape(self.shape)}): NumPy cannot read the memory of a device",
            hint="copy it first: x.detach().cpu().numpy()" if self.requires_grad else "copy it first: x.cpu().numpy()",
        )

    def shares_memory(self, other: Tensor) -> bool:
        if not isinstance(other, Tensor):
            raise ArgumentTypeError(f"shares_memory takes a tensor, not {type(other).__name__}")
        return isinstance(other, DeviceTensor) and self._array.memory is other._array.memory

    def _host_array(self) -> np.ndarray:
        array: np.ndarray = self._array.numpy()
        return array

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The memory itself, for CuPy, Numba and PyTorch."""
        if self.requires_grad:  # an AttributeError, which is how the protocol says that it is not to be had
            raise AttributeError("a tensor that requires_grad has no __cuda_array_interface__; use x.detach()")
        self.storage()  # from now on somebody else may see the memory
        described: dict[str, Any] = self._array.__cuda_array_interface__
        return described

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        """A capsule over the memory, or a ``copy`` of it, once it is written; with ``stream=-1`` the consumer sees to that."""
        self._check_export("DLPack export")
        where = options.get("dl_device")
        if where is not None and tuple(where) != self.__dlpack_device__():
            raise BufferError(f"a tensor on {self.device} is exported there only; copy it first: x.cpu()")
        self.storage()
        array = self._array.copy() if options.get("copy") else self._array
        if stream != -1:
            array.device.synchronize()
        return to_capsule(array)

    def __dlpack_device__(self) -> tuple[int, int]:
        return device_of(self._array)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise GradientError(
                "only leaf tensors can be pickled, and this one is the result of a recorded op", hint="detach() it first"
            )
        return _unpickle, (self._host_array(), str(self.device), self.requires_grad)


for _name in (*operators.QUICK, *reductions.QUICK):  # the short ways are for ndarrays
    setattr(DeviceTensor, _name, vars(ArrayMethods)[_name])
CLASSES[DeviceBuffer] = DeviceTensor


def _unpickle(array: np.ndarray, name: str, requires_grad: bool) -> Tensor:
    tensor: Tensor = Tensor.wrap(array).to(name)
    return tensor.requires_grad_() if requires_grad else tensor


class DeviceContext(EagerContext):
    """Executes ops on the tensors of one device."""

    def __init__(self, on: Device) -> None:
        self.on = on
        self.name, self.target = on.name, on.target

    def upload(self, array: np.ndarray, type_: TensorType | None = None) -> DeviceTensor:
        """A copy of ``array`` on the device."""
        return DeviceTensor.wrap(self.on.upload(array), type_)

    def adopt(self, address: int, layout: Layout, dtype: Any, owner: Any) -> DeviceTensor:
        """A tensor over memory that another library allocated on this device; ``owner`` is kept with it."""
        reach = sum(abs(s) * (n - 1) for s, n in zip(layout.strides, layout.shape, strict=True)) + 1 if layout.size else 0
        if any(stride < 0 for stride in layout.strides):
            raise ArgumentError("an array with negative strides cannot be taken over", hint="copy it in its own library")
        memory = self.on.wrap(address, reach * dtype.itemsize, owner)
        tensor = DeviceTensor.wrap(DeviceBuffer(self.on, memory, dtype, layout))
        tensor.storage()  # its memory is somebody else's, too
        return tensor

    def lift(self, value: Any) -> Tensor:
        if isinstance(value, DeviceTensor) and value._array.device is self.on:
            return value
        if isinstance(value, Tensor):
            if value.shape or isinstance(value, DeviceTensor):
                raise _mixed(self, value)
            return self.receive(value)
        if isinstance(value, Array):
            raise leaked(value)
        if is_scalar(value):
            return self.literal(value, scalar_dtype(value), weak=True)
        if type(value) is DeviceBuffer:
            return DeviceTensor.wrap(value)
        return self.upload(as_numpy(value))

    def receive(self, x: Tensor) -> Tensor:
        return self._received(x, self.upload(np.asarray(x._host_array()), x.type))

    def literal(self, value: Any, dtype: DType, weak: bool = False) -> Tensor:
        with np.errstate(all="ignore"):
            array = np.array(value).astype(dtype.numpy)
        tensor = self.upload(array)
        tensor.weak = weak
        if recorders.active:
            tensor._reference = Reference(Leaf(tensor.type, None, False, current_location(), array), 0)
        return tensor

    def bind(self, op: Primitive, operands: Sequence[Any], attributes: dict[str, Any]) -> tuple[Tensor, ...]:
        if op.name in VIEW_OPS:
            return (self.view(operands[0], op, attributes),)
        prepared = prepare(op, tuple([t.type for t in operands]), attributes)
        results = run_op(self.on, prepared, [t._array for t in operands])
        tensors = tuple([DeviceTensor.wrap(r, t) for r, t in zip(results, prepared.types, strict=True)])
        if self._is_tracked(operands):
            self.record(prepared, operands, tensors)
        if operands and all(t.weak for t in operands) and op.name != "convert_element_type":
            for tensor in tensors:
                tensor.weak = True
        return tensors

    def view(self, x: Any, op: Primitive, attributes: dict[str, Any]) -> Tensor:
        prepared = prepare(op, (x.type,), attributes)
        array = x._array.view(op.name, prepared.attributes)
        if array is None:  # a reshape that no strides can express
            return self._copy_as(x, prepared, x._array.copy().view(op.name, prepared.attributes))
        return self._seen(x, prepared, array)

    def assign(self, target: Any, value: Any) -> None:
        self.on.copy(value.copy() if value.memory is target.memory else value, target)

    def is_read_only(self, x: Any) -> bool:
        return False

    def repeats(self, x: Any) -> bool:
        return bool(x._array.layout.repeats)

    def replace(self, x: Any, value: Any) -> None:
        self.write(x, value)

    def run(self, executable: Any, arrays: Sequence[Any]) -> list[Any]:
        return run_graph(self.on, executable, arrays)

    def donation(self, x: Any) -> Any:
        """Programs on devices write into no input."""
        return x


def _mixed(context: DeviceContext, other: Tensor) -> MixedDeviceError:
    """The error for an op that ``context`` executes and that got ``other``, which is elsewhere."""
    name, partner = "", None
    frame: Any = sys._getframe(1)
    while frame is not None and is_internal_code(frame.f_code):  # what the user called is the outermost of these
        called = frame.f_code.co_name
        if called == "function":  # of a family: its name is what the maker of the family was given
            called = str(frame.f_locals.get("name") or frame.f_locals.get("primitive") or called)
        name = name if called in ("operator", "method", "wrapper") else called
        for value in frame.f_locals.values():
            for each in value if isinstance(value, (tuple, list)) else (value,):
                if partner is None and isinstance(each, DeviceTensor) and type(each._array) is DeviceBuffer:
                    partner = each if each._array.device is context.on else None
        frame = frame.f_back
    if partner is None:
        message = f"{name.strip('_')}: {describe(other)}, and another operand is on {context.name}"
        return MixedDeviceError(message, hint=f'move it: x.to("{context.name}")')
    return mixed_devices(name.strip("_"), other, partner)
