"""State that is not in Variables: captured tensors and random streams; checks and guards of parts of a graph."""

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CheckError
from graphc.frontends.array.creation import ones
from graphc.frontends.static import identity


@pytest.fixture(autouse=True)
def fresh() -> None:
    gc.reset_default_graph()


def run(fetches: object, feeds: dict[object, object] | None = None) -> object:
    return gc.Session(target="reference").run(fetches, feeds)


# Captured tensors.


def test_captured_tensors_and_arrays_are_read_at_each_run() -> None:
    x = gc.placeholder("f32[2]", name="x")
    tensor, array = gc.tensor([1.0, 2.0]), np.array([10.0, 20.0], np.float32)
    view = gc.tensor([[5.0, 6.0], [7.0, 8.0]])
    y = x * tensor + array + view[1]
    assert run(y, {x: [1, 1]}).tolist() == [18.0, 30.0]  # type: ignore[attr-defined]
    tensor.add_(1.0)
    array[0] = 0.0
    view[1] = 0.0
    assert run(y, {x: [1, 1]}).tolist() == [2.0, 23.0]  # type: ignore[attr-defined]


def test_writes_to_captured_memory_are_written_back_by_runs_that_need_them() -> None:
    tensor, array = gc.tensor([1.0, 2.0, 3.0]), np.array([1.0, 2.0], np.float32)
    before = tensor * 1.0
    with gc.get_default_graph() as graph:
        static = identity(before)
        tensor[1:] = 0.0
        after = tensor * 1.0
        graph.lift(array).add_(1.0)
        other = graph.lift(array) * 2.0
    assert run(static).tolist() == [1.0, 2.0, 3.0]  # type: ignore[attr-defined]
    assert (tensor.tolist(), array.tolist()) == ([1.0, 2.0, 3.0], [1.0, 2.0])
    assert run(after).tolist() == [1.0, 0.0, 0.0]  # type: ignore[attr-defined]
    assert (tensor.tolist(), array.tolist()) == ([1.0, 0.0, 0.0], [1.0, 2.0])
    assert run(other).tolist() == [4.0, 6.0]  # type: ignore[attr-defined]
    assert array.tolist() == [2.0, 3.0]


def test_a_write_through_a_captured_view_reaches_its_base() -> None:
    base = gc.tensor([[1.0, 2.0], [3.0, 4.0]])
    row = base[1]
    with gc.get_default_graph():
        row.mul_(10.0)
        total = row.sum()
    assert run(total) == 70.0
    assert base.tolist() == [[1.0, 2.0], [30.0, 40.0]]
    assert run(total) == 700.0


def test_the_ir_has_captured_inputs_and_written_outputs_last() -> None:
    tensor = gc.tensor([1.0, 2.0])
    w = gc.Variable([0.0, 0.0], name="w")
    x = gc.placeholder("f32[2]", name="x")
    with gc.get_default_graph() as graph:
        tensor.add_(1.0)
        y = x * tensor
    ir = graph.to_ir([gc.assign_add(w, y), y])
    assert [p.node.name for p in ir.parameters] == ["x", "w", ""]
    assert [o.node.name for o in ir.outputs] == ["AssignAdd", "mul", "AssignAdd", "add"]
    assert dict(ir.aliases) == {2: 1, 3: 2}


# Random streams.


def test_a_session_draws_what_eager_code_draws() -> None:
    generator, reference = gc.random.Generator(3), gc.random.Generator(3)
    with gc.get_default_graph():
        noise = generator.normal((2, 3))
    for _ in range(3):
        np.testing.assert_allclose(run(noise), reference.normal((2, 3)).numpy(), rtol=1e-6)
    assert generator.get_state().tolist() == reference.get_state().tolist()


def test_only_the_draws_that_a_run_makes_advance_the_stream() -> None:
    generator, reference = gc.random.Generator(3), gc.random.Generator(3)
    with gc.get_default_graph():
        draws = [generator.uniform((n,)) for n in (2, 3, 4)]
    for order in ([2], [0], [1, 2], [0, 1, 2], [0, 2]):
        values = run([draws[i] for i in order])
        for i, value in zip(order, values, strict=True):  # type: ignore[call-overload]
            np.testing.assert_array_equal(value, reference.uniform((i + 2,)).numpy())
    assert generator.get_state().tolist() == reference.get_state().tolist()


def test_a_draw_of_unknown_size() -> None:
    generator, reference = gc.random.Generator(3), gc.random.Generator(3)
    x = gc.placeholder("f32[n]", name="x")
    y = generator.dropout(x, 0.5)  # also outside of a block, the numbers are new in each run
    for size in (4, 7):
        np.testing.assert_array_equal(run(y, {x: np.ones(size)}), reference.dropout(ones((size,)), 0.5).numpy())
    assert generator.get_state().tolist() == reference.get_state().tolist()


def test_variables_start_from_random_numbers() -> None:
    generator, reference = gc.random.Generator(3), gc.random.Generator(3)
    a = gc.Variable(lambda: generator.normal((2,)))
    b = gc.Variable(lambda: generator.normal((3,)))
    session = gc.Session(target="reference")
    session.run(gc.global_variables_initializer())
    np.testing.assert_allclose(session.run(a), reference.normal((2,)).numpy(), rtol=1e-6)
    np.testing.assert_allclose(session.run(b), reference.normal((3,)).numpy(), rtol=1e-6)
    first = session.run(a)
    np.testing.assert_array_equal(session.run(a), first)


# Checks.


def test_a_check_runs_wherever_its_inputs_are_at_hand() -> None:
    graph = gc.get_default_graph()
    x = gc.placeholder("f32[n]", name="x")
    other = gc.placeholder("f32[n]", name="other")
    positive = (x > 0.0).all()
    graph.builder.emit("check", graph.lift(positive).value, message="x must be positive")
    y = x + 1.0
    assert run(y, {x: [1.0]}) == [2.0]
    with pytest.raises(CheckError, match="x must be positive"):
        run(y, {x: [-1.0]})
    assert run(other * 2.0, {other: [-1.0]}) == [-2.0]
