"""The short way of operators on plain tensors: the same results, and taken only where it may be."""

from __future__ import annotations

import functools
import itertools
import operator
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.dtypes import ALL
from graphc.frontends.array.methods import ArrayMethods
from graphc.frontends.dispatch import observers
from graphc.frontends.eager.execute import force_kernels
from tests.call_count import counted

BINARY = ("add", "sub", "mul", "truediv", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor")
REFLECTED = ("radd", "rsub", "rmul", "rtruediv")
UNARY = ("neg", "abs", "invert")
EDGES = {
    "float": [0.0, -0.0, 1.5, -2.0, float("inf"), float("-inf"), float("nan"), 6e4],
    "int": [0, 1, -1, 127, -128, 5, 3, -7],
    "uint": [0, 1, 255, 7, 3, 100, 2, 9],
    "bool": [True, False, True, True, False, False, True, False],
}
SCALARS = (0, 1, -3, 1 << 40, 0.0, 0.1, -2.5, float("inf"), float("nan"), 1e39, True)


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gave, bit for bit, or how it failed."""
    try:
        result = call()
    except (errors.GraphcError, OverflowError) as error:
        return type(error), str(error).splitlines()[0]
    return result.dtype, result.shape, result.weak, result.numpy().tobytes(), result.numpy().strides


@pytest.fixture
def taken() -> Callable[[Callable[[], Any]], bool]:
    """Whether a call takes the short way: it is one that ends before the array functions."""

    def is_short(call: Callable[[], Any]) -> bool:
        call()
        return counted(call) <= 16

    return is_short


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.short)
def test_two_tensors_give_what_the_general_way_gives(name: str, dtype: gc.DType) -> None:
    x = gc.tensor(EDGES[dtype.kind], dtype=dtype)
    general = getattr(ArrayMethods, f"__{name}__")
    others = [x, gc.flip(x), gc.tensor(EDGES[dtype.kind][:1], dtype=dtype), gc.tensor(EDGES["int"][::-1], dtype="i64")]
    others += [x.reshape(4, 2).T, x[::2], gc.tensor(EDGES[dtype.kind][1], dtype=dtype)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in others:
            other = gc.from_numpy(other.numpy())
            assert outcome(lambda o=other: getattr(x, f"__{name}__")(o)) == outcome(lambda o=other: general(x, o))


@pytest.mark.parametrize("name", BINARY + REFLECTED)
@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.short)
def test_scalars_give_what_the_general_way_gives(name: str, dtype: gc.DType) -> None:
    for x in (gc.tensor(EDGES[dtype.kind], dtype=dtype), gc.tensor(EDGES[dtype.kind][2], dtype=dtype)):
        general = getattr(ArrayMethods, f"__{name}__")
        for scalar in SCALARS:
            short = getattr(gc.Tensor, f"__{name}__")
            got, want = (outcome(functools.partial(f, x, scalar)) for f in (short, general))
            assert got == want, (scalar, got, want)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.short)
def test_one_operand_gives_what_the_general_way_gives(name: str, dtype: gc.DType) -> None:
    general = getattr(ArrayMethods, f"__{name}__")
    for data in (EDGES[dtype.kind], EDGES[dtype.kind][2]):
        x = gc.tensor(data, dtype=dtype)
        assert outcome(getattr(x, f"__{name}__")) == outcome(lambda x=x: general(x))


FLOAT_FUNCTIONS = ("exp", "log", "sqrt", "tanh", "sigmoid", "erf", "rsqrt", "sin", "lgamma", "log1p", "acosh")


@pytest.mark.parametrize("name", FLOAT_FUNCTIONS)
@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.short)
def test_functions_give_what_the_general_way_gives(name: str, dtype: gc.DType) -> None:
    function = getattr(gc, name)
    for data in (EDGES[dtype.kind], EDGES[dtype.kind][2]):
        x = gc.tensor(data, dtype=dtype)
        got = outcome(lambda x=x: function(x))
        with gc.record():
            want = function(gc.tensor(data, dtype=dtype))
        assert got[:3] == (want.dtype, want.shape, want.weak)
        numbers = np.frombuffer(got[3], want.numpy().dtype).astype(np.float64)
        np.testing.assert_array_equal(numbers, want.numpy().ravel().astype(np.float64))


FUNCTIONS_OF_TWO = (
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "equal", "less", "bitwise_and", "bitwise_xor",
)  # fmt: skip


def _the_same(got: Any, want: Any) -> bool:
    """Whether two outcomes agree, but for strides: under a recorder, operands are repeated one by one."""
    return bool(got == want if len(got) == 2 else got[:4] == want[:4])


@pytest.mark.parametrize("name", FUNCTIONS_OF_TWO)
@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.short)
def test_functions_of_two_give_what_the_general_way_gives(name: str, dtype: gc.DType) -> None:
    function = getattr(gc, name)
    x = gc.tensor(EDGES[dtype.kind], dtype=dtype)
    others = [gc.flip(x).copy(), x[3], x[::2], x.reshape(4, 2).T, gc.tensor(EDGES["int"], dtype="i64"), *SCALARS]
    for other in others:
        got = outcome(functools.partial(function, x, other))
        with gc.record():
            want = outcome(functools.partial(function, x, other))
        assert _the_same(got, want), (other, got, want)


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.short)
def test_where_gives_what_the_general_way_gives(dtype: gc.DType) -> None:
    x = gc.tensor(EDGES[dtype.kind], dtype=dtype)
    mask = gc.tensor(EDGES["bool"])
    choices = [x, gc.flip(x).copy(), x[1], x[:1], x[:3], gc.tensor(EDGES["int"], dtype="i64"), *SCALARS]
    for a, b in itertools.product(choices, repeat=2):
        got = outcome(functools.partial(gc.where, mask, a, b))
        with gc.record():
            want = outcome(functools.partial(gc.where, mask, a, b))
        assert _the_same(got, want), (a, b, got, want)


def test_where_has_a_gradient_on_either_side() -> None:
    w = gc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    mask = gc.tensor([True, False, True])
    (gc.where(mask, w, 0.0) * 2.0 + gc.where(mask, 0.0, w)).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2, 1, 2])


IN_PLACE = ("iadd", "isub", "imul", "itruediv")


@pytest.mark.parametrize("name", IN_PLACE)
@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.short)
def test_in_place_operators_give_what_the_general_way_gives(name: str, dtype: gc.DType) -> None:
    def fresh() -> Any:
        return gc.tensor(EDGES[dtype.kind], dtype=dtype)

    others = [fresh(), fresh()[3].copy(), gc.tensor(EDGES["int"], dtype="i64"), gc.zeros((2, 8), dtype=dtype), *SCALARS]
    for other in others:
        x, y = fresh(), fresh()
        quick, general = getattr(x, f"__{name}__"), getattr(ArrayMethods, f"__{name}__")
        got, want = outcome(functools.partial(quick, other)), outcome(functools.partial(general, y, other))
        assert got == want, (other, got, want)
        assert x.numpy().tobytes() == y.numpy().tobytes()


def test_in_place_operators_write_through_views_and_are_noticed(taken: Any) -> None:
    x = gc.tensor([1.0, 2.0, 3.0])
    assert taken(lambda: x.__iadd__(1.0))
    view = x[1:]
    view *= 2.0
    np.testing.assert_array_equal(x.numpy()[1:], view.numpy())
    w = gc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (w * x).sum()
    x += 1.0
    with pytest.raises(errors.InPlaceError):
        y.backward()
    with pytest.raises(errors.InPlaceError, match="leaf"):
        w += 1.0
    with gc.no_grad():
        w -= gc.tensor([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(w.detach().numpy(), [0, 0, 0])
    assert w.requires_grad


def test_in_place_operators_overlap_as_if_they_did_not() -> None:
    x = gc.tensor([1.0, 2.0, 3.0, 4.0])
    x[1:] += x[:-1]
    np.testing.assert_array_equal(x.numpy(), [1, 3, 5, 7])


def test_functions_record_and_respect_settings(taken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = gc.tensor([1.0, 2.0]), gc.tensor([1.0, 4.0], requires_grad=True)
    assert taken(lambda: gc.exp(x))
    gc.sqrt(w).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [0.5, 0.25])
    with gc.no_grad():
        assert not gc.exp(w).requires_grad
    weak = gc.asarray(1.0)
    weak.weak = True
    assert gc.exp(weak).weak
    monkeypatch.setenv("GRAPHC_EAGER_KERNELS", "always")
    assert not taken(lambda: gc.exp(x))
    monkeypatch.delenv("GRAPHC_EAGER_KERNELS")
    assert taken(lambda: gc.exp(x))


def test_results_own_their_state(taken: Any) -> None:
    x = gc.tensor([1.0, 2.0])
    assert taken(lambda: x + x)
    assert taken(lambda: x * 2.0)
    assert taken(lambda: 1 - x)
    assert taken(lambda: -x)
    y = (x + x).requires_grad_()
    (y * y).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), [4, 8])


def test_not_where_something_is_recorded(taken: Any) -> None:
    x, w = gc.tensor([1.0, 2.0]), gc.tensor([3.0, 4.0], requires_grad=True)
    for operation in (lambda: x + w, lambda: x * w, lambda: 1.0 - w, lambda: -w, w.sum, w.mean):
        assert operation().requires_grad
        short = counted(operation)
        with gc.record():
            assert counted(operation) > 2 * short
    with gc.record() as recording:
        y = x + x
        z = 2 * -y
    assert [n.op.name for n in recording.graph(outputs=[z]).nodes()].count("neg") == 1
    fresh = gc.tensor([1.0, 2.0])
    assert taken(lambda: fresh + fresh)


def test_not_on_views_of_what_is_recorded() -> None:
    w = gc.tensor([[3.0, 4.0]], requires_grad=True)
    v = w.reshape(2)
    assert (v + v).requires_grad
    with gc.no_grad():
        assert not (v + v).requires_grad
    base = gc.zeros((2, 2))
    row = base[0]
    base[0] = w.reshape(2) * 2
    assert (row + 1.0).requires_grad


def test_not_while_a_graph_is_built() -> None:
    x = gc.tensor([1.0, 2.0])
    graph = gc.jit(lambda y: y * (x + x)).graph(x)
    assert "add" in [n.op.name for n in graph.nodes()]
    with gc.Graph():
        assert type(x + x) is not gc.Tensor
    assert type(x + x) is gc.Tensor
    assert not observers


def test_not_where_another_thread_is_watched(taken: Any) -> None:
    x = gc.tensor([1.0, 2.0])
    inside, done = threading.Event(), threading.Event()

    def record() -> None:
        with gc.record():
            inside.set()
            done.wait(30)

    thread = threading.Thread(target=record)
    thread.start()
    assert inside.wait(30)
    try:
        assert not taken(lambda: x + x)
    finally:
        done.set()
        thread.join()
    assert taken(lambda: x + x)


def test_not_where_kernels_are_forced(taken: Any) -> None:
    x = gc.tensor([1.0, 2.0])
    force_kernels(True)
    force_kernels(True)
    try:
        assert not taken(lambda: x + x)
    finally:
        force_kernels(False)
    assert taken(lambda: x + x)


def test_not_for_subclasses_and_other_kinds_of_operands(taken: Any) -> None:
    class Mine(gc.Tensor):
        __slots__ = ()

    x, mine = gc.tensor([1.0, 2.0]), Mine.wrap(np.ones(2, np.float32))
    for other in (mine, np.ones(2, np.float32), np.float32(2), [1.0, 2.0], True):
        assert not taken(lambda o=other: x + o)
        np.testing.assert_array_equal((x + other).numpy(), np.asarray(x) + np.asarray(other))
    assert x.__add__(type("Adds", (), {"__radd__": lambda self, _: self})()) is NotImplemented
    assert x.__eq__("a") is NotImplemented


def test_weak_operands_stay_weak() -> None:
    weak = gc.asarray(2.0)
    weak.weak = True
    half = gc.tensor([1.0], dtype="f16")
    assert (weak + weak).weak
    assert (weak * 2).weak
    assert (-weak).weak
    assert (half + (weak + 1)).dtype is gc.float16
    assert not (gc.tensor([1.0]) + weak).weak


def test_operands_are_read_as_they_lie() -> None:
    data = np.arange(24, dtype=np.float32).reshape(4, 6)
    for a, b in itertools.product((data[::2, ::3], data.T[:2, :2], data[3::-2, :2]), repeat=2):
        for op in (operator.add, operator.sub, operator.lt):
            np.testing.assert_array_equal(op(gc.from_numpy(a), gc.from_numpy(b)).numpy(), op(a, b))


def test_threads_compute_at_once() -> None:
    x = gc.ones(200_000)
    failures: list[object] = []

    def work() -> None:
        for _ in range(20):
            if not bool((x + x == 2.0).all()):
                failures.append(x)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_users_error_settings_do_not_matter() -> None:
    x = gc.tensor([1.0, 0.0])
    with np.errstate(all="raise"):
        np.testing.assert_array_equal((x / 0.0).numpy(), [np.inf, np.nan])
        np.testing.assert_array_equal((x / gc.zeros(2)).numpy(), [np.inf, np.nan])


def test_errors_are_those_of_the_general_way() -> None:
    with pytest.raises(errors.ShapeError, match="add: shapes"):
        gc.ones(2) + gc.ones(3)
    with pytest.raises(errors.DTypeError, match="subtract is not defined for bools"):
        gc.tensor([True]) - gc.tensor([True])
    with pytest.raises(errors.ArgumentError, match="out of range"):
        gc.tensor([1], dtype="i32") + (1 << 40)
