"""The eager tensor: an ndarray that computes at once, and may remember how it was made.

Names and autograd semantics follow PyTorch, array functions NumPy and the array API. Basic indexing, reshape and transpose are
views that share memory.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from graphc.dtypes import DType, bfloat16, bool_, dtype_of, float32, int64
from graphc.errors import ArgumentError, ArgumentTypeError, DTypeError, GradientError, ShapeError
from graphc.frontends.arguments import as_list
from graphc.frontends.array.methods import ArrayMethods
from graphc.frontends.dispatch import Context, active_trace
from graphc.frontends.eager.autograd import Gradient, add_gradients, compute_gradients
from graphc.frontends.eager.device_kernels import add_arrays
from graphc.frontends.eager.memory import Donated
from graphc.frontends.eager.operators import quick_operators
from graphc.frontends.eager.recording import Leaf, Record, Reference, Saved, emit_reference, recorders
from graphc.frontends.eager.reductions import quick_reductions
from graphc.frontends.eager.views import Unresolved, quick_views
from graphc.frontends.placement import CPU, context_on, device
from graphc.frontends.storage import Chain, Storage, apply_chain
from graphc.ir.types import TensorType
from graphc.locations import Location, current_location


@quick_operators
@quick_reductions
@quick_views
class Tensor(ArrayMethods):
    """An n-dimensional array with a dtype, made by ``gc.tensor``, ``gc.from_numpy``, the creation functions, or any op.

    >>> x = gc.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = (
        "__weakref__", "_array", "_grad", "_hooks", "_origin", "_reference", "_seen", "_storage", "_type", "_way", "weak",
    )  # fmt: skip
    __array_priority__ = 1000
    context: ClassVar[Context]  # type: ignore[misc]

    _array: Any  # the ndarray; every view of one memory has its own
    _storage: Storage | None  # None until memory is shared, saved or written
    _way: Chain | Unresolved  # how this tensor sees its storage
    _reference: Reference | None
    _seen: int  # the storage's write count that _reference belongs to
    _grad: Tensor | None
    _hooks: dict[int, Callable[[Tensor], Tensor | None]] | None
    _type: TensorType | None
    _origin: Location  # only where it costs little to know
    weak: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise DTypeError(
            "Tensor is a class for isinstance(), and makes no tensors",
            hint="make tensors with gc.tensor(data), gc.from_numpy(array), gc.zeros(shape), …",
            cause=DTypeError.OPERAND,
        )

    @classmethod
    def wrap(cls, array: Any, type_: TensorType | None = None) -> Tensor:
        """A tensor over ``array`` itself (no copy); the array must have a dtype of graphc's, and be of ``type_``."""
        self = cls.__new__(cls)
        self._array = array
        self._storage = self._reference = self._grad = self._hooks = None
        self._way = ()
        self._seen = 0
        self._type = type_
        self.weak = False
        return self

    # What it is

    @property
    def type(self) -> TensorType:
        if self._type is None:
            self._type = TensorType(dtype_of(self._array), self._array.shape)
        return self._type

    @property
    def dtype(self) -> DType:
        return self._type.dtype if self._type is not None else dtype_of(self._array)

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self._array.shape
        return shape

    @property
    def device(self) -> device:
        """Where the memory is: ``"cpu"`` or ``"cuda:0"``, as a :class:`gc.device`."""
        return CPU

    @property
    def is_cuda(self) -> bool:
        """Whether the memory is on a GPU."""
        return self.device.type == "cuda"

    @property
    def origin(self) -> Location | None:
        """The line that made this tensor, where that is known: not for results of ops on the CPU that nobody recorded."""
        known: Location | None = getattr(self, "_origin", None)
        if known is None and (reference := self.reference()) is not None:
            known = reference.source.location
        return known

    # Its recording

    @property
    def _chain(self) -> Chain:
        """The views that lead from the storage's base to this tensor."""
        if type(self._way) is Unresolved:
            self._way = self._way.resolve(Tensor)
        return self._way  # type: ignore[return-value]

    def made_at(self) -> Location | None:
        """The user's line that made it, where it is the result of a recorded op."""
        source = None if self._reference is None else self._reference.source
        return source.location if isinstance(source, Record) else None

    def reference(self) -> Reference | None:
        """What the recording knows of this tensor's present value; None where nothing is recorded."""
        storage = self._storage
        if storage is not None and storage.written != self._seen:
            self._seen = storage.written
            base = storage.value
            self._reference = None if base is None else apply_chain(base, self._chain, emit_reference)
        return self._reference

    def recorded(self, location: Location) -> Reference:
        """:meth:`reference`, made an input of the recording where there is none."""
        reference = self.reference()
        if reference is None:
            if self._storage is not None:
                self._storage.value = self.base_recorded(location)
                self._storage.written += 1
                reference = self.reference()
                assert reference is not None
            else:
                reference = self._reference = Reference(Leaf(self.type, self, False, location), 0)
        return reference

    def base_recorded(self, location: Location) -> Reference:
        """The recording's input that stands for the memory this tensor is a view of."""
        storage = self.storage()
        if storage.value is not None:
            value: Reference = storage.value
            return value
        return Reference(Leaf(storage.base_type, None if self._chain else self, False, location), 0)

    def storage(self) -> Storage:
        """The memory this tensor shares with its views."""
        if self._storage is None:
            self._storage = Storage(self._reference, self._type, self._array)
            self._seen = 0
        return self._storage

    def saved(self) -> Saved:
        version = self.storage().version
        return Saved(self._array, version, version.count)

    # Autograd

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor: set on a leaf, inherited by results."""
        reference = self.reference()
        return reference is not None and reference.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for gradients (or stop asking). Raises GradientError for an integer tensor, or to stop on a result."""
        if requires_grad and not self.dtype.is_inexact:
            raise GradientError(
                f"only floating tensors can require gradients, not {self.dtype.name} (shape {self.shape})",
                hint="convert it first: x.astype(gc.float32).requires_grad_()",
                cause=GradientError.NOT_FLOATING,
            )
        reference = self.reference()
        if reference is not None and reference.requires_grad:
            if not requires_grad:
                if isinstance(reference.source, Record):
                    raise GradientError(
                        "requires_grad can only be changed on a leaf, and this tensor is the result of an op",
                        hint="use x.detach()",
                        cause=GradientError.NOT_A_LEAF,
                    )
                self._set_reference(None)
            return self
        if requires_grad:
            origin = reference if recorders.active else None
            self._set_reference(Reference(Leaf(self.type, self, True, current_location(), origin=origin), 0))
        return self

    def _set_reference(self, reference: Reference | None) -> None:
        self._reference = reference
        if self._storage is not None:
            # A view that becomes a leaf shares memory, but no longer the history of its base.
            version = self._storage.version
            self._storage = Storage(reference, self.type, self._array)
            self._storage.version = version
            self._way = ()
            self._seen = 0

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this tensor."""
        reference = self.reference()
        return reference is None or isinstance(reference.source, Leaf) or not reference.requires_grad

    @property
    def grad(self) -> Tensor | None:
        """The gradient that ``backward()`` accumulated here, None before the first."""
        trace = active_trace()
        if trace is not None and hasattr(trace, "gradient_of"):
            return trace.gradient_of(self)  # type: ignore[no-any-return]
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        trace = active_trace()
        if trace is not None and hasattr(trace, "set_gradient_of"):
            trace.set_gradient_of(self, value)
            return
        if value is not None and tuple(value.shape) != self.shape:
            raise GradientError(f"the gradient has shape {value.shape}, the tensor {self.shape}", cause=GradientError.COTANGENT)
        self._grad = value

    def backward(
        self, gradient: Any = None, *, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Accumulate into ``.grad`` of every leaf the derivative of this tensor (times ``gradient``).

        ``gradient``: the cotangent, of this tensor's shape; may be left out for a scalar. ``retain_graph``: keep what a second
        backward needs. ``create_graph``: make the gradients differentiable themselves.
        Raises GradientError where nothing requires a gradient, or for a non-scalar without ``gradient``.
        """
        if retain_graph is None:
            retain_graph = create_graph
        root = self.root_reference()
        found = compute_gradients(
            [(root, self.seed(gradient))], None, retain_graph=retain_graph, create_graph=create_graph
        )
        for reference, value in found.items():
            tensor = _owner(reference)
            if tensor is None:
                continue
            gradient_tensor = from_gradient(value)
            if type(gradient_tensor) is not type(tensor):  # what was copied from one device to another
                gradient_tensor = gradient_tensor.to(tensor.device)
            if tensor._hooks and isinstance(reference.source, Leaf):
                for function in list(tensor._hooks.values()):
                    replaced = function(gradient_tensor)
                    gradient_tensor = gradient_tensor if replaced is None else replaced
            tensor._accumulate(gradient_tensor, create_graph)

    def root_reference(self) -> Reference:
        """What a gradient of this tensor starts from. Raises GradientError where nothing requires one."""
        reference = self.reference()
        if reference is None or not reference.requires_grad:
            raise GradientError(
                f"this tensor (shape {self.shape}, {self.dtype.name}) does not depend on any tensor that requires_grad",
                hint="set requires_grad=True on the parameters before the forward pass; no_grad() and detach() cut gradients",
                cause=GradientError.UNCONNECTED,
            )
        return reference

    def seed(self, gradient: Any) -> Gradient:
        """The cotangent that backward starts with."""
        if gradient is None:
            if self._array.size != 1:
                raise GradientError(
                    f"backward() without a gradient needs a scalar, and this tensor has shape {self.shape}",
                    hint="reduce it first, for example loss.mean().backward(), or pass gradient=",
                    cause=GradientError.NOT_SCALAR,
                )
            return Gradient(np.ones(self.shape, self._array.dtype), None)
        tensor = self.context.lift(gradient)
        if tensor.shape != self.shape or tensor.dtype is not self.dtype:
            raise GradientError(
                f"the gradient is {tensor.type}, but this tensor is {self.type}", hint="they must have the same type",
                cause=GradientError.COTANGENT,
            )
        assert isinstance(tensor, Tensor)
        return Gradient(tensor._array, tensor.reference())

    def _accumulate(self, gradient: Tensor, create_graph: bool) -> None:
        if self._grad is None:
            self._grad = gradient
        elif create_graph or recorders.active:
            total = add_gradients(self._grad._as_gradient(), gradient._as_gradient())
            self._grad = from_gradient(total)
        else:
            self._grad = from_gradient(Gradient(add_arrays(self._grad._array, gradient._array), None))

    def _as_gradient(self) -> Gradient:
        return Gradient(self._array, self.recorded(current_location()))

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this result too, as for a leaf."""
        reference = self.root_reference()
        if isinstance(reference.source, Record):
            retained = reference.source.retained or {}
            retained[reference.index] = weakref.ref(self)
            reference.source.retained = retained

    def register_hook(self, function: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call ``function(gradient)`` when this tensor's gradient is known; what it returns replaces the gradient.

        Gives a handle whose ``remove()`` takes the hook off.
        """
        reference = self.root_reference()
        if isinstance(reference.source, Leaf):
            self._hooks = self._hooks if self._hooks is not None else {}
            return HookHandle(self._hooks, function)
        hooks = reference.source.hooks = reference.source.hooks or {}
        return HookHandle(hooks.setdefault(reference.index, {}), _gradient_hook(function))

    def detach(self) -> Tensor:
        """A view of the same memory through which no gradient flows."""
        return self.context.stop_gradient(self)  # type: ignore[return-value]

    # Devices

    def _moved(self, name: Any) -> Any:
        trace: Any = active_trace()
        if trace is not None:
            return trace.lift(self)._moved(name)
        context: Any = context_on(name)
        return self if context is self.context else context.receive(self)

    def copy_(self, other: Any) -> Any:
        """Take the elements of ``other``, broadcast and converted; they may be on another device."""
        if isinstance(other, Tensor) and other.context is not self.context:
            other = other.to(self.device)
        return super().copy_(other)

    # Leaving graphc

    def numpy(self) -> np.ndarray:
        """The array itself, sharing memory. Raises GradientError for a tensor that requires_grad: detach it first; and
        DeviceError for one on a device, whose memory NumPy cannot read: ``x.cpu().numpy()``."""
        self._check_export("numpy()")
        array: np.ndarray = self._array
        return array

    def _host_array(self) -> np.ndarray:
        """The contents in the host's memory: the array itself, or a copy of it."""
        array: np.ndarray = self._array
        return array

    def _check_export(self, what: str) -> None:
        if isinstance(self._array, Donated):
            self._array.refuse()
        if self.requires_grad:
            raise GradientError(
                f"{what} on a tensor that requires_grad would hide what happens to it from autograd",
                hint="use x.detach().numpy()",
                cause=GradientError.HIDDEN,
            )

    def item(self) -> Any:
        """The only element, as a Python scalar. Raises ShapeError for any other number of elements."""
        if self._array.size != 1:
            raise ShapeError(
                f"item() needs exactly one element, and this tensor has shape {self.shape}", cause=ShapeError.NOT_ONE_ELEMENT
            )
        trace = active_trace()
        if trace is not None and hasattr(trace, "concretize"):
            trace.concretize(self, "item()")
        array = self._host_array()
        return array.item() if self.dtype is not bfloat16 else float(array.reshape(()))

    def tolist(self) -> Any:
        """Nested lists of Python scalars."""
        array = self._host_array()
        return array.astype(np.float32).tolist() if self.dtype is bfloat16 else array.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self._check_export("np.asarray()")
        if dtype is not None and np.dtype(dtype) != self._array.dtype:
            if copy is False:
                raise ArgumentError("a conversion needs a copy", hint="np.asarray(x, dtype) makes one where it must")
            return np.asarray(self._array).astype(dtype)
        return self._array.copy() if copy else self._array  # type: ignore[no-any-return]

    def __dlpack__(self, **options: Any) -> Any:
        self._check_export("DLPack export")
        options.pop("stream", None)  # which the host's memory has none of
        return self._array.__dlpack__(**options)

    def shares_memory(self, other: Tensor) -> bool:
        """Whether the two tensors may have elements in common."""
        if not isinstance(other, Tensor):
            raise ArgumentTypeError(f"shares_memory takes a tensor, not {type(other).__name__}")
        return type(other) is Tensor and bool(np.may_share_memory(self._array, other._array))

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self._array.__dlpack_device__()
        return device

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise ShapeError(
                f"the truth value of a tensor with shape {self.shape} is ambiguous", hint="use x.any() or x.all()",
                cause=ShapeError.NOT_ONE_ELEMENT,
            )
        return bool(self.item())

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise DTypeError(f"only an integer tensor can be an index, not {self.dtype.name}", cause=DTypeError.INDEX)
        return int(self.item())

    def __copy__(self) -> Tensor:
        return self.copy()  # type: ignore[return-value]

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = type(self).wrap(self._array.copy())
        if self.requires_grad:
            if not self.is_leaf:
                raise GradientError(
                    "only leaf tensors can be deep-copied", hint="detach() it first", cause=GradientError.NOT_A_LEAF
                )
            copied.requires_grad_()
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise GradientError("only leaf tensors can be pickled, and this one is the result of a recorded op",
                                hint="detach() it first", cause=GradientError.NOT_A_LEAF)  # fmt: skip
        return (_unpickle, (self._array, self.dtype.name, self.requires_grad))

    def __repr__(self) -> str:
        if isinstance(self._array, Donated):
            return f"tensor({self._array})"
        array = self._host_array()
        text = np.array2string(
            array.astype(np.float32) if self.dtype is bfloat16 else array,
            separator=", ", prefix="tensor(", threshold=1000,
        )  # fmt: skip
        extras = "" if self.dtype in (float32, int64, bool_) else f", dtype={self.dtype.name}"
        if not self._array.size and self._array.shape != (0,):
            extras = f", shape={self.shape}, dtype={self.dtype.name}"
        if self.device != "cpu":
            extras += f", device={str(self.device)!r}"
        if self.requires_grad:
            reference = self.reference()
            source = None if reference is None else reference.source
            extras += f", made_by={source.name}" if isinstance(source, Record) else ", requires_grad=True"
        return f"tensor({text}{extras})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self._array.size == 1 else format(str(self), spec)


