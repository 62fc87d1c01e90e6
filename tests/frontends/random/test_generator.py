"""Generators: seeds, state, independence, errors."""

import copy
import inspect
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import graphc.frontends.eager.context  # noqa: F401 - registers eager execution
from graphc.errors import ArgumentError, DTypeError, InPlaceError, ShapeError
from graphc.frontends import random, static
from graphc.frontends.array.creation import asarray
from graphc.frontends.random import Generator
from graphc.frontends.tracing.jit import jit
from graphc.ops.random import RandomBits


def test_a_draw_is_philox_at_the_counter() -> None:
    from graphc.dtypes import uint64

    generator = Generator(99)
    generator.uniform((3,), dtype="float64")
    bits = RandomBits().evaluate(np.uint64(99), np.uint64(3), shape=(4,), dtype=uint64)
    np.testing.assert_array_equal(generator.uniform((4,), dtype="float64").numpy(), (bits >> np.uint64(11)) * 2.0**-53)


def test_draws_of_both_widths_share_no_bits() -> None:
    narrow = Generator(1).bits((64,)).numpy()
    from graphc.dtypes import uint64

    wide = Generator(1).bits((64,), uint64).numpy().view(np.uint32)
    assert not set(narrow.tolist()) & set(wide.tolist())


def test_seeds() -> None:
    assert Generator(-1).get_state().numpy().tolist() == [2**64 - 1, 0]
    assert Generator(asarray(7)).get_state().numpy().tolist() == [7, 0]
    assert Generator().get_state()[0].item() != Generator().get_state()[0].item()
    generator = Generator(3)
    first = generator.normal((5,)).numpy()
    np.testing.assert_array_equal(generator.manual_seed(3).normal((5,)).numpy(), first)
    assert not np.array_equal(generator.manual_seed(4).normal((5,)).numpy(), first)


def test_the_default_generator() -> None:
    random.manual_seed(5)
    first = random.rand(3)
    np.testing.assert_array_equal(first.numpy(), Generator(5).uniform((3,)).numpy())
    state = random.get_state()
    second = random.randn(2, 2).numpy()
    random.set_state(state)
    np.testing.assert_array_equal(random.randn((2, 2)).numpy(), second)
    np.testing.assert_array_equal(random.uniform((3,), generator=Generator(5)).numpy(), first.numpy())
    assert random.seed(11) == 11
    assert 0 <= random.seed() < 2**64
    assert list(inspect.signature(random.normal).parameters) == ["shape", "mean", "std", "dtype", "generator", "device"]


def test_copies_continue_by_themselves() -> None:
    generator = Generator(2)
    generator.uniform((3,))
    copies = [copy.copy(generator), copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))]
    expected = generator.uniform((4,)).numpy()
    for one in copies:
        assert isinstance(one, Generator)
        np.testing.assert_array_equal(one.uniform((4,)).numpy(), expected)


def test_spawned_generators_are_independent() -> None:
    parent = Generator(0)
    children = [*parent.spawn(3), parent.split()]
    assert parent.get_state()[1].item() == 4
    draws = np.stack([g.normal((2000,)).numpy() for g in [*children, parent]])
    correlation = np.corrcoef(draws) - np.eye(5)
    assert np.abs(correlation).max() < 0.1
    children[0].uniform((1,))
    assert Generator(0).spawn(1)[0].get_state()[0].item() == children[0].get_state()[0].item()


def test_threads_never_get_the_same_numbers() -> None:
    generator = Generator(1)
    drawn: list[float] = []

    def work() -> None:
        for _ in range(200):
            drawn.append(generator.uniform((), dtype="float64").item())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 800
    assert generator.get_state()[1].item() == 800


