"""How run time grows with elements, layers and batch, on one thread and on several, and compile time with the graph.

    python benchmarks/bench_scaling.py [--elements 1000 … ] [--layers 1 …] [--batches 1 …] [--nodes 10 …] [--json results.json]

Every result is compared with NumPy's before its time is shown. Times are medians. A compilation is the first
call of a traced function in a process of its own, without kernels on disk; Python's and Numba's imports are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gc

WIDTH = 128
TABLES = {"elements": "gelu of n float32", "layers": f"perceptron of n layers, {WIDTH} wide, batch 64, gradient",
          "batches": f"perceptron of 4 layers, {WIDTH} wide, batch n, gradient"}  # fmt: skip


def gelu(x: Any) -> Any:
    """The approximation with tanh, written out."""
    return 0.5 * x * (1 + gc.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def elements(count: int) -> tuple[Callable[[], Any], Callable[[], np.ndarray]]:
    """A call on ``count`` elements, and what NumPy makes of it."""
    x = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    tensor, run = gc.from_numpy(x), gc.jit(gelu)
    return lambda: run(tensor).numpy(), lambda: 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def layers(depth: int, batch: int = 64) -> tuple[Callable[[], Any], Callable[[], np.ndarray]]:
    """The gradient of a perceptron for its first weights, and the same by hand."""
    rng = np.random.default_rng(0)
    w = [(rng.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32) for _ in range(depth)]
    x = rng.standard_normal((batch, WIDTH)).astype(np.float32)

    def loss(weights: Any, x: Any) -> Any:
        for matrix in weights:
            x = gc.tanh(x @ matrix)
        return (x * x).mean()

    run = gc.jit(gc.grad(loss))
    tensors, inputs = [gc.from_numpy(matrix) for matrix in w], gc.from_numpy(x)

    def by_hand() -> np.ndarray:
        values = [x]
        for matrix in w:
            values.append(np.tanh(values[-1] @ matrix))
        gradient = 2 * values[-1] / values[-1].size
        for number in reversed(range(depth)):
            gradient = gradient * (1 - values[number + 1] ** 2)
            first = values[number].T @ gradient
            gradient = gradient @ w[number].T
        return first

    return lambda: np.asarray(run(tensors, inputs)[0]), by_hand


def batches(batch: int) -> tuple[Callable[[], Any], Callable[[], np.ndarray]]:
    return layers(4, batch)


def median(call: Callable[[], Any], seconds: float) -> float:
    """The median time of a call, of those that fit into ``seconds``, at least five, after a first one."""
    call()
    times: list[float] = []
    while len(times) < 5 or (sum(times) < seconds and len(times) < 1000):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run_times(table: str, sizes: Sequence[int], threads: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """A row for each size, with the milliseconds for each number of threads."""
    make = {"elements": elements, "layers": layers, "batches": batches}[table]
    rows: list[dict[str, Any]] = []
    for size in sizes:
        call, expected = make(size)
        np.testing.assert_allclose(call(), expected(), rtol=2e-3, atol=2e-5)
        row: dict[str, Any] = {"size": size}
        for count in threads:
            gc.set_num_threads(count)
            row[f"milliseconds@{count}"] = 1e3 * median(call, seconds)
        rows.append(row)
    return rows


def chain(x: Any, nodes: int) -> Any:
    """Ops that need each other, some of which end kernels."""
    for step in range(nodes):
        x = gc.sin(x) if step % 3 == 0 else x * 0.5 if step % 50 else gc.cumsum(x, axis=0)
    return x


def first_call(nodes: int) -> dict[str, Any]:
    """The first call and the second, in this process; Numba is imported before."""
    x = np.linspace(0, 1, 64, dtype=np.float32)
    gc.jit(lambda x: x + 1)(x)
    run = gc.jit(lambda x: chain(x, nodes))
    start = time.perf_counter()
    first = run(x).numpy().copy()
    seconds = time.perf_counter() - start
    expected = x
    for step in range(nodes):
        expected = np.sin(expected) if step % 3 == 0 else expected * np.float32(0.5) if step % 50 else np.cumsum(expected)
    np.testing.assert_allclose(first, expected, rtol=1e-3, atol=1e-6)
    return {"nodes": nodes, "seconds": seconds, "microseconds_a_node": 1e6 * seconds / nodes}


def compile_times(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each number of nodes, each in a process of its own with nothing on disk."""
    rows: list[dict[str, Any]] = []
    for nodes in sizes:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, __file__, "--first-call", str(nodes)],
                env={**os.environ, "GRAPHC_CACHE_DIR": folder}, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
        rows.append(json.loads(done.stdout))
    return rows


def show(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """A table, a line a row."""
    print(f"\n{title}")
    print("".join(f"{name:>22}" for name in rows[0]))
    for row in rows:
        print("".join(f"{value:>22,}" if isinstance(value, int) else f"{value:>22.4g}" for value in row.values()))


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", nargs="*", type=int, default=[10**n for n in range(3, 8)])
    parser.add_argument("--layers", nargs="*", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 16, 64, 256, 1024])
    parser.add_argument("--nodes", nargs="*", type=int, default=[10, 100, 1000, 10_000])
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, min(2, os.cpu_count() or 1)}))
    parser.add_argument("--seconds", type=float, default=0.5, help="for each time")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    parser.add_argument("--first-call", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    chosen = options(arguments)
    if chosen.first_call is not None:
        print(json.dumps(first_call(chosen.first_call)))
        return
    results: dict[str, Any] = {"threads": chosen.threads}
    for table, title in TABLES.items():
        if sizes := getattr(chosen, table):
            results[table] = run_times(table, sizes, chosen.threads, chosen.seconds)
            show(title, results[table])
    if chosen.nodes:
        results["nodes"] = compile_times(chosen.nodes)
        show("first call of a chain of n ops", results["nodes"])
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
