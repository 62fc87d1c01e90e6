"""What a call costs where the arithmetic costs nothing: operators, jitted calls and training steps on small arrays.

    python benchmarks/bench_call_overhead.py [--repeat 40] [--json results.json]

graphc, NumPy and, where it is installed, PyTorch take turns, so that a busy moment of the machine touches all of them.
The table gives the median and the minimum of the time of one call, in microseconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gc

Call = Callable[[], object]
Contenders = dict[str, Call]  # by library
HAS_TORCH = importlib.util.find_spec("torch") is not None


def data(*shape: int) -> np.ndarray:
    """The same numbers for everybody."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def operators() -> dict[str, Contenders]:
    """Eager operators on four elements."""
    a, m, mask = data(4), data(4, 4), data(4) > 0
    x, y, p, t = gc.tensor(a), gc.tensor(a), gc.tensor(m), gc.tensor(mask)
    w = gc.tensor(a, requires_grad=True)
    h = w * 1.0
    v = gc.tensor(m, requires_grad=True)
    n = a.copy()
    cases: dict[str, Contenders] = {
        "a + b": {"graphc": lambda: x + y, "numpy": lambda: a + a},
        "a * 2.0": {"graphc": lambda: x * 2.0, "numpy": lambda: a * 2.0},
        "maximum(a, b)": {"graphc": lambda: gc.maximum(x, y), "numpy": lambda: np.maximum(a, a)},
        "where(mask, a, b)": {"graphc": lambda: gc.where(t, x, y), "numpy": lambda: np.where(mask, a, a)},
        "exp(a)": {"graphc": lambda: gc.exp(x), "numpy": lambda: np.exp(a)},
        "relu(a)": {"graphc": lambda: gc.relu(x), "numpy": lambda: np.maximum(a, 0)},
        "sum(a)": {"graphc": x.sum, "numpy": a.sum},
        "m @ m": {"graphc": lambda: p @ p, "numpy": lambda: m @ m},
        "a[0]": {"graphc": lambda: x[0], "numpy": lambda: a[0]},
        "a[1:3]": {"graphc": lambda: x[1:3], "numpy": lambda: a[1:3]},
        "a.reshape(2, 2)": {"graphc": lambda: x.reshape(2, 2), "numpy": lambda: a.reshape(2, 2)},
        "m.T": {"graphc": lambda: p.T, "numpy": lambda: m.T},
        "a[0] = 1.0": {"graphc": lambda: y.__setitem__(0, 1.0), "numpy": lambda: n.__setitem__(0, 1.0)},
        "a += b": {"graphc": lambda: y.__iadd__(x), "numpy": lambda: n.__iadd__(a)},
        "concatenate([a, b])": {"graphc": lambda: gc.concatenate([x, y]), "numpy": lambda: np.concatenate([a, a])},
        "a.astype(float64)": {"graphc": lambda: x.astype(gc.float64), "numpy": lambda: a.astype(np.float64)},
        "recorded: a * b": {"graphc": lambda: w * x},
        "recorded: 2.0 * a": {"graphc": lambda: 2.0 * h},
        "recorded: -a": {"graphc": lambda: -h},
        "recorded: tanh(a)": {"graphc": lambda: gc.tanh(h)},
        "recorded: relu(a)": {"graphc": lambda: gc.relu(h)},
        "recorded: sum(a)": {"graphc": h.sum},
        "recorded: m @ m": {"graphc": lambda: v @ p},
        "recorded: a[0]": {"graphc": lambda: h[0]},
    }
    if HAS_TORCH:
        import torch

        tx, ty, tp, tm = torch.tensor(a), torch.tensor(a), torch.tensor(m), torch.tensor(mask)
        tw = torch.tensor(a, requires_grad=True)
        th = tw * 1.0
        tv = torch.tensor(m, requires_grad=True)
        calls: list[Call] = [
            lambda: tx + ty, lambda: tx * 2.0, lambda: torch.maximum(tx, ty), lambda: torch.where(tm, tx, ty),
            lambda: torch.exp(tx), lambda: torch.relu(tx), tx.sum, lambda: tp @ tp, lambda: tx[0], lambda: tx[1:3],
            lambda: tx.reshape(2, 2), lambda: tp.T, lambda: ty.__setitem__(0, 1.0), lambda: ty.__iadd__(tx),
            lambda: torch.cat([tx, ty]), tx.double, lambda: tw * tx, lambda: 2.0 * th, lambda: -th,
            lambda: torch.tanh(th), lambda: torch.relu(th), th.sum, lambda: tv @ tp, lambda: th[0],
        ]  # fmt: skip
        for case, call in zip(cases.values(), calls, strict=True):
            case["torch"] = call
    return cases