def test_a_session_continues_the_stream() -> None:
    eager, drawn = Generator(6), Generator(6)
    graph = static.Graph()
    with graph:
        x = static.placeholder("f32[4]")
        y = drawn.dropout(x, 0.5) + drawn.uniform((4,))
    data = np.arange(1.0, 5.0, dtype=np.float32)
    with static.Session(graph) as session:
        for _ in range(3):
            expected = eager.dropout(asarray(data), 0.5) + eager.uniform((4,))
            np.testing.assert_array_equal(session.run(y, {x: data}), expected.numpy())
    np.testing.assert_array_equal(drawn.get_state().numpy(), eager.get_state().numpy())


def test_shuffle_is_in_place() -> None:
    array = np.arange(10)
    assert random.shuffle(array, generator=Generator(1)) is None
    assert array.tolist() != list(range(10))
    assert sorted(array.tolist()) == list(range(10))
    tensor: Any = asarray(np.arange(12.0).reshape(3, 4))
    Generator(1).shuffle(tensor, axis=1)
    assert np.sort(tensor.numpy(), axis=1).tolist() == np.arange(12.0).reshape(3, 4).tolist()
    with pytest.raises(InPlaceError, match="not on a list"):
        random.shuffle([1, 2, 3])


@pytest.mark.parametrize("seed", [1.5, "a", None, True, 2**64, -(2**63) - 1, np.zeros(2)])
def test_wrong_seeds(seed: Any) -> None:
    generator = Generator(0)
    if seed is None:
        with pytest.raises(ArgumentError, match="same key at every call"):
            jit(lambda: Generator().uniform((2,)))()
        return
    with pytest.raises(ArgumentError, match="seed"):
        generator.manual_seed(seed)
    assert generator.get_state().numpy().tolist() == [0, 0]


@pytest.mark.parametrize("state", [[1, 2, 3], np.zeros(2), np.zeros(3, np.uint64), 5])
def test_wrong_states(state: Any) -> None:
    with pytest.raises(ArgumentError, match=r"the state of a generator is uint64 of shape \(2,\)"):
        Generator(0).set_state(state)


def test_wrong_arguments() -> None:
    g = Generator(0)
    with pytest.raises(DTypeError, match="uniform makes floating numbers, not int64"):
        g.uniform((2,), dtype="int64")
    with pytest.raises(DTypeError, match="randint makes integers, not float32"):
        g.randint(3, dtype="float32")
    with pytest.raises(ArgumentError, match="the range from 5 to 5 is empty"):
        g.randint(5, 5)
    with pytest.raises(ArgumentError, match="int8 cannot hold all of 0 to 128"):
        g.randint(0, 129, dtype="int8")
    with pytest.raises(ArgumentError, match=r"p is 1\.5"):
        g.bernoulli(1.5)
    with pytest.raises(ArgumentError, match=r"p is -0\.1"):
        g.dropout(asarray([1.0]), -0.1)
    with pytest.raises(DTypeError, match="dropout takes floating numbers, not int64"):
        g.dropout(asarray([1]))
    with pytest.raises(ArgumentError, match="cannot take 4 of 3"):
        g.choice(3, (4,), replace=False)
    with pytest.raises(ArgumentError, match="nothing to choose from"):
        g.choice(0, (4,))
    with pytest.raises(ArgumentError, match=r"p has shape \(2,\), and there are 3 elements"):
        g.choice(3, p=[0.5, 0.5])
    with pytest.raises(ShapeError, match="logits need an axis"):
        g.categorical(asarray(1.0))
    with pytest.raises(ArgumentError, match="must be less than high"):
        g.truncated_normal((2,), low=1, high=1)
    with pytest.raises(ArgumentError, match="has no probability"):
        g.truncated_normal((2,), low=60, high=70)
    with pytest.raises(ShapeError, match=r"parameters of shapes \(3,\) do not broadcast to \(1,\)"):
        g.normal((1,), asarray([1.0, 2.0, 3.0]))
    with pytest.raises(ShapeError, match="permute a range"):
        g.permutation(asarray(1.0))
    assert g.get_state()[1].item() == 0, "a refused draw does not advance the stream"