def _unpickle(array: Any, dtype: str, requires_grad: bool) -> Tensor:
    tensor = Tensor.wrap(array if array.flags.writeable else array.copy())
    return tensor.requires_grad_() if requires_grad else tensor


#: What tensors over other arrays than ndarrays are: filled by whoever defines them.
CLASSES: dict[type, type[Tensor]] = {}


def over(array: Any, type_: TensorType | None = None) -> Tensor:
    """:meth:`Tensor.wrap` for an array in the host's memory or on a device."""
    return (Tensor if type(array) is np.ndarray else CLASSES.get(type(array), Tensor)).wrap(array, type_)


def from_gradient(gradient: Gradient) -> Tensor:
    """A gradient as a tensor."""
    tensor = over(gradient.array)
    tensor._reference = gradient.reference
    return tensor


def _gradient_hook(function: Callable[[Tensor], Tensor | None]) -> Callable[[Gradient], Gradient]:
    def hook(gradient: Gradient) -> Gradient:
        result = function(from_gradient(gradient))
        return gradient if result is None else Gradient(result._array, result.reference())

    return hook


def _owner(reference: Reference) -> Tensor | None:
    if isinstance(reference.source, Leaf):
        return reference.source.tensor
    retained = reference.source.retained
    held = None if retained is None else retained.get(reference.index)
    return None if held is None else held()


