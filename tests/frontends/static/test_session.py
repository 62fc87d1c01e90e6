"""Sessions: structures of fetches, pruning, state, failures, threads."""

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.errors import FeedError, OutOfBoundsError, StaticGraphError, UninitializedVariableError, WrongGraphError
from graphc.frontends.array.indexing import take
from graphc.frontends.static import get_default_session, identity


@pytest.fixture(autouse=True)
def fresh() -> None:
    gc.reset_default_graph()


@pytest.fixture(params=["reference", "cpu"])
def session(request: pytest.FixtureRequest) -> gc.Session:
    return gc.Session(target=request.param)


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass
class Record:
    x: Any
    rest: Any


def test_results_have_the_structure_of_the_fetches(session: gc.Session) -> None:
    x = gc.placeholder("f32[2]", name="x")
    y = x.sum()
    op = gc.group(y)
    feeds = {x: [1, 2]}
    assert type(session.run(x, feeds)) is np.ndarray
    assert type(session.run(y, feeds)) is np.float32
    assert session.run(op, feeds) is None
    assert session.run([], feeds) == []
    assert session.run([y, (y, {"a": y, "b": [op]})], feeds) == [3.0, (3.0, {"a": 3.0, "b": [None]})]
    assert session.run(Pair(y, [y]), feeds) == Pair(3.0, [3.0])
    assert session.run(Record(y, Pair(op, y)), feeds) == Record(3.0, Pair(None, 3.0))
    assert session.run(["x:0", "reduce_sum", y], feeds)[1:] == [3.0, 3.0]
    assert session.run([y, y], feeds) == [3.0, 3.0]


def test_dtypes_are_those_of_the_tensors(session: gc.Session) -> None:
    for dtype in ("bool", "u8", "i64", "f16", "bf16", "f32", "f64"):
        x = gc.placeholder(dtype, [2])
        assert session.run(x, {x: [False, True]}).dtype == x.dtype.numpy
        assert session.run(x[0], {x: [True, False]}).dtype == x.dtype.numpy


def test_only_what_is_needed_is_computed_or_asked_for(session: gc.Session) -> None:
    x = gc.placeholder("f32[3]", name="x")
    i = gc.placeholder("i64[]", name="i")
    unset = gc.Variable(1.0)
    failing = take(x, i) * unset
    assert session.run(x * 2.0, {x: [1, 2, 3]}).tolist() == [2.0, 4.0, 6.0]
    with pytest.raises(FeedError, match="'i'"):
        session.run(failing, {x: [1, 2, 3]})


def test_one_compilation_serves_all_sizes_and_sessions() -> None:
    graph = gc.get_default_graph()
    x = gc.placeholder("f32[n, 2]", name="x")
    y = x.sum()
    sessions = [gc.Session(target="reference") for _ in range(2)]
    for size in (1, 2, 5):
        for session in sessions:
            assert session.run(y, {x: np.ones((size, 2))}) == 2.0 * size
    assert len(graph.plans) == 1
    sessions[0].run([y], {x: np.ones((1, 2))})
    assert len(graph.plans) == 1  # the structure around the fetches does not matter
    sessions[0].run([y, x], {x: np.ones((1, 2))})
    assert len(graph.plans) == 2


def test_the_order_of_feeds_does_not_matter() -> None:
    x, y = gc.placeholder("f32[]"), gc.placeholder("f32[]")
    session = gc.Session(target="reference")
    assert session.run(x - y, {x: 3.0, y: 1.0}) == session.run(x - y, {y: 1.0, x: 3.0}) == 2.0
    z = x - y
    assert session.run(z, {x: 3.0, y: 1.0}) == session.run(z, {y: 1.0, x: 3.0})
    assert len(gc.get_default_graph().plans) == 3


def test_sessions_are_independent(session: gc.Session) -> None:
    w = gc.Variable(1.0)
    other = gc.Session(target=session.target)
    for each in (session, other):
        each.run(gc.global_variables_initializer())
    step = gc.assign_add(w, 1.0)
    session.run(step)
    session.run(step)
    assert (session.run(w), other.run(w)) == (3.0, 1.0)


def test_fetched_arrays_are_not_the_state(session: gc.Session) -> None:
    w = gc.Variable(np.zeros(3, np.float32))
    v = gc.Variable(np.zeros(3, np.float32))
    update = gc.assign(w, v)
    session.run(gc.global_variables_initializer())
    for fetch in ([w], [update, v], [w, w], [update, w]):
        for array in session.run(fetch):
            array += 7.0
    assert session.run([w, v])[0].tolist() == [0.0] * 3
    assert session.run([w, v])[1].tolist() == [0.0] * 3


