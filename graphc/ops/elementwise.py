"""What the elementwise primitives share: the type rule, the evaluation of 16-bit floats, and small pieces of VJP rules.

An elementwise primitive is strict: its operands have one shape and (but for `select`) one dtype, and so has its result,
except where it is a predicate. Broadcasting and promotion are nodes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import DType, bool_
from graphc.errors import DTypeError, ShapeError
from graphc.ir.primitive import Primitive, Residuals, ScalarHandler
from graphc.ir.types import TensorType
from graphc.ops.batching import all_mapped
from graphc.ops.checking import NoGradient, describe, take
from graphc.ops.quiet import quietly

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Node, Value

FLOATS = ("float",)
INTEGERS = ("int", "uint")
NUMBERS = ("int", "uint", "float")
BITS = ("bool", "int", "uint")
ANYTHING = ("bool", "int", "uint", "float")

READS_OPERAND = Residuals(operands=(0,))
READS_OPERANDS = Residuals(operands=(0, 1))
READS_RESULT = Residuals(results=(0,))

_KIND_WORDS = {FLOATS: "floats", INTEGERS: "integers", NUMBERS: "integers and floats", BITS: "bools and integers"}
_HINTS = {
    FLOATS: "convert the operands with convert_element_type, for example to float32",
    INTEGERS: "convert the operands with convert_element_type, for example to int64",
    NUMBERS: "convert the operands with convert_element_type, or use a bitwise op on bools",
    BITS: "compare the operands to get bools, or convert them to an integer dtype",
}


class Elementwise(Primitive):
    """Base of the primitives that work element by element.

    Class attributes: ``arity``; ``accepts``: the kinds of dtypes that the operands may have; ``predicate``: the result
    is bool; ``function``: the NumPy function that ``evaluate`` applies, unless ``compute`` is overridden.
    """

    elementwise = True
    arity: ClassVar[int] = 1
    accepts: ClassVar[tuple[str, ...]] = FLOATS
    predicate: ClassVar[bool] = False
    function: ClassVar[Callable[..., Any]]

    def infer(self, inputs: tuple[TensorType, ...], /, **attributes: Any) -> tuple[TensorType, ...]:
        take(self.name, inputs, self.arity)
        require_same(self.name, inputs)
        if inputs[0].dtype.kind not in self.accepts:
            raise DTypeError(
                f"{self.name}: takes {_KIND_WORDS[self.accepts]}, not {describe(inputs)}", hint=_HINTS[self.accepts]
            )
        return (inputs[0].with_dtype(bool_) if self.predicate else inputs[0],)

    def evaluate(self, *arrays: Any, **attributes: Any) -> Any:
        narrow = narrow_float(arrays[0])
        if narrow is None:
            return np.asarray(quietly(self.compute, *arrays, **attributes))
        return quietly(self._compute_wide, narrow, *arrays, **attributes)

    def _compute_wide(self, narrow: np.dtype[Any], *arrays: Any, **attributes: Any) -> Any:
        result = np.asarray(self.compute(*(a.astype(np.float32) for a in arrays), **attributes))
        return result if self.predicate else result.astype(narrow)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return b.emit(self, *all_mapped(b, node, operands, size), **node.attributes)

    def compute(self, *arrays: Any, **attributes: Any) -> Any:
        """``evaluate`` on arrays of the dtype that arithmetic is done in, with floating-point warnings off."""
        return type(self).function(*arrays)

    def ufunc(self, dtype: DType) -> np.ufunc | None:
        """The NumPy function that alone is ``evaluate`` on arrays of ``dtype``; None where there is more to it."""
        plain = type(self).compute is Elementwise.compute and type(self).evaluate is Elementwise.evaluate
        if not plain or dtype.kind not in self.accepts or dtype.compute is not dtype:
            return None
        return self.function if isinstance(self.function, np.ufunc) else None


class Unary(Elementwise):
    """Base of the primitives with one operand.

    Subclasses give ``gradient``, and ``scalar`` where it is not the math function of the primitive's name.
    """

    residuals: ClassVar[Residuals] = READS_OPERAND

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (ct,) = cotangents
        if ct is None or not needed[0] or not node.inputs[0].dtype.is_inexact:
            return (None,)
        return (self.gradient(b, ct, node.results[0] if self.residuals.results else node.inputs[0]),)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        """The operand's cotangent; ``read`` is the result where ``residuals`` names it, otherwise the operand."""
        raise NotImplementedError

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.math(self.name, *operands)


class Stepwise(NoGradient, Elementwise):
    """Base of the primitives whose result is constant wherever it is smooth: no gradient flows."""


def require_same(name: str, inputs: Sequence[TensorType]) -> None:
    """Raise DTypeError or ShapeError unless all ``inputs`` are of one type."""
    first = inputs[0]
    if all(t == first for t in inputs):
        return
    if any(t.dtype is not first.dtype for t in inputs):
        raise DTypeError(
            f"{name}: operands have dtypes {join_words([t.dtype.name for t in inputs])}: {describe(inputs)}",
            hint="convert them to one dtype with convert_element_type; the array functions promote by themselves",
            cause=DTypeError.PROMOTION,
        )
    require_same_shape(name, inputs)


def require_same_shape(name: str, inputs: Sequence[TensorType]) -> None:
    """Raise ShapeError unless all ``inputs`` are of one shape."""
    if all(t.shape == inputs[0].shape for t in inputs):
        return
    shapes = [f"({', '.join(map(str, t.shape))}{',' * (t.ndim == 1)})" for t in inputs]
    raise ShapeError(
        f"{name}: operands have shapes {join_words(shapes)}: {describe(inputs)}",
        hint="bring them to one shape with broadcast_in_dim; the array functions broadcast by themselves",
        cause=ShapeError.BROADCAST,
    )


def join_words(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def narrow_float(array: Any) -> np.dtype[Any] | None:
    """The dtype of ``array`` if it is a 16-bit float, which arithmetic is not done in; None otherwise."""
    dtype: np.dtype[Any] = array.dtype
    return dtype if dtype.itemsize == 2 and dtype.kind not in "iu" else None


def rounded(array: Any, dtype: np.dtype[Any]) -> Any:
    """``array`` in ``dtype``, in which it was computed unless that is a 16-bit float."""
    return array if array.dtype == dtype else quietly(array.astype, dtype)


def scaled(b: Builder, x: Value, factor: float) -> Value:
    """``factor * x``, for floats."""
    return b.emit_one("mul", x, b.full_like(x, factor))


def one_minus_square(b: Builder, x: Value) -> Value:
    """``1 - x²``, as (1 - x)(1 + x) so that nothing cancels near ±1."""
    one = b.full_like(x, 1.0)
    return b.emit_one("mul", b.sub(one, x), b.add(one, x))
