"""Arrays that stand for values of a graph under construction.

Functions, operators, views and writes on a :class:`Tracer` emit IR nodes into the graph of its context (see
:mod:`graphc.frontends.symbolic`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from graphc.dtypes import DType
from graphc.errors import ConcretizationError, GradientError, TraceError
from graphc.frontends.array.methods import ArrayMethods
from graphc.frontends.dispatch import Array
from graphc.frontends.placement import CPU, device
from graphc.frontends.sizes import Size
from graphc.frontends.storage import Chain, Storage, apply_chain
from graphc.ir.graph import Value
from graphc.ir.types import TensorType
from graphc.locations import Location, is_internal_code
from graphc.runtime.devices import canonical_name

if TYPE_CHECKING:
    from graphc.frontends.symbolic import GraphContext

_UNKNOWN = object()
#: What needs a truth value, in messages.
INDEX = "an index, size or range()"
CONDITION = "a Python `if`, `while`, `and`, `or`, `not`, `assert` or bool()"


class Tracer(ArrayMethods):
    """An array of a graph under construction: it has a type, and a value only when the graph runs."""

    __slots__ = (
        "__weakref__", "_chain", "_concrete", "_is_leaf", "_requires_grad", "_roots", "_seen", "_storage", "_type", "_value",
        "_wide", "context", "location", "weak",
    )  # fmt: skip
    __array_priority__ = 2000
    context: GraphContext
    NO_VALUE: ClassVar[Any] = _UNKNOWN  # what `_concrete` is for all but Python arguments and literals

    def __init__(self, context: GraphContext, value: Value, storage: Storage | None = None, chain: Chain = ()) -> None:
        self.context = context
        self._value = value
        self._type = value.type
        self._storage = Storage(value, value.type) if storage is None else storage
        self._chain = chain
        self._seen = self._storage.written
        self._requires_grad = False
        self._is_leaf = False
        self._concrete: Any = _UNKNOWN
        self._roots: tuple[Tracer, ...] = ()
        self._wide: Value | None = None  # a Python float in full precision, for use with float64 arrays
        self.weak = False
        self.location = value.node.location

    @property
    def type(self) -> TensorType:
        sizes = self.context.sizes
        return self._type if sizes is None else sizes.type(self._type)

    def made_at(self) -> Location | None:
        """The user's line that made it."""
        return self.location

    @property
    def dtype(self) -> DType:
        return self._type.dtype

    @property
    def shape(self) -> tuple[Any, ...]:
        """The sizes. A size that may differ from call to call is a :class:`~graphc.frontends.sizes.Size` to the user's code,
        whose questions about it become guards, and an expression to graphc's own, which asks none that it does not mean."""
        sizes = self.context.sizes
        if sizes is None:
            return self._type.shape
        shape = sizes.type(self._type).shape
        return shape if is_internal_code(sys._getframe(1).f_code) else sizes.shown(shape)

    @property
    def size(self) -> Any:
        """The number of elements."""
        size, sizes = self.type.size, self.context.sizes
        if sizes is None or isinstance(size, int) or is_internal_code(sys._getframe(1).f_code):
            return size
        return Size(sizes, size)

    @property
    def device(self) -> device:
        """Where the graph will run, where that is known: a static graph's Session decides."""
        return CPU if self.context.device is None else device(self.context.device)

    @property
    def is_cuda(self) -> bool:
        """Whether the graph will run on a GPU."""
        return self.device.type == "cuda"

    def _moved(self, name: Any) -> Any:
        wanted, here = canonical_name(name), self.context.device
        if here is not None and wanted != here:
            raise TraceError(
                f"an array of type {self.type} was to be moved to {wanted} within a traced function that runs on {here}",
                hint="a traced function runs on the device of its arguments: move them before the call",
            )
        return self

    @property
    def value(self) -> Value:
        """The IR value it stands for now: after a write through a view, the newest."""
        self.context.check_usable(self)
        if self._storage.written != self._seen:
            self._seen = self._storage.written
            self._value = apply_chain(self._storage.value, self._chain, self.context.emit)
        sizes = self.context.sizes
        if sizes is not None and sizes.equal and self._value.type != (type_ := sizes.type(self._type)):
            self._value = self.context.emit("reshape", self._value, shape=type_.shape)  # the same sizes, by a guard
        return self._value

    @property
    def parameter_dtype(self) -> DType:
        """The dtype in which the graph takes it: Python floats come in float64."""
        return self.dtype if self._wide is None else self._wide.dtype

    # Autograd inside a graph

    @property
    def requires_grad(self) -> bool:
        """Whether a leaf that requires a gradient flows into this value."""
        return self._requires_grad

    def requires_grad_(self, requires_grad: bool = True) -> Tracer:
        """Make this value a leaf of differentiation (or stop it being one)."""
        if requires_grad and not self.dtype.is_inexact:
            raise GradientError(
                f"only floating arrays can require gradients, not {self.type}", cause=GradientError.NOT_FLOATING
            )
        self._requires_grad = requires_grad
        self._is_leaf = requires_grad
        if requires_grad:
            self.context.add_leaf(self)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it is a leaf of differentiation, or takes no part in it."""
        return self._is_leaf or not self._requires_grad

    @property
    def grad(self) -> Any:
        """The gradient accumulated by ``backward()`` within this graph."""
        return self.context.gradient_of(self)

    @grad.setter
    def grad(self, value: Any) -> None:
        self.context.set_gradient_of(self, value)

    def backward(self, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Accumulate gradients into the leaves, as nodes of this graph."""
        self.context.backward(self, gradient)
        if not (retain_graph or create_graph):
            self.context.consumed.add(self.value)

    def detach(self) -> Array:
        """A view of the same value through which no gradient flows."""
        return self.context.stop_gradient(self)

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate value."""
        self.context.add_leaf(self)

    # What only a run can know

    def _needs_value(self, what: str) -> Any:
        if self._concrete is not _UNKNOWN:
            self.context.specialize(self._roots)
            return self._concrete
        self.context.concretize(self, what)

    def _write(self, value: Any, what: str) -> Any:
        if self.weak and isinstance(value, Array):  # a Python number, which does not change: `n += 1` makes another one
            return value
        return super()._write(value, what)

    def __bool__(self) -> bool:
        return bool(self._needs_value(CONDITION))

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise ConcretizationError(
                f"only an integer can be used as an index or size, not {self.type}", cause=ConcretizationError.INDEX
            )
        return int(self._needs_value(INDEX))

    def __int__(self) -> int:
        return int(self._needs_value("int()"))

    def __float__(self) -> float:
        return float(self._needs_value("float()"))

    def item(self) -> Any:
        """The only element; known while building the graph only for Python arguments."""
        return self._needs_value(".item()")

    def tolist(self) -> Any:
        """Unknown while the graph is built."""
        return self._needs_value(".tolist()")

    def numpy(self) -> NoReturn:
        """Unknown while the graph is built."""
        self.context.concretize(self, ".numpy()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        self.context.concretize(self, "np.asarray() or a NumPy function")

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Array:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Array:
        return self.copy()

    def __reduce__(self) -> NoReturn:
        self.context.concretize(self, "pickle")

    def __repr__(self) -> str:
        name = self._value.node.name
        return f"<{self.context.describe()} array{' ' + name if name else ''} {self.type}>"

    def __format__(self, spec: str) -> str:
        return repr(self)
