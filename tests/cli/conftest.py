"""Runs the command in this process, in a folder with a few small files."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from graphc.cli.main import main

LOSS: Final = """\
graph @loss(%x: f32[n, 3], %w: f32[3]) -> (f32[]) {
  %one: f32[] = constant() {value = dense<f32[]: 1.0>}
  %ones: f32[n, 3] = broadcast_in_dim(%one) {shape = (n, 3), dims = ()}
  %wide: f32[n, 3] = broadcast_in_dim(%w) {shape = (n, 3), dims = (1)}
  %y: f32[n, 3] = mul(%x, %wide)
  %z: f32[n, 3] = mul(%y, %ones)
  %e: f32[n, 3] = exp(%z)
  %s: f32[] = reduce_sum(%e) {axes = (0, 1)}
  return %s
}
"""

MODEL: Final = """\
import dataclasses

import graphc as gc

print("the model is loaded")


@dataclasses.dataclass
class Settings:
    rate: float = 0.5


def loss(x, w):
    y = x @ w
    return (y * y).mean()


@gc.jit
def scaled(params, factor, *, shift=0.0):
    return (params["w"] * factor).sum() + params["b"] + shift


def fails(x):
    return {}["nothing"]


def wrong_shapes(x, w):
    return x + w


def counts(n):
    return n + 1


number = 3

if __name__ == "__main__":
    raise SystemExit("run as a script")
"""

SCRIPT: Final = """\
import sys

import graphc as gc

x = gc.tensor([1.0, 2.0, 3.0], requires_grad=True)
y = (x * x).sum()
print("arguments:", sys.argv[1:])
"""


STATIC: Final = """\
import graphc as gc

graph = gc.Graph()
with graph.as_default():
    x = gc.placeholder("float32", [None, 3], name="x")
    w = gc.Variable([1.0, 2.0, 3.0], name="w")
    product = x * w
    loss = (product * product).sum()
    gradients = gc.gradients(loss, [w, x])
    train = gc.assign_sub(w, 0.5 * gradients[0])
"""


class Result(NamedTuple):
    """What a run of the command gave."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of each test."""
    (tmp_path / "loss.gir").write_text(LOSS, encoding="utf-8")
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "static.py").write_text(STATIC, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRAPHC_TRACEBACK", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("GRAPHC_MATMUL", "blas")  # the text of our own products depends on the processor
    return tmp_path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("dump", "loss.gir")`` runs the command."""

    def run(*words: str) -> Result:
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as stop:  # how argparse ends
            code = stop.code if isinstance(stop.code, int) else 2
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run
