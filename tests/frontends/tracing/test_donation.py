"""Arguments whose memory a traced function may use for its results."""

import inspect

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DonatedError, GradientError, OutOfBoundsError

VALUES = np.random.default_rng(0).random((40, 5))


def scaled(x, y):
    return x * 2 + y


def address(tensor):
    return tensor._array.ctypes.data


@pytest.mark.parametrize("donate", ["x", 0, ("x",), (0,), -2, [0]])
def test_the_result_is_in_the_memory_that_was_given(donate):
    f = gc.jit(scaled, donate=donate)
    x, y = gc.tensor(VALUES), gc.ones(40, 5, dtype="float64")
    for _ in range(3):
        before = address(x)
        x, old = f(x, y), x
        assert address(x) == before
        with pytest.raises(DonatedError):
            old.sum()
    np.testing.assert_allclose(x.numpy(), ((VALUES * 2 + 1) * 2 + 1) * 2 + 1)
    np.testing.assert_array_equal(y.numpy(), 1)


def test_whatever_is_done_with_a_donated_tensor_names_its_donation():
    x, y = gc.tensor(VALUES), gc.tensor(VALUES)
    f = gc.jit(scaled, donate="x")
    line = inspect.currentframe().f_lineno + 1
    f(x, y)
    uses = [lambda: x + 1, lambda: 1 + x, lambda: y + x, lambda: gc.exp(x), x.numpy, lambda: x[0],
            lambda: np.asarray(x), lambda: x.shape, lambda: x.dtype, lambda: f(x, y),
            lambda: gc.jit(scaled)(y, x), lambda: x.add_(1), lambda: y.add_(x), lambda: x.reshape(-1),
            lambda: float(x), lambda: len(x)]  # fmt: skip
    for use in uses:
        with pytest.raises(DonatedError, match=rf"this tensor was donated to scaled \(.*test_donation.py:{line}\)"):
            use()
    assert repr(x).startswith("tensor(donated to scaled (")


@pytest.mark.parametrize(
    "share",
    [lambda x: x[3:], lambda x: x.numpy(), lambda x: x.detach(), lambda x: x.T],
    ids=["slice", "numpy", "detach", "T"],
)
def test_shared_memory_is_copied(share):
    x = gc.tensor(VALUES)
    seen = share(x)
    expected = np.array(seen)
    result = gc.jit(scaled, donate="x")(x, gc.ones(40, 5, dtype="float64"))
    np.testing.assert_allclose(result.numpy(), VALUES * 2 + 1)
    np.testing.assert_array_equal(np.asarray(seen), expected)
    with pytest.raises(DonatedError):
        x.sum()


def test_a_view_that_is_donated_leaves_its_base():
    base = gc.tensor(VALUES)
    result = gc.jit(scaled, donate="x")(base[:20], base[20:])
    np.testing.assert_allclose(result.numpy(), VALUES[:20] * 2 + VALUES[20:])
    np.testing.assert_array_equal(base.numpy(), VALUES)


def test_ndarrays_are_left_alone():
    x = VALUES.copy()
    f = gc.jit(scaled, donate=("x", "y"))
    np.testing.assert_allclose(f(x, x).numpy(), VALUES * 3)
    np.testing.assert_array_equal(x, VALUES)


def test_memory_of_an_ndarray_that_only_the_tensor_holds_is_used():
    x = gc.from_numpy(VALUES.copy())
    before = address(x)
    assert address(gc.jit(scaled, donate="x")(x, gc.tensor(VALUES))) == before


def test_nested_structures_and_keywords():
    def step(state, *, rate, x):
        return {name: value - rate * x for name, value in state.items()}

    f = gc.jit(step, donate="state")
    state = {name: gc.full((30,), value) for name, value in (("a", 1.0), ("b", 2.0))}
    addresses = [address(v) for v in state.values()]
    for _ in range(2):
        state = f(state, rate=0.5, x=gc.ones(30))
    assert [address(v) for v in state.values()] == addresses
    np.testing.assert_array_equal(state["b"].numpy(), 1.0)
    assert address(gc.jit(step, donate="state")(state=state, rate=0.5, x=gc.ones(30))["a"]) == addresses[0]


def test_results_that_are_not_elementwise_take_memory_that_is_not_read_any_more():
    def f(x, w):
        y = (x * 1).sum()
        return (w * y) @ w

    x, w = gc.ones(6, 6), gc.ones(6, 6)
    before = address(x)
    result = gc.jit(f, donate="x")(x, w)
    np.testing.assert_allclose(result.numpy(), 6 * 36)
    assert address(result) == before


def test_an_argument_that_is_returned():
    x = gc.tensor(VALUES)
    same, twice = gc.jit(lambda x: (x, x * 2), donate="x")(x)
    np.testing.assert_array_equal(same.numpy(), VALUES)
    np.testing.assert_array_equal(twice.numpy(), VALUES * 2)


def test_an_argument_that_is_written():
    def f(x):
        x += 1
        return x

    x = gc.tensor(VALUES)
    np.testing.assert_allclose(gc.jit(f, donate="x")(x).numpy(), VALUES + 1)


def test_an_argument_passed_twice():
    x = gc.tensor(VALUES)
    np.testing.assert_allclose(gc.jit(scaled, donate="x")(x, x).numpy(), VALUES * 3)
    with pytest.raises(DonatedError):
        x.sum()


def test_what_requires_gradients_is_refused():
    x = gc.tensor(VALUES, requires_grad=True)
    f = gc.jit(scaled, donate="x")
    with pytest.raises(GradientError, match="the donated argument x requires gradients"):
        f(x, gc.tensor(VALUES))
    assert gc.jit(scaled)(x, gc.tensor(VALUES)).requires_grad  # nothing was taken
    with gc.no_grad():
        f(x, gc.tensor(VALUES))


def test_recorders_keep_what_they_need():
    x, y = gc.tensor(VALUES), gc.tensor(VALUES)
    with gc.record() as recorder:
        result = gc.jit(scaled, donate="x")(x, y)
    assert recorder is not None
    np.testing.assert_allclose(result.numpy(), VALUES * 3)


def test_a_call_that_fails_has_taken_the_memory():
    x = gc.tensor(VALUES)
    with pytest.raises(OutOfBoundsError):
        gc.jit(lambda x, i: gc.take(x * 2, i, axis=0), donate="x")(x, gc.tensor(99))
    with pytest.raises(DonatedError):
        x.sum()


def test_another_trace_takes_no_memory():
    f = gc.jit(scaled, donate="x")
    x = gc.tensor(VALUES)
    gc.jit(lambda x: f(x, x) + x)(x)
    np.testing.assert_array_equal(x.numpy(), VALUES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"donate": "z"}, r"donate: the function has no parameter 'z'; it has \['x', 'y'\]"),
        ({"donate": 5}, "donate: there is no argument 5"),
        ({"donate": "x", "static_argnames": "x"}, "donate: the argument 'x' is static"),
        ({"donate": 1, "static_argnums": (1,)}, "donate: the argument 1 is static"),
    ],
)
def test_what_cannot_be_donated(options, message):
    with pytest.raises(ArgumentError, match=message):
        gc.jit(scaled, **options)
