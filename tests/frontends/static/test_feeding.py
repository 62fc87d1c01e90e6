"""Feeds: what converts, what does not, and what the errors say."""

import numpy as np
import pytest

import graphc as gc
from graphc.errors import FeedError
from graphc.frontends.array.creation import asarray
from graphc.frontends.static import identity


@pytest.fixture(autouse=True)
def fresh() -> None:
    gc.reset_default_graph()


def run(fetch: object, feeds: dict[object, object]) -> object:
    with gc.Session(target="reference") as session:
        return session.run(fetch, feeds)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("f32", 3),
        ("f32", 1.5),
        ("f32", np.float64(1.5)),
        ("f32", np.ones((), np.int16)),
        ("f32", True),
        ("f16", np.float32(2.0)),
        ("f64", np.float32(2.0)),
        ("i32", np.int64(7)),
        ("u8", 255),
        ("i64", True),
        ("bool", True),
    ],
)
def test_numbers_convert_to_the_declared_dtype(dtype: str, value: object) -> None:
    x = gc.placeholder(dtype, [], name="x")
    result = run(x, {x: value})
    assert result == value
    assert result.dtype == x.dtype.numpy  # type: ignore[attr-defined]


def test_lists_tensors_and_foreign_byte_orders_convert() -> None:
    x = gc.placeholder("f32[2, 2]", name="x")
    expected = [[1.0, 2.0], [3.0, 4.0]]
    array = np.array(expected)
    for value in (expected, gc.tensor(expected, requires_grad=True), array.astype(">f8"), array.T.copy().T, tuple(expected)):
        assert run(x * 1.0, {x: value}).tolist() == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("i64", 1.5, "the placeholder 'x' is i64\\[\\], and was fed values of dtype float64"),
        ("i32", np.float32(1), "was fed values of dtype float32"),
        ("bool", 1, "was fed values of dtype int64"),
        ("u8", 256, "was fed 256, which uint8 \\(0 to 255\\) cannot hold"),
        ("u8", -1, "was fed -1, which uint8"),
        ("i8", np.array(-129), "was fed -129, which int8 \\(-128 to 127\\) cannot hold"),
        ("f32", "three", "was fed 'three', which is not an array of numbers"),
        ("f32", None, "was fed None, which is not an array of numbers"),
        ("f32", 1j, "was fed 1j, which is not an array of numbers"),
        ("f32", [[1], [1, 2]], "was fed \\[\\[1\\], \\[1, 2\\]\\]: "),
    ],
)
def test_values_that_do_not_convert(dtype: str, value: object, message: str) -> None:
    x = gc.placeholder(dtype, [], name="x")
    with pytest.raises(FeedError, match=message) as caught:
        run(x, {x: value})
    assert f"declared at {__file__}" in str(caught.value)
    assert "fix: " in str(caught.value)


def test_a_tensor_of_the_graph_is_not_a_value() -> None:
    x = gc.placeholder("f32[]", name="x")
    with pytest.raises(FeedError, match="was fed the tensor <StaticTensor 'add' f32\\[\\]>, which has no value yet"):
        run(x, {x: x + 1.0})


@pytest.mark.parametrize("shape", [(2, 5), (4,), (2, 4, 1), ()])
def test_wrong_shapes_name_the_placeholder_both_shapes_and_both_lines(shape: tuple[int, ...]) -> None:
    x = gc.placeholder("f32[n, 4]", name="x")  # the line of the declaration
    with pytest.raises(FeedError) as caught:
        run(x, {x: np.zeros(shape, np.float32)})
    text = str(caught.value)
    shown = repr(shape)
    assert f"\n  operand fed for x: float32, shape {shown}" in text
    assert text.count("operand") == 1
    assert f"the placeholder 'x' is f32[n, 4], and was fed an array of shape {shown}; (n, 4) was expected" in text
    assert f"declared at {__file__}" in text
    assert "return session.run(fetch, feeds)" in text


def test_sizes_that_contradict_each_other() -> None:
    x = gc.placeholder("f32[batch, 3]", name="x")
    y = gc.placeholder("i64[batch]", name="y")
    with pytest.raises(FeedError, match="the size 'batch' is 2 in what is fed for 'x' and 5 for 'y' \\(i64\\[batch\\]\\)"):
        run([x, y], {x: np.zeros((2, 3)), y: np.zeros(5, int)})
    with pytest.raises(FeedError, match="the size 'n' is 2 in what is fed for 'z' and 3 for 'z'"):
        z = gc.placeholder("f32[n, n]", name="z")
        run(z, {z: np.zeros((2, 3))})


