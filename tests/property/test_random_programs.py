"""Random programs over views and in-place writes: NumPy, eager tensors and a traced function do the same to memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc

SIZE = 6
Memory = list[Any]
Step = Callable[[Memory], None]

rows = st.integers(0, SIZE - 1)
bounds = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted)


@st.composite
def view_steps(draw: st.DrawFn) -> Step:
    """Adds a view of some array to what the program knows."""
    source = draw(st.integers(0, 9))
    kind = draw(st.sampled_from(("slice", "strided", "reversed", "transposed", "row")))
    start, stop = draw(bounds)
    row = draw(rows)

    def step(memory: Memory) -> None:
        x = memory[source % len(memory)]
        if kind == "transposed":
            memory.append(x.T)
        elif len(x.shape) == 0 or x.shape[0] == 0:
            return
        elif kind == "row":
            if len(x.shape) > 1:  # an element is a copy in NumPy, and a view here as in PyTorch
                memory.append(x[row % x.shape[0]])
        else:
            memory.append({"slice": x[start:stop], "strided": x[start:stop:2], "reversed": x[::-1]}[kind])

    return step


@st.composite
def write_steps(draw: st.DrawFn) -> Step:
    """Changes some array in place; a value that does not fit is first reduced to a scalar."""
    target, source = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    kind = draw(st.sampled_from(("add", "multiply", "assign", "masked", "indexed", "part")))
    row = draw(rows)
    number = draw(st.integers(-3, 3)) / 4

    def step(memory: Memory) -> None:
        x, y = memory[target % len(memory)], memory[source % len(memory)]
        value = y * 0.5 if y.shape == x.shape else y.sum() * 0.0625
        if kind == "add":
            x += value
        elif kind == "multiply":
            x *= number
        elif kind == "assign":
            x[...] = value
        elif kind == "masked":
            x[x > number] = 0.25
        elif len(x.shape) and x.shape[0]:
            if kind == "indexed":
                x[[row % x.shape[0], 0]] = number
            else:
                x[: row % x.shape[0]] -= number

    return step


programs = st.lists(st.one_of(view_steps(), write_steps()), min_size=1, max_size=8)


def run(program: list[Step], a: Any, b: Any) -> Any:
    memory = [a, b]
    for step in program:
        step(memory)
    return [x * 1 for x in memory]


def start() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((SIZE, SIZE)), rng.random(SIZE)


def check(got: Any, want: Any) -> None:
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-12, atol=1e-12)


@given(program=programs)
def test_eager_does_what_numpy_does(program: list[Step]) -> None:
    a, b = start()
    with np.errstate(all="ignore"):
        want = run(program, a, b)
    c, d = start()
    check(run(program, gc.from_numpy(c), gc.from_numpy(d)), want)
    check((c, d), (a, b))


@settings(max_examples=60)
@given(program=programs)
def test_a_traced_function_does_what_numpy_does(program: list[Step]) -> None:
    a, b = start()
    want = run(program, a, b)
    c, d = start()
    tensors = gc.tensor(c), d
    check(gc.jit(lambda x, y: run(program, x, y))(*tensors), want)
    check((tensors[0], d), (a, b))