def test_fed_arrays_are_neither_kept_nor_returned(session: gc.Session) -> None:
    x = gc.placeholder("f32[3]")
    w = gc.Variable(np.zeros(3, np.float32))
    fed = np.ones(3, np.float32)
    got, _ = session.run([x, gc.assign(w, x)], {x: fed})
    got += 1.0
    fed += 5.0
    assert session.run(w).tolist() == [1.0] * 3
    assert fed.tolist() == [6.0] * 3


def test_nothing_is_updated_when_a_run_fails(session: gc.Session) -> None:
    x = gc.placeholder("f32[3]", name="x")
    i = gc.placeholder("i64[1]", name="i")
    w = gc.Variable(0.0)
    counter = gc.tensor([0.0])
    with gc.get_default_graph():
        counter.add_(1.0)
        seen = counter * 1.0
    step = gc.assign_add(w, 1.0)
    picked = take(x, i)
    session.run(gc.global_variables_initializer())
    with pytest.raises(OutOfBoundsError, match="index 9 is out of"):
        session.run([step, picked, seen], {x: [1, 2, 3], i: [9]})
    assert session.run(w) == 0.0
    assert counter.tolist() == [0.0]
    session.run([step, picked, seen], {x: [1, 2, 3], i: [2]})
    assert session.run(w) == 1.0
    assert counter.tolist() == [1.0]


def test_fetches_that_are_not_in_the_graph() -> None:
    session = gc.Session(target="reference")
    x = gc.placeholder("f32[]")
    with pytest.raises(
        StaticGraphError, match="fetches\\['a'\\]\\[1\\]: 3 \\(int\\) is not a tensor, Variable or operation of default"
    ):
        session.run({"a": [x, 3]})
    with pytest.raises(StaticGraphError, match="None \\(NoneType\\) is not a tensor"):
        session.run(None)
    with pytest.raises(StaticGraphError, match=r"this is an eager tensor, whose value is at hand: use tensor.numpy\(\)"):
        session.run(gc.tensor(1.0))
    with pytest.raises(StaticGraphError, match="fetches\\[0\\]: default has no element called 'missing'"):
        session.run(["missing"])
    with gc.Graph("other"):
        y = gc.placeholder("f32[]", name="y")
    with pytest.raises(
        WrongGraphError, match="the tensor 'y' \\(f32\\[\\]\\) belongs to the graph other, and was used with default"
    ):
        session.run([y])
    with pytest.raises(WrongGraphError):
        session.run(x, {y: 1.0})


def test_a_session_as_a_block_is_the_default_and_is_closed() -> None:
    graph = gc.Graph()
    with graph:
        w = gc.Variable(1.0)
    assert get_default_session() is None
    with gc.Session(graph, target="reference") as session:
        assert get_default_session() is session
        assert gc.get_default_graph() is graph
        assert isinstance(gc.tensor(1.0) + 1.0, gc.Tensor)  # eager code stays eager
        session.run(gc.global_variables_initializer())
        prepared = session.make_callable(w)
        assert prepared() == 1.0
    assert get_default_session() is None
    for use in (lambda: session.run(w), prepared, lambda: session.make_callable(w), session.__enter__):
        with pytest.raises(StaticGraphError, match="this Session is closed"):
            use()


def test_callables(session: gc.Session) -> None:
    x, y = gc.placeholder("f32[n]"), gc.placeholder("f32[]")
    scaled = session.make_callable({"out": x * y}, [x, y])
    assert scaled([1, 2], 3)["out"].tolist() == [3.0, 6.0]
    with pytest.raises(FeedError, match="this callable takes 2 values, 1 were given"):
        scaled([1, 2])


def test_the_latest_write_of_a_tensor_is_fetched_and_its_first_value_fed(session: gc.Session) -> None:
    x = gc.placeholder("f32[2]", name="x")
    x[0] = 5.0
    assert session.run(x, {x: [1, 2]}).tolist() == [5.0, 2.0]


def test_repr() -> None:
    session = gc.Session(target="reference")
    assert repr(session) == "<Session of 'default'>"
    session.close()
    assert repr(session) == "<Session of 'default', closed>"


def test_increments_from_several_threads_are_all_made() -> None:
    session = gc.Session(target="reference")
    a, b = gc.Variable(0), gc.Variable(0)
    session.run(gc.global_variables_initializer())
    step = gc.group(gc.assign_add(a, 1), gc.assign_add(b, 1))
    torn: list[Any] = []

    def work() -> None:
        for _ in range(50):
            session.run(step)
            pair = session.run([a, b])
            if pair[0] != pair[1]:
                torn.append(pair)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.run([a, b]) == [200, 200]
    assert not torn


def test_a_variable_is_uninitialized_in_each_session() -> None:
    w = gc.Variable(1.0, name="w")
    gc.Session(target="reference").run(w.initializer)
    with pytest.raises(UninitializedVariableError, match="'w'"):
        gc.Session(target="reference").run(identity(w))
