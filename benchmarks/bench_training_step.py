"""One training step of a small classifier (three layers, Adam): the three modes, and PyTorch where it is installed.

    python benchmarks/bench_training_step.py [--batch 64 512] [--repeat 50]

The losses of a few steps are compared first. Then steps of all contenders are timed in turn, so that a busy moment of the
machine touches all of them; the table gives medians, the spread (quartiles) and the ratio to the fastest.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

import graphc as gc

WIDTHS = (64, 128, 64, 10)
Step = Callable[[], float]


def initial() -> list[np.ndarray]:
    """The same weights for everybody."""
    rng = np.random.default_rng(0)
    arrays: list[np.ndarray] = []
    for inputs, outputs in itertools.pairwise(WIDTHS):
        arrays.append((rng.standard_normal((inputs, outputs)) * np.sqrt(2.0 / inputs)).astype(np.float32))
        arrays.append(np.zeros(outputs, np.float32))
    return arrays


def forward(params: Sequence, x, relu: Callable):  # type: ignore[no-untyped-def]
    """The perceptron, with whichever library's arrays."""
    for layer in range(0, len(params), 2):
        x = x @ params[layer] + params[layer + 1]
        if layer + 2 < len(params):
            x = relu(x)
    return x


def graphc_steps(x: np.ndarray, y: np.ndarray) -> dict[str, Step]:
    """graphc's three modes."""

    def imperative(wrap: Callable) -> Step:
        params = [gc.tensor(a, requires_grad=True) for a in initial()]
        optimizer = gc.optim.Adam(params, lr=1e-3)

        def step(images, labels):  # type: ignore[no-untyped-def]
            loss = gc.cross_entropy(forward(params, images, gc.relu), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = wrap(step)
        images, labels = gc.tensor(x), gc.tensor(y)
        return lambda: run(images, labels).item()

    graph = gc.Graph()
    with graph:
        images = gc.placeholder(gc.float32, (None, WIDTHS[0]))
        labels = gc.placeholder(gc.int64, (None,))
        variables = [gc.Variable(a) for a in initial()]
        loss = gc.cross_entropy(forward(variables, images, gc.relu), labels)
        train = gc.optim.Adam(lr=1e-3).minimize(loss)
        start = gc.global_variables_initializer()
    session = gc.Session(graph)
    session.run(start)
    return {
        "graphc eager": imperative(lambda f: f),
        "graphc jit": imperative(gc.jit),
        "graphc static": lambda: float(session.run([loss, train], {images: x, labels: y})[0]),
    }


def torch_steps(x: np.ndarray, y: np.ndarray) -> dict[str, Step]:
    """PyTorch, eager, on one thread as graphc."""
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch

    torch.set_num_threads(1)
    params = [torch.tensor(a, requires_grad=True) for a in initial()]
    optimizer = torch.optim.Adam(params, lr=1e-3)
    images, labels = torch.tensor(x), torch.tensor(y)

    def step() -> float:
        loss = torch.nn.functional.cross_entropy(forward(params, images, torch.relu), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return {f"torch {torch.__version__} eager": step}


def measure(batch: int, repeat: int) -> None:
    """Print the table for one batch size."""
    rng = np.random.default_rng(1)
    x = rng.random((batch, WIDTHS[0]), np.float32)
    y = rng.integers(0, 10, batch)
    contenders = graphc_steps(x, y) | torch_steps(x, y)
    losses = {name: [step() for _ in range(5)] for name, step in contenders.items()}
    spread = np.ptp(np.array(list(losses.values())), axis=0).max()
    if spread > 1e-4:
        raise SystemExit(f"the contenders disagree by {spread:.1e}: {losses}")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeat):
        for name, step in contenders.items():
            begin = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - begin)
    best = min(statistics.median(s) for s in seconds.values())
    print(f"\nbatch {batch}: losses agree to {spread:.1e}")
    print(f"{'':<24}{'median':>10}{'quartiles':>20}{'ratio':>8}")
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"{name:<24}{median * 1e3:>7.2f} ms{low * 1e3:>11.2f} – {high * 1e3:5.2f}{median / best:>8.1f}")


def main() -> None:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--repeat", type=int, default=50)
    arguments = parser.parse_args()
    for batch in arguments.batch:
        measure(batch, arguments.repeat)


if __name__ == "__main__":
    main()
