"""linear, bilinear, embedding and attention against NumPy; gradients; errors."""

from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc as gc
import graphc.frontends.array as gnp
from graphc.errors import DTypeError, OutOfBoundsError, ShapeError
from graphc.frontends.array import attention
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, assert_same, check_gradients

RNG = np.random.default_rng(0)


def test_linear_takes_pytorchs_layout() -> None:
    x, w, b = RNG.standard_normal((2, 4, 3)), RNG.standard_normal((5, 3)), RNG.standard_normal(5)
    assert_close(gnp.linear(asarray(x), asarray(w), asarray(b)), x @ w.T + b, rtol=1e-12)
    assert_close(gnp.linear(asarray(x[0, 0]), asarray(w)), w @ x[0, 0], rtol=1e-12)
    check_gradients(gnp.linear, x, w, b)
    with pytest.raises(ShapeError, match=r"linear: x has shape \(2, 4, 3\) and weight \(3, 5\)"):
        gnp.linear(asarray(x), asarray(w.T))
    with pytest.raises(ShapeError, match=r"linear: bias has shape \(3,\), but weight \(5, 3\)"):
        gnp.linear(asarray(x), asarray(w), asarray(b[:3]))


def test_bilinear() -> None:
    x, y, w, b = (RNG.standard_normal(s) for s in ((4, 2), (4, 3), (5, 2, 3), (5,)))
    want = np.einsum("ni,oij,nj->no", x, w, y) + b
    assert_close(gnp.bilinear(*map(asarray, (x, y, w, b))), want, rtol=1e-12)
    check_gradients(gnp.bilinear, x, y, w, b)


def test_embedding() -> None:
    table, indices = RNG.standard_normal((6, 3)), np.array([[0, 5], [2, 2]])
    assert_same(gnp.embedding(asarray(indices), asarray(table)), table[indices])
    check_gradients(lambda t: gnp.embedding(asarray(indices), t), table)
    tensor = asarray(table.copy()).requires_grad_()
    gnp.embedding(asarray(indices), tensor, padding_idx=2).sum().backward()
    assert tensor.grad is not None
    assert_same(tensor.grad, np.repeat([1.0, 0, 0, 0, 0, 1], 3).reshape(6, 3))
    for bad in (6, -1):
        with pytest.raises(OutOfBoundsError, match=str(bad)):
            gnp.embedding(asarray([bad]), asarray(table))
    with pytest.raises(DTypeError, match="embedding: indices must be integers, not float64"):
        gnp.embedding(asarray(table), asarray(indices))
    with pytest.raises(ShapeError, match="embedding: weight must be"):
        gnp.embedding(asarray([0]), asarray(table[0]))


def reference(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | float = 0.0, scale: float | None = None
) -> np.ndarray:
    scores = q @ np.swapaxes(k, -1, -2) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale) + bias
    return np.nan_to_num(scipy.special.softmax(scores, axis=-1)) @ v


Q, K, V = RNG.standard_normal((2, 3, 4, 5)), RNG.standard_normal((2, 3, 6, 5)), RNG.standard_normal((2, 3, 6, 7))


def test_attention_and_its_masks() -> None:
    q, k, v = map(asarray, (Q, K, V))
    assert_close(gnp.scaled_dot_product_attention(q, k, v), reference(Q, K, V), rtol=1e-12)
    assert_close(gnp.scaled_dot_product_attention(q, k, v, scale=0.3), reference(Q, K, V, scale=0.3), rtol=1e-12)
    causal = np.where(np.tril(np.ones((4, 6), bool)), 0, -np.inf)
    assert_close(gnp.scaled_dot_product_attention(q, k, v, is_causal=True), reference(Q, K, V, causal), rtol=1e-12)
    keep = RNG.random((3, 4, 6)) > 0.3
    got = gnp.scaled_dot_product_attention(q, k, v, asarray(keep))
    assert_close(got, reference(Q, K, V, np.where(keep, 0, -np.inf)), rtol=1e-12)
    shift = RNG.standard_normal((4, 6))
    got = gnp.scaled_dot_product_attention(q, k, v, asarray(shift), is_causal=True)
    assert_close(got, reference(Q, K, V, shift + causal), rtol=1e-12)


