"""Views share memory, and writes go through them: in values as NumPy, in gradients as PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import InPlaceError, ShapeError

BASE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
VIEWS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "index": (lambda x: x[1], lambda a: a[1]),
    "slice": (lambda x: x[:, 1:, ::2], lambda a: a[:, 1:, ::2]),
    "negative step": (lambda x: x[::-1, :, ::-2], lambda a: a[::-1, :, ::-2]),
    "new axis": (lambda x: x[:, None, 1], lambda a: a[:, None, 1]),
    "ellipsis": (lambda x: x[..., 2], lambda a: a[..., 2]),
    "reshape": (lambda x: x.reshape(6, 4), lambda a: a.reshape(6, 4)),
    "ravel": (lambda x: x.ravel(), lambda a: a.ravel()),
    "transpose": (lambda x: x.transpose(2, 0, 1), lambda a: a.transpose(2, 0, 1)),
    "T": (lambda x: x.T, lambda a: a.T),
    "swapaxes": (lambda x: x.swapaxes(0, 2), lambda a: a.swapaxes(0, 2)),
    "squeeze": (lambda x: x[:1].squeeze(0), lambda a: a[:1].squeeze(0)),
    "unsqueeze": (lambda x: x.unsqueeze(1), lambda a: a[:, None]),
    "chain": (lambda x: x[1:].transpose(1, 0, 2).reshape(3, 4)[::2], lambda a: a[1:].transpose(1, 0, 2).reshape(3, 4)[::2]),
    "split": (lambda x: x.split(2, axis=2)[1], lambda a: np.split(a, 2, axis=2)[1]),
    "detach": (lambda x: x.detach(), lambda a: a),
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_shares_memory_both_ways(name: str) -> None:
    view, numpy_view = VIEWS[name]
    array = BASE.copy()
    x = gc.tensor(BASE)
    seen = view(x)
    np.testing.assert_array_equal(seen.numpy(), numpy_view(array))
    assert np.shares_memory(seen.numpy(), x.numpy())
    x *= 2
    array *= 2
    np.testing.assert_array_equal(seen.numpy(), numpy_view(array))
    seen += 100
    numpy_view(array)[...] += 100
    np.testing.assert_array_equal(x.numpy(), array)


@pytest.mark.parametrize("name", [n for n in VIEWS if n != "detach"])
def test_gradients_flow_through_views_and_writes_to_them(name: str) -> None:
    """The write goes through the view into the base: what it overwrote gets no gradient, its factor does."""
    view, numpy_view = VIEWS[name]
    x = gc.tensor(BASE.astype(np.float64), requires_grad=True)
    w = gc.tensor(2.0, dtype=gc.float64, requires_grad=True)
    y = x * 1.0
    view(y)[...] = w * 3.0
    (y * y).sum().backward()
    written = np.zeros(BASE.shape, bool)
    numpy_view(written)[...] = True
    if not written.all():  # where nothing of x is left, no gradient reaches it
        np.testing.assert_allclose(x.grad.numpy(), np.where(written, 0, 2 * BASE))
    np.testing.assert_allclose(w.grad.item(), 36.0 * 2 * written.sum() / 2)


def test_copies_are_not_views() -> None:
    x = gc.tensor(BASE)
    for y in (x[[0, 1]], x[x > 3], x.copy(), x + 0, x.T.reshape(-1), x.astype(gc.float64), x.astype(gc.float32).copy()):
        assert not np.shares_memory(y.numpy(), x.numpy())


def test_a_view_taken_before_a_write_sees_it_in_gradients_too() -> None:
    x = gc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    first = y[0]
    y[0] = 10.0
    assert first.item() == 10.0
    (first * 5).backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_numpy_style_code_runs_unchanged() -> None:
    def step(field: Any) -> Any:
        field[1:-1] = 0.5 * (field[:-2] + field[2:])
        field[0] = field[-1]
        field[field > 4] -= 1
        return field

    start = np.linspace(0, 6, 9)
    np.testing.assert_allclose(step(gc.tensor(start)).numpy(), step(start.copy()))


@pytest.mark.parametrize(
    ("name", "apply"),
    [
        ("add_", lambda x: x.add_(1.5)), ("sub_", lambda x: x.sub_(1.5)), ("mul_", lambda x: x.mul_(1.5)),
        ("div_", lambda x: x.div_(1.5)), ("zero_", lambda x: x.zero_()), ("fill_", lambda x: x.fill_(4.0)),
        ("copy_", lambda x: x.copy_(gc.tensor([5.0, 6.0, 7.0]))), ("clamp_", lambda x: x.clamp_(min=0.0)),
        ("exp_", lambda x: x.exp_()), ("neg_", lambda x: x.neg_()),
    ],
)  # fmt: skip
def test_in_place_methods_return_the_same_object_and_keep_its_memory(name: str, apply: Callable[[Any], Any]) -> None:
    x = gc.tensor([-1.0, 0.5, 2.0])
    memory = x.numpy()
    assert apply(x) is x
    assert x.numpy() is memory or np.shares_memory(x.numpy(), memory)


def test_in_place_keeps_dtype_and_shape() -> None:
    x = gc.tensor([1, 2, 3])
    with pytest.raises(TypeError):
        x += 0.5
    y = gc.tensor([1.0, 2.0])
    with pytest.raises(InPlaceError, match=r"the result has shape \(3, 2\), the array \(2,\)"):
        y += gc.ones((3, 2))
    assert y.tolist() == [1.0, 2.0]
    z = gc.tensor([1.0, 2.0], dtype=gc.float32)
    z += gc.ones((2,), dtype=gc.float64)
    assert z.dtype is gc.float32


def test_assignment_to_a_shape_that_does_not_fit_changes_nothing() -> None:
    x = gc.zeros((2, 3))
    with pytest.raises(ShapeError):
        x[0] = gc.ones((2,))
    with pytest.raises(IndexError):
        x[5] = 1.0
    assert not x.any()


def test_broadcast_views_are_not_written() -> None:
    x = gc.tensor([[1.0], [2.0]])
    wide = gc.broadcast_to(x, (2, 3))
    assert np.shares_memory(wide.numpy(), x.numpy())
    with pytest.raises(InPlaceError, match="broadcast view"):
        wide += 1
    assert x.tolist() == [[1.0], [2.0]]


def test_read_only_memory_is_not_written() -> None:
    array = np.zeros(3)
    array.setflags(write=False)
    with pytest.raises(InPlaceError, match="read-only"):
        gc.from_numpy(array)[0] = 1.0


def test_overlapping_views_of_one_memory() -> None:
    """The right side is read before anything is written, as in NumPy."""
    a = np.arange(8.0)
    x = gc.tensor(a)
    x[1:] = x[:-1] + 1
    a[1:] = a[:-1] + 1
    np.testing.assert_array_equal(x.numpy(), a)
    x[::-1].copy_(x)
    np.testing.assert_array_equal(x.numpy(), a[::-1])
