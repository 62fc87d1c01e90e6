"""The transforms against JAX's, where JAX is installed: compositions that are hard to get right by differences alone."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from tests.frontends.transforms.modes import Function, array

jax = pytest.importorskip("jax", reason="the optional extra jax: pip install graphc[jax]")
jnp = jax.numpy


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def network(np_like: Any, p: Any, x: Any) -> Any:
    hidden = np_like.tanh(p["w1"] @ x + p["b1"])
    logits = p["w2"] @ hidden
    return np_like.log(np_like.exp(logits).sum()) - logits[0] * hidden.sum()


PARAMETERS = {"w1": array(4, 3, dtype=np.float64), "b1": array(4, seed=1, dtype=np.float64),
              "w2": array(2, 4, seed=2, dtype=np.float64)}  # fmt: skip
X, V = array(5, 3, seed=3, dtype=np.float64), array(5, 3, seed=4, dtype=np.float64)
ROWS = array(5, 4, seed=6, dtype=np.float64)
W, SEQUENCES = array(3, 3, seed=7, dtype=np.float64), array(4, 6, 3, seed=8, dtype=np.float64)


def compositions(t: Any, m: Any, lax: Any) -> dict[str, tuple[Function, tuple[Any, ...]]]:
    """Functions of the transforms ``t`` over the array functions ``m`` and the control flow ``lax``, with their arguments."""

    def f(p: Any, x: Any) -> Any:
        return network(m, p, x)

    def mixed(x: Any) -> Any:
        sorted_x = m.sort(x)
        return m.cumsum(sorted_x * m.max(x)) / (1 + m.abs(x[::-1])), x[:2].prod()

    def push(function: Function, x: Any, v: Any) -> Any:
        return t.jvp(function, (x,), (v,))[1]

    def recurrent(w: Any, xs: Any) -> Any:
        final, outputs = lax.scan(lambda h, x: (m.tanh(w @ h + x), h * x), xs[0] * 0, xs)
        return (final * outputs.sum(0)).sum()

    def root(a: Any) -> Any:
        return lax.while_loop(lambda x: m.abs(x * x - a) > 1e-12 * a, lambda x: (x + a / x) / 2, a)

    def piecewise(x: Any) -> Any:
        return lax.cond(x.sum() > 0, lambda v: m.sin(v) * v, lambda v: v**3, x)

    return {
        "gradient of each scan": (t.vmap(t.grad(recurrent), (None, 0)), (W, SEQUENCES)),
        "Hessian of a scan": (t.hessian(recurrent), (W, SEQUENCES[0])),
        "tangent of each loop": (t.vmap(lambda a, v: push(root, a, v)), (X[:, 0] ** 2 + 1, V[:, 0])),
        "Jacobian of each branch": (t.vmap(t.jacfwd(piecewise)), (X,)),
        "gradient of all branches": (t.grad(lambda x: t.vmap(piecewise)(x).sum()), (X,)),
        "gradient of each example": (t.vmap(t.grad(f), in_axes=(None, 0)), (PARAMETERS, X)),
        "Hessian of each example": (t.vmap(t.hessian(f, argnums=1), in_axes=(None, 0)), (PARAMETERS, X)),
        "Hessian of parameters": (t.hessian(f), (PARAMETERS, X[0])),
        "third derivative": (t.jacfwd(t.jacrev(t.grad(f, argnums=1), argnums=1), argnums=1), (PARAMETERS, X[0])),
        "tangent of a gradient": (lambda x, v: push(t.grad(lambda u: f(PARAMETERS, u)), x, v), (X[0], V[0])),
        "gradient of a tangent": (t.grad(lambda x, v: push(lambda u: f(PARAMETERS, u), x, v)), (X[0], V[0])),
        "tangent of a batch": (lambda x, v: push(t.vmap(lambda u: mixed(u)[0]), x, v), (X, V)),
        "batch of tangents": (t.vmap(lambda x, v: push(mixed, x, v), in_axes=(1, 1), out_axes=(-1, 0)), (X, V)),
        "Jacobian of a structure": (t.jacrev(mixed), (X[0],)),
        "Jacobian of a batch": (t.jacfwd(t.vmap(lambda u: mixed(u)[0])), (X[:2],)),
        "batch of batches": (t.vmap(t.vmap(f, (None, 0)), ({"w1": None, "b1": 0, "w2": None}, None)),
                             ({**PARAMETERS, "b1": ROWS}, X)),
        "gathers": (t.vmap(lambda row, i: t.grad(lambda r: m.sin(r[i]) * r[i])(row)), (X, np.array([0, 2, 1, 1, 0]))),
    }  # fmt: skip


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", compositions(gc, gc, gc))
def test_composition(name: str, jit: bool) -> None:
    function, arguments = compositions(gc, gc, gc)[name]
    reference, _ = compositions(jax, jnp, jax.lax)[name]
    ours = (gc.jit(function) if jit else function)(*gc.tree_map(gc.tensor, arguments))
    theirs = reference(*jax.tree_util.tree_map(jnp.asarray, arguments))
    compare(ours, theirs, name)


def compare(ours: Any, theirs: Any, path: str) -> None:
    if isinstance(theirs, dict):
        assert set(ours) == set(theirs)
        for key in theirs:
            compare(ours[key], theirs[key], f"{path}[{key!r}]")
    elif isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for position, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            compare(one, other, f"{path}[{position}]")
    else:
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-9, atol=1e-11, err_msg=path)
