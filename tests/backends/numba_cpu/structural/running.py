"""Compiles what a lowering emits, runs it as the run time would, and judges it by the primitive's `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from graphc import ops
from graphc.backends.numba_cpu.backend import LOWERINGS, NAMESPACE
from graphc.backends.numba_cpu.kernels import CompiledKernel, compile_kernel
from graphc.dtypes import DType, as_dtype
from graphc.ir.dims import evaluate_dim, symbol
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource

SIGNATURE: Final = ("i64*", "i64*", "i64", "i64", "i64*")
UNTOUCHED: Final = 0xA5

assert ops.names()  # the import of the package registers every primitive


def compiled(kernel: KernelSource) -> CompiledKernel:
    return compile_kernel(kernel.source, kernel.name, SIGNATURE, filename=f"<{kernel.name}>", namespace=NAMESPACE)


def types_of(arrays: Sequence[np.ndarray], symbolic: bool) -> tuple[list[TensorType], dict[str, int]]:
    """The arrays' types, if ``symbolic`` with a name for every size; and the values of those names."""
    if not symbolic:
        return [TensorType(as_dtype(a.dtype), a.shape) for a in arrays], {}
    bindings = {f"n{size}": size for a in arrays for size in a.shape if size != 1}
    named = [[symbol(f"n{size}") if size != 1 else 1 for size in a.shape] for a in arrays]
    return [TensorType(as_dtype(a.dtype), shape) for a, shape in zip(arrays, named, strict=True)], bindings


def guarded(shape: Sequence[int], dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    """An array filled with a pattern, and the whole memory it lies in: 64 bytes more on either side."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = np.full(size + 128, UNTOUCHED, dtype=np.uint8)
    return memory[64 : 64 + size].view(dtype.numpy).reshape(shape), memory


def run(
    name: str,
    arrays: Sequence[np.ndarray],
    attributes: Mapping[str, Any],
    *,
    pieces: int = 1,
    symbolic: bool = False,
) -> tuple[list[np.ndarray], list[int]]:
    """The results and the status of the lowering of ``name``, with every parallel range cut into ``pieces``.

    The pieces run last first. Fails where a kernel writes next to a buffer.
    """
    operand_types, bindings = types_of(arrays, symbolic)
    result_types = get_primitive(name).infer(tuple(operand_types), **attributes)
    lowered = LOWERINGS[name](attributes, operand_types, result_types)
    kernels = lowered if isinstance(lowered, tuple) else (lowered,)
    assert all(k.scratch == kernels[0].scratch for k in kernels)
    made = [
        guarded([evaluate_dim(d, bindings) for d in t.shape], t.dtype) for t in (*result_types, *kernels[0].scratch)
    ]
    operands = [np.ascontiguousarray(a).reshape(a.shape) for a in arrays]
    addresses = np.array([b.ctypes.data for b in (*operands, *(array for array, _ in made))], dtype=np.int64)
    status = np.zeros(4, dtype=np.int64)
    for kernel in kernels:
        sizes = np.array([evaluate_dim(d, bindings) for d in kernel.sizes], dtype=np.int64)
        extent = evaluate_dim(kernel.extent, bindings)
        call = compiled(kernel)
        for piece in reversed(range(pieces)):
            lo, hi = extent * piece // pieces, extent * (piece + 1) // pieces
            if lo < hi:
                call(addresses.ctypes.data, sizes.ctypes.data, lo, hi, status.ctypes.data)
    for _, memory in made:
        assert (memory[:64] == UNTOUCHED).all() and (memory[-64:] == UNTOUCHED).all(), f"{name} writes out of bounds"
    return [array for array, _ in made[: len(result_types)]], status.tolist()


def expected(name: str, arrays: Sequence[np.ndarray], attributes: Mapping[str, Any]) -> list[np.ndarray]:
    results = get_primitive(name).evaluate(*arrays, **attributes)
    return list(results) if isinstance(results, tuple) else [results]


def judge(
    name: str,
    arrays: Sequence[np.ndarray],
    attributes: Mapping[str, Any],
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    pieces: Sequence[int] = (1, 3),
    symbolic: bool = False,
) -> None:
    """Compare the lowering with ``evaluate``, exactly unless a tolerance is given; and its pieces bit for bit."""
    wanted = expected(name, arrays, attributes)
    first: list[np.ndarray] | None = None
    for count in pieces:
        got, status = run(name, arrays, attributes, pieces=count, symbolic=symbolic)
        assert status == [0, 0, 0, 0], status
        for g, w in zip(got, wanted, strict=True):
            assert g.dtype == w.dtype and g.shape == w.shape
            wide = np.float64 if g.dtype.kind not in "iub" else g.dtype
            np.testing.assert_allclose(g.astype(wide), w.astype(wide), rtol=rtol, atol=atol, equal_nan=True)
        if first is not None:
            assert all(g.tobytes() == f.tobytes() for g, f in zip(got, first, strict=True))
        first = got


def samples(rng: np.random.Generator, dtype: DType, shape: Sequence[int], *, special: bool = False) -> np.ndarray:
    """Random values of ``dtype``; floats with NaN, infinities and both zeros among them if ``special``."""
    if dtype.is_bool:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        low, high = (info.min, info.max) if special else (max(info.min, -9), 9)
        return rng.integers(low, high, shape, dtype=dtype.numpy, endpoint=True)
    values = rng.standard_normal(shape)
    if special:
        chosen = rng.integers(0, 12, shape)
        for code, value in enumerate((np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0)):
            values = np.where(chosen == code, value, values)
    return np.asarray(values).astype(dtype.numpy)
