"""What the main kernels use, as a golden table; and how many of them fit on a multiprocessor."""

import re
from pathlib import Path
from typing import Any

import pytest

from graphc.backends.numba_cuda.occupancy import ARCHITECTURES, architecture, occupancy
from graphc.compile import compile_graph
from graphc.errors import BackendError
from tests.backends.numba_cuda.programs import ARCHITECTURES as CHECKED
from tests.backends.numba_cuda.programs import programs

TABLE = Path(__file__).resolve().parents[3] / "docs" / "cuda_resources.md"
#: By how much registers may differ from the table: another assembler allocates them in another way.
TOLERANCE = 0.25


@pytest.mark.parametrize(
    ("name", "threads", "registers", "shared", "share", "limit"),
    [
        ("sm_90", 256, 32, 0, 1.0, "warps"),
        ("sm_90", 256, 40, 0, 0.75, "registers"),
        ("sm_90", 256, 128, 0, 0.25, "registers"),
        ("sm_90", 256, 32, 100 << 10, 0.25, "shared memory"),
        ("sm_75", 1024, 64, 0, 1.0, "warps"),
        ("sm_75", 256, 64, 0, 1.0, "warps"),
        ("sm_80", 32, 16, 0, 0.5, "blocks"),
    ],
)
def test_occupancy(name: str, threads: int, registers: int, shared: int, share: float, limit: str) -> None:
    assert occupancy(ARCHITECTURES[name], threads, registers, shared) == (share, limit)


def test_capabilities() -> None:
    names = ("sm_75", "sm_90", "sm_100", "sm_120")
    assert [ARCHITECTURES[name].capability for name in names] == [(7, 5), (9, 0), (10, 0), (12, 0)]


def test_an_unknown_architecture_is_an_error_that_names_the_others() -> None:
    with pytest.raises(BackendError, match="there is no CUDA architecture 'sm_20'") as caught:
        architecture("sm_20")
    assert "cuda:sm_90" in str(caught.value.hint)


def measured() -> list[list[str]]:
    rows: list[list[str]] = []
    for program, graph in programs().items():
        compiled: dict[str, Any] = {name: compile_graph(graph, f"cuda:{name}") for name in CHECKED}
        for number, kernel in enumerate(compiled["sm_90"].kernels()):
            cells = [program, f"`{kernel.name}`", str(kernel.source.threads)]
            shared = 0
            for name in CHECKED:
                usage = compiled[name].kernels()[number].code.usage
                assert usage.spills == 0
                shared = usage.shared
                share, _ = occupancy(ARCHITECTURES[name], kernel.source.threads, usage.registers, usage.shared)
                cells.append(f"{usage.registers} ({share:.0%})")
            rows.append([*cells, str(shared)])
    return rows


HEAD = ["Program", "Kernel", "Threads", *(f"Registers, {name}" for name in CHECKED), "Shared bytes"]
INTRODUCTION = """\
# Resources of the main CUDA kernels

Registers a thread, with the occupancy that they and shared memory allow, as `graphc dump --stage resources` shows them. No
kernel spills. Written by `pytest tests/backends/numba_cuda/test_resources.py --update-golden`, which otherwise checks it to
within a quarter of the registers.
"""


def as_table(rows: list[list[str]]) -> str:
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return INTRODUCTION + "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def from_table(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.ptx
def test_the_table_of_resources(request: pytest.FixtureRequest) -> None:
    rows = measured()
    if request.config.getoption("--update-golden"):
        TABLE.write_text(as_table(rows), encoding="utf-8")
    want = from_table(TABLE.read_text(encoding="utf-8"))
    assert [row[:3] + row[-1:] for row in rows] == [row[:3] + row[-1:] for row in want]
    for got, expected in zip(rows, want, strict=True):
        for mine, theirs in zip(got[3:-1], expected[3:-1], strict=True):
            registers, documented = (int(re.match(r"\d+", cell)[0]) for cell in (mine, theirs))  # type: ignore[index]
            assert abs(registers - documented) <= TOLERANCE * documented + 4, f"{got[1]}: {mine} instead of {theirs}"