def test_sizes_that_are_expressions() -> None:
    x = gc.placeholder("f32[n]", name="x")
    y = gc.placeholder("f32[2*n]", name="y")
    total = x.sum() + y.sum()
    assert run(total, {x: [1], y: [1, 1]}) == 3.0
    with pytest.raises(
        FeedError, match="'y' is f32\\[2\\*n\\], and was fed an array of shape \\(3,\\), but 2\\*n is 2 in this run"
    ):
        run(total, {x: [1], y: [1, 1, 1]})


def test_unknown_sizes_must_agree_where_the_graph_needs_it() -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    y = gc.placeholder(gc.float32, [None], name="y")
    total = x + y
    with pytest.raises(FeedError) as caught:
        run(total, {x: [1, 2], y: [1, 2, 3]})
    text = str(caught.value)
    assert "the graph needs x_0 == y_0, but the feeds give x_0 = 2 (of 'x') and y_0 = 3 (of 'y')" in text
    assert f"it is needed at {__file__}" in text
    # A run that does not need the sum does not need equal sizes.
    assert run([x.sum(), y.sum()], {x: [1, 2], y: [1, 2, 3]}) == [3.0, 6.0]


def test_missing_feeds_name_the_fetch_and_the_placeholder() -> None:
    x = gc.placeholder("f32[n]", name="x")
    y = gc.placeholder("f32[n]", name="y")
    free, bound = x * 2.0, identity(x * y, name="product")
    with pytest.raises(
        FeedError, match="the fetch 'product' needs the placeholder 'y' \\(f32\\[n\\]\\), which is not fed"
    ) as caught:
        run([free, bound], {x: [1.0]})
    assert "fix: pass feed_dict={y: value}" in str(caught.value)
    assert f"'y' was declared at {__file__}" in str(caught.value)


def test_a_placeholder_may_be_needed_for_its_size_alone() -> None:
    x = gc.placeholder("f32[n, 2]", name="x")
    count = identity(asarray(x.shape[0]), name="count")
    assert run(count, {x: np.zeros((5, 2))}) == 5
    with pytest.raises(FeedError, match="the fetch 'count' needs the placeholder 'x' \\(f32\\[n, 2\\]\\) for its size"):
        run(count, {})


def test_keys_that_are_not_tensors() -> None:
    x = gc.placeholder("f32[]", name="x")
    with pytest.raises(FeedError, match="3 \\(int\\) is a key of the feeds, but not a tensor of the graph"):
        run(x, {3: 1.0})
    with pytest.raises(FeedError, match="feed_dict: default has no element called 'nothing'"):
        run(x, {"nothing": 1.0})
    with pytest.raises(FeedError, match="feed_dict must be a dict, not list"):
        run(x, [(x, 1.0)])  # type: ignore[arg-type]
    with pytest.raises(FeedError, match="'op' is an operation, which has no value"):
        gc.group(x, name="op")
        run(x, {"op": 1.0})


def test_feeds_by_name_and_feeds_that_nothing_needs() -> None:
    x = gc.placeholder("f32[]", name="x")
    unused = gc.placeholder("f32[n]", name="unused")
    assert run(x + 1.0, {"x:0": 1.0, unused: [1, 2]}) == 2.0


def test_any_tensor_can_be_fed() -> None:
    x = gc.placeholder("f32[n]", name="x")
    hidden = x * 2.0
    out = hidden + 1.0
    w = gc.Variable(10.0, name="w")
    assert run(out, {hidden: [5.0, 6.0]}).tolist() == [6.0, 7.0]  # type: ignore[attr-defined]
    assert run([out, hidden], {hidden: [5.0]})[1].tolist() == [5.0]  # type: ignore[index]
    assert run(w * 2.0, {w: 1.5}) == 3.0
    with pytest.raises(FeedError, match="the tensor 'mul' is f32\\[n\\], and was fed an array of shape \\(1, 2\\)"):
        run(out, {hidden: [[5.0, 6.0]]})
