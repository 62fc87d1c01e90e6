"""graphc beside PyTorch, torch.compile, JAX, PyTensor, NumPy and Numba: the workloads that the engine is judged by.

    python benchmarks/bench_peers.py [--only softmax mlp_step] [--rounds 5] [--busy] [--json results.json] [--plot results.png]

Each library has a process of its own for each number of threads. Results are compared with each other before anything
is timed; then the processes take turns, so that a busy moment of the machine touches all of them. Printed are medians,
each library at its better number of threads, the ratio to the best peer, and the limit that this machine's memory
bandwidth and arithmetic set. Libraries that are not installed are left out: pip install 'graphc[bench]'.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from peers import limits as machine
from peers import report
from peers.workloads import WORKLOADS, Workload
from rich.progress import Progress

LIBRARIES = {
    "graphc": "graphc", "torch": "torch", "torch_compiled": "torch", "jax": "jax", "pytensor": "pytensor",
    "numpy": "numpy", "numba": "numba",
}  # fmt: skip
_PAUSE = 0.02  # seconds after which another library's threads no longer spin


class Contender:
    """A library in its process."""

    def __init__(self, library: str, threads: int) -> None:
        self.name = f"{library}@{threads}"
        environment = os.environ | {
            name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "peers.worker", f"in_{library}", str(threads)],
            cwd=Path(__file__).parent, env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, *command: Any) -> Any:
        """Send a command and wait for its answer. Raises RuntimeError with the library's error."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"the process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End the process."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


def prepare(workload: Workload, contenders: list[Contender], row: report.Row) -> list[Contender]:
    """Have everybody compute; those who agree are returned. graphc's results are what others are compared with."""
    able: list[Contender] = []
    want: np.ndarray | None = None
    with tempfile.TemporaryDirectory() as folder:
        for contender in contenders:
            try:
                if not contender.ask("has", workload.name):
                    continue
                path = str(Path(folder, f"{contender.name}.npy"))
                row.first[contender.name] = contender.ask("prepare", workload.name, path)
                got = np.load(path)
                if want is None:
                    want = got
                np.testing.assert_allclose(got, want, rtol=workload.rtol, atol=workload.rtol)
                able.append(contender)
            except RuntimeError as error:
                row.problems[contender.name] = str(error).splitlines()[0]
            except AssertionError as error:
                row.problems[contender.name] = "differs: " + " ".join(str(error).split())[:200]
    return able


def measure(
    workload: Workload, contenders: list[Contender], limits: machine.Limits, arguments: argparse.Namespace
) -> report.Row:
    """One row of the table."""
    row = report.Row(workload, limits.milliseconds(workload))
    able = prepare(workload, contenders, row)
    for _ in range(arguments.rounds):
        for contender in able:
            time.sleep(_PAUSE)
            row.seconds.setdefault(contender.name, []).extend(contender.ask("time", arguments.seconds, arguments.calls))
    for contender in able:
        contender.ask("drop")
    return row


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Another process that computes all the time."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="WORKLOAD", help=", ".join(names))
    parser.add_argument("--libraries", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES), metavar="LIBRARY")
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, min(2, os.cpu_count() or 1)}))
    parser.add_argument("--rounds", type=int, default=5, help="how often the libraries take turns")
    parser.add_argument("--seconds", type=float, default=0.25, help="of one turn")
    parser.add_argument("--calls", type=int, default=40, help="the most calls in one turn")
    parser.add_argument("--busy", action="store_true", help="keep one core busy with something else meanwhile")
    parser.add_argument("--json", type=Path, help="write all results there")
    parser.add_argument("--plot", type=Path, help="write a picture there")
    return parser.parse_args()


def main() -> None:
    """Measure the machine, then every workload; print the table."""
    arguments = options()
    most = max(arguments.threads)
    limits = machine.measure(most)
    print(f"{most} threads: memory {limits.bandwidth / 1e9:.1f} GB/s, arithmetic {limits.flops / 1e9:.0f} GFLOP/s")
    installed = [name for name in LIBRARIES if name in arguments.libraries and importlib.util.find_spec(LIBRARIES[name])]
    contenders = [Contender(name, threads) for name in installed for threads in arguments.threads]
    rows: list[report.Row] = []
    try:
        versions = {contender.name.split("@")[0]: contender.ask("version") for contender in contenders}
        print(", ".join(f"{name} {version}" for name, version in versions.items()))
        with busy_core() if arguments.busy else contextlib.nullcontext(), Progress(transient=True) as progress:
            for workload in progress.track([w for w in WORKLOADS if w.name in arguments.only], description="workloads"):
                rows.append(measure(workload, contenders, limits, arguments))
    finally:
        for contender in contenders:
            contender.close()
    report.table(rows, [name for name in installed if name != report.OURS])
    if arguments.json:
        report.write(arguments.json, report.as_json(rows, limits, versions) | {"busy": arguments.busy})
    if arguments.plot:
        report.plot(arguments.plot, rows)


if __name__ == "__main__":
    main()
