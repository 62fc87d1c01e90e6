"""What the outer function of a kernel unpacks its arguments with: typed pointers, and an inner function without
aliasing.

A kernel's text is two functions::

    @noalias
    def add_1_loop(x, y, out, s0, lo, hi):
        for i in range(lo, hi):
            out[i] = x[i] + y[i]


    def add_1(buffers, sizes, lo, hi, status):
        add_1_loop(pointer_f32(buffers[0]), pointer_f32(buffers[1]), pointer_f32(buffers[2]), sizes[0], lo, hi)

Numba compiles the inner function separately, with LLVM's ``noalias`` on its pointer parameters; the promise lets LLVM
vectorize without run-time overlap checks. A kernel that reads and writes one buffer must pass it as one parameter.
"""

from collections.abc import Callable
from typing import Any, Final

from numba import njit, types
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


def noalias(function: Callable[..., Any]) -> Any:
    """Compile ``function`` for a kernel to call; its pointer parameters never overlap."""
    dispatcher = njit(
        fastmath={"contract"}, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False
    )(function)
    compiler = dispatcher._compiler
    customize = compiler._customize_flags

    def customize_flags(flags: Any) -> Any:
        flags = customize(flags)
        flags.noalias = True
        return flags

    compiler._customize_flags = customize_flags
    return dispatcher


def _pointer(short: str, element: Any) -> Any:
    pointer = types.CPointer(element)

    def function(context: Any, address: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, operands: Any) -> Any:
            return builder.inttoptr(operands[0], target.get_value_type(pointer))

        return pointer(types.int64), generate

    function.__name__ = function.__qualname__ = f"pointer_{short}"
    function.__doc__ = f"The address as a pointer to {short} elements."
    return intrinsic(function)


POINTERS: Final[dict[str, Any]] = {f"pointer_{short}": _pointer(short, element) for short, element in _ELEMENTS.items()}
"""``pointer_f32(buffers[0])`` and the like, one for each dtype; 16-bit floats are pointers to their bits."""
