"""Types of inputs that are not there yet: ``gc.spec("f32[batch, 784]")``."""

from __future__ import annotations

from typing import Any

from graphc.dtypes import as_dtype
from graphc.frontends.arguments import as_int, as_list
from graphc.ir.spec import parse_type
from graphc.ir.types import TensorType


class Spec:
    """The dtype and shape of an input; a named size is symbolic. Passed to ``f.graph`` and ``f.lower`` in place of an array."""

    __slots__ = ("requires_grad", "type", "weak")

    def __init__(self, type_: TensorType) -> None:
        self.type = type_
        self.weak = False
        self.requires_grad = False

    def __repr__(self) -> str:
        return f'gc.spec("{self.type}")'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.type == other.type

    def __hash__(self) -> int:
        return hash(self.type)


def spec(text_or_shape: Any, dtype: Any = None) -> Spec:
    """``spec("f32[batch, 784]")``, or ``spec((32, 784), gc.float32)``, or the spec of an array.

    Raises ParseError, with the position, for text that is not a type.
    """
    if isinstance(text_or_shape, str):
        return Spec(parse_type(text_or_shape))
    if isinstance(text_or_shape, TensorType):
        return Spec(text_or_shape)
    if dtype is None and hasattr(text_or_shape, "shape"):
        return Spec(TensorType(as_dtype(text_or_shape.dtype), text_or_shape.shape))
    return Spec(TensorType(as_dtype("float32" if dtype is None else dtype), _sizes(text_or_shape)))


def _sizes(shape: Any) -> tuple[Any, ...]:
    sizes = as_list(shape, "spec: the shape", "sizes")
    return tuple([size if isinstance(size, str) else as_int(size, "spec: a size") for size in sizes])
