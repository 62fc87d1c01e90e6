"""The emitters of `microkernel` as functions that kernels call, for the processor that this process runs on."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, Final

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from graphc.backends.numba_cpu.adapter import target_has_feature
from graphc.backends.numba_cpu.gemm.microkernel import FLOATS, Geometry, emit_tile, emit_transpose, geometry_for
from graphc.backends.numba_cpu.pointers import noalias

HOST: Final[Geometry] = geometry_for(platform.machine(), target_has_feature)
ELEMENTS: Final = {"f32": types.float32, "f64": types.float64}
VECTOR_ALIGNMENT: Final = 64


def tile_name(short: str, height: int, width: int, adjacent: bool) -> str:
    """The name of the function for one shape of tile: ``tile_f32_14x2``, or ``tile_rows_f32_14x2`` if not adjacent."""
    return f"tile_{'' if adjacent else 'rows_'}{short}_{height}x{width}"


def _tile(short: str, height: int, width: int, adjacent: bool) -> Any:
    pointer = types.CPointer(ELEMENTS[short])
    number = types.int64

    def function(context: Any, a: Any, a_step: Any, b: Any, b_step: Any, k: Any, c: Any, c_step: Any, add: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            emit_tile(builder, HOST, short, height, width, adjacent, args)
            return target.get_dummy_value()

        return types.void(pointer, number, pointer, number, number, pointer, number, number), generate

    function.__name__ = function.__qualname__ = tile_name(short, height, width, adjacent)
    return intrinsic(function)


def _transpose(short: str) -> Any:
    pointer = types.CPointer(ELEMENTS[short])
    number = types.int64

    def function(context: Any, source: Any, source_step: Any, rows: Any, target: Any, target_step: Any) -> Any:
        def generate(code: Any, builder: Any, signature: Any, args: Any) -> Any:
            emit_transpose(builder, HOST, short, args)
            return code.get_dummy_value()

        return types.void(pointer, number, number, pointer, number), generate

    function.__name__ = function.__qualname__ = f"transpose_{short}"
    return intrinsic(function)


def _stack(short: str) -> Any:
    """``stack_f32(1024)``: room for so many elements, a literal, in the frame of the function that asks."""
    pointer = types.CPointer(ELEMENTS[short])

    def function(context: Any, count: Any) -> Any:
        if not isinstance(count, types.IntegerLiteral):
            return None
        array = ir.ArrayType(FLOATS[short][0], count.literal_value)

        def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            with builder.goto_entry_block():
                room = builder.alloca(array)
                room.align = VECTOR_ALIGNMENT
            return builder.bitcast(room, target.get_value_type(pointer))

        return pointer(count), generate

    function.__name__ = function.__qualname__ = f"stack_{short}"
    return intrinsic(prefer_literal=True)(function)


def _heights(adjacent: bool) -> tuple[int, ...]:
    return HOST.heights if adjacent else HOST.short_heights


def _dispatch(short: str, adjacent: bool, tiles: dict[str, Any]) -> Any:
    """A function that calls the tile of a given height and width (in vectors), and is not inlined.

    The text of the one for 14 × 2::

        def multiply_f32(height, width, a, a_step, b, b_step, k, c, c_step, add):
            if width == 2:
                if height == 14:
                    tile_f32_14x2(a, a_step, b, b_step, k, c, c_step, add)
                …
    """
    name = f"multiply_{'' if adjacent else 'rows_'}{short}"
    lines = [f"def {name}(height, width, a, a_step, b, b_step, k, c, c_step, add):"]
    for width in range(HOST.vectors, 0, -1):
        lines.append(f"    {'if' if width == HOST.vectors else 'elif'} width == {width}:")
        for number, height in enumerate(_heights(adjacent)):
            lines.append(f"        {'elif' if number else 'if'} height == {height}:")
            tile = tile_name(short, height, width, adjacent)
            lines.append(f"            {tile}(a, a_step, b, b_step, k, c, c_step, add)")
    scope: dict[str, Any] = dict(tiles)
    exec("\n".join(lines), scope)
    function: Callable[..., Any] = scope[name]
    return noalias(function)


def _functions() -> dict[str, Any]:
    functions: dict[str, Any] = {}
    for short in ELEMENTS:
        for adjacent in (True, False):
            tiles = {
                tile_name(short, height, width, adjacent): _tile(short, height, width, adjacent)
                for height in _heights(adjacent)
                for width in range(1, HOST.vectors + 1)
            }
            dispatch = _dispatch(short, adjacent, tiles)
            functions[dispatch.__name__] = dispatch
        functions[f"transpose_{short}"] = _transpose(short)
        functions[f"stack_{short}"] = _stack(short)
    return functions


TILE_FUNCTIONS: Final[dict[str, Any]] = _functions()
"""``multiply_f32`` and ``multiply_rows_f32`` (any tile), ``transpose_f32``, ``stack_f32``, and the same for f64."""
