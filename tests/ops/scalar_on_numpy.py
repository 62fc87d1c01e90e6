"""A ScalarHandler that computes with NumPy arrays at once: what a `scalar` body means, without a backend."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.dtypes import DType, as_dtype, bool_
from graphc.ir.primitive import get_primitive


@dataclass(frozen=True)
class Scalars:
    """Many scalars of one dtype, as an array."""

    array: np.ndarray

    @property
    def dtype(self) -> DType:
        return as_dtype(self.array.dtype)


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide,
    "&": np.bitwise_and, "|": np.bitwise_or, "^": np.bitwise_xor, "<<": np.left_shift, ">>": np.right_shift,
}  # fmt: skip
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


class NumpyHandler:
    """Refuses what the protocol forbids: mixed dtypes, 16-bit floats, shifts by the width, divisors that trap."""

    def constant(self, value: bool | int | float, dtype: DType) -> Scalars:
        return self._scalars(np.array(value, dtype=dtype.numpy))

    def convert(self, x: Scalars, dtype: DType) -> Scalars:
        assert dtype.compute is dtype and dtype is not bool_
        return self._scalars(get_primitive("convert_element_type").evaluate(x.array, dtype=dtype))

    def binary(self, op: str, x: Scalars, y: Scalars) -> Scalars:
        dtype = self._common(x, y)
        if op == "/":
            assert dtype.is_floating
        if op in "&|^":
            assert not dtype.is_floating
        if op in "+-*":
            assert not dtype.is_bool
        if op in ("<<", ">>"):
            assert np.all((y.array >= 0) & (y.array < dtype.bits))
        return self._scalars(BINARY[op](x.array, y.array), dtype)

    def compare(self, op: str, x: Scalars, y: Scalars) -> Scalars:
        self._common(x, y)
        return self._scalars(COMPARE[op](x.array, y.array), bool_)

    def select(self, predicate: Scalars, on_true: Scalars, on_false: Scalars) -> Scalars:
        assert predicate.dtype is bool_
        return self._scalars(np.where(predicate.array, on_true.array, on_false.array), self._common(on_true, on_false))

    def invert(self, x: Scalars) -> Scalars:
        assert not x.dtype.is_floating
        return self._scalars(np.invert(x.array), x.dtype)

    def math(self, function: str, *operands: Scalars) -> Scalars:
        dtype = self._common(*operands)
        arrays = [o.array for o in operands]
        if function in ("idiv", "irem"):
            assert dtype.is_integer and np.all(arrays[1] != 0)
            assert dtype.kind == "uint" or np.all(arrays[1] != -1)
            result = np.floor_divide(*arrays) if function == "idiv" else np.remainder(*arrays)
        elif function == "ipow":
            assert dtype.is_integer and np.all(arrays[1] >= 0)
            result = np.power(*arrays)
        else:
            assert dtype.is_floating
            if function == "fmod":
                result = np.fmod(*arrays)
            elif function == "polygamma":
                (n,) = np.unique(arrays[1])
                result = get_primitive("polygamma").evaluate(arrays[0], n=int(n))
            else:
                result = get_primitive(function).evaluate(*arrays)
        return self._scalars(result, dtype)

    def _common(self, *operands: Scalars) -> DType:
        dtype = operands[0].dtype
        assert all(o.dtype is dtype for o in operands)
        return dtype

    def _scalars(self, array: Any, dtype: DType | None = None) -> Scalars:
        scalars = Scalars(np.asarray(array))
        assert scalars.dtype.compute is scalars.dtype
        assert dtype is None or scalars.dtype is dtype
        return scalars


def run_scalar(name: str, arrays: tuple[np.ndarray, ...], attributes: Any, result_dtype: DType) -> np.ndarray:
    """The `scalar` body of the primitive `name` on arrays; 16-bit floats are widened before and rounded after it."""
    operands = [Scalars(a.astype(as_dtype(a.dtype).compute.numpy)) for a in arrays]
    with np.errstate(all="ignore"):
        result = get_primitive(name).scalar(NumpyHandler(), *operands, **attributes)
        assert result.dtype is result_dtype.compute
        return np.broadcast_to(result.array, np.broadcast_shapes(*(a.shape for a in arrays))).astype(result_dtype.numpy)
