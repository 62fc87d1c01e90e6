"""gc.make_repro(): the file runs by itself and gives the verdict."""

import subprocess
import sys

import numpy as np
import pytest

import graphc as gc
from graphc.errors import FileError


def _run(path, cwd):
    return subprocess.run([sys.executable, path.name], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


def test_the_file_runs_and_says_that_all_levels_agree(tmp_path):
    scale = gc.tensor([2.0, 3.0], dtype=gc.bfloat16)

    def scaled(x, n):
        return (x.astype(gc.bfloat16) * scale).astype(gc.float32) + n

    path = gc.make_repro(gc.jit(scaled), np.ones((3, 2), np.float32), 4, path=tmp_path / "repro.py")
    text = path.read_text()
    assert text.startswith("\"\"\"The graph 'scaled', with the inputs of one call.")
    assert "# Inputs: f32[3, 2], " in text
    done = _run(path, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "scaled: all levels agree with the reference"
    assert list(tmp_path.iterdir()) == [path]


def test_a_difference_gives_exit_code_1(tmp_path):
    path = gc.make_repro(lambda x: x * 2.0, np.ones(3, np.float32), path=tmp_path / "repro.py")
    text = path.read_text().replace("import graphc as gc\n", "import graphc as gc\nimport graphc.ops.elementwise_binary as b\n")
    wrong = "    b.Mul.evaluate = lambda self, x, y: x + y + 7\n    report ="
    path.write_text(text.replace("    report =", wrong, 1))
    done = _run(path, tmp_path)
    assert done.returncode == 1, done.stderr
    assert "DIFFERS" in done.stdout


def test_methods_and_their_captured_tensors_are_in_it(tmp_path):
    class Model:
        def __init__(self):
            self.w = gc.tensor([5.0])

        @gc.jit
        def forward(self, x):
            return x * self.w

    path = gc.make_repro(Model().forward, gc.tensor([1.0]), path=str(tmp_path / "model.py"))
    assert _run(path, tmp_path).returncode == 0


def test_a_folder_that_is_not_there_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match=r"cannot write .*No such file or directory"):
        gc.make_repro(lambda x: x, np.ones(1), path=tmp_path / "no" / "repro.py")
