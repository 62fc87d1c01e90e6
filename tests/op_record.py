"""One record per primitive: what the database of ops (`tests/op_db.py`) is made of.

A family's records are in `tests/op_db_<family>.py`, as a list `RECORDS`. The generic tests go over all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from graphc.dtypes import DType, as_dtype
from graphc.errors import GraphcError
from graphc.ir.types import TensorType

# What two correct implementations of an op may differ by, (relative, absolute), where a record says nothing else: a few
# units in the last place of the dtype that is stored. Integers and bools are compared exactly.
DEFAULT_TOLERANCE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"float64": (1e-13, 1e-300), "float32": (1e-6, 1e-37), "float16": (2e-3, 1e-7), "bfloat16": (1.6e-2, 1e-37)}
)
SMALLEST_NORMAL: Mapping[str, float] = MappingProxyType(
    {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-14, "bfloat16": 2.0**-126}
)
SUBNORMAL: Mapping[str, float] = MappingProxyType(
    {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}
)


@dataclass(frozen=True)
class Sample:
    """Operands and attributes that an op accepts.

    `edge`: holds values at the edge of the op's domain or dtype (NaN, infinities, -0.0, INT_MIN), compared exactly
    where the reference is not finite and never differentiated. `gradient`: lies, with room for finite differences,
    where the op is smooth; the generic tests ask for it in float64 only.
    """

    arrays: tuple[np.ndarray, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    edge: bool = False
    gradient: bool = False
    label: str = ""

    @property
    def types(self) -> tuple[TensorType, ...]:
        return tuple(type_of(a) for a in self.arrays)

    def __str__(self) -> str:
        flags = "".join(f" {flag}" for flag in ("edge", "gradient") if getattr(self, flag))
        attributes = f" {dict(self.attributes)}" if self.attributes else ""
        return f"{self.label or 'sample'}({', '.join(map(str, self.types))}){attributes}{flags}"


@dataclass(frozen=True)
class ErrorSample:
    """Types and attributes that `infer` refuses with `error`, whose text `match` (a regular expression) is found in."""

    types: tuple[TensorType, ...]
    error: type[GraphcError]
    match: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


def no_errors() -> Iterable[ErrorSample]:
    return ()


@dataclass(frozen=True)
class OpRecord:
    """How to test the primitive `name`.

    `samples(rng, dtype)` makes fresh samples with operands of `dtype` (where an op mixes dtypes, `dtype` is that of its
    main operand); `dtypes`: what it may be asked for. `tolerance`: (relative, absolute) by the result's dtype name,
    where DEFAULT_TOLERANCE is too strict. `differentiable`: whether the VJP gives a gradient at all;
    `gradient_operands`: the float operands that get one (None = all float operands).
    """

    name: str
    samples: Callable[[np.random.Generator, DType], Iterable[Sample]]
    dtypes: tuple[DType, ...]
    error_samples: Callable[[], Iterable[ErrorSample]] = no_errors
    tolerance: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    differentiable: bool = True
    gradient_operands: tuple[int, ...] | None = None
    gradient_tolerance: tuple[float, float] = (1e-5, 1e-7)
    second_gradient_tolerance: tuple[float, float] = (1e-4, 1e-6)

    def tolerance_for(self, dtype: DType) -> tuple[float, float]:
        """What a result of `dtype` may differ by; (0, 0) for integers and bools."""
        return self.tolerance.get(dtype.name) or DEFAULT_TOLERANCE.get(dtype.name, (0.0, 0.0))

    def gradient_samples(self, rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
        return (s for s in self.samples(rng, dtype) if s.gradient)

    def differentiable_operands(self, sample: Sample) -> tuple[int, ...]:
        """The positions that have a gradient in `sample`."""
        if not self.differentiable:
            return ()
        floats = tuple(i for i, t in enumerate(sample.types) if t.dtype.is_inexact)
        return floats if self.gradient_operands is None else tuple(i for i in floats if i in self.gradient_operands)

    def __str__(self) -> str:
        return self.name


def type_of(array: np.ndarray) -> TensorType:
    """The type of a NumPy array."""
    return TensorType(as_dtype(array.dtype), array.shape)


def random_array(
    rng: np.random.Generator, dtype: DType, shape: Sequence[int], low: float = -3.0, high: float = 3.0
) -> np.ndarray:
    """Uniform in [low, high) for floats and within the dtype's range for integers; coin tosses for bool."""
    if dtype.is_bool:
        return np.asarray(rng.integers(0, 2, tuple(shape)), dtype=np.bool_)
    if dtype.is_floating:
        return np.asarray(rng.uniform(low, high, tuple(shape))).astype(dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    least, most = max(int(np.floor(low)), int(limits.min)), min(int(np.ceil(high)), int(limits.max))
    return np.asarray(rng.integers(least, most, tuple(shape), endpoint=True)).astype(dtype.numpy)


def strided(array: np.ndarray) -> np.ndarray:
    """The same values as every second element of a larger buffer, last axis backwards: no stride is the usual one."""
    if array.ndim == 0:
        return array
    buffer = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), dtype=array.dtype)
    view = buffer[..., ::-2]
    view[...] = array
    return view


