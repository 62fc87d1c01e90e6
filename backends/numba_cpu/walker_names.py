"""Calls of functions by their address, for the native loop: kernels, and TBB's loop over a range."""

from __future__ import annotations

from typing import Any, Final

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from graphc.runtime.tape import Task

from .adapter import noalias, numba_type
from .native_calls import CALL_KERNEL, call_compiled, call_native
from .pointers import POINTERS

_WORDS: Final[Any] = numba_type("i64*")
_i32, _i64 = ir.IntType(32), ir.IntType(64)
_i64_pointer = _i64.as_pointer()


def call_pieces_type(context: Any, address: Any, arguments: Any, counts: Any, task: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call_compiled(builder, arguments[0], list(arguments[1:]))
        return target.get_dummy_value()

    return types.void(types.int64, _WORDS, _WORDS, _WORDS), generate


def call_walk_type(context: Any, address: Any, block: Any, begin: Any, end: Any, arrays: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call_compiled(builder, arguments[0], list(arguments[1:]))
        return target.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


def call_parallel_for_type(context: Any, function: Any, bounds: Any, task: Any, threads: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function, bounds, task, threads = arguments
        start, count, step = (builder.gep(bounds, [_i32(place)]) for place in range(3))
        callback = builder.bitcast(_callback(builder.module), _i64_pointer)
        threads = builder.trunc(threads, _i32)
        operands = [callback, start, count, step, task, _i64(0), _i64(1), threads]
        call_native(builder, function, ir.VoidType(), operands)
        return target.get_dummy_value()

    return types.void(types.int64, _WORDS, _WORDS, types.int64), generate


def _callback(module: Any) -> Any:
    """A C function that calls ``task[FUNCTION](arguments, counts, task)``, for TBB to call."""
    name = "graphc_pieces"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_i64_pointer] * 4), name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    arguments, counts, _, task = function.args
    address = builder.load(builder.gep(task, [_i32(int(Task.FUNCTION))]))
    call_compiled(builder, address, [arguments, counts, task])
    builder.ret_void()
    return function


NAMES: Final[dict[str, object]] = {
    **{name: POINTERS[name] for name in ("pointer_i64", "pointer_i32", "pointer_u8")},
    "noalias": noalias,
    "call_kernel": CALL_KERNEL,
    "call_pieces": intrinsic(call_pieces_type),
    "call_walk": intrinsic(call_walk_type),
    "call_parallel_for": intrinsic(call_parallel_for_type),
}
"""What the text of the native loop may name."""
