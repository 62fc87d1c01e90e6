"""Operators and methods that eager tensors and symbolic arrays share; each is an array function applied to ``self``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from graphc.dtypes import ALL, as_dtype
from graphc.errors import ArgumentTypeError, DTypeError, InPlaceError, ShapeError
from graphc.frontends.array import (
    activations,
    creation,
    elementwise,
    indexing,
    linalg,
    movement,
    numpy_protocol,
    reduction,
    sorting,
)
from graphc.frontends.array.core import ArrayLike, astype, broadcast_to_shape, converted, show_shape
from graphc.frontends.array.foreign import is_operand, refused
from graphc.frontends.dispatch import Array, context_of
from graphc.ir.dims import Dim, product, same_size

Int: TypeAlias = int  # ArrayMethods has methods of these names
Float: TypeAlias = float
Bool: TypeAlias = bool

_KIND_ORDER = {"bool": 0, "uint": 1, "int": 1, "float": 2}


class ArrayMethods(Array):
    """Arithmetic, comparison, indexing and the usual methods. In-place ones end in an underscore, as PyTorch's do."""

    __slots__ = ()
    __hash__ = object.__hash__

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def T(self) -> Array:
        """The axes reversed (a view); for a matrix, its transpose."""
        return movement.permute_dims(self)

    @property
    def mT(self) -> Array:
        """The last two axes exchanged (a view)."""
        return movement.matrix_transpose(self)

    @property
    def at(self) -> indexing.IndexUpdater:
        """Functional updates: ``x.at[key].set(value)`` and its kin give a changed copy."""
        return indexing.IndexUpdater(self)

    def __len__(self) -> int:
        if not self.shape:
            raise ArgumentTypeError("len() of a scalar, which has no axes", hint="x.size is 1, and x.ndim is 0")
        return self.shape[0].__index__()

    def __iter__(self) -> Iterator[Array]:
        if not self.shape:
            raise ArgumentTypeError(
                "a scalar cannot be iterated over, as it has no axes",
                hint="x.item() is its value, x.reshape(1) an array of one",
            )
        return iter([self[i] for i in range(self.shape[0].__index__())])

    def __contains__(self, value: Any) -> bool:
        return bool(reduction.any(elementwise.equal(self, value)))

    # Arithmetic

    def __add__(self, other: Any) -> Any:
        return elementwise.add(self, other) if is_operand(other) else refused(other, "__radd__")

    def __radd__(self, other: Any) -> Any:
        return elementwise.add(other, self) if is_operand(other) else refused(other)

    def __sub__(self, other: Any) -> Any:
        return elementwise.subtract(self, other) if is_operand(other) else refused(other, "__rsub__")

    def __rsub__(self, other: Any) -> Any:
        return elementwise.subtract(other, self) if is_operand(other) else refused(other)

    def __mul__(self, other: Any) -> Any:
        return elementwise.multiply(self, other) if is_operand(other) else refused(other, "__rmul__")

    def __rmul__(self, other: Any) -> Any:
        return elementwise.multiply(other, self) if is_operand(other) else refused(other)

    def __truediv__(self, other: Any) -> Any:
        return elementwise.divide(self, other) if is_operand(other) else refused(other, "__rtruediv__")

    def __rtruediv__(self, other: Any) -> Any:
        return elementwise.divide(other, self) if is_operand(other) else refused(other)

    def __floordiv__(self, other: Any) -> Any:
        return elementwise.floor_divide(self, other) if is_operand(other) else refused(other, "__rfloordiv__")

    def __rfloordiv__(self, other: Any) -> Any:
        return elementwise.floor_divide(other, self) if is_operand(other) else refused(other)

    def __mod__(self, other: Any) -> Any:
        return elementwise.remainder(self, other) if is_operand(other) else refused(other, "__rmod__")

    def __rmod__(self, other: Any) -> Any:
        return elementwise.remainder(other, self) if is_operand(other) else refused(other)

    def __pow__(self, other: Any) -> Any:
        return elementwise.pow(self, other) if is_operand(other) else refused(other, "__rpow__")

    def __rpow__(self, other: Any) -> Any:
        return elementwise.pow(other, self) if is_operand(other) else refused(other)

    def __matmul__(self, other: Any) -> Any:
        return linalg.matmul(self, other) if is_operand(other) else refused(other, "__rmatmul__")

    def __rmatmul__(self, other: Any) -> Any:
        return linalg.matmul(other, self) if is_operand(other) else refused(other)

    def __neg__(self) -> Array:
        return elementwise.negative(self)

    def __pos__(self) -> Array:
        return elementwise.positive(self)

    def __abs__(self) -> Array:
        return elementwise.absolute(self)

    def __invert__(self) -> Array:
        return elementwise.bitwise_invert(self)

    def __and__(self, other: Any) -> Any:
        return elementwise.bitwise_and(self, other) if is_operand(other) else refused(other, "__rand__")

    def __rand__(self, other: Any) -> Any:
        return elementwise.bitwise_and(other, self) if is_operand(other) else refused(other)

    def __or__(self, other: Any) -> Any:
        return elementwise.bitwise_or(self, other) if is_operand(other) else refused(other, "__ror__")

    def __ror__(self, other: Any) -> Any:
        return elementwise.bitwise_or(other, self) if is_operand(other) else refused(other)

    def __xor__(self, other: Any) -> Any:
        return elementwise.bitwise_xor(self, other) if is_operand(other) else refused(other, "__rxor__")

    def __rxor__(self, other: Any) -> Any:
        return elementwise.bitwise_xor(other, self) if is_operand(other) else refused(other)

    def __lshift__(self, other: Any) -> Any:
        return elementwise.bitwise_left_shift(self, other) if is_operand(other) else refused(other, "__rlshift__")

    def __rlshift__(self, other: Any) -> Any:
        return elementwise.bitwise_left_shift(other, self) if is_operand(other) else refused(other)

    def __rshift__(self, other: Any) -> Any:
        return elementwise.bitwise_right_shift(self, other) if is_operand(other) else refused(other, "__rrshift__")

    def __rrshift__(self, other: Any) -> Any:
        return elementwise.bitwise_right_shift(other, self) if is_operand(other) else refused(other)

    def __eq__(self, other: object) -> Any:
        return elementwise.equal(self, other) if is_operand(other) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return elementwise.not_equal(self, other) if is_operand(other) else NotImplemented

    def __lt__(self, other: Any) -> Any:
        return elementwise.less(self, other) if is_operand(other) else refused(other, "__gt__")

    def __le__(self, other: Any) -> Any:
        return elementwise.less_equal(self, other) if is_operand(other) else refused(other, "__ge__")

    def __gt__(self, other: Any) -> Any:
        return elementwise.greater(self, other) if is_operand(other) else refused(other, "__lt__")

    def __ge__(self, other: Any) -> Any:
        return elementwise.greater_equal(self, other) if is_operand(other) else refused(other, "__le__")

    # Indexing

    def __getitem__(self, key: Any) -> Any:
        return indexing.getitem(self, key)

    def __setitem__(self, key: Any, value: ArrayLike) -> None:
        indexing.setitem(self, key, value)

    # NumPy's functions on our arrays

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return numpy_protocol.apply_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_protocol.apply_function(function, args, kwargs)

    # In place

    def _write(self, value: Any, what: str) -> Any:
        context = context_of((self, value))
        target = context.lift(self)
        new = context.lift(value)
        if _KIND_ORDER[new.dtype.kind] > _KIND_ORDER[target.dtype.kind]:
            raise DTypeError(
                f"{what}: the result is {new.dtype.name}, which cannot be written into a {target.dtype.name} array",
                hint=f"convert first: x = x.astype({new.dtype.name!r})",
                cause=DTypeError.IN_PLACE,
            )
        if new.shape != target.shape:
            fitted = len(new.shape) <= len(target.shape) and all(
                s == 1 or same_size(s, t) for s, t in zip(reversed(new.shape), reversed(target.shape), strict=False)
            )
            if not fitted:
                raise InPlaceError(
                    f"{what}: the result has shape {show_shape(new.shape)}, the array {show_shape(target.shape)}",
                    hint="an in-place op cannot change the shape; use the ordinary op",
                    cause=InPlaceError.SHAPE,
                )
            new = broadcast_to_shape(new, target.shape)
        context.write(target, astype(new, target.dtype))
        return self

    def __iadd__(self, other: Any) -> Any:
        return self._write(elementwise.add(self, other), "+=")

    def __isub__(self, other: Any) -> Any:
        return self._write(elementwise.subtract(self, other), "-=")

    def __imul__(self, other: Any) -> Any:
        return self._write(elementwise.multiply(self, other), "*=")

    def __itruediv__(self, other: Any) -> Any:
        return self._write(elementwise.divide(self, other), "/=")

    def __ifloordiv__(self, other: Any) -> Any:
        return self._write(elementwise.floor_divide(self, other), "//=")

    def __imod__(self, other: Any) -> Any:
        return self._write(elementwise.remainder(self, other), "%=")

    def __ipow__(self, other: Any) -> Any:
        return self._write(elementwise.pow(self, other), "**=")

    def __iand__(self, other: Any) -> Any:
        return self._write(elementwise.bitwise_and(self, other), "&=")

    def __ior__(self, other: Any) -> Any:
        return self._write(elementwise.bitwise_or(self, other), "|=")

    def __ixor__(self, other: Any) -> Any:
        return self._write(elementwise.bitwise_xor(self, other), "^=")

    def add_(self, other: ArrayLike, *, alpha: float = 1) -> Any:
        """self += alpha * other."""
        return self._write(elementwise.add(self, other if alpha == 1 else elementwise.multiply(other, alpha)), "add_")

    def sub_(self, other: ArrayLike, *, alpha: float = 1) -> Any:
        """self -= alpha * other."""
        return self._write(elementwise.subtract(self, other if alpha == 1 else elementwise.multiply(other, alpha)), "sub_")

    def mul_(self, other: ArrayLike) -> Any:
        """self *= other."""
        return self._write(elementwise.multiply(self, other), "mul_")

    def div_(self, other: ArrayLike) -> Any:
        """self /= other."""
        return self._write(elementwise.divide(self, other), "div_")

    def pow_(self, other: ArrayLike) -> Any:
        """self **= other."""
        return self._write(elementwise.pow(self, other), "pow_")

    def clamp_(self, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Any:
        """Limit the elements to [min, max]."""
        return self._write(elementwise.clip(self, min, max), "clamp_")

    def exp_(self) -> Any:
        """Replace the elements by their exponentials."""
        return self._write(elementwise.exp(self), "exp_")

    def sqrt_(self) -> Any:
        """Replace the elements by their square roots."""
        return self._write(elementwise.sqrt(self), "sqrt_")

    def neg_(self) -> Any:
        """Replace the elements by their opposites."""
        return self._write(elementwise.negative(self), "neg_")

    def copy_(self, other: ArrayLike) -> Any:
        """Take the elements of ``other``, broadcast and converted."""
        context = context_of((self, other))
        target = context.lift(self)
        (value,) = converted(context, [other], target.dtype)
        return self._write(value, "copy_")

    def fill_(self, value: float) -> Any:
        """Set every element to a scalar."""
        return self.copy_(value)

    def zero_(self) -> Any:
        """Set every element to 0."""
        return self.copy_(0)

    # Conversion and copies

    def astype(self, dtype: Any) -> Array:
        """The elements converted: floats to integers saturate, NaN gives 0."""
        return astype(self, as_dtype(dtype))

    def to(self, *targets: Any, device: Any = None, dtype: Any = None, copy: Bool = False) -> Any:
        """The array on another device, or of another dtype: ``x.to("cuda")``, ``x.to(gc.float64)``, ``x.to("cpu", gc.int32)``,
        ``x.to(other)`` for both as ``other`` has them. The array itself where it is so already, unless ``copy``.

        Gradients flow through. Raises DeviceError for a device that is not there.
        """
        for target in targets:
            if isinstance(target, Array):
                device, dtype = getattr(target, "device", None), target.dtype
            elif isinstance(target, str) and target not in _DTYPE_NAMES:
                device = target
            elif target is not None:
                dtype = target
        result = self if device is None else self._moved(device)
        if dtype is not None:
            result = result.astype(dtype)
        return result.copy() if copy and result is self else result

    def cuda(self, index: Int = 0) -> Any:
        """The array on a GPU: ``x.to("cuda")``."""
        return self._moved(f"cuda:{index}")

    def cpu(self) -> Any:
        """The array in the host's memory: ``x.to("cpu")``."""
        return self._moved("cpu")

    @abstractmethod
    def _moved(self, name: Any) -> Any:
        """The array on the device ``name``."""

    def float(self) -> Array:
        """Converted to float32."""
        return self.astype("float32")

    def double(self) -> Array:
        """Converted to float64."""
        return self.astype("float64")

    def half(self) -> Array:
        """Converted to float16."""
        return self.astype("float16")

    def int(self) -> Array:
        """Converted to int32."""
        return self.astype("int32")

    def long(self) -> Array:
        """Converted to int64."""
        return self.astype("int64")

    def bool(self) -> Array:
        """Converted to bool: whether each element is nonzero."""
        return elementwise.not_equal(self, 0) if self.dtype.kind != "bool" else self

    def copy(self) -> Array:
        """The same values in memory of its own; gradients flow through."""
        return creation.copy(self)

    def clone(self) -> Array:
        """PyTorch's name of :meth:`copy`."""
        return creation.copy(self)

    def contiguous(self) -> Array:
        """PyTorch's name; arrays may have any layout here, so this is the array itself."""
        return self

    # Shapes

    def reshape(self, *shape: Any) -> Array:
        """The same elements under another shape (see ``gc.reshape``)."""
        return movement.reshape(self, *shape)

    view = reshape

    def flatten(self, start_axis: Int = 0, end_axis: Int = -1) -> Array:
        """Axes merged into one (see ``gc.flatten``)."""
        return movement.flatten(self, start_axis, end_axis)

    def ravel(self) -> Array:
        """All elements along one axis."""
        return movement.ravel(self)

    def transpose(self, *axes: Any) -> Array:
        """Without arguments or with a full order as NumPy; ``x.transpose(a, b)`` on more dimensions exchanges two (PyTorch)."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], (list, tuple)) else axes
        if len(order) == 2 and self.ndim != 2:
            return movement.swapaxes(self, *order)
        return movement.permute_dims(self, tuple(order) if order else None)

    def permute(self, *axes: Any) -> Array:
        """The axes in another order."""
        return movement.permute_dims(self, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)

    def swapaxes(self, axis1: Int, axis2: Int) -> Array:
        """Two axes exchanged."""
        return movement.swapaxes(self, axis1, axis2)

    def t(self) -> Array:
        """The transpose of a matrix. Raises ShapeError above two dimensions."""
        if self.ndim > 2:
            raise ShapeError(
                f"t() takes at most two dimensions, not shape {show_shape(self.shape)}",
                hint="use .mT",
                cause=ShapeError.DIMENSIONS,
            )
        return movement.permute_dims(self)

    def squeeze(self, axis: Int | Sequence[Int] | None = None) -> Array:
        """Axes of size 1 removed."""
        return movement.squeeze(self, axis)

    def unsqueeze(self, axis: Int) -> Array:
        """A new axis of size 1."""
        return movement.expand_dims(self, axis)

    def expand(self, *shape: Any) -> Array:
        """Repeated to ``shape``; -1 keeps a size. A view that cannot be written."""
        sizes = movement.as_shape(shape[0] if len(shape) == 1 else shape)
        offset = len(sizes) - self.ndim
        kept = tuple(self.shape[i - offset] if s == -1 and i >= offset else s for i, s in enumerate(sizes))
        return movement.broadcast_to(self, kept)

    def repeat(self, *repetitions: Int) -> Array:
        """The whole array repeated along each axis (PyTorch's ``repeat``, NumPy's ``tile``)."""
        return movement.tile(self, repetitions)

    def flip(self, *axes: Int) -> Array:
        """The order along ``axes`` reversed."""
        return movement.flip(self, axes or None)

    def split(self, sections: Int | Sequence[Int], axis: Int = 0) -> tuple[Array, ...]:
        """Cut along an axis (see ``gc.split``)."""
        return movement.split(self, sections, axis)

    def chunk(self, chunks: Int, axis: Int = 0) -> tuple[Array, ...]:
        """Cut into at most ``chunks`` parts."""
        return movement.chunk(self, chunks, axis)

    # Reductions

    def sum(self, axis: Any = None, *, dtype: Any = None, keepdims: Bool = False) -> Array:
        """The sum over ``axis``."""
        return reduction.sum(self, axis, dtype=dtype, keepdims=keepdims)

    def prod(self, axis: Any = None, *, keepdims: Bool = False) -> Array:
        """The product over ``axis``."""
        return reduction.prod(self, axis, keepdims=keepdims)

    def mean(self, axis: Any = None, *, dtype: Any = None, keepdims: Bool = False) -> Array:
        """The mean over ``axis``."""
        return reduction.mean(self, axis, dtype=dtype, keepdims=keepdims)

    def var(self, axis: Any = None, *, correction: Float = 0, keepdims: Bool = False) -> Array:
        """The variance over ``axis``."""
        return reduction.var(self, axis, correction=correction, keepdims=keepdims)

    def std(self, axis: Any = None, *, correction: Float = 0, keepdims: Bool = False) -> Array:
        """The standard deviation over ``axis``."""
        return reduction.std(self, axis, correction=correction, keepdims=keepdims)

    def max(self, axis: Any = None, *, keepdims: Bool = False) -> Array:
        """The largest element over ``axis``."""
        return reduction.max(self, axis, keepdims=keepdims)

    def min(self, axis: Any = None, *, keepdims: Bool = False) -> Array:
        """The smallest element over ``axis``."""
        return reduction.min(self, axis, keepdims=keepdims)

    def any(self, axis: Any = None, *, keepdims: Bool = False) -> Array:
        """Whether any element is true."""
        return reduction.any(self, axis, keepdims=keepdims)

    def all(self, axis: Any = None, *, keepdims: Bool = False) -> Array:
        """Whether all elements are true."""
        return reduction.all(self, axis, keepdims=keepdims)

    def argmax(self, axis: Any = None, *, keepdims: Bool = False) -> Array:
        """The position of the first largest element."""
        return reduction.argmax(self, axis, keepdims=keepdims)

    def argmin(self, axis: Any = None, *, keepdims: Bool = False) -> Array:
        """The position of the first smallest element."""
        return reduction.argmin(self, axis, keepdims=keepdims)

    def cumsum(self, axis: Any = None) -> Array:
        """Running sums along ``axis``."""
        return reduction.cumulative_sum(self, axis)

    def norm(self, ord: Any = None, axis: Any = None, *, keepdims: Bool = False) -> Array:
        """A vector norm over ``axis``."""
        return reduction.norm(self, ord, axis, keepdims=keepdims)

    # Elementwise

    def exp(self) -> Array:
        """e to each element."""
        return elementwise.exp(self)

    def log(self) -> Array:
        """The natural logarithm of each element."""
        return elementwise.log(self)

    def sqrt(self) -> Array:
        """The square root of each element."""
        return elementwise.sqrt(self)

    def tanh(self) -> Array:
        """The hyperbolic tangent of each element."""
        return elementwise.tanh(self)

    def sigmoid(self) -> Array:
        """1 / (1 + exp(-x)) of each element."""
        return elementwise.sigmoid(self)

    def relu(self) -> Array:
        """max(x, 0) of each element."""
        return elementwise.maximum(self, 0)

    def sin(self) -> Array:
        """The sine of each element."""
        return elementwise.sin(self)

    def cos(self) -> Array:
        """The cosine of each element."""
        return elementwise.cos(self)

    def abs(self) -> Array:
        """The absolute value of each element."""
        return elementwise.absolute(self)

    def pow(self, exponent: ArrayLike) -> Array:
        """Each element to a power."""
        return elementwise.pow(self, exponent)

    def clip(self, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Array:
        """Each element limited to [min, max]."""
        return elementwise.clip(self, min, max)

    clamp = clip

    def softmax(self, axis: Any = -1) -> Array:
        """exp(x) / sum(exp(x)) over ``axis``."""
        return activations.softmax(self, axis)

    def log_softmax(self, axis: Any = -1) -> Array:
        """The logarithm of the softmax over ``axis``."""
        return activations.log_softmax(self, axis)

    def sort(self, axis: Any = -1, *, descending: Bool = False) -> Array:
        """The elements in order along ``axis``: a new array."""
        return sorting.sort(self, axis, descending=descending)

    def argsort(self, axis: Any = -1, *, descending: Bool = False) -> Array:
        """The positions that sort the array along ``axis``."""
        return sorting.argsort(self, axis, descending=descending)

    def topk(self, k: Int, axis: Int = -1, *, largest: Bool = True) -> sorting.TopK:
        """The ``k`` largest (or smallest) elements along ``axis`` and their positions."""
        return sorting.topk(self, k, axis, largest=largest)

    def masked_fill(self, mask: ArrayLike, value: ArrayLike) -> Array:
        """A copy with ``value`` where ``mask`` is true."""
        return elementwise.where(mask, value, self)

    def matmul(self, other: ArrayLike) -> Array:
        """The matrix product self @ other."""
        return linalg.matmul(self, other)

    def dot(self, other: ArrayLike) -> Array:
        """NumPy's dot product."""
        return linalg.dot(self, other)


_DTYPE_NAMES = frozenset(name for dtype in ALL for name in (dtype.name, dtype.short))
