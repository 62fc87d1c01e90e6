"""What the outer function of a kernel unpacks its arguments with: typed pointers.

A kernel's text is two functions::

    @noalias
    def add_1_loop(x, y, out, s0, lo, hi):
        for i in range(lo, hi):
            out[i] = x[i] + y[i]


    def add_1(buffers, sizes, lo, hi, status):
        add_1_loop(pointer_f32(buffers[0]), pointer_f32(buffers[1]), pointer_f32(buffers[2]), sizes[0], lo, hi)

``noalias`` is the adapter's: its promise lets LLVM vectorize without run-time overlap checks. A kernel that reads and
writes one buffer must pass it as one parameter.
"""

from typing import Any, Final, cast

from numba import types
from numba.extending import intrinsic

_ELEMENTS: Final = {
    "bool": types.uint8,
    "u8": types.uint8,
    "u16": types.uint16,
    "u32": types.uint32,
    "u64": types.uint64,
    "i8": types.int8,
    "i16": types.int16,
    "i32": types.int32,
    "i64": types.int64,
    "f16": types.uint16,
    "bf16": types.uint16,
    "f32": types.float32,
    "f64": types.float64,
}


def _pointer(short: str, element: Any) -> Any:
    pointer = cast(Any, types.CPointer)(element)

    def function(context: Any, address: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, operands: Any) -> Any:
            return builder.inttoptr(operands[0], target.get_value_type(pointer))

        return pointer(types.int64), generate

    function.__name__ = function.__qualname__ = f"pointer_{short}"
    function.__doc__ = f"The address as a pointer to {short} elements."
    return intrinsic(function)


POINTERS: Final[dict[str, Any]] = {f"pointer_{short}": _pointer(short, element) for short, element in _ELEMENTS.items()}
"""``pointer_f32(buffers[0])`` and the like, one for each dtype; 16-bit floats are pointers to their bits."""
