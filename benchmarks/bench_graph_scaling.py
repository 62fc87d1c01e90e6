"""How the time of each stage grows with the graph: a chain of elementwise ops, from the front ends to the pipeline.

    python benchmarks/bench_graph_scaling.py [--lengths 1000 10000 100000]

Each stage works on what an earlier one made, and the size of what it gives is checked before its time is shown. Times are
of the processor, one run each: what matters is whether the microseconds for a node stay the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.printer import print_graph
from graphc.ir.structure import structural_hash
from graphc.ir.verifier import verify
from graphc.passes.differentiate import differentiate
from graphc.passes.pipeline import pipeline

SIZE = 3


def chain(x: Any, w: Any, length: int) -> Any:
    """``length`` elementwise ops, each of which needs the one before it."""
    y = x
    for step in range(length):
        y = gc.sin(y) if step % 3 == 0 else y * w if step % 3 == 1 else y + x
    return y


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Values for ``x`` and ``w`` that keep the chain and its gradient bounded."""
    return np.linspace(0.1, 0.9, SIZE, dtype=np.float32), np.full(SIZE, 0.5, np.float32)


class Stages:
    """The stages for a chain of ``length`` ops; ``seconds`` has what each took, in order."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, stage: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = stage()
        self.seconds[name] = time.process_time() - start
        return result

    def run(self) -> dict[str, float]:
        recorded: Graph = self.timed("eager record", self.record)
        x, w = arrays()
        traced: Graph = self.timed("jit trace", lambda: gc.jit(lambda x, w: chain(x, w, self.length)).graph(x, w))
        text: str = self.timed("print", lambda: print_graph(traced))
        parsed: Graph = self.timed("parse", lambda: parse(text))
        self.timed("verify", lambda: verify(parsed))
        self.timed("hash", lambda: structural_hash(parsed))
        gradient: Graph = self.timed("differentiate", lambda: differentiate(traced, (0, 1)))
        optimized: Graph = self.timed("pipeline", lambda: pipeline("cpu").run(traced))
        backward: Graph = self.timed("pipeline of the gradient", lambda: pipeline("cpu").run(gradient))
        self.timed("eager backward", self.backward)
        sizes = [len(g.nodes()) for g in (recorded, traced, parsed, optimized)]
        if sizes != [self.length + 2] * 4 or not len(backward.nodes()) > self.length:
            raise SystemExit(f"a stage lost nodes of {self.length}: {sizes}")
        return self.seconds

    def record(self) -> Graph:
        x, w = map(gc.tensor, arrays())
        with gc.record() as recorder:
            y = chain(x, w, self.length)
        return recorder.graph(outputs=[y], inputs=[x, w])

    def backward(self) -> None:
        """From the result of a chain of negations to its start, through a chain short of kernels to compile."""
        x = gc.tensor(np.ones(SIZE, np.float32), requires_grad=True)
        y = x
        for _ in range(self.length):
            y = -y
        y.sum().backward()
        if x.grad is None or abs(float(x.grad.numpy()[0])) != 1.0:
            raise SystemExit("the gradient of a chain of negations is not 1 or -1")


def table(results: Sequence[tuple[int, dict[str, float]]]) -> str:
    """A row a stage; for each length its seconds and microseconds a node."""
    lines = [f"{'stage':26}" + "".join(f"{length:>12,} {'µs/node':>9}" for length, _ in results)]
    for stage in results[0][1]:
        cells = (f"{s[stage]:10.3f} s {s[stage] / length * 1e6:9.1f}" for length, s in results)
        lines.append(f"{stage:26}" + "".join(cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    Stages(100).run()  # imports and first compilations
    print(table([(length, Stages(length).run()) for length in options.lengths]))


if __name__ == "__main__":
    main()
