"""What a primitive is, and the registry of all of them.

A primitive is a class with its rules in a fixed order: docstring, ``infer``, ``evaluate``, ``vjp``, ``batch``, ``scalar``.
Adding one is writing the class in its family's module under ``graphc/ops`` and decorating it with :func:`register`, which
refuses a class that lacks a required rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from graphc.dtypes import DType
from graphc.errors import ArgumentError
from graphc.ir.types import TensorType

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Graph, Node, Value

ALL = -1  # in Residuals: every operand (result) of an op with a variable number of them


class Residuals(NamedTuple):
    """What a VJP rule reads of the forward values: operand and result positions. Types are always at hand and not listed."""

    operands: tuple[int, ...] = ()
    results: tuple[int, ...] = ()


NOTHING = Residuals()


class ScalarExpr(Protocol):
    """A typed scalar in a kernel's body, as a backend or an analysis represents it."""

    @property
    def dtype(self) -> DType: ...


class ScalarHandler(Protocol):
    """What an elementwise body is written in. A backend passes one that emits code, an analysis one that counts.

    All operands of a call have equal dtypes unless said otherwise. 16-bit floats never reach a handler: loads widen them.
    """

    def constant(self, value: bool | int | float, dtype: DType) -> Any: ...
    def convert(self, x: Any, dtype: DType) -> Any: ...
    def binary(self, op: str, x: Any, y: Any) -> Any:
        """``op`` in + - * / & | ^ << >> (wrapping integers; shifts by less than the width; / on floats only)."""

    def compare(self, op: str, x: Any, y: Any) -> Any:
        """``op`` in == != < <= > >=; gives a bool. Comparisons with NaN are false, != true."""

    def select(self, predicate: Any, on_true: Any, on_false: Any) -> Any: ...
    def invert(self, x: Any) -> Any:
        """Bitwise (bool: logical) not."""

    def math(self, function: str, *operands: Any) -> Any:
        """A named scalar function on floats: exp, log, floor, maximum, … The names are those of the primitives.

        Besides them: ``fmod`` (C's, exact, the sign of x) and ``polygamma`` (x, then n as a float constant) on floats;
        on integers ``ipow`` (wrapping; the exponent is not negative), and ``idiv`` and ``irem`` (quotient rounded down and
        remainder with the divisor's sign; the divisor is never 0 and, if signed, never -1).
        """


class Primitive:
    """Base class of all primitives. Subclasses are stateless; one instance of each is in the registry.

    Class attributes: ``name``; ``attributes``: the names of the static arguments, in printing order (all are required when a
    node is made, unless ``defaults`` has them); ``effect``: the op must run even if nothing reads its results, in order with
    other effects; ``residuals``: what ``vjp`` reads; ``regions``: the attributes that hold graphs which are parts of the graph
    around them, and share its sizes (a graph that is called has sizes of its own); ``varies``: the examples of a batch have
    results of their own even where no operand is mapped, as random numbers do.
    """

    name: ClassVar[str] = ""
    attributes: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, Any]] = {}
    effect: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    residuals: ClassVar[Residuals] = NOTHING
    regions: ClassVar[tuple[str, ...]] = ()
    varies: ClassVar[bool] = False

    def infer(self, inputs: tuple[TensorType, ...], /, **attributes: Any) -> tuple[TensorType, ...]:
        """The result types. Raises a ShapeError, DTypeError, AxisError or ArgumentError that names the op and the types."""
        raise NotImplementedError

    def evaluate(self, *arrays: Any, **attributes: Any) -> Any:
        """The op on NumPy arrays: the oracle that every backend is judged by. An array, or a tuple for several results.

        Results may share memory with operands only where the op is a view (reshape, transpose, slice, reverse, broadcast).
        """
        raise NotImplementedError

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """Cotangents of the operands, built with ``b`` from ordinary ops; None = no gradient flows.

        ``cotangents`` has one value a result, None where no gradient arrives (never all None); ``needed`` says for which
        operands a gradient is wanted. Reads only the forward values that ``residuals`` declares.
        """
        raise NotImplementedError

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        """The part of ``residuals`` that is read when only the gradients ``needed`` are wanted."""
        return self.residuals

    def jvp(self, b: Builder, node: Node, tangents: Sequence[Value | None]) -> Sequence[Value | None]:
        """Tangents of the results, from those of the operands (None: zero; never all None); None = no tangent.

        Optional: without a rule of its own an op is differentiated forwards through its ``vjp``, which is linear in the
        cotangents. It is for ops that have no ``vjp`` for all they can do, or a much shorter forward derivative.
        """
        raise NotImplementedError

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        """The results for a whole batch of ``size`` examples, built with ``b`` from ordinary ops: what ``vmap`` asks.

        ``operands`` are those of ``node``, at least one of them with one axis more than there, axis 0: the example (see
        :mod:`graphc.ops.batching`). So are the results; one that has the type it has in ``node`` is equal for all examples.
        """
        raise NotImplementedError

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        """Elementwise ops only: the body on one element, written with the handler ``h``."""
        raise NotImplementedError

    def error_name(self) -> str:
        """How error messages call the op."""
        return self.name

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (get_primitive, (self.name,))


