"""Outputs that are the new contents of an input are written into its memory where that is safe, and only there."""

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import OutOfBoundsError


def interior(a):
    a[1:-1] = 0.5 * (a[:-2] + a[2:])


def twice(a):
    a[0] = a[-1]
    a[-1] = 2.0


def read_after(a):
    a[0] = 7.0
    b = a + 1
    a[1] = 8.0
    return b


def old_contents(a):
    before = a * 1
    a[0] = 7.0
    return before


def chosen(a, i):
    a[i] = 7.0


def checked_after(a, i):
    a[0] = 7.0
    return gc.take(a, i)


def elementwise(a):
    a += 1


def executable(function, *arguments):
    compiled = compile_graph(gc.jit(function).graph(*arguments))
    return compiled, compiled.in_place()


A = np.arange(6, dtype=np.float32) + 1
INDEX = np.array(2)


@pytest.mark.parametrize(
    ("function", "arguments", "is_in_place"),
    [
        (interior, (A,), True),
        (twice, (A,), True),
        (read_after, (A,), True),
        (old_contents, (A,), False),  # what it returns is the input itself, before
        (chosen, (A, INDEX), False),  # the index may be out of range
        (checked_after, (A, INDEX), False),
        (elementwise, (A,), False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_written_in_place(function, arguments, is_in_place):
    plain, in_place = executable(function, *arguments)
    assert not plain.written
    assert list(in_place.written) == ([0] if is_in_place else [])
    for run in (plain, in_place):
        given = [np.array(x) for x in arguments]
        expected = [np.array(x) for x in arguments]
        result = function(*expected)
        outputs = run(*given)
        written = outputs[next(iter(plain.graph.aliases))]
        np.testing.assert_array_equal(written, expected[0])
        assert (written is given[0]) is bool(run.written)
        if not run.written:
            np.testing.assert_array_equal(given[0], A)
        if result is not None:
            np.testing.assert_array_equal(outputs[0], result)


def test_a_call_overwrites_its_tensor_without_a_copy():
    a = gc.tensor(A)
    memory = a.numpy()
    step = gc.jit(interior)
    for _ in range(3):
        step(a)
    expected = A.copy()
    for _ in range(3):
        interior(expected)
    np.testing.assert_array_equal(memory, expected)


def test_what_fails_leaves_the_input_as_it_was():
    a = gc.tensor(A)
    with pytest.raises(OutOfBoundsError):
        gc.jit(checked_after)(a, gc.tensor(9))
    np.testing.assert_array_equal(a.numpy(), A)


def test_other_layouts_are_written_too():
    given = np.repeat(A, 2)[::2]
    gc.jit(interior)(given)
    expected = A.copy()
    interior(expected)
    np.testing.assert_array_equal(given, expected)


def test_read_only_memory_is_not_written():
    given = A.copy()
    given.setflags(write=False)
    with pytest.raises((gc.GraphcError, ValueError)):
        gc.jit(interior)(given)
    np.testing.assert_array_equal(given, A)


def test_gradients_flow_through_what_was_overwritten():
    x = gc.tensor(A, requires_grad=True)

    def loss(x):
        y = x * x
        gc.jit(interior)(y)
        return (y * y).sum()

    def by_hand(x):
        y = x * x
        interior(y)
        return (y * y).sum()

    np.testing.assert_allclose(gc.grad(loss)(x).detach().numpy(), gc.grad(by_hand)(x).detach().numpy(), rtol=1e-6)


def test_recorded_calls_keep_what_they_read():
    a = gc.tensor(A)
    with gc.record() as recorder:
        gc.jit(interior)(a)
        b = a * 2
    (value,) = compile_graph(recorder.graph(outputs=[b], inputs=[a]), "reference")(A)
    np.testing.assert_array_equal(value, b.numpy())


def test_a_chain_of_updates_needs_one_copy():
    def function(x):
        y = x.copy() * 1
        y[0] = 1.0
        y[1] = 2.0
        y[2] = 3.0
        return y

    plain, _ = executable(function, A)
    np.testing.assert_array_equal(plain(A)[0], [1, 2, 3, 4, 5, 6])
    roots = {plain._storage.root[step.results[0]] for step in plain.program.instructions if getattr(step, "updates", False)}
    assert len(roots) == 1


@pytest.mark.parametrize("size", [6, 9, 2])
def test_what_lies_within_for_every_size_is_written_in_place(size):
    compiled = compile_graph(gc.jit(interior, dynamic=True).graph(A))
    in_place = compiled.in_place()
    assert list(in_place.written) == [0]
    given, expected = np.ones(size, np.float32), np.ones(size, np.float32)
    interior(expected)
    in_place(given)
    np.testing.assert_array_equal(given, expected)