def test_attention_to_nothing_gives_0_and_a_finite_gradient() -> None:
    q = asarray(Q[0, 0]).requires_grad_()
    mask = np.ones((4, 6), bool)
    mask[1] = False
    result = gnp.scaled_dot_product_attention(q, asarray(K[0, 0]), asarray(V[0, 0]), asarray(mask))
    assert_close(result[1], np.zeros(7))
    result.sum().backward()
    assert q.grad is not None
    assert np.isfinite(q.grad.numpy()).all()


def test_attention_with_shared_heads() -> None:
    q, k, v = RNG.standard_normal((2, 6, 4, 5)), K[:, :3], V[:, :3]
    want = reference(q, np.repeat(k, 2, axis=1), np.repeat(v, 2, axis=1))
    assert_close(gnp.scaled_dot_product_attention(*map(asarray, (q, k, v)), enable_gqa=True), want, rtol=1e-12)
    with pytest.raises(ShapeError, match="4 query heads cannot share 3"):
        gnp.scaled_dot_product_attention(*map(asarray, (q[:, :4], k, v)), enable_gqa=True)


def test_gradients_of_attention() -> None:
    check_gradients(lambda q, k, v: gnp.scaled_dot_product_attention(q, k, v, is_causal=True), Q[:1, :1], K[:1, :1], V[:1, :1])


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_in_blocks_is_the_composition(monkeypatch: pytest.MonkeyPatch, is_causal: bool) -> None:
    q, k, v, weights = (RNG.standard_normal((2, 100, 4)) for _ in range(4))

    def both(q: Any, k: Any, v: Any) -> Any:
        def loss(q: Any, k: Any, v: Any) -> Any:
            return gc.sum(gnp.scaled_dot_product_attention(q, k, v, is_causal=is_causal) * weights)

        return gc.value_and_grad(loss, argnums=(0, 1, 2))(q, k, v)

    def names() -> set[str]:
        graph = gc.jit(both).graph(*[gc.spec("f64[2, 100, 4]")] * 3)
        return {node.op.name for node in graph.nodes()}

    monkeypatch.setattr(attention, "MANY_SCORES", 1)
    got = gc.jit(both)(q, k, v)
    eager = both(*map(asarray, (q, k, v)))
    assert {"attention", "attention_gradient"} <= names()
    monkeypatch.setattr(attention, "MANY_SCORES", 1 << 60)
    monkeypatch.setattr(attention, "SKIPPED_FROM", 1 << 60)
    want = gc.jit(both)(q, k, v)
    assert "attention" not in names()
    for found in (got, eager):
        assert_close(found[0], want[0].numpy(), rtol=1e-12)
        for g, w in zip(found[1], want[1], strict=True):
            assert_close(g, w.numpy(), rtol=1e-11, atol=1e-12)


def test_attention_is_in_blocks_where_that_is_faster() -> None:
    def is_in_blocks(queries: int, keys: int, is_causal: bool) -> bool:
        types = [gc.spec(f"f32[2, {queries}, 8]"), *[gc.spec(f"f32[2, {keys}, 8]")] * 2]
        f = gc.jit(lambda q, k, v: gnp.scaled_dot_product_attention(q, k, v, is_causal=is_causal))
        return any(node.op.name == "attention" for node in f.graph(*types).nodes())

    assert is_in_blocks(128, 128, is_causal=True)
    assert not is_in_blocks(128, 128, is_causal=False)
    assert not is_in_blocks(1, 128, is_causal=True)
    assert is_in_blocks(2048, 1024, is_causal=False)


def test_second_derivatives_of_attention_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MANY_SCORES", 1)
    arrays = [asarray(x[0, 0]) for x in (Q, K, V)]
    for is_causal in (False, True):
        gc.testing.check_gradients(
            lambda q, k, v, c=is_causal: gnp.scaled_dot_product_attention(q, k, v, is_causal=c), arrays, order=2
        )


def test_attention_errors_name_all_shapes() -> None:
    with pytest.raises(ShapeError, match=r"query \(4, 5\), key \(6, 4\) and value \(6, 7\) do not fit"):
        gnp.scaled_dot_product_attention(asarray(Q[0, 0]), asarray(K[0, 0, :, :4]), asarray(V[0, 0]))
    with pytest.raises(ShapeError, match=r"attn_mask has shape \(3, 6\), the scores \(2, 3, 4, 6\)|do not broadcast"):
        gnp.scaled_dot_product_attention(asarray(Q), asarray(K), asarray(V), asarray(np.ones((3, 6), bool)))
