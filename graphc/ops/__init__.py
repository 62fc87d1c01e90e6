"""The primitives, one module per family. Importing this package fills the registry."""

from types import ModuleType

from graphc.ir.primitive import primitives
from graphc.ops import (
    attention,
    contraction,
    control_flow,
    convolution,
    core,
    cumulative,
    elementwise_binary,
    elementwise_bitwise,
    elementwise_select,
    elementwise_trigonometric,
    elementwise_unary,
    indexing,
    movement,
    random,
    recompute,
    reduction,
    sorting,
    special,
    window,
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
    indexing,
    sorting,
    contraction,
    convolution,
    attention,
    window,
    random,
    control_flow,
    recompute,
)


def names() -> tuple[str, ...]:
    """The names of all primitives, sorted."""
    return tuple(sorted(primitives()))
