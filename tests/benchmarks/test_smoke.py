"""The benchmarks run, on small sizes: their numbers mean nothing here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / program), *arguments], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scaling(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    small = ["--elements", "10", "100", "--layers", "1", "--batches", "2", "--nodes", "10", "60", "--seconds", "0.01"]
    text = run("bench_scaling.py", *small, "--threads", "1", "2", "--json", str(file))
    results = json.loads(file.read_text())
    assert [row["size"] for row in results["elements"]] == [10, 100]
    assert all(row["milliseconds@1"] > 0 and row["milliseconds@2"] > 0 for row in results["layers"] + results["batches"])
    assert [row["nodes"] for row in results["nodes"]] == [10, 60]
    assert "first call of a chain of n ops" in text


@pytest.mark.parametrize("options", [(), ("--busy",)], ids=["quiet", "busy"])
def test_peers(options: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("rich")
    file = tmp_path / "results.json"
    text = run(
        "bench_peers.py", "--only", "small_call", "--libraries", "graphc", "numpy", "--threads", "1", "--rounds", "1",
        "--seconds", "0.01", "--calls", "2", "--json", str(file), *options,
    )  # fmt: skip
    assert json.loads(file.read_text())["busy"] is bool(options)
    assert "compiled x*2+1 on 4 elements" in text


def test_cuda_on_paper() -> None:
    """The table is printed whether or not there is a GPU; no kernel is expected to take less than the least."""
    lines = run("bench_cuda.py", "--paper").splitlines()[1:]
    numbers = [line[16:].split() for line in lines]
    assert len(lines) >= 15 and all(0 < float(least) <= float(expected) for least, expected in numbers)


@pytest.mark.gpu
def test_cuda_on_a_gpu() -> None:
    text = run("bench_cuda.py", "--repeats", "2", "--only", "GELU", "softmax", "narrow product")
    measured = [line.split()[-3:] for line in text.splitlines()[1:]]
    assert len(measured) == 3 and all(float(median) > 0 for median, _, _ in measured)