class HookHandle:
    """Takes a hook off again."""

    def __init__(self, functions: dict[int, Any], function: Any) -> None:
        self._functions = functions
        self._key = next(_keys)  # not the id, which another handle has once this one is dropped
        functions[self._key] = function

    def remove(self) -> None:
        """Do not call the hook any more; nothing happens the second time."""
        self._functions.pop(self._key, None)


_keys = itertools.count()


def gradients_of(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of the sum of ``outputs`` (each times its cotangent in ``grad_outputs``) with respect to ``inputs``.

    PyTorch's ``autograd.grad``: nothing is accumulated into ``.grad``. Inputs may be leaves or results. An input that does not
    influence the outputs is an error, or gives None with ``allow_unused``.
    """
    outs = _tensors(outputs, "outputs")
    ins = _tensors(inputs, "inputs")
    seeds = [None] * len(outs) if grad_outputs is None else (
        [grad_outputs] if isinstance(outputs, Tensor) and not isinstance(grad_outputs, (list, tuple)) else list(grad_outputs)
    )  # fmt: skip
    if len(seeds) != len(outs):
        raise ArgumentError(
            f"gradients_of: {len(outs)} outputs and {len(seeds)} grad_outputs", cause=ArgumentError.COUNT
        )
    retain_graph = create_graph if retain_graph is None else retain_graph
    roots = [(o.root_reference(), o.seed(g)) for o, g in zip(outs, seeds, strict=True)]
    targets = [i.root_reference() for i in ins]
    found = compute_gradients(roots, targets, retain_graph=retain_graph, create_graph=create_graph)
    results: list[Tensor | None] = []
    for position, target in enumerate(targets):
        gradient = found.get(target)
        if gradient is None and not allow_unused:
            raise GradientError(
                f"input {position} (shape {ins[position].shape}) does not influence the outputs",
                hint="pass allow_unused=True to get None for it",
                cause=GradientError.UNCONNECTED,
            )
        made = None if gradient is None else from_gradient(gradient)
        if made is not None and type(made) is not type(ins[position]):
            made = made.to(ins[position].device)
        results.append(made)
    return tuple(results)


def _tensors(given: Any, name: str) -> list[Tensor]:
    tensors = [given] if isinstance(given, Tensor) else as_list(given, f"gradients_of: {name}", "tensors")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"gradients_of: {name} must be tensors, not {type(tensor).__name__}")
    return tensors
