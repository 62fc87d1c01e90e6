"""The primitives, one module per family. Importing this package fills the registry."""

from types import ModuleType

from graphc.ir.primitive import primitives
from graphc.ops import (
    core,
    cumulative,
    elementwise_binary,
    elementwise_bitwise,
    elementwise_select,
    elementwise_trigonometric,
    elementwise_unary,
    movement,
    reduction,
    special,
)

FAMILIES: tuple[ModuleType, ...] = (
    core,
    elementwise_unary,
    elementwise_trigonometric,
    elementwise_binary,
    elementwise_bitwise,
    elementwise_select,
    special,
    movement,
    reduction,
    cumulative,
)


def names() -> tuple[str, ...]:
    """The names of all primitives, sorted."""
    return tuple(sorted(primitives()))
