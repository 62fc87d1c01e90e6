"""Variables: initial values, assigns, and what errors say."""

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, ShapeError, StaticGraphError, UninitializedVariableError
from graphc.frontends.array.creation import zeros
from graphc.frontends.static import identity, variables_initializer


@pytest.fixture(autouse=True)
def fresh() -> None:
    gc.reset_default_graph()


@pytest.fixture
def session() -> gc.Session:
    return gc.Session(target="reference")


def initialized(session: gc.Session) -> gc.Session:
    session.run(gc.global_variables_initializer())
    return session


def test_initial_values_of_every_kind(session: gc.Session) -> None:
    array = np.arange(3, dtype=np.float64)
    tensor = gc.tensor([1.0, 2.0])
    variables = [
        gc.Variable(1.5),
        gc.Variable(3),
        gc.Variable([[1.0], [2.0]]),
        gc.Variable(array),
        gc.Variable(tensor),
        gc.Variable(lambda: zeros((2,)) + 1.0),
        gc.Variable(2, dtype=gc.float32),
        gc.Variable(array, dtype="f16"),
        gc.Variable(lambda: 7),
    ]
    array[:] = -1.0  # the Variable has the values from when it was made
    tensor.add_(100.0)
    initialized(session)
    values = session.run(variables)
    expected = [1.5, 3, [[1.0], [2.0]], [0.0, 1.0, 2.0], [1.0, 2.0], [1.0, 1.0], 2.0, [0.0, 1.0, 2.0], 7]
    assert [np.asarray(v).tolist() for v in values] == expected
    assert [str(v.dtype) for v in variables] == (
        ["float32", "int64", "float32", "float64", "float32", "float32", "float32", "float16", "int64"]
    )


def test_an_initial_value_may_use_other_variables(session: gc.Session) -> None:
    a = gc.Variable(2.0, name="a")
    b = gc.Variable(a * 3.0, name="b")
    c = gc.Variable(b + a, name="c")
    initialized(session)
    assert session.run([a, b, c]) == [2.0, 6.0, 8.0]
    session.run(gc.assign(a, 10.0))
    session.run(b.initializer)  # a is not initialized in this run, so it is read
    assert session.run([a, b, c]) == [10.0, 30.0, 8.0]
    assert session.run(b.initial_value) == 30.0


def test_an_initial_value_may_need_a_feed(session: gc.Session) -> None:
    x = gc.placeholder("f32[2]", name="x")
    w = gc.Variable(x * 2.0)
    session.run(w.initializer, {x: [1, 2]})
    assert session.run(w).tolist() == [2.0, 4.0]


def test_a_shape_must_be_known() -> None:
    x = gc.placeholder("f32[n, 2]", name="x")
    with pytest.raises(
        ShapeError, match="the initial value of the Variable 'w' has shape \\(n, 2\\), and the size n is not known"
    ):
        gc.Variable(x, name="w")


def test_collections_hold_what_was_made() -> None:
    a, b = gc.Variable(1.0), gc.Variable(1, trainable=False)
    assert [v.name for v in gc.global_variables()] == ["Variable", "Variable_1"]
    assert gc.global_variables()[0] is a
    assert gc.global_variables()[1] is b
    assert len(gc.trainable_variables()) == 1
    assert gc.trainable_variables()[0] is a


def test_only_the_variables_asked_for_are_initialized(session: gc.Session) -> None:
    a, b = gc.Variable(1.0, name="a"), gc.Variable(2.0, name="b")  # both lines in the message
    session.run(variables_initializer([a]))
    assert session.run(a) == 1.0
    with pytest.raises(UninitializedVariableError) as caught:
        session.run(a + b)
    text = str(caught.value)
    assert "the Variable 'b' (f32[]) has no value in this Session" in text
    assert f"it was made at {__file__}" in text
    assert "fix: run gc.global_variables_initializer() first" in text


def test_an_initializer_has_the_variables_made_so_far(session: gc.Session) -> None:
    gc.Variable(1.0)
    init = gc.global_variables_initializer()
    late = gc.Variable(2.0, name="late")
    session.run(init)
    with pytest.raises(UninitializedVariableError, match="'late'"):
        session.run(late)


def test_assigns_give_the_new_value_and_keep_it(session: gc.Session) -> None:
    w = gc.Variable([1.0, 2.0], name="w")
    initialized(session)
    assert session.run(gc.assign(w, [5.0, 6.0])).tolist() == [5.0, 6.0]
    assert session.run(gc.assign_add(w, [1.0, 1.0])).tolist() == [6.0, 7.0]
    assert session.run(w.assign_sub(1.0)).tolist() == [5.0, 6.0]
    assert session.run(gc.assign_add(w, 1)).tolist() == [6.0, 7.0]
    assert session.run(w).tolist() == [6.0, 7.0]
    assert session.run(w.assign(w * 2.0)).tolist() == [12.0, 14.0]


