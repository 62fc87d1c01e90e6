"""Random structured programs, as source text, are the same jitted as eagerly: values and gradients.

Statements nest: assignments, in-place updates, ``if``, ``while``, ``for`` over Python and traced ranges and
over arrays, ``break``, ``continue``, ``return``. All variables have a value from the start, and keep their types.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from hypothesis import given, note, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.ops.core import evaluate_graph

ARRAYS: Final = ("a", "b", "c")
SCALARS: Final = ("s", "t")
_count = 0


class Writer:
    """Draws one function."""

    def __init__(self, draw: Callable[[Any], Any], control: Sequence[str]) -> None:
        self.draw = draw
        self.control = control
        self.lines: list[str] = []
        self.loops = 0

    def pick(self, *choices: str) -> str:
        return str(self.draw(st.sampled_from(choices)))

    def array(self) -> str:
        x, y, s = self.pick(*ARRAYS), self.pick(*ARRAYS), self.pick(*SCALARS)
        return self.pick(
            f"gc.sin({x})", f"{x} * 0.5 + {y}", f"gc.tanh({x} + {s})", f"gc.where({x} > {y}, {x}, 0.25 * {y})", f"{x}[::-1]",
            f"{x} if {self.condition()} else {y} * 0.5",
        )  # fmt: skip

    def scalar(self) -> str:
        x, s = self.pick(*ARRAYS), self.pick(*SCALARS)
        return self.pick(f"gc.tanh({x}.sum())", f"{s} * 0.5 + 0.125", f"gc.cos({s})", f"{x}[1] * 0.5")

    def condition(self) -> str:
        x, s = self.pick(*ARRAYS), self.pick(*SCALARS)
        simple = self.pick(f"{x}.sum() > 0.1", f"{s} < 0.3", f"-0.4 < {s} < 0.6", "flag", f"k % 2 == {self.pick('0', '1')}")
        other = self.pick(f"{s} > -0.2", "not flag", f"{x}[0] > {x}[1]")
        return self.pick(simple, f"{simple} and {other}", f"{simple} or {other}", f"not ({simple})")

    def block(self, depth: int, indent: str, in_loop: bool) -> None:
        for _ in range(self.draw(st.integers(1, 3))):
            self.statement(depth, indent, in_loop)

    def statement(self, depth: int, indent: str, in_loop: bool) -> None:
        kind = self.pick("array", "scalar", "place", "slice", "count", *(self.control if depth else ()))
        if kind == "array":
            self.lines.append(f"{indent}{self.pick(*ARRAYS)} = {self.array()}")
        elif kind == "scalar":
            self.lines.append(f"{indent}{self.pick(*SCALARS)} = {self.scalar()}")
        elif kind == "place":
            self.lines.append(f"{indent}d {self.pick('+=', '*=')} {self.array()}")
        elif kind == "slice":
            self.lines.append(f"{indent}d[1:] = 0.5 * d[:-1] + {self.pick(*SCALARS)}")
        elif kind == "count":
            self.lines.append(f"{indent}k += {self.pick('1', '2')}")
        elif kind == "if":
            self.branch(depth, indent, in_loop)
        else:
            self.loop(kind, depth, indent)

    def branch(self, depth: int, indent: str, in_loop: bool) -> None:
        self.lines.append(f"{indent}if {self.condition()}:")
        self.block(depth - 1, indent + "    ", in_loop)
        jump = self.pick("", "", "return", *(("break", "continue") if in_loop else ()))
        if jump:
            self.lines.append(indent + "    " + (f"return {self.result()}" if jump == "return" else jump))
        if self.draw(st.booleans()):
            self.lines.append(f"{indent}else:")
            self.block(depth - 1, indent + "    ", in_loop)

    def loop(self, kind: str, depth: int, indent: str) -> None:
        self.loops += 1
        n = f"n{self.loops}"
        if kind == "while":
            self.lines.append(f"{indent}{n} = 0")
            self.lines.append(f"{indent}while {n} < {self.pick('3', 'limit')} and ({self.condition()}):")
            self.lines.append(f"{indent}    {n} += 1")
        elif kind == "for":
            self.lines.append(f"{indent}for {n} in range({self.pick('3', '40', '36')}):")
        elif kind == "range":
            self.lines.append(f"{indent}for {n} in range({self.pick('limit', '1, limit', 'limit, 0, -2')}):")
        else:
            self.lines.append(f"{indent}for {n} in {self.pick('rows', 'wide')}:")
        if kind in ("for", "range") and self.draw(st.booleans()):
            self.lines.append(f"{indent}    s = 0.5 * s + 0.125 * {n}")
        elif kind == "rows":
            self.lines.append(f"{indent}    s = 0.5 * s + gc.tanh({n}.sum())")
        self.block(depth - 1, indent + "    ", True)
        if self.draw(st.booleans()):
            self.lines.append(f"{indent}else:")
            self.lines.append(f"{indent}    t = t * 0.5")

    def result(self) -> str:
        return f"{self.pick(*ARRAYS)}, {self.pick(*SCALARS)}, d, k"


@st.composite
def programs(draw: Any, control: Sequence[str]) -> str:
    writer = Writer(draw, control)
    writer.block(2, "    ", False)
    head = ["def program(a, b, t, limit, rows, wide, flag):", "    c, d, s, k = a * b, a + 0.0, t * 0.5, 0"]
    return "\n".join([*head, *writer.lines, f"    return {writer.result()}", ""])


def compiled(text: str) -> Any:
    """The function of a program, whose source is to be had as that of a file is."""
    global _count  # noqa: PLW0603
    _count += 1
    filename = f"<program {_count}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"gc": gc}
    exec(compile(text, filename, "exec"), namespace)
    return namespace["program"]


def arguments() -> tuple[Any, ...]:
    rng = np.random.default_rng(3)
    a, b = (gc.tensor(rng.normal(size=3), dtype=gc.float64) for _ in range(2))
    rows, wide = (gc.tensor(rng.normal(size=(n, 2)), dtype=gc.float64) for n in (3, 35))
    return a, b, gc.tensor(0.3, dtype=gc.float64), gc.tensor(4), rows, wide, True


def run(function: Any) -> list[Any]:
    """The results of a call as its graph has them, by the reference: compiling kernels for each program would take minutes."""
    return evaluate_graph(*gc.jit(function).traced_call(*arguments()))


def assert_equal(graph: list[Any], eager: tuple[Any, ...]) -> None:
    arrays = [x for x in eager if len(graph) == len(eager) or isinstance(x, gc.Tensor)]  # Python numbers may stay such
    for x, y in zip(graph, arrays, strict=True):
        np.testing.assert_allclose(np.asarray(x, float), np.asarray(y, float), rtol=1e-9, atol=1e-9)


@settings(max_examples=80)
@given(programs(("if", "while", "for", "range", "rows")))
def test_a_random_program_is_the_same_traced(text: str) -> None:
    note(text)
    function = compiled(text)
    assert_equal(run(function), function(*arguments()))


@settings(max_examples=8)
@given(programs(("if", "for", "rows")))
def test_so_is_its_gradient(text: str) -> None:
    note(text)
    function = compiled(text)

    def loss(a: Any, b: Any, t: Any, *others: Any) -> Any:
        x, s, d, _ = function(a, b, t, *others)
        return (x * x).sum() + s + d.sum()

    gradient = gc.grad(loss, (0, 1, 2))
    assert_equal(run(gradient), gradient(*arguments()))
