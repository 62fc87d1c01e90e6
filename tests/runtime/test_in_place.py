"""Outputs that are the new contents of an input are written into its memory where that is safe, and only there."""

import weakref

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import OutOfBoundsError
from graphc.runtime.program import Permissions
from graphc.runtime.result_pool import RESULTS


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


def part(a):
    a[1:-1] = 0.5 * (a[1:-1] + 1)


def many_steps(a):
    a *= 2
    a[2:] += 1.0
    a -= gc.sum(a) if isinstance(a, gc.Tensor) else np.sum(a)


def summed_rows(a):
    a -= gc.sum(a, axis=1, keepdims=True) if isinstance(a, gc.Tensor) else np.sum(a, axis=1, keepdims=True)


def reversed_order(a):
    a += a[::-1] * 1


def all_new(a):
    a[:] = 3.0


def executable(function, *arguments):
    compiled = compile_graph(gc.jit(function).graph(*arguments))
    return compiled, compiled.permitted(Permissions(in_place=True))


A = np.arange(6, dtype=np.float32) + 1
INDEX = np.array(2)


@pytest.mark.parametrize(
    ("function", "arguments", "is_in_place"),
    [
        (interior, (A,), False),  # it reads beside what it has written
        (part, (A,), True),
        (twice, (A,), True),
        (read_after, (A,), True),
        (old_contents, (A,), False),  # what it returns is the input itself, before
        (chosen, (A, INDEX), False),  # the index may be out of range
        (checked_after, (A, INDEX), False),
        (elementwise, (A,), True),
        (many_steps, (A,), True),
        (summed_rows, (A.reshape(2, 3),), True),
        (reversed_order, (A,), False),
        (all_new, (A,), True),
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
            np.testing.assert_array_equal(given[0], arguments[0])
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
    roots = {plain._storage.root[step.results[0]] for step in plain.program.instructions}
    assert len(roots) == 1
    assert [kernel.name for kernel in plain.kernels()].count("copy_outside") == 1


def test_large_memory_that_nobody_else_sees_is_exchanged():
    values = np.random.default_rng(0).random((300, 200))
    a, expected = gc.tensor(values), values.copy()
    step = gc.jit(interior)
    for _ in range(3):
        memory = a._array.ctypes.data
        step(a)
        interior(expected)
        assert a._array.ctypes.data != memory
    np.testing.assert_array_equal(a.numpy(), expected)
    assert RESULTS.keeps(a._array)


@pytest.mark.parametrize("see", [lambda a: a[3:], lambda a: a.numpy(), lambda a: a.detach(), lambda a: weakref.ref(a._array)])
def test_memory_that_somebody_sees_is_written(see):
    values = np.random.default_rng(0).random((300, 200))
    a, expected = gc.tensor(values), values.copy()
    gc.jit(interior)(a)
    seen, memory = see(a), a._array
    gc.jit(interior)(a)
    interior(expected)
    interior(expected)
    assert a._array is memory
    np.testing.assert_array_equal(a.numpy(), expected)
    if isinstance(seen, (np.ndarray, gc.Tensor)):
        np.testing.assert_array_equal(np.asarray(seen), expected[len(expected) - len(seen) :])


def test_temporaries_take_the_memory_of_what_they_replace():
    def chain(x):
        for _ in range(6):
            x = gc.cumsum(gc.exp(x * 0.5) - 1, axis=0) * 2 + 1  # a kernel, then an op of its own
        return x

    compiled = compile_graph(gc.jit(chain).graph(gc.spec("f32[1000, 10]")))
    x = np.random.default_rng(0).random((1000, 10), np.float32) * 1e-3
    (result,) = compiled(x)
    np.testing.assert_allclose(result, np.asarray(chain(gc.tensor(x))), rtol=1e-5)
    assert compiled._latest.arena_bytes <= 2 * x.nbytes


def test_updated_parameters_stay_where_they_are():
    rng = np.random.default_rng(0)
    x, y = gc.tensor(rng.random((8, 20), np.float32)), gc.tensor(rng.random((8, 1), np.float32))

    def train(jitted):
        w = gc.tensor(np.ones((20, 1), np.float32), requires_grad=True)
        optimizer = gc.optim.Adam([w], lr=0.1)

        def step(x, y):
            optimizer.zero_grad()
            loss = ((x @ w - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = gc.jit(step) if jitted else step
        losses = [float(run(x, y).detach().numpy())]
        memory = w._array
        losses += [float(run(x, y).detach().numpy()) for _ in range(4)]
        assert w._array is memory
        return losses, w.detach().numpy()

    (losses, w), (expected, expected_w) = train(True), train(False)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(w, expected_w, rtol=1e-4)


def test_optimizer_state_is_written_by_the_kernels():
    w, g, m = (gc.spec("f32[100]") for _ in range(3))

    def update(w, g, m):
        m *= 0.9
        m += g
        w -= 0.1 * m

    _, in_place = executable(update, w, g, m)
    assert tuple(in_place.replaced.values()) == (0, 2)
    arrays = [np.full(100, value, np.float32) for value in (1, 2, 3)]
    outputs = in_place(*arrays)
    assert outputs[0] is arrays[0]
    assert outputs[1] is arrays[2]
    np.testing.assert_allclose(arrays[0], 1 - 0.1 * (0.9 * 3 + 2), rtol=1e-6)
    assert not in_place._storage.temporaries


def test_exchanged_parameters_are_not_written_over_each_other():
    def exchange(a, b):
        a_new, b_new = a + b, a - b
        a[...] = b_new
        b[...] = a_new

    _, in_place = executable(exchange, gc.spec("f32[50]"), gc.spec("f32[50]"))
    a, b = np.full(50, 5, np.float32), np.full(50, 2, np.float32)
    first, second = in_place(a, b)
    np.testing.assert_array_equal(first, 3)
    np.testing.assert_array_equal(second, 7)


def test_parts_of_a_range_do_not_see_each_other():
    """In-place kernels on two threads, over ranges that are divided."""
    values = np.random.default_rng(0).random((2000, 300))
    a = gc.tensor(values)
    threads = gc.get_num_threads()
    try:
        gc.set_num_threads(2)
        gc.jit(part)(a)
    finally:
        gc.set_num_threads(threads)
    expected = values.copy()
    part(expected)
    np.testing.assert_array_equal(a.numpy(), expected)


@pytest.mark.parametrize("size", [6, 9, 2])
def test_what_lies_within_for_every_size_is_written_in_place(size):
    compiled = compile_graph(gc.jit(interior, dynamic=True).graph(A))
    in_place = compiled.permitted(Permissions(in_place=True))
    assert list(in_place.written) == [0]
    given, expected = np.ones(size, np.float32), np.ones(size, np.float32)
    interior(expected)
    in_place(given)
    np.testing.assert_array_equal(given, expected)
