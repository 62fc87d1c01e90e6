"""The main CUDA kernels on the GPU here, beside what they should take: the table "On paper" of docs/cuda.md.

    python benchmarks/bench_cuda.py [--bandwidth 3.35 --flops 67]

Times are of the launches alone, with operands on the GPU. Bandwidth is in TB/s and flops in 10**12 float32 operations a second;
the defaults are those of an H100 SXM. Without a GPU it prints what is on paper.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import BackendError, DeviceError

#: What kernels reach of the bandwidth, and products of the arithmetic, if nothing is wrong.
BANDWIDTH_SHARE = 0.9
ARITHMETIC_SHARE = 0.5


@dataclass(frozen=True)
class Case:
    """A function on arrays of ``shapes``, with the bytes and float32 operations that it cannot do without.

    ``moved``: what its kernels really read and write; ``done``: the operations of its products, with what tiles do beyond the
    result. One of float64 counts as two.
    """

    name: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    gigabytes: float
    gigaflops: float
    moved: float
    done: float = 0.0
    dtype: str = "f32"

    def least(self, bandwidth: float, flops: float) -> float:
        """Milliseconds that bytes or operations take at their peaks."""
        return max(self.gigabytes / bandwidth, self.gigaflops / flops)

    def expected(self, bandwidth: float, flops: float) -> float:
        """Milliseconds on paper: what is moved and done, at the shares of the peaks that kernels reach."""
        return max(self.moved / (BANDWIDTH_SHARE * bandwidth), self.done / (ARITHMETIC_SHARE * flops))


def attention(q: Any, k: Any, v: Any) -> Any:
    return gc.softmax(q @ gc.swapaxes(k, -1, -2) / 8.0, axis=-1) @ v


def layer_norm(x: Any, w: Any, b: Any) -> Any:
    return gc.layer_norm(x, (768,), w, b)


SQUARE = (8192, 8192)
HEADS = (64, 512, 64)
CASES = (
    Case("GELU", gc.gelu, ((1 << 26,),), 0.54, 2, 0.54),
    Case("row sums", lambda x: gc.sum(x, axis=1), (SQUARE,), 0.27, 0.07, 0.27),
    Case("column sums", lambda x: gc.sum(x, axis=0), (SQUARE,), 0.27, 0.07, 0.27),
    Case("sum of all", lambda x: gc.sum(x * 2.0), ((1 << 26,),), 0.27, 0.13, 0.27),
    Case("softmax", lambda x: gc.softmax(x, axis=-1), (SQUARE,), 0.54, 2, 0.81),
    Case("layer norm", layer_norm, ((65536, 768), (768,), (768,)), 0.40, 0.4, 0.40),
    Case("cumulative sum", lambda x: gc.cumulative_sum(x, axis=-1), ((1 << 26,),), 0.54, 0.2, 1.08),
    Case("argsort", lambda x: gc.argsort(x, axis=-1), ((8192, 1024),), 0.10, 0.2, 9.2),
    Case("product", lambda x, y: x @ y, ((4096, 4096),) * 2, 0.20, 137, 0.20, 137),
    Case("product, f64", lambda x, y: x @ y, ((2048, 2048),) * 2, 0.10, 34, 0.10, 34, "f64"),
    Case("narrow product", lambda x, y: x @ y, ((65536, 784), (784, 10)), 0.21, 1.0, 0.21, 3.3),
    Case("dense layer", lambda x, y, b: gc.gelu(x @ y + b), ((4096, 4096), (4096, 4096), (4096,)), 0.20, 137, 0.20, 137),
    Case(
        "step of weights", lambda x, g, w: w - 0.1 * (x.T @ g), ((65536, 784), (65536, 256), (784, 256)), 0.27, 26, 0.29, 30
    ),
    Case("convolution", lambda x, k: gc.conv2d(x, k, padding=1), ((64, 64, 56, 56), (128, 64, 3, 3)), 0.15, 30, 0.15, 30),
    Case("attention", attention, (HEADS,) * 3, 0.03, 4.3, 0.70, 4.3),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bandwidth", type=float, default=3.35, help="TB/s")
    parser.add_argument("--flops", type=float, default=67, help="10**12 float32 operations a second")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--only", nargs="*", help="the kernels to measure, by name; all by default")
    parser.add_argument("--paper", action="store_true", help="print what is on paper, and measure nothing")
    options = parser.parse_args(arguments)
    print(f"{'kernel':16}{'least, ms':>12}{'expected, ms':>14}{'median, ms':>12}{'spread':>9}{'of expected':>13}")
    missing = ""
    for case in CASES:
        if options.only is not None and case.name not in options.only:
            continue
        least, expected = (of(options.bandwidth, options.flops) for of in (case.least, case.expected))
        paper = f"{case.name:16}{least:12.3f}{expected:14.3f}"
        if options.paper:
            print(paper)
            continue
        specs = (gc.spec(f"{case.dtype}[{', '.join(map(str, shape))}]") for shape in case.shapes)
        graph = gc.jit(case.function, name="kernel").graph(*specs)
        try:
            compiled: Any = compile_graph(graph, "cuda")
        except (BackendError, DeviceError) as error:
            print(paper)
            missing = error.message
            continue
        rng = np.random.default_rng(0)
        arrays = [rng.random(shape, np.float32).astype(graph.parameters[0].type.dtype.numpy) for shape in case.shapes]
        (got,), (want,) = compiled(*arrays), compile_graph(graph, "cpu")(*arrays)
        np.testing.assert_allclose(got, want, rtol=1e-3)
        times = compiled.seconds(*arrays, repeats=options.repeats)
        median = statistics.median(times) * 1e3
        spread = (max(times) - min(times)) * 1e3 / median
        print(f"{paper}{median:12.3f}{spread:9.0%}{median / expected:13.2f}")
    if missing:
        print(f"not measured: {missing}")


if __name__ == "__main__":
    main()
