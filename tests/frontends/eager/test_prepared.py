"""What is remembered of ops by the types of their operands, and recording without views for repeated operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.dtypes import float32
from graphc.frontends.eager import prepared
from graphc.frontends.eager.prepared import prepare
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from tests.call_count import counted

MATRIX, ROW = TensorType(float32, (2, 3)), TensorType(float32, (3,))


def test_the_same_question_has_the_same_answer() -> None:
    add, total = get_primitive("add"), get_primitive("reduce_sum")
    assert prepare(add, (MATRIX, MATRIX), {}) is prepare(add, (MATRIX, MATRIX), {})
    assert prepare(add, (MATRIX, MATRIX), {}) is not prepare(get_primitive("mul"), (MATRIX, MATRIX), {})
    first = prepare(total, (MATRIX,), {"axes": (1,)})
    assert first is not prepare(total, (MATRIX,), {"axes": (0,)})
    assert first.types == (TensorType(float32, (2,)),)
    as_list = prepare(total, (MATRIX,), {"axes": [1]})
    assert (as_list.types, as_list.attributes) == (first.types, {"axes": (1,)})


def test_repeated_operands() -> None:
    op = prepare(get_primitive("mul"), (MATRIX, ROW), {})
    assert op.types == (MATRIX,)
    assert op.operand_types == (MATRIX, MATRIX)
    assert op.broadcasts == (None, {"shape": (2, 3), "dims": (1,)})
    assert op.residuals((True, False)).operands == (1,)
    assert op.residuals((False, True)).operands == (0,)


def test_errors_are_raised_each_time() -> None:
    for _ in range(3):
        with pytest.raises(errors.AxisError):
            prepare(get_primitive("reduce_sum"), (MATRIX,), {"axes": (5,)})
        with pytest.raises(errors.ArgumentError, match="no attribute"):
            prepare(get_primitive("add"), (MATRIX, MATRIX), {"axes": 1})


def test_it_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_known", {})
    monkeypatch.setattr(prepared, "_MOST", 10)
    for n in range(25):
        prepare(get_primitive("neg"), (TensorType(float32, (n,)),), {})
        assert len(prepared._known) <= 10


SHAPES: list[Any] = [((2, 3), (3,)), ((3,), (2, 3)), ((2, 1), (1, 3)), ((), (2, 3)), ((4, 1, 3), (2, 1)), ((0, 3), (1, 3))]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("needed", [(True, True), (True, False), (False, True)])
def test_gradients_of_repeated_operands(shapes: Any, needed: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(1, 2, s).astype(np.float32) for s in shapes]
    for function in (gc.multiply, gc.divide, gc.maximum, gc.atan2, gc.add, gc.subtract):
        x, y = (gc.tensor(a, requires_grad=n) for a, n in zip(arrays, needed, strict=True))
        (function(x, y) * 3.0).sum().backward()
        wide = [gc.tensor(np.broadcast_to(a, np.broadcast_shapes(*shapes)), requires_grad=True) for a in arrays]
        (function(*wide) * 3.0).sum().backward()
        for tensor, full, wanted in zip((x, y), wide, needed, strict=True):
            if not wanted:
                assert tensor.grad is None
                continue
            axes = tuple(range(full.ndim - tensor.ndim))
            want = full.grad.numpy().sum(axis=axes)
            unit = tuple(i for i, s in enumerate(tensor.shape) if s == 1)
            np.testing.assert_allclose(tensor.grad.numpy(), want.sum(axis=unit, keepdims=True), rtol=1e-5)


def test_choices_of_scalars_have_gradients() -> None:
    x = gc.tensor([[1.0, -2.0], [-3.0, 4.0]], requires_grad=True)
    row = gc.tensor([10.0, 20.0], requires_grad=True)
    gc.where(x > 0, x * row, row).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[10, 0], [0, 20]])
    np.testing.assert_array_equal(row.grad.numpy(), [2, 5])


def test_a_repeated_residual_that_is_written_is_noticed() -> None:
    x, row = gc.ones((2, 3)).requires_grad_(), gc.ones(3)
    y = x * row
    row += 1
    with pytest.raises(errors.InPlaceError, match="operand 1"):
        y.sum().backward()


def test_second_derivatives_of_repeated_operands() -> None:
    x, row = gc.ones((2, 3)).requires_grad_(), gc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (first,) = gc.gradients_of((x * row * row).sum(), row, create_graph=True)
    first.sum().backward()
    np.testing.assert_array_equal(row.grad.numpy(), [4, 4, 4])


def test_recordings_still_say_what_was_repeated() -> None:
    x, row = gc.ones((2, 3)), gc.ones(3)
    with gc.record() as recording:
        y = x * row
    assert [n.op.name for n in recording.graph(outputs=[y]).nodes()][-2:] == ["broadcast_in_dim", "mul"]


def test_a_recorded_op_takes_few_calls() -> None:
    x, row = gc.ones((2, 3)).requires_grad_(), gc.ones(3).requires_grad_()
    for call in (lambda: x * row, lambda: x + 1.0, lambda: gc.exp(x), lambda: gc.sum(x, 1), lambda: x @ x.T):
        call()
        assert counted(call) <= 250  # it was 500 and more
