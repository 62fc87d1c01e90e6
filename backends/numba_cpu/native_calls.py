"""Calls of compiled functions by their address, from the text of others."""

from __future__ import annotations

from typing import Any, Final

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from .adapter import numba_type

_WORDS: Final[Any] = numba_type("i64*")
_i32, _i64 = ir.IntType(32), ir.IntType(64)
_i64_pointer = _i64.as_pointer()


def call_native(builder: Any, address: Any, result: Any, operands: list[Any]) -> Any:
    """Emit a call of the function at ``address``, which returns ``result``."""
    function = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(builder.inttoptr(address, function.as_pointer()), operands)


def call_compiled(builder: Any, address: Any, arguments: list[Any]) -> Any:
    """Emit a call of a function of :func:`compile_kernel`: the slots of its result and its exception come first."""
    with builder.goto_entry_block():
        slots = builder.alloca(_i64_pointer, size=2)
    return call_native(builder, address, _i32, [slots, builder.gep(slots, [_i32(1)]), *arguments])


def call_kernel_type(context: Any, kernel: Any, operands: Any, sizes: Any, low: Any, high: Any, status: Any) -> Any:
    """``call_kernel(address, buffers, sizes, lo, hi, status)`` gives Numba's status, 0 for success."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sext(call_compiled(builder, arguments[0], list(arguments[1:])), _i64)

    return types.int64(types.int64, _WORDS, _WORDS, types.int64, types.int64, _WORDS), generate


def call_epilogue_type(
    context: Any, function: Any, buffers: Any, sizes: Any, matrix: Any, i_lo: Any, i_hi: Any, j_lo: Any, j_hi: Any
) -> Any:
    """``call_epilogue(address, buffers, sizes, matrix, i_lo, i_hi, j_lo, j_hi)``; see :class:`.epilogue.Epilogue`."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call_compiled(builder, arguments[0], list(arguments[1:]))
        return target.get_dummy_value()

    return types.void(types.int64, _WORDS, _WORDS, *[types.int64] * 5), generate


def call_prologue_type(
    context: Any, function: Any, buffers: Any, sizes: Any, target: Any, i_lo: Any, i_hi: Any, j_lo: Any, j_hi: Any
) -> Any:
    """``call_prologue(address, buffers, sizes, target, i_lo, i_hi, j_lo, j_hi)``; see :class:`.epilogue.Prologues`."""

    def generate(target_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        operands = list(arguments[1:])
        operands[2] = builder.ptrtoint(operands[2], _i64)
        call_compiled(builder, arguments[0], operands)
        return target_context.get_dummy_value()

    return types.void(types.int64, _WORDS, _WORDS, numba_type("f32*"), *[types.int64] * 4), generate


CALL_KERNEL: Final[Any] = intrinsic(call_kernel_type)
CALL_EPILOGUE: Final[Any] = intrinsic(call_epilogue_type)
CALL_PROLOGUE: Final[Any] = intrinsic(call_prologue_type)
