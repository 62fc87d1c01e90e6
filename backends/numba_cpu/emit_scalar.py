"""The scalar instructions of a kernel's body as Python text that Numba compiles with the rules of the primitives.

Numba widens narrow integers to 64 bits; a cast after each op brings them back, and LLVM then works at the narrow width:

>>> i8_sum = Instruction("binary", int8, (0, 1), "+")
>>> expression(i8_sum, ["v0", "v1"], [int8, int8])
'i8(v0 + v1)'
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from graphc.dtypes import DType, int64
from graphc.errors import BackendError
from graphc.loops.body import Instruction

#: Functions that have one name for both float types; every other has one for each: exp_f32, exp_f64.
_GENERIC: Final = {
    "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "rint", "sqrt": "sqrt", "abs": "fabs",
    "maximum": "fmaximum", "minimum": "fminimum",
}  # fmt: skip
_INFIX_ON_INTEGERS: Final = {"idiv": "//", "irem": "%"}


def literal(value: bool | int | float, dtype: DType) -> str:
    """``value`` as a constant of ``dtype``: ``f32(0.1)``."""
    if dtype.is_bool:
        return str(bool(value))
    if dtype.is_integer:
        return f"{dtype.short}({int(value)})"
    with np.errstate(over="ignore"):
        rounded = np.float32(value) if dtype.bits == 32 else np.float64(value)
    return f"{dtype.short}({rounded!s})"


def load(buffer: str, position: str, dtype: DType) -> str:
    """Read an element that is ``dtype`` in memory."""
    return from_memory(f"{buffer}[{position}]", dtype)


def from_memory(element: str, dtype: DType) -> str:
    """An element as it is in memory, where it is ``dtype``, as a value."""
    if dtype.compute is not dtype:
        return f"{dtype.short}_to_f32({element})"
    return f"{element} != 0" if dtype.is_bool else element


def store(buffer: str, position: str, value: str, dtype: DType) -> str:
    """Write ``value`` to an element that is ``dtype`` in memory."""
    return f"{buffer}[{position}] = {to_memory(value, dtype)}"


def to_memory(value: str, dtype: DType) -> str:
    """``value`` as an element is in memory, where it is ``dtype``."""
    if dtype.compute is not dtype:
        return f"f32_to_{dtype.short}({value})"
    return f"u8({value})" if dtype.is_bool else value


def expression(instruction: Instruction, operands: Sequence[str], dtypes: Sequence[DType]) -> str:
    """The right-hand side for ``instruction`` (not a load or index), given the names and dtypes of its operands."""
    return _KINDS[instruction.kind](instruction, operands, dtypes)


def _constant(instruction: Instruction, operands: Sequence[str], dtypes: Sequence[DType]) -> str:
    return literal(instruction.detail, instruction.dtype)


def _convert(instruction: Instruction, operands: Sequence[str], dtypes: Sequence[DType]) -> str:
    (x,), (source,), target = operands, dtypes, instruction.dtype
    if target.is_bool:
        return f"{x} != {literal(0, source)}"
    if source.is_bool:
        return f"{literal(1, target)} if {x} else {literal(0, target)}"
    if source.is_floating and target.is_integer:
        return f"float_to_{target.short}_sat({x})"
    return f"{target.short}({x})"


def _binary(instruction: Instruction, operands: Sequence[str], dtypes: Sequence[DType]) -> str:
    x, y = operands
    if instruction.dtype is int64 and instruction.detail in ("+", "-", "*"):
        x, y = f"u64({x})", f"u64({y})"  # Numba tells LLVM that signed overflow cannot happen; here it wraps
    text = f"{x} {instruction.detail} {y}"
    return f"{instruction.dtype.short}({text})" if instruction.dtype.is_integer else text


def _compare(instruction: Instruction, operands: Sequence[str], dtypes: Sequence[DType]) -> str:
    return f"{operands[0]} {instruction.detail} {operands[1]}"


def _select(instruction: Instruction, operands: Sequence[str], dtypes: Sequence[DType]) -> str:
    predicate, on_true, on_false = operands
    return f"{on_true} if {predicate} else {on_false}"


def _invert(instruction: Instruction, operands: Sequence[str], dtypes: Sequence[DType]) -> str:
    return f"not {operands[0]}" if instruction.dtype.is_bool else f"{instruction.dtype.short}(~{operands[0]})"


def _math(instruction: Instruction, operands: Sequence[str], dtypes: Sequence[DType]) -> str:
    function, short = instruction.detail, dtypes[0].short
    if function in _INFIX_ON_INTEGERS:
        return f"{short}({operands[0]} {_INFIX_ON_INTEGERS[function]} {operands[1]})"
    if not dtypes[0].is_floating and function != "ipow":
        raise BackendError(f"there is no scalar function {function!r} on {dtypes[0]}")
    name = _GENERIC.get(function, f"{function}_{short}")
    return f"{name}({', '.join(operands)})"


def _round(instruction: Instruction, operands: Sequence[str], dtypes: Sequence[DType]) -> str:
    short = instruction.detail.short
    return f"{short}_to_f32(f32_to_{short}({operands[0]}))"


_KINDS: Final[dict[str, Callable[[Instruction, Sequence[str], Sequence[DType]], str]]] = {
    "constant": _constant,
    "convert": _convert,
    "binary": _binary,
    "compare": _compare,
    "select": _select,
    "invert": _invert,
    "math": _math,
    "round": _round,
}


def identity(op: str, dtype: DType) -> str:
    """The literal that a reduction starts from."""
    if op in ("max", "argmax", "min", "argmin"):
        is_max = op.endswith("max")
        if dtype.is_bool:
            return literal(not is_max, dtype)
        if dtype.is_floating:
            return literal(-np.inf if is_max else np.inf, dtype)
        limits = np.iinfo(dtype.numpy)
        return literal(int(limits.min if is_max else limits.max), dtype)
    return literal({"sum": 0, "prod": 1, "any": False, "all": True}[op], dtype)


def key(op: str, value: str, dtype: DType) -> str:
    """What a loop of max or min accumulates for ``value``: of floats, integers in the same order."""
    return f"{op}_key_{dtype.short}({value})" if has_key(op, dtype) else value


def has_key(op: str, dtype: DType) -> bool:
    return op in ("max", "min") and dtype.is_floating


def combine_keys(op: str, accumulator: str, value: str, dtype: DType) -> str:
    """:func:`combine` for accumulators that are keys."""
    if has_key(op, dtype):
        return f"{op}({accumulator}, {key(op, value, dtype)})"
    return combine(op, accumulator, value, dtype)


def combine(op: str, accumulator: str, value: str, dtype: DType) -> str:
    """A reduction's accumulator after one more value. Sums and products of floats may be reassociated."""
    if op in ("any", "all") or dtype.is_bool:
        return f"{accumulator} {'|' if op in ('any', 'max') else '&'} {value}"
    if op in ("sum", "prod"):
        if dtype.is_floating:
            return f"{'add' if op == 'sum' else 'mul'}_reassoc({accumulator}, {value})"
        return f"{dtype.short}({accumulator} {'+' if op == 'sum' else '*'} {value})"
    if dtype.is_floating:
        return f"f{op}imum({accumulator}, {value})"
    return f"{accumulator} if {accumulator} {'>' if op == 'max' else '<'} {value} else {value}"


def takes(op: str, value: str, best: str, dtype: DType) -> str:
    """Whether argmax or argmin moves on to ``value``: it is better, or the first NaN."""
    if dtype.is_bool:
        return f"{value} and not {best}" if op == "argmax" else f"{best} and not {value}"
    better = f"{value} {'>' if op == 'argmax' else '<'} {best}"
    return f"({better}) | (({value} != {value}) & ({best} == {best}))" if dtype.is_floating else better
