"""Packing: copies a block of a matrix into panels, in the order in which a tile reads them.

A panel of `height` rows is stored step by step of the contracted axis: element (i, k) at ``k * height + i``. The rows
of A and the columns of B are packed by the same function. It reads any strides; panels with neighbours along the
contracted axis are transposed in registers, and 16-bit floats become float32 on the way.
"""

from __future__ import annotations

from typing import Any, Final

from graphc.backends.numba_cpu.adapter import noalias
from graphc.backends.numba_cpu.gemm.host import HOST
from graphc.backends.numba_cpu.gemm.tiles import TILE_FUNCTIONS
from graphc.backends.numba_cpu.half import bf16_to_f32, f16_to_f32
from graphc.backends.numba_cpu.intrinsics import offset_pointer

_WIDE = '''
def pack_{short}(source, step, k_step, count, height, k, target, room):
    """Pack `count` rows, `step` apart, as a panel of `height` rows; those that are missing repeat others.

    Where rows have neighbours in memory, `count` may be many times the `height` of a whole panel of B: so many panels
    follow each other. Writes up to {lanes} elements past the panel's end.
    """
    if step == 1 and height == {full} and count % {full} == 0:
        for i in range(k):
            for panel in range(count // {full}):
                for j in range({full}):
                    target[(panel * k + i) * {full} + j] = source[i * k_step + panel * {full} + j]
    elif k_step == 1 and k >= {lanes}:
        i = 0
        while True:
            i = min(i, k - {lanes})
            j = (height - 1) // {lanes} * {lanes}
            while j >= 0:
                transpose_{short}(
                    offset_pointer(source, j * step + i), step, min(count - j, {lanes}),
                    offset_pointer(target, i * height + j), height,
                )
                j -= {lanes}
            i += {lanes}
            if i >= k:
                break
    else:
        for i in range(k):
            for j in range(height):
                target[i * height + j] = source[min(j, count - 1) * step + i * k_step]
'''

_NARROW = '''
def pack_{short}(source, step, k_step, count, height, k, target, room):
    """As for float32. `room` holds `count` * `k` elements."""
    if k_step == 1:
        for j in range(count):
            row = offset_pointer(source, j * step)
            for i in range(k):
                room[j * k + i] = {short}_to_f32(row[i])
        pack_f32(room, k, 1, count, height, k, target, room)
    elif step == 1 and height == {full} and count % {full} == 0:
        for i in range(k):
            for panel in range(count // {full}):
                for j in range({full}):
                    target[(panel * k + i) * {full} + j] = {short}_to_f32(source[i * k_step + panel * {full} + j])
    else:
        for i in range(k):
            for j in range(height):
                target[i * height + j] = {short}_to_f32(source[min(j, count - 1) * step + i * k_step])
'''


def _define(text: str, short: str, held: str, scope: dict[str, Any]) -> Any:
    made: dict[str, Any] = dict(scope)
    full = HOST.tile(held)[1]
    exec(text.format(short=short, lanes=HOST.lanes(held), full=full), made)
    return noalias(made[f"pack_{short}"])


def _functions() -> dict[str, Any]:
    scope = {**TILE_FUNCTIONS, "offset_pointer": offset_pointer, "f16_to_f32": f16_to_f32, "bf16_to_f32": bf16_to_f32}
    functions = {f"pack_{short}": _define(_WIDE, short, short, scope) for short in ("f32", "f64")}
    scope |= functions
    return functions | {f"pack_{short}": _define(_NARROW, short, "f32", scope) for short in ("f16", "bf16")}


PACK_FUNCTIONS: Final[dict[str, Any]] = _functions()
"""``pack_f32(source, step, k_step, count, height, k, target, room)`` and the same for f64, f16 and bf16."""
