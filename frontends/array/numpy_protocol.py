"""NumPy's functions applied to our arrays: ``np.exp(tensor)`` is ``gc.exp(tensor)``, in every mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from graphc.errors import DTypeError
from graphc.frontends.array.names import PUBLIC

# NumPy's name → ours, where they differ.
_RENAMED: Mapping[str, str] = {
    "true_divide": "divide", "power": "pow", "mod": "remainder", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "rint": "round", "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift", "conjugate": "positive", "fabs": "absolute",
    "around": "round", "amax": "max", "amin": "min", "concatenate": "concat", "cumulative_sum": "cumsum",
}  # fmt: skip
# NumPy's keyword → ours, where they differ.
_KEYWORDS: Mapping[str, str] = {"ddof": "correction", "a_min": "min", "a_max": "max"}


def _ours(name: str) -> Callable[..., Any] | None:
    wanted = _RENAMED.get(name, name)
    return getattr(import_module(PUBLIC[wanted]), wanted) if wanted in PUBLIC else None


def apply_ufunc(ufunc: Any, method: str, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What NumPy calls for a ufunc with one of our arrays among its operands."""
    outputs = options.get("out")
    if method != "__call__" or set(options) - {"out"}:
        raise DTypeError(
            f"np.{ufunc.__name__} with {method if method != '__call__' else ', '.join(options)} does not take graphc arrays",
            hint="use the functions of graphc, or x.numpy()",
            cause=DTypeError.NUMPY,
        )
    function = _ours(ufunc.__name__)
    if function is None:
        raise DTypeError(
            f"np.{ufunc.__name__} has no counterpart in graphc", hint="use x.detach().numpy()", cause=DTypeError.NUMPY
        )
    result = function(*inputs)
    if outputs is None:
        return result
    (target,) = outputs
    if not hasattr(target, "copy_"):
        raise DTypeError(
            "a graphc array cannot be written into an ndarray here", hint="use result.numpy()", cause=DTypeError.NUMPY
        )
    return target.copy_(result)


def apply_function(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What NumPy calls for any of its other functions with one of our arrays among its arguments."""
    ours = _ours(function.__name__)
    if ours is None:
        raise DTypeError(
            f"np.{function.__name__} has no counterpart in graphc", hint="use x.detach().numpy()", cause=DTypeError.NUMPY
        )
    return ours(*args, **{_KEYWORDS.get(k, k): v for k, v in kwargs.items()})
