"""The call of a BLAS's product of matrices, at an address, from the text of a kernel."""

from __future__ import annotations

from typing import Any, Final

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from graphc.backends.numba_cpu.adapter import numba_type
from graphc.backends.numba_cpu.native_calls import call_native

_ROW_MAJOR, _PLAIN, _TURNED = 101, 111, 112  # what the C interface calls them
_FLOATS: Final = {"f32": ir.FloatType(), "f64": ir.DoubleType()}


def _blas_call(short: str, bits: int) -> Any:
    pointer, word, i32 = numba_type(f"{short}*"), types.int64, ir.IntType(32)
    integer, real = ir.IntType(bits), _FLOATS[short]

    def product_type(
        context: Any, function: Any, turns_a: Any, turns_b: Any, m: Any, n: Any, k: Any,
        a: Any, a_step: Any, b: Any, b_step: Any, c: Any, c_step: Any,
    ) -> Any:  # fmt: skip
        """``c = a @ b``, row by row; ``turns_a``: a lies in memory as its transpose."""

        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address, turned_a, turned_b, m, n, k, a, a_step, b, b_step, c, c_step = arguments

            def narrowed(value: Any) -> Any:
                return builder.trunc(value, integer) if bits < 64 else value

            def order(flag: Any) -> Any:
                return builder.select(builder.trunc(flag, ir.IntType(1)), i32(_TURNED), i32(_PLAIN))

            operands = [i32(_ROW_MAJOR), order(turned_a), order(turned_b), *map(narrowed, (m, n, k)), real(1.0)]
            operands += [a, narrowed(a_step), b, narrowed(b_step), real(0.0), c, narrowed(c_step)]
            call_native(builder, address, ir.VoidType(), operands)
            return target.get_dummy_value()

        return types.void(word, word, word, word, word, word, pointer, word, pointer, word, pointer, word), generate

    return intrinsic(product_type)


BLAS_CALLS: Final[dict[str, Any]] = {f"blas_{short}_i{bits}": _blas_call(short, bits) for short in _FLOATS for bits in (32, 64)}
"""``blas_f32_i64(address, turns_a, turns_b, m, n, k, a, a_step, b, b_step, c, c_step)``, and others by dtype and the width of
BLAS's integers."""