def transposed(array: np.ndarray) -> np.ndarray:
    """The same values in Fortran order."""
    return np.asfortranarray(array)


def distinct_array(rng: np.random.Generator, dtype: DType, shape: Sequence[int], spacing: float = 0.25) -> np.ndarray:
    """A shuffled grid of values that differ by `spacing` at least: no ties, so maxima and orders are smooth there."""
    size = int(np.prod(tuple(shape), dtype=np.int64))
    values = (np.arange(size) - size // 2) * spacing
    return np.asarray(rng.permutation(values).reshape(tuple(shape))).astype(dtype.numpy)


def edge_values(dtype: DType) -> np.ndarray:
    """The values of `dtype` that programs get wrong, as a vector: zeros, infinities, NaN, subnormals, the limits."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        candidates = [0, 1, 2, 3, 7, limits.max, limits.max - 1, limits.min, limits.min + 1]
        if dtype.kind == "int":
            candidates += [-1, -2, -3, -7]
        return np.array(sorted(set(candidates)), dtype=dtype.numpy)
    largest = {"float64": 1.7976931348623157e308, "float32": 3.4028234663852886e38}.get(dtype.name)
    if largest is None:
        largest = 65504.0 if dtype.name == "float16" else 3.3895313892515355e38
    tiny, subnormal = SMALLEST_NORMAL[dtype.name], SUBNORMAL[dtype.name]
    magnitudes = [0.0, subnormal, tiny, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 100.0, largest, np.inf]
    values = [*(sign * m for m in magnitudes for sign in (1.0, -1.0)), np.nan]
    return np.array(values, dtype=np.float64).astype(dtype.numpy)


def edge_pairs(dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of :func:`edge_values`, as two vectors."""
    values = edge_values(dtype)
    return np.repeat(values, values.size), np.tile(values, values.size)


def assert_same(got: Any, want: Any, what: object = "", *, tolerance: tuple[float, float] = (0.0, 0.0)) -> None:
    """Fail unless the arrays have one dtype and shape and equal values.

    NaN equals NaN (of bfloat16 too, which NumPy's assertions do not know). Without a `tolerance` (relative, absolute),
    -0.0 does not equal 0.0.
    """
    assert (got.dtype, got.shape) == (want.dtype, want.shape), what
    if as_dtype(want.dtype).is_floating:
        got, want = (np.asarray(a, dtype=np.float64) for a in (got, want))
    if tolerance != (0.0, 0.0):
        np.testing.assert_allclose(got, want, rtol=tolerance[0], atol=tolerance[1], err_msg=str(what))
        return
    np.testing.assert_array_equal(got, want, err_msg=str(what))
    if want.dtype == np.float64:
        zero = want == 0
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]), err_msg=f"{what}: signs of zeros")
