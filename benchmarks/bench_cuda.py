"""The main CUDA kernels on the GPU here, beside the least that they can take: the table "On paper" of docs/cuda.md.

    python benchmarks/bench_cuda.py [--bandwidth 3.35 --flops 67]

Times are of the launches alone, with operands on the GPU. Bandwidth is in TB/s and flops in 10**12 float32 operations a second;
the defaults are those of an H100 SXM. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import BackendError, DeviceError


@dataclass(frozen=True)
class Case:
    """A function on float32 arrays of ``shapes``, with the bytes and operations that it cannot do without."""

    name: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    gigabytes: float
    gigaflops: float


CASES = (
    Case("GELU", gc.gelu, ((1 << 26,),), 0.54, 2),
    Case("row sums", lambda x: gc.sum(x, axis=1), ((8192, 8192),), 0.27, 0.07),
    Case("softmax", lambda x: gc.softmax(x, axis=-1), ((8192, 8192),), 0.54, 2),
    Case("cumulative sum", lambda x: gc.cumulative_sum(x, axis=-1), ((1 << 26,),), 0.54, 0.2),
    Case("product", lambda x, y: x @ y, ((4096, 4096), (4096, 4096)), 0.20, 137),
    Case("convolution", lambda x, k: gc.conv2d(x, k, padding=1), ((64, 64, 56, 56), (128, 64, 3, 3)), 0.15, 30),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bandwidth", type=float, default=3.35, help="TB/s")
    parser.add_argument("--flops", type=float, default=67, help="10**12 float32 operations a second")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    print(f"{'kernel':16}{'least, ms':>12}{'median, ms':>12}{'spread':>9}{'share':>8}")
    for case in CASES:
        graph = gc.jit(case.function, name="kernel").graph(*(gc.spec(f"f32[{', '.join(map(str, s))}]") for s in case.shapes))
        try:
            compiled: Any = compile_graph(graph, "cuda")
        except (BackendError, DeviceError) as error:
            print(f"not measured: {error.message}")
            return
        rng = np.random.default_rng(0)
        arrays = [rng.random(shape, np.float32) for shape in case.shapes]
        (got,), (want,) = compiled(*arrays), compile_graph(graph, "cpu")(*arrays)
        np.testing.assert_allclose(got, want, rtol=1e-3)
        times = compiled.seconds(*arrays, repeats=options.repeats)
        median = statistics.median(times) * 1e3
        least = max(case.gigabytes / options.bandwidth, case.gigaflops / options.flops)
        spread = (max(times) - min(times)) * 1e3 / median
        print(f"{case.name:16}{least:12.3f}{median:12.3f}{spread:9.0%}{least / median:8.0%}")


if __name__ == "__main__":
    main()
