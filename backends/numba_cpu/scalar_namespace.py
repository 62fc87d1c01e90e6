"""What generated kernel source may name, and the same names for code run by the interpreter."""

from typing import Any

import numpy as np

from . import half, order, scalar_math_f32, scalar_math_f64, special, trig_f32, trig_f64
from .intrinsics import INTRINSICS, PYTHON_TWINS
from .twins import python_twins, scalar_functions

SCALAR_MODULES = (half, order, scalar_math_f32, scalar_math_f64, trig_f32, trig_f64, special)


def namespace() -> dict[str, Any]:
    """The globals for `compile_kernel`: NumPy as `np`, all intrinsics, all scalar functions (`exp_f32`, …)."""
    return {"np": np, **_public(INTRINSICS), **scalar_functions()}


def python_namespace() -> dict[str, Any]:
    """The same names as `namespace()`, each a plain Python function over NumPy scalars."""
    return {"np": np, **_public(PYTHON_TWINS), **python_twins()}


def _public(names: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if not name.startswith("_")}
