"""Views in numbers are what NumPy makes of the same ops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc.ops  # noqa: F401 - fills the registry of primitives
from graphc.ir.primitive import get_primitive
from graphc.runtime.layout import Layout


def read(layout: Layout, memory: np.ndarray) -> np.ndarray:
    """The elements of ``layout``, one by one."""
    found = [memory[layout.offset + sum(i * s for i, s in zip(index, layout.strides, strict=True))] for index in
             np.ndindex(*layout.shape)]  # fmt: skip
    return np.array(found, memory.dtype).reshape(layout.shape)


def a_step(draw: Any, shape: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    op = draw(st.sampled_from(["reshape", "transpose", "slice", "reverse", "broadcast_in_dim", "stop_gradient"]))
    axes = range(len(shape))
    if op == "reshape":
        rest, new = int(np.prod(shape)), []
        while rest > 1:
            factor = draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0]))
            new.append(factor)
            rest //= factor
            if len(new) > 3:
                break
        return op, {"shape": (*new, rest)}
    if op == "transpose":
        return op, {"permutation": tuple(draw(st.permutations(list(axes))))}
    if op == "reverse":
        return op, {"axes": tuple([a for a in axes if draw(st.booleans())])}
    if op == "slice":
        starts = tuple([draw(st.integers(0, n)) for n in shape])
        limits = tuple([draw(st.integers(a, n)) for a, n in zip(starts, shape, strict=True)])
        return op, {"starts": starts, "limits": limits, "strides": tuple([draw(st.integers(1, 3)) for _ in shape])}
    if op == "broadcast_in_dim":
        return op, {"shape": (2, *[3 if n == 1 else n for n in shape]), "dims": tuple([a + 1 for a in axes])}
    return op, {}


@st.composite
def view_chains(draw: Callable[..., Any]) -> tuple[tuple[int, ...], list[tuple[str, dict[str, Any]]]]:
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    x, steps = np.zeros(shape), []
    for _ in range(draw(st.integers(1, 4))):
        op, attributes = a_step(draw, x.shape)
        if op == "reshape" and x.size == 0:
            continue
        steps.append((op, attributes))
        x = get_primitive(op).evaluate(x, **attributes)
    return shape, steps


@given(view_chains())
def test_views_are_numpys(case: tuple[tuple[int, ...], list[tuple[str, dict[str, Any]]]]) -> None:
    shape, steps = case
    memory = np.arange(int(np.prod(shape)) + 5)
    layout, x = Layout.contiguous(shape, 5), memory[5:].reshape(shape)
    for op, attributes in steps:
        view = layout.view(op, attributes)
        x = get_primitive(op).evaluate(x, **attributes)
        if view is None:
            assert op == "reshape"
            assert not np.may_share_memory(x, memory)
            return
        assert np.may_share_memory(x, memory) or not x.size or op == "stop_gradient"
        layout = view
        assert layout.shape == x.shape
        np.testing.assert_array_equal(read(layout, memory), x)
        if layout.is_contiguous:
            assert x.flags.c_contiguous or x.size <= 1


def test_a_repeated_array_says_so() -> None:
    row = Layout.contiguous((3,))
    wide = row.view("broadcast_in_dim", {"shape": (2, 3), "dims": (1,)})
    assert wide is not None
    assert wide.repeats
    assert not wide.is_contiguous
    assert not row.repeats


def test_other_ops_are_no_views() -> None:
    with pytest.raises(AssertionError, match="add is not a view op"):
        Layout.contiguous((2,)).view("add", {})
