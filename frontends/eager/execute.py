"""How one eager op is computed: NumPy for small arrays, a compiled kernel for large ones.

Both give the same values (to the rounding that the accuracy page states), so the choice is one of speed. The variable
GRAPHC_EAGER_KERNELS forces it: ``always``, ``never``, or ``auto`` (the default).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.compile import compile_graph
from graphc.dtypes import as_dtype
from graphc.frontends.array.core import numbers
from graphc.frontends.dispatch import observers
from graphc.frontends.eager.recent import Recent
from graphc.frontends.settings import VARIABLES, encoded
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.primitive import Primitive
from graphc.ir.types import TensorType
from graphc.locations import current_location
from graphc.ops.inspection import state as inspection

# Ops for which NumPy's own loop is slower than a fused, vectorized kernel by enough to pay for a first compilation.
SLOW_IN_NUMPY = frozenset((
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "digamma", "logistic", "pow", "rsqrt",
    "conv_general", "reduce_window_sum", "reduce_window_max", "reduce_window_min", "reduce_window_argmax",
    "reduce_window_argmin", "select_and_scatter", "random_bits", "floor_divide", "remainder", "clamp",
    "attention", "attention_gradient",
))  # fmt: skip
THRESHOLD = 1 << 16  # elements; below it a call costs more than the arithmetic
_cache: Recent[Any, Any] = Recent(512)


_KERNELS = encoded("GRAPHC_EAGER_KERNELS")


def policy() -> str:
    """``always``, ``never`` or ``auto``, from GRAPHC_EAGER_KERNELS."""
    return os.environ.get("GRAPHC_EAGER_KERNELS", "auto") if _KERNELS in VARIABLES else "auto"


def kernels_are_chosen() -> bool:
    """Whether the environment says which ops run as compiled kernels."""
    return _KERNELS in VARIABLES and policy() != "auto"


def execute(op: Primitive, arrays: Sequence[Any], attributes: dict[str, Any]) -> tuple[Any, ...]:
    """The results of ``op`` on NumPy arrays."""
    if (op.name in SLOW_IN_NUMPY or _FORCED) and inspection.inspector is None:
        largest = max((a.size for a in arrays), default=0)
        chosen = policy()
        if chosen == "always" or (chosen == "auto" and largest >= THRESHOLD):
            return _run_kernel(op, arrays, attributes)
    results = op.evaluate(*arrays, **attributes)
    results = results if isinstance(results, tuple) else (results,)
    if observers and inspection.inspector is not None:
        inspection.inspector(op, arrays, results, current_location())
    return results


_FORCED = False


def force_kernels(on: bool) -> None:
    """Send every op through a compiled kernel, or stop doing so (tests use it)."""
    global _FORCED  # noqa: PLW0603
    if on and not _FORCED:
        observers.append(force_kernels)
    elif _FORCED and not on:
        observers.remove(force_kernels)
    _FORCED = on
    os.environ["GRAPHC_EAGER_KERNELS"] = "always" if on else "auto"


def _run_kernel(op: Primitive, arrays: Sequence[Any], attributes: dict[str, Any]) -> tuple[Any, ...]:
    generic = op.elementwise
    if generic and any(a.shape != arrays[0].shape for a in arrays):
        arrays = np.broadcast_arrays(*arrays)
    key = (op.name, tuple((a.dtype, a.ndim if generic else a.shape) for a in arrays), tuple(attributes.items()))
    executable = _cache.recall(key)
    if executable is None:
        b = Builder(f"eager_{op.name}")
        operands = []
        for array in arrays:
            shape = tuple(symbol(f"n{i}") for i in range(array.ndim)) if generic else array.shape
            operands.append(b.parameter(TensorType(as_dtype(array.dtype), shape)))
        executable = compile_graph(b.finish(b.emit(op, *operands, **attributes)))
        _cache.keep(key, executable)
    return tuple(executable(*arrays))


def as_numpy(value: Any) -> np.ndarray:
    """An ndarray of a dtype that graphc knows (its bytes shared where they are native and aligned)."""
    array = numbers(value)
    dtype = as_dtype(array.dtype).numpy
    return array if array.dtype == dtype and array.dtype.isnative else array.astype(dtype)


if policy() == "always":
    force_kernels(True)
