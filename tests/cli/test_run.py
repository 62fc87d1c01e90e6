"""`graphc run`: arrays in, arrays out."""

import json
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from graphc.runtime import targets
from tests.cli.conftest import Cli
from tests.conftest import Golden

TWO = """\
graph @two(%x: f32[n], %k: i64[]) -> (f32[n], i64[], f32[n], bool[n]) {
  %double: f32[n] = add(%x, %x)
  %0: i64[] = add(%k, %k)
  %1: bool[n] = is_nan(%x)
  return %double, %0, %double, %1
}
"""


@pytest.fixture(autouse=True)
def files(folder: Path) -> None:
    (folder / "two.gir").write_text(TWO, encoding="utf-8")
    x = np.array([[0.5, -1.0, 2.0], [0.25, 0.0, 1.0]], np.float32)
    w = np.array([1.0, 0.5, -1.0], np.float32)
    np.savez(folder / "named.npz", w=w, x=x)
    np.savez(folder / "ordered.npz", x, w)
    np.save(folder / "x.npy", x)
    np.save(folder / "w.npy", w)


@pytest.mark.parametrize("inputs", [["named.npz"], ["ordered.npz"], ["x.npy", "w.npy"]])
@pytest.mark.parametrize("target", ["cpu", "reference"])
def test_values(cli: Cli, folder: Path, inputs: list[str], target: str) -> None:
    result = cli("run", "loss.gir", *inputs, "--target", target, "-o", "out.npy")
    assert result.code == 0, result.err
    x, w = np.load(folder / "x.npy"), np.load(folder / "w.npy")
    np.testing.assert_allclose(np.load(folder / "out.npy"), np.exp(x * w).sum(), rtol=1e-6)
    assert result.out.startswith("s: f32[] = 5.04249")


def test_a_summary(cli: Cli, folder: Path, golden: Golden) -> None:
    np.savez(folder / "small.npz", x=np.array([1.5, np.nan, -np.inf], np.float32), k=np.int64(21))
    x = np.arange(100, dtype=np.float32)
    x[7], x[8] = np.inf, np.nan
    np.savez(folder / "large.npz", x=x, k=np.int64(21))
    np.savez(folder / "empty.npz", x=x[:0], k=np.int64(21))
    golden("golden/run.txt", "".join(cli("run", "two.gir", f"{name}.npz").out for name in ("small", "large", "empty")))
    golden("golden/run.json", cli("run", "two.gir", "small.npz", "--json").out)


def test_outputs_by_name(cli: Cli, folder: Path) -> None:
    np.savez(folder / "small.npz", x=np.ones(2, np.float32), k=np.int64(21))
    assert cli("run", "two.gir", "small.npz", "-o", "out.npz").code == 0
    with np.load(folder / "out.npz") as out:
        assert out.files == ["double", "output_1", "double_2", "output_3"]
        assert out["output_1"] == 42
    first = (folder / "out.npz").read_bytes()
    assert cli("run", "two.gir", "small.npz", "-o", "out.npz").code == 0
    assert (folder / "out.npz").read_bytes() == first


def test_bfloat16_comes_through_files(cli: Cli, folder: Path) -> None:
    text = "graph @f(%x: bf16[3]) -> (bf16[3]) {\n  %y: bf16[3] = add(%x, %x)\n  return %y\n}\n"
    (folder / "half.gir").write_text(text, encoding="utf-8")
    np.save(folder / "half.npy", np.array([1.0, 2.5, -3.0], ml_dtypes.bfloat16))
    result = cli("run", "half.gir", "half.npy", "--check", "-o", "out.npy")
    assert (result.code, result.out) == (0, "y: bf16[3] = [2, 5, -6]\ncheck: all agree\n")
    doubled = np.load(folder / "out.npy").view(ml_dtypes.bfloat16)
    assert doubled.astype(np.float32).tolist() == [2.0, 5.0, -6.0]


def test_a_check_that_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("run", "loss.gir", "named.npz", "--check").code == 0
    original = targets.load_backend

    def broken(target: str) -> object:
        backend = original(target)
        if target == "reference":
            return backend

        class Wrong:
            @staticmethod
            def compile(graph: object, *, fast_math: bool = False) -> object:
                compiled = backend.compile(graph, fast_math=fast_math)  # type: ignore[arg-type]
                return lambda *arrays: [np.asarray(1.01 * result) for result in compiled(*arrays)]

        return Wrong

    monkeypatch.setattr(sys.modules["graphc.compile"], "load_backend", broken)
    result = cli("run", "loss.gir", "named.npz", "--check")
    assert result.code == 1
    assert "differs from the reference: relative error 0.01\n" in result.out
    assert result.out.endswith("check: 1 of 1 outputs differ\n")
    data = json.loads(cli("run", "loss.gir", "named.npz", "--check", "--json").out)
    assert data["outputs"][0]["agrees"] is False


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing_file", ["loss.gir", "none.npz"]),
        ("not_arrays", ["loss.gir", "loss.gir"]),
        ("pickled", ["loss.gir", "pickled.npy", "w.npy"]),
        ("too_few", ["loss.gir", "x.npy"]),
        ("missing_name", ["loss.gir", "other.npz"]),
        ("unknown_name", ["loss.gir", "more.npz"]),
        ("two_archives", ["loss.gir", "named.npz", "named.npz"]),
        ("wrong_dtype", ["loss.gir", "double.npy", "w.npy"]),
        ("wrong_shape", ["loss.gir", "w.npy", "w.npy"]),
        ("unknown_suffix", ["loss.gir", "named.npz", "-o", "out.txt"]),
        ("one_file_for_four", ["two.gir", "named.npz", "-o", "out.npy"]),
        ("no_text", ["model.py:loss", "named.npz"]),
        ("out_of_range", ["pick.gir", "x.npy", "index.npy"]),
    ],
)
def test_errors(cli: Cli, folder: Path, golden: Golden, name: str, words: list[str]) -> None:
    np.save(folder / "pickled.npy", np.array([{}], object))
    np.savez(folder / "other.npz", x=np.zeros(3), v=np.zeros(3))
    np.savez(folder / "more.npz", x=np.zeros(3), w=np.zeros(3), extra=np.zeros(3))
    np.save(folder / "double.npy", np.zeros((2, 3)))
    np.save(folder / "index.npy", np.array([0, 5]))
    pick = "graph @pick(%x: f32[2, 3], %i: i64[2]) -> (f32[2, 3]) {\n  %0: f32[2, 3] = gather(%x, %i) {axes = (0)}\n"
    (folder / "pick.gir").write_text(pick + "  return %0\n}\n", encoding="utf-8")
    before = {path.name for path in folder.iterdir()}
    result = cli("run", *words)
    assert (result.code, result.out) == (2, "")
    assert {path.name for path in folder.iterdir()} == before
    golden(f"golden/errors/run_{name}.txt", result.err)
