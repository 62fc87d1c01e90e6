"""A wave equation in NumPy style, and its gradient: find where a wave began from what it looks like later.

    python examples/wave_simulation.py --output wave.png

`simulate` is ordinary NumPy code, written with slices that are assigned to. The same function runs on NumPy arrays, eagerly on
graphc's tensors, and traced by `gc.jit`; `gc.grad` differentiates through all of its steps. From a picture of the membrane at
the end, gradient descent recovers the picture at the start, but for the few standing waves that are passing through zero then.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import graphc as gc

SPEED = 0.5  # in cells per step; the scheme is stable below 1/√2


def simulate(start: Any, steps: int) -> Any:
    """The membrane after ``steps`` steps of ∂²u/∂t² = c² ∇²u, at rest at first, held at its border."""
    u, before = start.copy(), start.copy()
    for _ in range(steps):
        after = 2 * u - before
        after[1:-1, 1:-1] += SPEED**2 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
        after[0], after[-1], after[:, 0], after[:, -1] = 0, 0, 0, 0
        u, before = after, u
    return u


def drops(size: int) -> np.ndarray:
    """What is to be found: two bumps and a dent."""
    x, y = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    places = ((0.3, 0.35, 1.0), (0.65, 0.6, -0.7), (0.4, 0.75, 0.5))
    waves = [a * np.exp(-((x - r * size) ** 2 + (y - c * size) ** 2) / (0.05 * size) ** 2) for r, c, a in places]
    return sum(waves).astype(np.float32)


def modes_agree(start: np.ndarray, steps: int) -> np.ndarray:
    """Run the simulation in three ways; give the result of NumPy's."""
    ways = {
        "NumPy": lambda: simulate(start, steps),
        "eager": lambda: simulate(gc.from_numpy(start), steps).numpy(),
        "jit": lambda: jitted(gc.from_numpy(start), steps).numpy(),
    }
    jitted = gc.jit(simulate, static_argnames="steps")
    results = {}
    for name, way in ways.items():
        began = time.perf_counter()
        way()
        first = time.perf_counter() - began
        began = time.perf_counter()
        results[name] = way()
        again = time.perf_counter() - began
        difference = np.abs(results[name] - results["NumPy"]).max()
        print(f"{name:>6}: first call {first:7.3f} s, second {again * 1e3:7.2f} ms, differs from NumPy by {difference:.1e}")
    return results["NumPy"]


def recover(seen: np.ndarray, steps: int, iterations: int) -> tuple[np.ndarray, list[float]]:
    """Start from a flat membrane and follow the gradient of the misfit."""

    def misfit(start: Any, seen: Any) -> Any:
        return ((simulate(start, steps) - seen) ** 2).sum()

    @gc.jit
    def descend(start: Any, velocity: Any, seen: Any) -> tuple[Any, Any, Any]:
        loss, slope = gc.value_and_grad(misfit)(start, seen)
        velocity = 0.95 * velocity - 0.5 * slope
        return loss, start + velocity, velocity

    start, velocity, losses = gc.zeros_like(gc.from_numpy(seen)), gc.zeros(seen.shape), []
    with tqdm(range(iterations), unit="iteration") as progress:
        for _ in progress:
            loss, start, velocity = descend(start, velocity, seen)
            losses.append(loss.item())
            progress.set_postfix(misfit=f"{losses[-1]:.2e}")
    return start.numpy(), losses


def draw(path: Path, pictures: dict[str, np.ndarray], losses: list[float]) -> None:
    """Save the pictures and the curve of the misfit, if matplotlib is there."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        print("no picture: install matplotlib for it (pip install matplotlib)")
        return
    figure = Figure(figsize=(14, 3.4), layout="constrained")
    axes = figure.subplots(1, len(pictures) + 1)
    for axis, (title, picture) in zip(axes, pictures.items(), strict=False):
        image = axis.imshow(picture, cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(image, ax=axes[: len(pictures)], label="height", shrink=0.8)
    axes[-1].semilogy(losses)
    axes[-1].set(title="Misfit", xlabel="iteration")
    figure.savefig(path, dpi=120)
    print(f"saved {path}")


def main() -> None:
    """Simulate, compare the modes, recover the start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="cells along each side (default: 64)")
    parser.add_argument("--steps", type=int, default=40, help="steps of the simulation (default: 40)")
    parser.add_argument("--iterations", type=int, default=300, help="of gradient descent (default: 300)")
    parser.add_argument("--output", type=Path, default=Path("wave.png"), help="the picture (default: wave.png)")
    args = parser.parse_args()

    start = drops(args.size)
    seen = modes_agree(start, args.steps)
    found, losses = recover(seen, args.steps, args.iterations)
    error = np.linalg.norm(found - start) / np.linalg.norm(start)
    print(f"misfit {losses[0]:.3g} -> {losses[-1]:.3g}; the start is recovered with an error of {error:.1%}")
    draw(args.output, {"The start": start, f"Seen after {args.steps} steps": seen, "The start, recovered": found}, losses)


if __name__ == "__main__":
    main()
