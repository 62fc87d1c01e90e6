"""Literals inside rules: computing with them and asking what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.rewrite.pattern import constant_of, splat_of


def map_literal(b: Builder, c: Value, function: Callable[[Any], Any]) -> Value:
    """``function`` of the literal ``c``, element by element, broadcast as ``c`` is. The dtype stays."""
    array = constant_of(c)
    assert array is not None, "the pattern promised a literal"
    with np.errstate(all="ignore"):
        result = b.constant(np.asarray(function(array)).astype(array.dtype))
    if c.node.op.name == "broadcast_in_dim":
        return b.emit_one("broadcast_in_dim", result, **c.node.attributes)
    return result


def every(c: Value, predicate: Callable[[Any], Any]) -> bool:
    """Whether ``predicate`` holds for each element of the literal ``c``."""
    array = constant_of(c)
    assert array is not None, "the pattern promised a literal"
    with np.errstate(all="ignore"):
        return bool(np.all(predicate(array)))


def is_lowest(c: Value) -> bool:
    """Whether the literal ``c`` is the least value of its dtype everywhere (-inf for floats)."""
    return every(c, lambda a: a == lowest_of(c))


def is_highest(c: Value) -> bool:
    """Whether the literal ``c`` is the greatest value of its dtype everywhere (inf for floats)."""
    return every(c, lambda a: a == highest_of(c))


def lowest_of(x: Value) -> Any:
    """The least value of the dtype of ``x``."""
    if x.dtype.is_floating:
        return -np.inf
    return False if x.dtype.is_bool else np.iinfo(x.dtype.numpy).min


def highest_of(x: Value) -> Any:
    """The greatest value of the dtype of ``x``."""
    if x.dtype.is_floating:
        return np.inf
    return True if x.dtype.is_bool else np.iinfo(x.dtype.numpy).max


def has_exact_reciprocal(c: Value) -> bool:
    """Whether multiplying by 1/c gives the bits that dividing by ``c`` does: a power of two, its reciprocal normal."""

    def check(array: Any) -> Any:
        wide = array.astype(np.float64)
        mantissa, _ = np.frexp(wide)
        reciprocal = (1.0 / wide).astype(array.dtype)
        tiny = _smallest_normal(c)
        normal = (np.abs(wide) >= tiny) & (np.abs(reciprocal.astype(np.float64)) >= tiny)
        return (np.abs(mantissa) == 0.5) & normal & np.isfinite(wide) & np.isfinite(reciprocal.astype(np.float64))

    return every(c, check)


def _smallest_normal(c: Value) -> float:
    if c.dtype.name == "bfloat16":
        return float(np.finfo(np.float32).tiny)
    return float(np.finfo(c.dtype.numpy).tiny)


def power_of_two_exponent(c: Value) -> int | None:
    """k where every element of the integer literal ``c`` is 2 to the k, k ≥ 1; None otherwise."""
    scalar = splat_of(c)
    if scalar is None or not c.dtype.is_integer:
        return None
    number = int(scalar)
    return number.bit_length() - 1 if number >= 2 and number & (number - 1) == 0 else None
