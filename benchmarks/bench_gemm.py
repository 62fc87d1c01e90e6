"""Matrix products against `np.matmul`, both on one thread, side by side in one process.

    python benchmarks/bench_gemm.py [--repeats 25]

Times are of the thread's own CPU, so that another process on the core does not count. Unset OPENBLAS_CORETYPE and the
like for a fair peer; threadpoolctl, where it is installed, says which of its kernels ran and keeps it on one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphc.backends.numba_cpu.backend import native_kernel
from graphc.backends.numba_cpu.gemm.host import HOST
from graphc.backends.numba_cpu.gemm.lowering import lower_dot_general
from graphc.dtypes import DType, bfloat16, float32, float64
from graphc.ir.types import TensorType

try:
    from threadpoolctl import threadpool_info, threadpool_limits
except ImportError:
    threadpool_info = threadpool_limits = None


@dataclass(frozen=True)
class Case:
    dtype: DType
    batch: int
    rows: int
    columns: int
    depth: int
    layout: str = "NN"
    """N or T for each operand: as it is multiplied, or transposed in memory."""

    def __str__(self) -> str:
        batch = f"{self.batch} × " if self.batch > 1 else ""
        return f"{self.dtype.short} {batch}{self.rows}×{self.depth}·{self.depth}×{self.columns} {self.layout}"

    @property
    def operations(self) -> int:
        return 2 * self.batch * self.rows * self.columns * self.depth


CASES = [
    *(Case(float32, 1, 1024, 1024, 1024, layout) for layout in ("NN", "NT", "TN", "TT")),
    *(Case(float32, 1, 256, 256, 256, layout) for layout in ("NN", "NT", "TN")),
    *(Case(float32, 1, 64, 64, 64, layout) for layout in ("NN", "NT", "TN")),
    *(Case(float32, 512, 16, 16, 16, layout) for layout in ("NN", "NT", "TN")),
    Case(float32, 32, 128, 128, 64, "NT"),
    Case(float32, 1, 20_000, 32, 64),
    Case(float32, 1, 128, 10, 784, "NT"),
    Case(float32, 1, 128, 512, 784),
    Case(float32, 1, 32, 2048, 2048),
    Case(float32, 1, 32, 2048, 2048, "NT"),
    Case(float32, 1, 2048, 1, 2048),
    Case(float32, 1, 2048, 1, 2048, "TN"),
    Case(float32, 1, 1, 1, 1_000_000),
    Case(float64, 1, 1024, 1024, 1024),
    Case(float64, 1, 256, 256, 256),
    Case(bfloat16, 1, 512, 512, 512),
]


def operands(case: Case) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(case.rows, case.depth), (case.depth, case.columns)]
    arrays = []
    for shape, letter in zip(shapes, case.layout, strict=True):
        stored = shape[::-1] if letter == "T" else shape
        array = rng.standard_normal((case.batch, *stored)).astype(case.dtype.numpy)
        arrays.append(array.swapaxes(1, 2) if letter == "T" else array)
    return arrays[0], arrays[1]


def own(case: Case, a: np.ndarray, b: np.ndarray) -> tuple[Callable[[], None], np.ndarray]:
    """A call of the kernels, and the array that they write to."""
    stored = [x.swapaxes(1, 2) if letter == "T" else x for x, letter in zip((a, b), case.layout, strict=True)]
    contract = (1 if case.layout[0] == "T" else 2,), (2 if case.layout[1] == "T" else 1,)
    result = np.empty((case.batch, case.rows, case.columns), case.dtype.numpy)
    types = [TensorType(case.dtype, x.shape) for x in (*stored, result)]
    attributes = {"contract": contract, "batch": ((0,), (0,))}
    kernels = [(native_kernel(k), k) for k in lower_dot_general(attributes, types[:2], types[2:])]
    scratch = [np.empty(t.shape, t.dtype.numpy) for t in kernels[0][1].scratch]
    arrays = [*stored, result, *scratch]
    buffers = (ctypes.c_int64 * len(arrays))(*[x.ctypes.data for x in arrays])
    status = (ctypes.c_int64 * 4)()
    calls = [
        (native.call, (ctypes.c_int64 * max(1, len(source.sizes)))(*source.sizes), source.extent)
        for native, source in kernels
    ]

    def run() -> None:
        for call, sizes, extent in calls:
            call(ctypes.addressof(buffers), ctypes.addressof(sizes), 0, extent, ctypes.addressof(status))

    run.arrays = arrays  # type: ignore[attr-defined]  # what the addresses belong to
    return run, result


def seconds(run: Callable[[], object], calls: int) -> float:
    start = time.thread_time()
    for _ in range(calls):
        run()
    return (time.thread_time() - start) / calls


def measure(case: Case, repeats: int) -> str:
    a, b = operands(case)
    run, result = own(case, a, b)
    peer_a, peer_b = (x.astype(case.dtype.compute.numpy, copy=False) for x in (a, b))
    out = np.empty(result.shape, peer_a.dtype)

    def peer() -> object:
        return np.matmul(peer_a, peer_b, out=out)

    run(), peer()
    tolerance = {2: 3e-2, 4: 1e-5, 8: 1e-12}[case.dtype.itemsize] * case.depth**0.5
    np.testing.assert_allclose(result.astype(np.float64), out.astype(np.float64), rtol=tolerance, atol=tolerance)
    calls = max(1, int(2e-3 / max(1e-6, seconds(run, 3))))
    times = [(seconds(run, calls), seconds(peer, calls)) for _ in range(repeats)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    spread = statistics.quantiles([t for t, _ in times], n=4)
    rates = [case.operations / t / 1e9 for t in (mine, theirs)]
    return (
        f"{case!s:36} {mine * 1e6:10.1f} µs ±{(spread[2] - spread[0]) / mine * 50:3.0f} %"
        f" {rates[0]:7.1f} {rates[1]:7.1f} GFLOP/s {theirs / mine:6.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=25)
    repeats = parser.parse_args().repeats
    print(f"tiles: {HOST.name}, {HOST.rows}×{HOST.vectors} vectors of {HOST.vector_bytes} bytes")
    limit: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if threadpool_limits is not None:
        limit = threadpool_limits(1)
        for pool in threadpool_info():
            print(f"peer: {pool['internal_api']} {pool.get('version')} {pool.get('architecture', '')}")
    print(f"{'case':36} {'median':>13} {'spread':>6} {'graphc':>8} {'numpy':>7} {'numpy / graphc':>22}")
    with limit:
        for case in CASES:
            print(measure(case, repeats), flush=True)


if __name__ == "__main__":
    main()
