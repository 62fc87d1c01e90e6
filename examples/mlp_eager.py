"""A perceptron of three layers on real digits, trained eagerly: the loop a PyTorch user knows, on one page.

    python examples/mlp_eager.py --epochs 20

The images are scikit-learn's digits: 1,797 scans of 8×8 pixels (E. Alpaydin and C. Kaynak, UCI repository, 1998).
"""

import argparse
import time
from itertools import pairwise

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import graphc as gc


class Linear:
    """x W + b, with weights after He et al. (2015)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        scale = (2.0 / inputs) ** 0.5
        self.weight = gc.tensor(gc.random.normal((inputs, outputs)) * scale, requires_grad=True)
        self.bias = gc.zeros(outputs).requires_grad_()

    def __call__(self, x: gc.Tensor) -> gc.Tensor:
        return x @ self.weight + self.bias


class MLP:
    """Three layers with ReLU between them."""

    def __init__(self, *widths: int) -> None:
        self.layers = [Linear(i, o) for i, o in pairwise(widths)]

    def parameters(self) -> list[gc.Tensor]:
        return [p for layer in self.layers for p in (layer.weight, layer.bias)]

    def __call__(self, x: gc.Tensor) -> gc.Tensor:
        for layer in self.layers[:-1]:
            x = gc.relu(layer(x))
        return self.layers[-1](x)


def main() -> None:
    """Train, then test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training images (default: 20)")
    parser.add_argument("--optimizer", choices=["SGD", "Adam"], default="Adam", help="default: Adam")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the order of the images (default: 0)")
    args = parser.parse_args()

    digits = load_digits()
    split = train_test_split(digits.data / 16, digits.target, test_size=0.2, random_state=args.seed)
    train_x, test_x = (gc.tensor(a, dtype=gc.float32) for a in split[:2])
    train_y, test_y = (gc.tensor(a) for a in split[2:])

    gc.random.manual_seed(args.seed)
    order = np.random.default_rng(args.seed)
    model = MLP(64, 128, 64, 10)
    if args.optimizer == "SGD":
        optimizer = gc.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    else:
        optimizer = gc.optim.Adam(model.parameters(), lr=1e-3)

    start, steps = time.perf_counter(), 0
    with tqdm(range(args.epochs), unit="epoch") as progress:
        for epoch in progress:
            losses = []
            for rows in np.array_split(order.permutation(len(train_x)), len(train_x) // 64):
                loss = gc.cross_entropy(model(train_x[rows]), train_y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            steps += len(losses)
            progress.set_postfix(loss=f"{np.mean(losses):.4f}")
            if epoch in (0, args.epochs - 1):
                progress.write(f"epoch {epoch + 1:>3}: loss {np.mean(losses):.4f}")
    seconds = time.perf_counter() - start

    with gc.no_grad():
        accuracy = (model(test_x).argmax(1) == test_y).mean()
    print(f"test accuracy {accuracy.item():.1%}, {steps / seconds:.0f} steps/s with compilation")


if __name__ == "__main__":
    main()
