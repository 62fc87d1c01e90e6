"""Train one classifier on real images of digits in all three modes, and show that they are one program.

The model and its loss are written once. They are trained op by op (eager), traced (`@gc.jit`), and declared as a static graph
that a Session runs. The three loss curves agree to float32 rounding, and the three training graphs are equal.

    python examples/train_digits.py --mode all
    graphc diff examples/train_digits.py:eager_graph examples/train_digits.py:static_graph --stage optimized

The images are scikit-learn's digits: 1,797 scans of 8×8 pixels (E. Alpaydin and C. Kaynak, UCI repository, 1998).
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import graphc as gc
from graphc.ir.graph import Graph
from graphc.ir.structure import structurally_equal
from graphc.ir.types import symbols_in
from graphc.passes.pipeline import pipeline
from graphc.passes.specialize import specialize

WIDTHS = (64, 128, 64, 10)
BATCH = 64
RATE = 1e-3
NAMES = [f"{kind}{layer}" for layer in range(1, len(WIDTHS)) for kind in ("w", "b")]


# The model: written once, used in every mode


def logits(params: Sequence[Any], x: Any) -> Any:
    """A perceptron of three layers."""
    for layer in range(0, len(params), 2):
        x = x @ params[layer] + params[layer + 1]
        if layer + 2 < len(params):
            x = gc.relu(x)
    return x


def loss_of(params: Sequence[Any], x: Any, y: Any) -> Any:
    """The mean cross entropy of a batch."""
    return gc.cross_entropy(logits(params, x), y)


def initial_parameters(seed: int = 0) -> list[np.ndarray]:
    """Weights after He et al. (2015), biases of 0."""
    rng = np.random.default_rng(seed)
    arrays: list[np.ndarray] = []
    for inputs, outputs in itertools.pairwise(WIDTHS):
        arrays.append((rng.standard_normal((inputs, outputs)) * np.sqrt(2.0 / inputs)).astype(np.float32))
        arrays.append(np.zeros(outputs, np.float32))
    return arrays


# The data


@dataclass
class Data:
    """Images as rows of 64 numbers from 0 to 1, and their digits."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def load(seed: int = 0) -> Data:
    """Four fifths of the images for training, one fifth for the test."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    x, y = (digits.data[order] / 16.0).astype(np.float32), digits.target[order].astype(np.int64)
    cut = len(x) * 4 // 5
    return Data(x[:cut], y[:cut], x[cut:], y[cut:])


def batches(data: Data, epochs: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Shuffled batches of one size."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(data.train_x))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield data.train_x[chosen], data.train_y[chosen]


# The three modes: each gives a training step and a prediction


Step = Callable[[np.ndarray, np.ndarray], float]
Predict = Callable[[np.ndarray], np.ndarray]


class Trainer:
    """Parameters and an optimizer, updated step by step as a PyTorch user would write it."""

    def __init__(self, seed: int = 0) -> None:
        self.params = [gc.tensor(a, requires_grad=True) for a in initial_parameters(seed)]
        self.rate = gc.tensor(RATE)
        self.optimizer = gc.optim.Adam(self.params, lr=self.rate)

    def step(self, x: Any, y: Any) -> Any:
        """One step of Adam on a batch; gives the loss."""
        loss = loss_of(self.params, x, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def state(self) -> list[Any]:
        """What the optimizer remembers, parameter by parameter."""
        return [slot for p in self.params for slot in self.optimizer.state[id(p)].values()]


def eager_mode() -> tuple[Step, Predict]:
    """Op by op."""
    trainer = Trainer()
    return (
        lambda x, y: float(trainer.step(gc.from_numpy(x), gc.from_numpy(y))),
        lambda x: logits(trainer.params, gc.from_numpy(x)).argmax(1).numpy(),
    )


def jit_mode() -> tuple[Step, Predict]:
    """The same step, traced once."""
    trainer = Trainer()
    step = gc.jit(trainer.step)
    predict = gc.jit(lambda x: logits(trainer.params, x).argmax(1))
    return lambda x, y: float(step(x, y)), lambda x: predict(x).numpy()


@dataclass
class Declared:
    """The same program as a static graph."""

    graph: gc.Graph = field(default_factory=gc.Graph)

    def __post_init__(self) -> None:
        with self.graph:
            self.x = gc.placeholder(gc.float32, (None, WIDTHS[0]), name="x")
            self.y = gc.placeholder(gc.int64, (None,), name="y")
            self.rate = gc.placeholder(gc.float32, (), name="rate")
            self.params = [gc.Variable(a, name=n) for a, n in zip(initial_parameters(), NAMES, strict=True)]
            self.loss = loss_of(self.params, self.x, self.y)
            self.train = gc.optim.Adam(lr=self.rate).minimize(self.loss)
            self.predicted = logits(self.params, self.x).argmax(1)
            self.initialize = gc.global_variables_initializer()


def static_mode() -> tuple[Step, Predict]:
    """Declared, then run by a Session."""
    model = Declared()
    session = gc.Session(model.graph)
    session.run(model.initialize)

    def step(x: np.ndarray, y: np.ndarray) -> float:
        loss, _ = session.run([model.loss, model.train], {model.x: x, model.y: y, model.rate: RATE})
        return float(loss)

    return step, lambda x: session.run(model.predicted, {model.x: x})


MODES = {"eager": eager_mode, "jit": jit_mode, "static": static_mode}


# The training graphs: (batch, rate, parameters, optimizer state) → (loss, new parameters, new state)


def _recorded(step: Callable[..., Any], trainer: Trainer) -> Graph:
    x, y = gc.zeros(BATCH, WIDTHS[0]), gc.zeros(BATCH, dtype=gc.int64)
    with gc.record("train") as recording:
        loss = step(x, y)
    state = [*trainer.params, *trainer.state()]
    return recording.graph(outputs=[loss, *state], inputs=[x, y, trainer.rate, *state])


def eager_graph() -> Graph:
    """What one eager step did."""
    trainer = Trainer()
    return _recorded(trainer.step, trainer)


def jit_graph() -> Graph:
    """What one traced step did."""
    trainer = Trainer()
    return _recorded(gc.jit(trainer.step), trainer)


def static_graph() -> Graph:
    """The declared step, at the size of one batch."""
    model = Declared()
    graph = model.graph.to_ir([model.loss, model.train], [model.x, model.y, model.rate])
    return specialize(graph, dict.fromkeys(symbols_in(graph.parameter_types), BATCH))


# The program


@dataclass
class Result:
    """What one mode gave."""

    losses: list[float]
    accuracy: float
    steps_per_second: float
    first_step: float


def train(mode: str, data: Data, epochs: int) -> Result:
    """Train in one mode, with a progress bar."""
    step, predict = MODES[mode]()
    total = epochs * (len(data.train_x) // BATCH)
    losses: list[float] = []
    times: list[float] = []
    with tqdm(batches(data, epochs), total=total, desc=f"{mode:>6}", unit="step") as progress:
        for x, y in progress:
            start = time.perf_counter()
            losses.append(step(x, y))
            times.append(time.perf_counter() - start)
            if len(losses) % 20 == 0:
                progress.set_postfix(loss=f"{losses[-1]:.4f}")
    accuracy = float((predict(data.test_x) == data.test_y).mean())
    return Result(losses, accuracy, 1.0 / float(np.median(times)), times[0])


def report(results: dict[str, Result]) -> None:
    """Losses side by side, accuracy and speed, and whether the graphs are equal."""
    names = list(results)
    count = len(next(iter(results.values())).losses)
    print("\nloss at step " + "".join(f"{n:>12}" for n in names))
    for step in sorted({0, count // 8, count // 4, count // 2, count - 1}):
        print(f"{step:>12} " + "".join(f"{results[n].losses[step]:12.6f}" for n in names))
    if len(names) > 1:
        curves = np.array([results[n].losses for n in names])
        print(f"\nlargest difference between the curves: {np.ptp(curves, axis=0).max():.2e}")
    print("\nmode    test accuracy   steps/s   first step")
    for name in names:
        r = results[name]
        print(f"{name:<8}{r.accuracy:>12.1%}{r.steps_per_second:>11.0f}{r.first_step:>11.2f} s")
    if len(names) > 1:
        graphs = {"eager": eager_graph, "jit": jit_graph, "static": static_graph}
        optimized = [pipeline("cpu").run(graphs[n]()) for n in names]
        equal = all(structurally_equal(optimized[0], other) for other in optimized[1:])
        print(f"\noptimized training graphs of {', '.join(names)}: {'equal' if equal else 'DIFFERENT'}")


def main() -> None:
    """Train in the modes asked for and print what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=[*MODES, "all"], default="all", help="which mode to train in (default: all)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training images (default: 20)")
    arguments = parser.parse_args()
    data = load()
    chosen = list(MODES) if arguments.mode == "all" else [arguments.mode]
    report({mode: train(mode, data, arguments.epochs) for mode in chosen})


if __name__ == "__main__":
    main()