def test_reads_see_the_start_of_the_run_unless_they_take_the_result(session: gc.Session) -> None:
    w = gc.Variable(1.0, name="w")
    step = gc.assign_add(w, 1.0)
    initialized(session)
    assert session.run([w, step, w * 10.0, step * 10.0]) == [1.0, 2.0, 10.0, 20.0]
    assert session.run(w) == 2.0


def test_what_is_computed_from_a_result_makes_the_update(session: gc.Session) -> None:
    w = gc.Variable(1.0, name="w")
    after = identity(gc.assign(w, 4.0) + 0.5)
    initialized(session)
    assert session.run(after) == 4.5
    assert session.run(w) == 4.0


def test_updates_are_made_together(session: gc.Session) -> None:
    a, b = gc.Variable(1.0, name="a"), gc.Variable(2.0, name="b")
    swap = gc.group(gc.assign(a, b), gc.assign(b, a))
    initialized(session)
    assert session.run(swap) is None
    assert session.run([a, b]) == [2.0, 1.0]


def test_two_unordered_assigns_in_one_run_are_an_error(session: gc.Session) -> None:
    w = gc.Variable(1.0, name="w")
    first, second = gc.assign(w, 2.0), gc.assign(w, 3.0)
    initialized(session)
    assert session.run(first) == 2.0
    with pytest.raises(StaticGraphError, match="the Variable 'w' is assigned twice in one run, in no order") as caught:
        session.run([first, second])
    assert str(caught.value).count(__file__) >= 2


def test_ordered_assigns_leave_the_last(session: gc.Session) -> None:
    w = gc.Variable(1.0, name="w")
    once = gc.assign_add(w, 1.0)
    twice = gc.assign_add(once, 1.0)
    reset = gc.assign(twice, 0.25)
    with gc.get_default_graph().control_dependencies([reset]):
        final = gc.assign_sub(w, 0.5)
    initialized(session)
    assert session.run(twice) == 3.0
    assert session.run(w) == 3.0
    assert session.run([twice, once]) == [5.0, 4.0]
    assert session.run([reset, w]) == [0.25, 5.0]
    assert session.run(w) == 0.25
    assert session.run([final, reset]) == [-0.25, 0.25]  # reads are of the start of the run
    assert session.run(w) == -0.25


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([1.0, 2.0, 3.0], ShapeError, "assign: the Variable 'w' is f32\\[2\\], and was given a value of shape \\(3,\\)"),
        (1.0, ShapeError, "of shape \\(\\)"),
        ([[1.0, 2.0]], ShapeError, "of shape \\(1, 2\\)"),
        (np.zeros(2), DTypeError, "the Variable 'w' is f32\\[2\\], and was given a value of type f64\\[2\\]"),
        (np.zeros(2, np.int64), DTypeError, "of type i64\\[2\\]"),
    ],
)
def test_values_that_do_not_fit(value: object, error: type[Exception], message: str) -> None:
    w = gc.Variable([1.0, 2.0], name="w")
    with pytest.raises(error, match=message) as caught:
        gc.assign(w, value)
    assert "fix: " in str(caught.value)


def test_deltas_that_do_not_fit() -> None:
    w = gc.Variable([1.0, 2.0], name="w")
    n = gc.Variable(1, name="n")
    with pytest.raises(ShapeError, match="assign_add: the Variable 'w' is f32\\[2\\], and was given a value of shape \\(3,\\)"):
        gc.assign_add(w, [1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="assign_sub"):
        gc.assign_sub(w, [[1.0]])
    with pytest.raises(DTypeError, match="assign_add: the Variable 'n' is i64\\[\\], and was given a value of type f32\\[\\]"):
        gc.assign_add(n, 0.5)


def test_an_unknown_size_is_checked_at_the_run(session: gc.Session) -> None:
    w = gc.Variable([1.0, 2.0], name="w")
    x = gc.placeholder("f32[n]", name="x")
    update = gc.assign(w, x)
    assert session.run(update, {x: [3, 4]}).tolist() == [3.0, 4.0]
    with pytest.raises(gc.errors.FeedError, match="the graph needs n == 2, but the feeds give n = 3 \\(of 'x'\\)"):
        session.run(update, {x: [3, 4, 5]})
    assert session.run(w).tolist() == [3.0, 4.0]


def test_only_variables_are_assigned() -> None:
    with pytest.raises(ArgumentError, match="assign: Placeholder is not a Variable"):
        gc.assign(gc.placeholder("f32[]"), 1.0)
    with pytest.raises(ArgumentError, match="assign_add: int is not a Variable"):
        gc.assign_add(3, 1.0)


def test_eval_and_run_use_the_default_session() -> None:
    w = gc.Variable(3.0, name="w")
    with gc.Session(target="reference") as session:
        w.initializer.run()
        assert (w * 2.0).eval() == 6.0
        x = gc.placeholder("f32[]")
        assert (w * x).eval({x: 2.0}, session=session) == 6.0
    with pytest.raises(StaticGraphError, match="eval\\(\\) needs a Session, and none is the default here"):
        w.eval()
    with pytest.raises(StaticGraphError, match="run\\(\\) needs a Session"):
        w.initializer.run()