_REGISTRY: dict[str, Primitive] = {}
P = TypeVar("P", bound=type[Primitive])


def register(cls: P) -> P:
    """Class decorator: check that the rules are complete and put an instance into the registry.

    Raises TypeError at import for a class without a name, docstring, ``infer``, ``evaluate``, ``vjp`` or ``batch`` rule (one
    may be inherited from a family's base class), and for an elementwise class without ``scalar``.
    """
    required = ["infer", "evaluate", "vjp", "batch"] + (["scalar"] if cls.elementwise else [])
    missing = [rule for rule in required if getattr(cls, rule) is getattr(Primitive, rule)]
    if not cls.name or not cls.__doc__ or missing:
        lacking = missing or ["a name or docstring"]
        explained = "; docs/add_a_primitive.md says what each rule is for" if missing else ""
        raise TypeError(f"primitive {cls.__name__} lacks {', '.join(lacking)}{explained}")
    if cls.name in _REGISTRY:
        raise TypeError(f"two primitives are named {cls.name!r}")
    _REGISTRY[cls.name] = cls()
    return cls


def get_primitive(name: str) -> Primitive:
    """The primitive called ``name``; raises ArgumentError where there is none."""
    try:
        return _REGISTRY[name]
    except KeyError:
        raise ArgumentError(
            f"there is no primitive called {name!r}", hint="see graphc.ops.names() for all of them"
        ) from None


def primitives() -> dict[str, Primitive]:
    """Name → primitive, for all that are registered."""
    return dict(_REGISTRY)


class SubgraphDifferentiator(Protocol):
    """How the VJP of an op that holds graphs differentiates them: the differentiate pass hands itself in."""

    def __call__(self, graph: Graph, wrt: Sequence[int], seeds: Sequence[int]) -> Graph:
        """(parameters, cotangents of the outputs ``seeds``) → gradients of the parameters ``wrt``."""



class SubgraphVectorizer(Protocol):
    """How the batch rule of an op that holds graphs vectorizes them: the vectorize pass hands itself in."""

    def __call__(self, graph: Graph, mapped: Sequence[bool], size: Dim) -> Graph:
        """``graph`` with an axis of ``size`` in front of the ``mapped`` parameters, and of the outputs that depend on them."""


class SubgraphForwardDifferentiator(Protocol):
    """How the JVP of an op that holds graphs differentiates them forwards: the pass hands itself in."""

    def __call__(self, graph: Graph, wrt: Sequence[int], outputs: Sequence[int]) -> Graph:
        """(parameters, tangents of the parameters ``wrt``) → tangents of ``outputs``."""
