"""The emitters of `microkernel` as functions that kernels call, for the processor that this process runs on."""

from __future__ import annotations

from typing import Any, Final, cast

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from graphc.backends.numba_cpu.gemm.geometry import STEPS
from graphc.backends.numba_cpu.gemm.host import HOST
from graphc.backends.numba_cpu.gemm.microkernel import (
    FLOATS,
    I64,
    emit_copy,
    emit_transpose,
    multiply_function,
    places_function,
)

ELEMENTS: Final = {"f32": types.float32, "f64": types.float64}
VECTOR_ALIGNMENT: Final = 64


def _multiply(short: str, adjacent: bool) -> Any:
    pointer = cast(Any, types).CPointer(ELEMENTS[short])
    number = types.int64
    signature = types.void(number, number, pointer, number, pointer, number, number, pointer, number, number)

    def function(
        context: Any, height: Any, width: Any, a: Any, a_step: Any, b: Any, b_step: Any, k: Any, c: Any, c_step: Any, adds: Any
    ) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.call(multiply_function(builder.module, HOST, short, adjacent), args)
            return target.get_dummy_value()

        return signature, generate

    function.__name__ = function.__qualname__ = f"multiply_{'' if adjacent else 'rows_'}{short}"
    return intrinsic(function)


def _multiply_places(short: str, apart: int) -> Any:
    pointer, places = (cast(Any, types).CPointer(element) for element in (ELEMENTS[short], types.int64))
    number = types.int64
    signature = types.void(number, number, pointer, places, pointer, number, number, pointer, number, number)

    def function(
        context: Any, height: Any, width: Any, a: Any, table: Any, b: Any, b_step: Any, k: Any, c: Any, c_step: Any, adds: Any
    ) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.call(places_function(builder.module, HOST, short, apart), args)
            return target.get_dummy_value()

        return signature, generate

    function.__name__ = function.__qualname__ = f"multiply_places{apart}_{short}"
    return intrinsic(function)


def _height(adjacent: bool) -> Any:
    """``tile_height(rows)``: how high the next tile is where so many rows are left, at least one."""
    heights = HOST.heights if adjacent else HOST.short_heights

    def function(context: Any, rows: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            chosen = ir.Constant(I64, heights[-1])
            for height in reversed(heights[:-1]):
                value = ir.Constant(I64, height)
                chosen = builder.select(builder.icmp_signed(">=", args[0], value), value, chosen)
            # Two tiles of one height keep more sums in flight than a whole one and a rest of two rows.
            half = ir.Constant(I64, HOST.short_heights[0])
            is_twice = builder.icmp_signed("==", args[0], builder.add(half, half))
            return builder.select(is_twice, half, chosen)

        return types.int64(types.int64), generate

    function.__name__ = function.__qualname__ = "tile_height" if adjacent else "short_tile_height"
    return intrinsic(function)


def _transpose(short: str) -> Any:
    pointer = cast(Any, types).CPointer(ELEMENTS[short])
    number = types.int64

    def function(context: Any, source: Any, source_step: Any, rows: Any, target: Any, target_step: Any) -> Any:
        def generate(code: Any, builder: Any, signature: Any, args: Any) -> Any:
            emit_transpose(builder, HOST, short, args)
            return code.get_dummy_value()

        return types.void(pointer, number, number, pointer, number), generate

    function.__name__ = function.__qualname__ = f"transpose_{short}"
    return intrinsic(function)


def _copy(short: str) -> Any:
    pointer = cast(Any, types).CPointer(ELEMENTS[short])

    def function(context: Any, target: Any, source: Any, count: Any) -> Any:
        def generate(code: Any, builder: Any, signature: Any, args: Any) -> Any:
            emit_copy(builder, HOST, short, args)
            return code.get_dummy_value()

        return types.void(pointer, pointer, types.int64), generate

    function.__name__ = function.__qualname__ = f"copy_{short}"
    return intrinsic(function)


def _stack(short: str, number: Any, element: Any) -> Any:
    """``stack_f32(1024)``: room for so many elements, a literal, in the frame of the function that asks."""
    pointer = cast(Any, types).CPointer(number)

    def function(context: Any, count: Any) -> Any:
        if not isinstance(count, types.IntegerLiteral):
            return None
        array = ir.ArrayType(element, count.literal_value)

        def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            with builder.goto_entry_block():
                room = builder.alloca(array)
                room.align = VECTOR_ALIGNMENT
            return builder.bitcast(room, target.get_value_type(pointer))

        return pointer(count), generate

    function.__name__ = function.__qualname__ = f"stack_{short}"
    return intrinsic(prefer_literal=True)(function)


def _functions() -> dict[str, Any]:
    functions: dict[str, Any] = {"tile_height": _height(True), "short_tile_height": _height(False)}
    functions["stack_i64"] = _stack("i64", types.int64, I64)
    for short in ELEMENTS:
        functions[f"multiply_{short}"] = _multiply(short, True)
        functions[f"multiply_rows_{short}"] = _multiply(short, False)
        for apart in STEPS:
            functions[f"multiply_places{apart}_{short}"] = _multiply_places(short, apart)
        functions[f"transpose_{short}"] = _transpose(short)
        functions[f"copy_{short}"] = _copy(short)
        functions[f"stack_{short}"] = _stack(short, ELEMENTS[short], FLOATS[short][0])
    return functions


TILE_FUNCTIONS: Final[dict[str, Any]] = _functions()
"""``multiply_f32``, ``multiply_rows_f32``, and for each of `STEPS` ``multiply_places1_f32`` (any tile), ``transpose_f32``,
``copy_f32`` and ``stack_f32``, and the same for f64; ``stack_i64``, ``tile_height`` and ``short_tile_height``."""
