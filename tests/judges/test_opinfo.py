"""The array functions and their gradients, against PyTorch's on PyTorch's own sample inputs."""

import fcntl
import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.judges.opinfo_samples import Outcome, judge
from tests.judges.opinfo_table import OPERATORS, TOLERANCES

# Looked up and not imported: PyTorch's warnings and threads stay in the process that dumps.
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "expecttest")),
    reason="the judge, PyTorch, is not installed",
)
DUMP = Path(__file__).with_name("dump_opinfo.py")


class Judge:
    """The dumped samples, and what became of those of each operator; shared by the workers of a test run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index: dict[str, list[dict[str, Any]]] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        with np.load(folder / "arrays.npz") as file:
            self.arrays = dict(file)

    def outcome(self, name: str) -> Outcome:
        record = self.folder / f"{name}.json"
        if record.exists():
            fields = json.loads(record.read_text(encoding="utf-8"))
            return Outcome(fields["compared"], fields["gradients"], Counter(fields["skipped"]), fields["failures"])
        outcome = judge(OPERATORS[name], self.index[name], self.arrays, TOLERANCES.get(name, 0.0))
        written = record.with_suffix(f".{id(outcome)}")
        written.write_text(json.dumps(vars(outcome)), encoding="utf-8")
        written.replace(record)
        return outcome


@functools.cache
def opened(folder: Path) -> Judge:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "index.json").exists():
            done = subprocess.run(
                [sys.executable, str(DUMP), str(folder)],
                input="\n".join(OPERATORS),
                text=True,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    return Judge(folder)


@pytest.fixture
def judged(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Judge:
    monkeypatch.setenv(
        "GRAPHC_EAGER_KERNELS", "never"
    )  # semantics, not kernels: nothing is worth compiling for one sample
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "opinfo"
    folder.mkdir(exist_ok=True)
    return opened(folder)


@pytest.mark.parametrize("name", OPERATORS)
def test_results_and_gradients_are_those_of_pytorch(name: str, judged: Judge) -> None:
    outcome = judged.outcome(name)
    assert not outcome.failures, "\n".join(outcome.failures)
    assert outcome.compared, f"no sample of {name} was compared: {dict(outcome.skipped)}"


def test_the_judge_heard_enough(judged: Judge) -> None:
    outcomes = [judged.outcome(name) for name in OPERATORS]
    compared = sum(outcome.compared for outcome in outcomes)
    gradients = sum(outcome.gradients for outcome in outcomes)
    skipped: Counter[str] = sum((outcome.skipped for outcome in outcomes), Counter())
    assert sum(outcome.compared > 0 for outcome in outcomes) >= 200
    assert compared >= 1000, skipped
    assert gradients >= 750, skipped
    assert skipped.total() <= compared // 5, skipped