def jitted() -> dict[str, Contenders]:
    """Warm calls of jitted functions of four elements."""
    a = data(4)
    x, y = gc.tensor(a), gc.tensor(a)
    one = gc.jit(lambda x: x * 2 + 1)
    two = gc.jit(lambda x, y: x * 2 + y)
    number = gc.jit(lambda x, scale: x * scale)
    weight = gc.tensor(a)
    captured = gc.jit(lambda x: x * weight)
    executable = one.lower(x).compile()
    return {
        "jit: x * 2 + 1": {"graphc": lambda: one(x), "numpy": lambda: a * 2 + 1},
        "jit: x * 2 + y": {"graphc": lambda: two(x, y), "numpy": lambda: a * 2 + a},
        "jit: x * number": {"graphc": lambda: number(x, 3.0), "numpy": lambda: a * 3.0},
        "jit: x * captured": {"graphc": lambda: captured(x), "numpy": lambda: a * a},
        "executable": {"graphc": lambda: executable(a), "numpy": lambda: a * 2 + 1},
    }


def training_steps() -> dict[str, Contenders]:
    """A step of a perceptron (batch 32, 64-64-10): forward, cross entropy, backward, SGD.

    The rate is low, so that thousands of steps do not end in denormal numbers, which are slow.
    """
    arrays = [0.1 * data(64, 64), 0 * data(64), 0.1 * data(64, 10), 0 * data(10)]
    images, labels = data(32, 64), np.arange(32) % 10
    params = [gc.tensor(a, requires_grad=True) for a in arrays]
    optimizer = gc.optim.SGD(params, lr=1e-4)
    x, y = gc.tensor(images), gc.tensor(labels)

    def step() -> Any:
        w1, b1, w2, b2 = params
        loss = gc.cross_entropy(gc.relu(x @ w1 + b1) @ w2 + b2, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    contenders: Contenders = {"graphc": step}
    if HAS_TORCH:
        import torch

        torch.set_num_threads(1)
        t1, c1, t2, c2 = theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
        their_optimizer = torch.optim.SGD(theirs, lr=1e-4)
        tx, ty = torch.tensor(images), torch.tensor(labels)

        def their_step() -> Any:
            loss = torch.nn.functional.cross_entropy(torch.relu(tx @ t1 + c1) @ t2 + c2, ty)
            their_optimizer.zero_grad()
            loss.backward()
            their_optimizer.step()
            return loss

        for _ in range(3):
            ours, other = step().item(), their_step().item()
            if abs(ours - other) > 1e-4:
                raise SystemExit(f"the losses disagree: {ours} and {other}")
        contenders["torch"] = their_step
    return {"training step": contenders}


def per_call(call: Call, budget: float = 0.002) -> Callable[[], float]:
    """A function that times one call, in seconds, over as many as fit into ``budget``."""
    for _ in range(20):
        call()
    begin = time.perf_counter()
    call()
    number = max(1, int(budget / max(time.perf_counter() - begin, 1e-7)))

    def measure() -> float:
        begin = time.perf_counter()
        for _ in range(number):
            call()
        return (time.perf_counter() - begin) / number

    return measure


def import_seconds(statement: str) -> list[float]:
    """How long ``statement`` takes in fresh processes."""
    code = f"import time; b = time.perf_counter(); {statement}; print(time.perf_counter() - b)"
    command = [sys.executable, "-c", code]
    return [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5)]


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    arguments = parser.parse_args()
    cases = operators() | jitted() | training_steps()
    timers = {name: {library: per_call(call) for library, call in case.items()} for name, case in cases.items()}
    seconds: dict[str, dict[str, list[float]]] = {n: {library: [] for library in case} for n, case in timers.items()}
    for _ in range(arguments.repeat):
        for name, case in timers.items():
            for library, measure in case.items():
                seconds[name][library].append(measure())
    seconds["import graphc"] = {"graphc": import_seconds("import graphc")}
    seconds["import, first tensor"] = {"graphc": import_seconds("import graphc as gc; gc.tensor([1.0])")}
    results: dict[str, Any] = {}
    libraries = ["graphc", "numpy", *(["torch"] if HAS_TORCH else [])]
    print(f"{'µs, median (minimum)':<22}" + "".join(f"{library:>22}" for library in libraries))
    for name, case in seconds.items():
        results[name] = {
            library: {"median_us": statistics.median(values) * 1e6, "minimum_us": min(values) * 1e6}
            for library, values in case.items()
        }
        cells = [results[name].get(library) for library in libraries]
        row = [f"{c['median_us']:.2f} ({c['minimum_us']:.2f})" if c else "" for c in cells]
        print(f"{name:<22}" + "".join(f"{text:>22}" for text in row))
    if arguments.json is not None:
        machine = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.platform()}
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
