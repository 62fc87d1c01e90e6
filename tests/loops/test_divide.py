"""Which scans have rows that never meet, and their bodies for fewer rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph, Node
from graphc.ir.verifier import verify
from graphc.loops.divide import divided_values, with_rows
from graphc.ops.core import evaluate_graph

ROWS, WIDTH, STEPS = 6, 4, 3
RNG = np.random.default_rng(0)
X, A = RNG.normal(size=(STEPS, ROWS, WIDTH)), RNG.normal(size=(ROWS, WIDTH))
W, BIAS = RNG.normal(size=(WIDTH, WIDTH)), RNG.normal(size=WIDTH)


def scan_of(step: Callable[..., Any]) -> Node:
    """The scan of ``step(h, x, a, w, bias)``, which gives what is carried and stacked."""

    def run(x: Any, a: Any, w: Any, bias: Any) -> Any:
        return gc.scan(lambda h, x: step(h, x, a, w, bias), a, x)

    graph = gc.jit(run).graph(*map(gc.tensor, (X, A, W, BIAS)))
    (scan,) = [node for node in graph.nodes() if node.op.name == "scan"]
    return scan


def divided(node: Node) -> frozenset[Any] | None:
    return divided_values(node.attributes["body"], node.attributes["constants"], node.attributes["carries"])


def lstm(h: Any, x: Any, a: Any, w: Any, bias: Any) -> Any:
    gates = gc.concatenate([x @ w + h @ w + bias, h * a], 1)
    keep, new = gc.sigmoid(gates[:, :WIDTH]), gc.tanh(gates[:, WIDTH:])
    return keep * h + (1 - keep) * new, gc.softmax(new, -1)


APART: dict[str, Callable[..., Any]] = {
    "recurrent": lambda h, x, a, w, bias: (gc.tanh(x + bias + h @ w), h),
    "transposed": lambda h, x, a, w, bias: (h * (1 - x * x) @ w.T, x * h),
    "gated": lstm,
    "a constant with rows": lambda h, x, a, w, bias: (h * 0.5 + a * x, (h * a).sum(1)),
    "one for all and by row": lambda h, x, a, w, bias: (h + bias.sum() * gc.exp(x), h.reshape(ROWS, 2, 2).transpose(0, 2, 1)),
    "a slice that all rows read": lambda h, x, a, w, bias: (h + x.sum(0), None),
    "products by row": lambda h, x, a, w, bias: (h + gc.einsum("bi,bij->bj", x, h[:, :, None] * x[:, None, :]), None),
}
TOGETHER: dict[str, Callable[..., Any]] = {
    "a sum over rows": lambda h, x, a, w, bias: (h.sum(0) + x, None),
    "rows in another order": lambda h, x, a, w, bias: (h[::-1] + x, None),
    "shifted": lambda h, x, a, w, bias: (gc.concatenate([h[1:], x[:1]], 0), None),
    "rows from the right": lambda h, x, a, w, bias: ((w @ h.T).T @ (h.T @ h), None),
    "stacked without rows": lambda h, x, a, w, bias: (h + x, h.sum()),
    "both with rows and whole": lambda h, x, a, w, bias: (h + a * x, a.sum() * h),
    "control flow": lambda h, x, a, w, bias: (gc.cond(x[0, 0] > 0, lambda: h, lambda: x), None),
}


@pytest.mark.parametrize("name", APART)
def test_rows_apart(name: str) -> None:
    """The body for some of the rows gives these rows of what the whole body gives."""
    node = scan_of(APART[name])
    body: Graph = node.attributes["body"]
    found = divided(node)
    assert found is not None and found.issuperset(body.outputs)
    part = with_rows(body, found, 2)
    verify(part)
    values = [RNG.normal(size=tuple(map(int, p.type.shape))) for p in body.parameters]
    some = [v[3:5] if p in found else v for p, v in zip(body.parameters, values, strict=True)]
    for got, want in zip(evaluate_graph(part, some), evaluate_graph(body, values), strict=True):
        np.testing.assert_allclose(got, want[3:5], rtol=1e-12)


@pytest.mark.parametrize("name", TOGETHER)
def test_rows_that_meet(name: str) -> None:
    assert divided(scan_of(TOGETHER[name])) is None


def test_a_carry_without_rows() -> None:
    graph = gc.jit(lambda x: gc.scan(lambda s, x: (s + x[0, 0], None), gc.tensor(0.0, dtype=gc.float64), x)).graph(gc.tensor(X))
    (scan,) = [node for node in graph.nodes() if node.op.name == "scan"]
    assert divided(scan) is None
