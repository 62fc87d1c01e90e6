"""The numbers follow their distributions: fixed seeds, so a failure is a change of the code, not bad luck."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

import graphc.frontends.eager.context  # noqa: F401 - registers eager execution
from graphc.frontends.array.creation import asarray
from graphc.frontends.random import Generator
from graphc.frontends.random.quantile import normal_quantile

SIZE = 20_000
LEAST = 1e-3  # the smallest p-value that passes

CONTINUOUS: dict[str, tuple[Callable[[Generator], Any], Any]] = {
    "uniform": (lambda g: g.uniform((SIZE,)), stats.uniform()),
    "uniform f64": (lambda g: g.uniform((SIZE,), -1, 3, dtype="float64"), stats.uniform(-1, 4)),
    "normal": (lambda g: g.normal((SIZE,), 2.0, 3.0), stats.norm(2, 3)),
    "normal f64": (lambda g: g.normal((SIZE,), dtype="float64"), stats.norm()),
    "truncated normal": (lambda g: g.truncated_normal((SIZE,), 1.0, 2.0), stats.truncnorm(-2, 2, 1, 2)),
    "upper tail": (lambda g: g.truncated_normal((SIZE,), low=5, high=np.inf), stats.truncnorm(5, np.inf)),
    "one side": (lambda g: g.truncated_normal((SIZE,), low=-0.5, high=9), stats.truncnorm(-0.5, 9)),
    "exponential": (lambda g: g.exponential((SIZE,), 0.5), stats.expon(scale=0.5)),
    "exponential f64": (lambda g: g.exponential((SIZE,), dtype="float64"), stats.expon()),
    "gumbel": (lambda g: g.gumbel((SIZE,), 1.0, 2.0), stats.gumbel_r(1, 2)),
    "gumbel f64": (lambda g: g.gumbel((SIZE,), dtype="float64"), stats.gumbel_r()),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str) -> None:
    draw, distribution = CONTINUOUS[name]
    values = np.asarray(draw(Generator(2024)).numpy(), np.float64)
    assert stats.kstest(values, distribution.cdf).pvalue > LEAST
    mean, variance = distribution.stats()
    assert abs(values.mean() - mean) < 4 * np.sqrt(variance / SIZE)
    assert abs(values.var() / variance - 1) < 0.1


FREQUENCIES: dict[str, tuple[Callable[[Generator], Any], list[float]]] = {
    "bernoulli": (lambda g: g.bernoulli(0.3, (SIZE,)), [0.7, 0.3]),
    "bernoulli of an array": (lambda g: g.bernoulli(np.full(SIZE, 0.9)), [0.1, 0.9]),
    "randint": (lambda g: g.randint(7, None, (SIZE,)), [1 / 7] * 7),
    "randint wide": (lambda g: g.randint(0, 5 * 2**60, (SIZE,)) // 2**60, [0.2] * 5),
    "randint of arrays": (lambda g: g.randint(asarray(3), asarray(6), (SIZE,)) - 3, [1 / 3] * 3),
    "choice": (lambda g: g.choice(np.array([3, 1, 0, 2]), (SIZE,)), [0.25] * 4),
    "weighted choice": (lambda g: g.choice(5, (SIZE,), p=[0.1, 0.0, 0.4, 0.5, 0.0]), [0.1, 0.0, 0.4, 0.5, 0.0]),
    "categorical": (lambda g: g.categorical(np.log([0.1, 0.2, 0.3, 0.4]), (SIZE,)), [0.1, 0.2, 0.3, 0.4]),
    "dropout": (lambda g: g.dropout(np.full(SIZE, 0.5, np.float32), 0.25) * 1.5, [0.25, 0.75]),
    "orders of three": (
        lambda g: asarray(np.stack([g.permutation(3).numpy() for _ in range(1500)]) @ np.array([4, 2, 1]) - 4),
        [1 / 6, 1 / 6, 1 / 6, 0, 1 / 6, 1 / 6, 1 / 6],
    ),
}


@pytest.mark.parametrize("name", FREQUENCIES)
def test_discrete(name: str) -> None:
    draw, expected = FREQUENCIES[name]
    values = draw(Generator(77)).numpy().astype(np.int64)
    counts = np.bincount(values, minlength=len(expected))
    assert len(counts) == len(expected)
    possible = np.array(expected) > 0
    assert not counts[~possible].any()
    assert stats.chisquare(counts[possible], np.array(expected)[possible] * len(values)).pvalue > LEAST


def test_weighted_choice_without_replacement_prefers_the_likely() -> None:
    weights = np.array([0.5, 0.3, 0.2])
    g = Generator(3)
    taken = np.stack([g.choice(3, (2,), replace=False, p=weights).numpy() for _ in range(1000)])
    assert (taken[:, 0] != taken[:, 1]).all()
    assert stats.chisquare(np.bincount(taken[:, 0]), weights * 1000).pvalue > LEAST
    second = weights * sum(w / (1 - w) for w in weights) - weights * weights / (1 - weights)
    assert stats.chisquare(np.bincount(taken[:, 1]), second * 1000).pvalue > LEAST


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniforms_stay_below_the_upper_end(dtype: str) -> None:
    for low, high in [(0.0, 1.0), (1.0, 2.0), (-1e-3, 0.0), (5.0, 5.0)]:
        values = Generator(4).uniform((5000,), low, high, dtype=dtype)
        assert values.dtype.name == dtype
        wide = values.astype("float64").numpy()
        ends = asarray(np.array([low, high])).astype(dtype).astype("float64").numpy()
        assert (wide >= ends[0]).all()
        assert ((wide < ends[1]) | (ends[0] == ends[1])).all()


def test_integers_reach_both_ends() -> None:
    g = Generator(5)
    assert set(g.randint(-128, 128, (5000,), dtype="int8").numpy().tolist()) == set(range(-128, 128))
    wide = g.randint(-(2**63), 2**63 - 1, (2000,)).numpy()
    assert wide.min() < -(2**62) and wide.max() > 2**62
    assert g.randint(0, 2**64, (2000,), dtype="uint64").numpy().max() > 2**63


def test_wide_integers_are_the_exact_product() -> None:
    for width in (2**32, 2**32 + 1, 3 * 2**40 + 7, 2**63 - 1):
        from graphc.dtypes import uint64

        g, same = Generator(6), Generator(6)
        drawn = g.randint(0, width, (50,)).numpy()
        words = [w.tolist() for w in (same.bits((50,), uint64).numpy(), same.bits((50,), uint64).numpy())]
        if width <= 2**32:
            expected = [w * width >> 64 for w in words[0]]
        else:
            expected = [((high << 64) + low) * width >> 128 for high, low in zip(*words, strict=True)]
        assert drawn.tolist() == expected


def test_normals_of_half_precision_are_rounded_once() -> None:
    single = Generator(8).normal((2000,)).numpy()
    half = Generator(8).normal((2000,), dtype="float16").numpy()
    np.testing.assert_allclose(half, single, rtol=2**-10, atol=1e-7)


def test_dropout() -> None:
    x = asarray(np.ones(1000, np.float32)).requires_grad_()
    y = Generator(9).dropout(x, 0.2)
    kept = y.detach().numpy() != 0
    np.testing.assert_allclose(y.detach().numpy()[kept], 1.25)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
    assert Generator(9).dropout(x, 0.2, training=False) is x
    assert not Generator(9).dropout(x, 1.0).detach().numpy().any()
    assert not Generator(9).dropout(x, asarray(np.float32(1.0))).detach().numpy().any()


def test_permutation_and_choice_move_whole_rows() -> None:
    rows = np.arange(20).reshape(10, 2)
    moved = Generator(1).permutation(rows).numpy()
    assert sorted(map(tuple, moved.tolist())) == list(map(tuple, rows.tolist()))
    chosen = Generator(1).choice(rows, (4, 3), axis=0)
    assert chosen.shape == (4, 3, 2)
    assert (chosen.numpy()[..., 1] == chosen.numpy()[..., 0] + 1).all()
    assert Generator(1).choice(rows, (3,), axis=1).shape == (10, 3)
    assert Generator(1).permutation(0).shape == (0,)


def test_categorical_shapes() -> None:
    logits = np.zeros((4, 5, 6), np.float32)
    assert Generator(0).categorical(logits).shape == (4, 5)
    assert Generator(0).categorical(logits, (7, 2), axis=1).shape == (7, 2, 4, 6)


def test_the_quantile_function() -> None:
    p = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 2000), 10.0 ** -np.arange(1, 300, 7), [1 - 2.0**-53]])
    np.testing.assert_allclose(normal_quantile(asarray(p)).numpy(), special.ndtri(p), rtol=2e-14, atol=1e-16)
