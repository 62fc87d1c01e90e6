"""One seed gives the same bits in every mode."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.frontends.array.creation import asarray
from graphc.frontends.random import Generator
from graphc.frontends.tracing.jit import jit
from tests.frontends.random.modes import drawing_graph, in_every_mode

WEIGHTS = np.array([0.1, 0.0, 0.4, 0.5])
LETTERS = np.arange(12.0, dtype=np.float32).reshape(4, 3)

# name -> (draw, the number of elements drawn from the stream)
DRAWS: dict[str, tuple[Callable[[Generator], Any], int]] = {
    "uniform": (lambda g: g.uniform((50, 20)), 1000),
    "uniform between": (lambda g: g.uniform((1000,), -2.5, 7.1), 1000),
    "uniform f64": (lambda g: g.uniform((1000,), 1.0, 2.0, dtype="float64"), 1000),
    "uniform f16": (lambda g: g.uniform((1000,), dtype="float16"), 1000),
    "uniform bf16": (lambda g: g.uniform((1000,), 1, 3, dtype="bfloat16").astype("float32"), 1000),
    "normal": (lambda g: g.normal((5000,), 1.0, 0.3), 5000),
    "normal f16": (lambda g: g.normal((1000,), dtype="float16"), 1000),
    "truncated normal": (lambda g: g.truncated_normal((1000,)), 1000),
    "exponential": (lambda g: g.exponential((1000,), 2.0), 1000),
    "gumbel": (lambda g: g.gumbel((1000,)), 1000),
    "bernoulli": (lambda g: g.bernoulli(0.3, (1000,)), 1000),
    "randint": (lambda g: g.randint(-3, 14, (1000,)), 1000),
    "randint i8": (lambda g: g.randint(-128, 128, (1000,), dtype="int8"), 1000),
    "randint wide": (lambda g: g.randint(-(2**63), 2**63 - 1, (1000,)), 2000),
    "randint u64": (lambda g: g.randint(0, 2**64, (1000,), dtype="uint64"), 1000),
    "permutation": (lambda g: g.permutation(257), 257),
    "permutation of rows": (lambda g: g.permutation(LETTERS), 4),
    "choice": (lambda g: g.choice(LETTERS, (30,)), 30),
    "choice without replacement": (lambda g: g.choice(50, (20,), replace=False), 50),
    "weighted choice": (lambda g: g.choice(4, (500,), p=WEIGHTS), 500),
    "weighted choice without replacement": (lambda g: g.choice(4, (2,), replace=False, p=WEIGHTS), 4),
    "categorical": (lambda g: g.categorical(LETTERS, (100,)), 1200),
    "dropout": (lambda g: g.dropout(LETTERS, 0.25), 12),
    "several": (lambda g: g.uniform((3,)) + g.normal((3,)) + g.randint(5, None, (3,)), 9),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_modes_draw_the_same(name: str) -> None:
    draw, count = DRAWS[name]
    results = in_every_mode(draw)
    values, counter = results["eager"]
    assert counter == count
    for mode in ("reference", "cpu"):
        np.testing.assert_array_equal(results[mode][0], values, err_msg=mode)
        assert results[mode][1] == counter, mode


def test_float64_normals_agree_to_a_few_units_in_the_last_place() -> None:
    results = in_every_mode(lambda g: g.normal((5000,), dtype="float64"))
    values, counter = results["eager"]
    assert counter == 10000
    for mode in ("reference", "cpu"):
        np.testing.assert_array_max_ulp(results[mode][0], values, maxulp=8)


def test_a_draw_in_a_graph_is_a_node_that_reads_and_writes_captured_state() -> None:
    generator = Generator(3)
    graph, context = drawing_graph(lambda g: g.uniform((4,)) + g.uniform((4,)), generator)
    assert sum(node.op.name == "random_bits" for node in graph.nodes()) == 2
    captured = {id(c.source): c.tracer for c in context.captured}
    assert set(captured) == {id(generator._key), id(generator._counter)}
    assert captured[id(generator._key)]._storage.written == 0
    assert captured[id(generator._counter)]._storage.written == 2


def test_jit_continues_the_stream() -> None:
    eager, traced = Generator(11), Generator(11)

    @jit
    def noisy(x: Any) -> Any:
        return x + traced.normal((8,))

    x = asarray(np.zeros(8, np.float32))
    for _ in range(3):
        np.testing.assert_array_equal(noisy(x).numpy(), (x + eager.normal((8,))).numpy())
    assert noisy.trace_count == 1
    np.testing.assert_array_equal(traced.get_state().numpy(), eager.get_state().numpy())
    np.testing.assert_array_equal(traced.uniform((3,)).numpy(), eager.uniform((3,)).numpy())


def test_a_generator_made_and_seeded_inside_jit() -> None:
    @jit
    def draw(seed: Any) -> Any:
        return Generator(seed).uniform((5,))

    for seed in (3, 4):
        np.testing.assert_array_equal(draw(asarray(seed)).numpy(), Generator(seed).uniform((5,)).numpy())
    assert draw.trace_count == 1


def test_the_state_can_be_saved_and_restored_inside_jit() -> None:
    generator = Generator(8)

    @jit
    def twice(x: Any) -> Any:
        state = generator.get_state()
        first = generator.uniform((4,))
        generator.set_state(state)
        return x + first - generator.uniform((4,))

    assert not np.any(twice(asarray(np.zeros(4, np.float32))).numpy())
    assert generator.get_state().numpy().tolist() == [8, 4]


def test_gradients_flow_through_the_parameters_of_a_distribution() -> None:
    mean = asarray(np.zeros(3, np.float32)).requires_grad_()
    std = asarray(np.ones(3, np.float32)).requires_grad_()
    Generator(2).normal(None, mean, std).sum().backward()
    np.testing.assert_array_equal(mean.grad.numpy(), np.ones(3))
    np.testing.assert_array_equal(std.grad.numpy(), Generator(2).normal((3,)).numpy())


def test_symbolic_sizes_advance_the_counter_by_what_the_run_draws() -> None:
    from graphc.frontends.spec import spec

    generator = Generator(1)
    graph = jit(generator.dropout).graph(spec("f32[n, 3]"))
    assert any(node.op.name == "dimension" for node in graph.nodes())
