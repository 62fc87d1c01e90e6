"""Debug a model with pdb: in the forward pass, in the backward pass, and within a jitted function.

    python examples/debug_with_pdb.py                       you are at the prompt of pdb; `c` goes on to the next stop
    python examples/debug_with_pdb.py < /dev/null           the same stops, with commands from below
    GRAPHC_MODE=eager python -m pdb my_training_script.py   steps into jitted functions of any program

Eager tensors hold their values, so `print`, `if` and `breakpoint()` work anywhere. There is a mistake to find: the pixels of
the digits are divided by how much they vary, and some do not.
"""

import argparse
import io
import os
import pdb
import sys
from typing import Any

from sklearn.datasets import load_digits

import graphc as gc

# What is typed at each stop when nobody is at the keyboard.
FORWARD = ["p scaled[0, :6]", "p gc.nonzero(spread == 0)[0]", "p x[:, 0].max()", "up", "p images.shape", "c"]
BACKWARD = ["p gradient.shape", "p gradient.abs().max()", "p (gradient == 0).all(0).sum()", "c"]
TRACED = ["p loss", "p loss.shape", "c"]
EAGER = ["p loss", "p (logits.argmax(1) == digits).mean()", "c"]


class ScriptedPdb(pdb.Pdb):
    """pdb that reads its commands from a list, and shows them."""

    def __init__(self, commands: list[str]) -> None:
        super().__init__(stdin=io.StringIO("\n".join(commands) + "\n"), stdout=sys.stdout)

    def precmd(self, line: str) -> str:
        print(line)
        return super().precmd(line)


def script(*stops: list[str]) -> None:
    """Make the next calls of `breakpoint()` take commands from ``stops``, unless somebody can type them."""
    if not sys.stdin.isatty():
        waiting = list(stops)
        sys.breakpointhook = lambda: ScriptedPdb(waiting.pop(0)).set_trace(sys._getframe(1))


def standardize(x: gc.Tensor, epsilon: float = 0.0) -> gc.Tensor:
    """Every pixel with a mean of 0 and a deviation of 1."""
    spread = x.std(0)
    scaled = (x - x.mean(0)) / (spread + epsilon)
    if gc.isnan(scaled).any():
        breakpoint()  # Python's own control flow, on the values that are there
    return scaled


def forward_pass(images: gc.Tensor) -> gc.Tensor:
    """Stop where the first NaN appears, then mend it."""
    script(FORWARD)
    standardize(images)
    return standardize(images, epsilon=1e-6)


def backward_pass(x: gc.Tensor, digits: gc.Tensor, weights: list[gc.Tensor]) -> None:
    """Stop in a hook, when the gradient of a hidden layer is known."""

    def hook(gradient: gc.Tensor) -> gc.Tensor:
        breakpoint()
        return gradient.clip(-1e-4, 1e-4)  # what a hook returns goes on backwards in place of the gradient

    script(BACKWARD)
    hidden = gc.relu(x @ weights[0])
    hidden.register_hook(hook)
    gc.cross_entropy(hidden @ weights[1], digits).backward()
    print(f"gradient of the first weights: at most {weights[0].grad.abs().max():.4f}")


def jitted_function(x: gc.Tensor, digits: gc.Tensor, weights: list[gc.Tensor]) -> None:
    """Stop in the same function twice: while it is traced, and with GRAPHC_MODE=eager."""

    @gc.jit
    def loss_of(x: Any, digits: Any) -> Any:
        logits = gc.relu(x @ weights[0]) @ weights[1]
        loss = gc.cross_entropy(logits, digits)
        breakpoint()
        return loss

    script(TRACED, EAGER)
    loss_of(x, digits)
    os.environ["GRAPHC_MODE"] = "eager"  # usually set outside, when the program is started
    loss_of(x, digits)
    del os.environ["GRAPHC_MODE"]


def main() -> None:
    """Go through the stops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    data = load_digits()
    images, digits = gc.tensor(data.data, dtype=gc.float32), gc.tensor(data.target)
    gc.random.manual_seed(0)
    weights = [gc.tensor(gc.random.normal(shape) * 0.1, requires_grad=True) for shape in ((64, 32), (32, 10))]

    print("1. The forward pass: where does the NaN come from?")
    x = forward_pass(images)
    print("\n2. The backward pass: a look at a gradient on its way.")
    backward_pass(x, digits, weights)
    print("\n3. A jitted function: while traced there are only shapes; with GRAPHC_MODE=eager there are values.")
    jitted_function(x, digits, weights)


if __name__ == "__main__":
    main()
