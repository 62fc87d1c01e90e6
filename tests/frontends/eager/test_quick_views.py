"""Views and writes that take the short way, against the general way and against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc as gc
from graphc.frontends.array.methods import ArrayMethods
from graphc.frontends.eager.views import Unresolved

SHAPES = [(), (5,), (1,), (0, 3), (3, 4), (2, 3, 4)]


@st.composite
def basic_keys(draw: st.DrawFn) -> tuple[tuple[int, ...], object]:
    shape = draw(st.sampled_from(SHAPES))
    items: list[object] = []
    bound = st.none() | st.integers(-6, 6)
    for size in shape[: draw(st.integers(0, len(shape)))]:
        if size and draw(st.booleans()):
            items.append(draw(st.integers(-size, size - 1)))
        else:
            items.append(slice(draw(bound), draw(bound), draw(st.none() | st.integers(-3, 3).filter(bool))))
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), None)
    if len([i for i in items if i is not None]) < len(shape) and draw(st.booleans()):
        items.append(Ellipsis)
    return shape, items[0] if len(items) == 1 and draw(st.booleans()) else tuple(items)


def _numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@given(basic_keys())
def test_a_view_is_numpys_and_its_chain_is_that_of_the_general_way(case: tuple[tuple[int, ...], object]) -> None:
    shape, key = case
    x = gc.from_numpy(_numbers(shape))
    view = x[key]
    assert isinstance(view._way, Unresolved)
    assert view.numpy().shape == x.numpy()[key].shape
    assert np.shares_memory(view.numpy(), x.numpy()) or not view.numpy().size
    general = ArrayMethods.__getitem__(gc.from_numpy(x.numpy()), key)
    np.testing.assert_array_equal(view.numpy(), general.numpy())
    assert view._chain == general._chain


@given(basic_keys(), st.booleans())
def test_gradients_flow_through_views_of_leaves_and_results(case: tuple[tuple[int, ...], object], leaf: bool) -> None:
    shape, key = case
    w = gc.tensor(_numbers(shape), requires_grad=True)
    x = w if leaf else w * 2.0
    view = x[key]
    weights = gc.tensor(_numbers(view.shape) + 1)
    (view * weights).sum().backward()
    expected = np.zeros(shape, np.float32)
    expected[key] = weights.numpy() * (1 if leaf else 2)
    np.testing.assert_array_equal(w.grad.numpy(), expected)


@given(basic_keys(), st.sampled_from([2.5, 3, "tensor"]))
def test_a_write_is_numpys(case: tuple[tuple[int, ...], object], value: object) -> None:
    shape, key = case
    x, expected = gc.from_numpy(_numbers(shape)), _numbers(shape)
    saved = x.saved()
    new = _numbers(expected[key].shape) * 10 if value == "tensor" else value
    expected[key] = new
    x[key] = gc.tensor(new) if value == "tensor" else value
    np.testing.assert_array_equal(x.numpy(), expected)
    assert x.saved().count == saved.count + 1


def test_views_of_views_in_a_long_loop_are_resolved_without_recursion() -> None:
    x = gc.zeros(3000)
    view = x
    for _ in range(2999):
        view = view[1:]
    assert len(view._chain) == 2999
    view[0] = 7.0
    assert x[2999].item() == 7.0


def test_a_view_is_recorded_with_the_line_that_made_it() -> None:
    h = gc.tensor([1.0, 2.0, 3.0], requires_grad=True) * 1.0
    view = h[1:]
    assert view._reference is not None
    assert "view = h[1:]" in view._reference.source.location.source_line


def test_gradients_see_writes_between_a_view_and_its_use() -> None:
    w = gc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = w * 1.0
    view = x[1:]
    x[1] = 10.0
    (view * view).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [0.0, 0.0, 6.0])


def test_a_write_that_spoils_a_gradient_is_noticed() -> None:
    w = gc.tensor([1.0, 2.0], requires_grad=True)
    x = gc.tensor([3.0, 4.0])
    y = (w * x).sum()
    x[0] = 0.0
    with pytest.raises(gc.errors.InPlaceError, match="changed"):
        y.backward()


def test_a_view_under_no_grad_is_as_in_the_general_way() -> None:
    w = gc.tensor([1.0, 2.0], requires_grad=True)
    with gc.no_grad():
        w[0] = 5.0
        w[1:] = w[:1]
    np.testing.assert_array_equal(w.detach().numpy(), [5.0, 5.0])
    with pytest.raises(gc.errors.InPlaceError, match="leaf"):
        w[0] = 1.0


def test_updating_a_part_counts_one_write_and_no_copy() -> None:
    x = gc.zeros(4)
    count = x.saved().count
    x[1:3] += 2.0
    np.testing.assert_array_equal(x.numpy(), [0, 2, 2, 0])
    assert x.saved().count == count + 1


@pytest.mark.parametrize("key", [7, (0, 0), slice(0, 2, 0), True, 1.5, "a"])
def test_errors_are_those_of_the_general_way(key: object) -> None:
    x = gc.zeros(4)
    with pytest.raises(gc.errors.GraphcError) as general:
        ArrayMethods.__getitem__(x, key)
    with pytest.raises(type(general.value)) as quick:
        x[key]
    assert quick.value.message == general.value.message


@pytest.mark.parametrize("shape", [(2, 2), ((2, 2),), (-1,), (4,), (2, -1)])
def test_reshapes_share_memory(shape: tuple[object, ...]) -> None:
    x = gc.from_numpy(_numbers((4,)))
    y = x.reshape(*shape)
    np.testing.assert_array_equal(y.numpy(), x.numpy().reshape(*shape))
    assert np.shares_memory(y.numpy(), x.numpy())
    w = gc.tensor(_numbers((4,)), requires_grad=True)
    (w * 1.0).reshape(*shape).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), np.ones(4))


@pytest.mark.parametrize("shape", [(3,), (-1, -1), (-2, 2), (2.0, 2)])
def test_reshapes_that_do_not_fit_say_so(shape: tuple[object, ...]) -> None:
    with pytest.raises(gc.errors.ShapeError, match=r"reshape|size"):
        gc.zeros(4).reshape(*shape)


def test_a_transposed_matrix_is_a_view_with_a_gradient() -> None:
    w = gc.tensor(_numbers((2, 3)), requires_grad=True)
    h = w * 1.0
    assert np.shares_memory(h.T.detach().numpy(), h.detach().numpy())
    (h.T * gc.tensor(_numbers((3, 2)))).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), _numbers((3, 2)).T)
    assert gc.zeros(2, 3).T[0].shape == (2,)
