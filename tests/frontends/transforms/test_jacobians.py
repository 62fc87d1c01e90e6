"""gc.jacobian, jacfwd, jacrev, hessian and hvp: both modes against each other and differences, structures, and errors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from tests.frontends.transforms.modes import MODES, Function, array, close


@pytest.fixture(params=MODES)
def run(request: pytest.FixtureRequest) -> Iterator[Function]:
    yield MODES[request.param]


def function(x: Any, w: Any) -> Any:
    return gc.sin(w @ x), (x * x).sum() * w


def differences(f: Function, arrays: list[np.ndarray], position: int) -> list[np.ndarray]:
    """The Jacobians of all results of ``f`` by ``arrays[position]``."""
    step = 1e-6
    columns = []
    for index in np.ndindex(arrays[position].shape):
        results = []
        for sign in (1, -1):
            moved = [a.copy() for a in arrays]
            moved[position][index] += sign * step
            results.append([np.asarray(r) for r in f(*map(gc.tensor, moved))])
        columns.append([(a - b) / (2 * step) for a, b in zip(*results, strict=True)])
    shape = arrays[position].shape
    return [np.stack(c, axis=-1).reshape(*c[0].shape, *shape) for c in zip(*columns, strict=True)]


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
def test_both_modes_match_differences(run: Function, mode: str) -> None:
    arrays = [array(3, dtype=np.float64), array(2, 3, seed=1, dtype=np.float64)]
    got = run(gc.jacobian(function, argnums=(0, 1), mode=mode), *arrays)
    for position in (0, 1):
        for result, want in enumerate(differences(function, arrays, position)):
            close(got[result][position], want, 1e-7)


def test_structures(run: Function) -> None:
    def model(p: Any, x: Any) -> Any:
        return {"y": p["w"] @ x + p["b"], "norm": (x * x).sum()}

    def jacobian(w: Any, b: Any, x: Any) -> Any:
        return gc.jacobian(model)({"w": w, "b": b}, x)

    w, b, x = array(2, 3), array(2), array(3)
    got = run(jacobian, w, b, x)
    close(got["y"]["w"], np.einsum("ij,k->ijk", np.eye(2), x).reshape(2, 2, 3))
    close(got["y"]["b"], np.eye(2))
    close(got["norm"]["w"], np.zeros((2, 3)))


def test_scalars_need_no_batch() -> None:
    graph = gc.jit(gc.jacobian(lambda x: (x * x).sum())).graph(gc.spec("f32[n]"))
    assert str(graph.output_types[0]) == "f32[n]"
    graph = gc.jit(gc.jacfwd(lambda t: gc.full((4,), 1.0) * t)).graph(gc.spec("f32[]"))
    assert str(graph.output_types[0]) == "f32[4]"
    assert gc.jacobian(lambda x: x**3)(2.0).item() == 12.0


def test_auto_takes_what_needs_fewer_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    linear = gc.frontends.transforms.linear.Linear
    pull, push = linear.pull, linear.push
    monkeypatch.setattr(linear, "pull", lambda *a, **k: (taken.append("pull"), pull(*a, **k))[1])
    monkeypatch.setattr(linear, "push", lambda *a, **k: (taken.append("push"), push(*a, **k))[1])
    gc.jacobian(lambda x: x[:2])(gc.ones(3))
    gc.jacobian(lambda x: gc.concat([x, x]))(gc.ones(3))
    assert taken == ["pull", "push"]


def test_symbolic_sizes() -> None:
    for mode in ("forward", "reverse"):
        compiled = gc.jit(gc.jacobian(lambda x: gc.sin(x) * x.sum(), mode=mode)).lower(gc.spec("f64[n]")).compile()
        for size in (3, 5):
            x = array(size, dtype=np.float64)
            close(compiled(x)[0], np.diag(np.cos(x)) * x.sum() + np.sin(x)[:, None], 1e-12)


def test_aux_and_keywords() -> None:
    def scaled(x: Any, *, factor: float) -> Any:
        return x * factor, {"seen": x, "note": "kept"}

    for transform in (gc.jacfwd, gc.jacrev):
        jacobian, aux = transform(scaled, has_aux=True)(gc.ones(2), factor=3.0)
        close(jacobian, 3 * np.eye(2))
        assert aux["note"] == "kept" and not aux["seen"].requires_grad and not jacobian.requires_grad
    found, aux = gc.hessian(lambda x: ((x**3).sum(), "aux"), has_aux=True)(gc.tensor([1.0, 2.0]))
    close(found, np.diag([6.0, 12.0]))
    assert aux == "aux"


def network(p: Any, x: Any) -> Any:
    return (gc.tanh(p["w2"] @ gc.tanh(p["w1"] @ x + p["b"])) ** 2).sum()


def test_hessian_of_a_small_network(run: Function) -> None:
    parameters = {"w1": array(3, 2, dtype=np.float64), "b": array(3, dtype=np.float64), "w2": array(2, 3, dtype=np.float64)}
    x = array(2, seed=9, dtype=np.float64)

    def of(w1: Any, b: Any, w2: Any, x: Any) -> Any:
        return gc.hessian(network)({"w1": w1, "b": b, "w2": w2}, x)

    def gradient(w1: Any, b: Any, w2: Any) -> Any:
        g = gc.grad(network)({"w1": w1, "b": b, "w2": w2}, gc.tensor(x))
        return [g["w1"], g["b"], g["w2"]]

    got = run(of, *parameters.values(), x)
    for position, column in enumerate(parameters):
        for row, want in zip(parameters, differences(gradient, list(parameters.values()), position), strict=True):
            close(got[row][column], want, 1e-6)
            close(got[row][column], np.moveaxis(np.asarray(got[column][row]).reshape(
                parameters[column].size, parameters[row].size), 0, 1).reshape(want.shape), 1e-12)  # fmt: skip


@pytest.mark.parametrize("outer", [gc.jacfwd, gc.jacrev])
@pytest.mark.parametrize("inner", [gc.jacfwd, gc.jacrev])
def test_second_derivatives_by_all_combinations(outer: Function, inner: Function) -> None:
    x = array(3, dtype=np.float64)
    want = np.outer(2 * x, np.cos(x)) + np.outer(np.cos(x), 2 * x) + np.diag(2 * np.sin(x).sum() - (x @ x) * np.sin(x))
    derivative = outer(inner(lambda v: (v @ v) * gc.sin(v).sum()))
    close(derivative(gc.tensor(x)), want, 1e-10)
    close(gc.jit(derivative)(x), want, 1e-10)


def test_products_with_the_hessian(run: Function) -> None:
    w, x, dw, dx = (array(*s, seed=i, dtype=np.float64) for i, s in enumerate([(2, 3), (3,), (2, 3), (3,)]))

    def f(w: Any, x: Any) -> Any:
        return (gc.tanh(w @ x) ** 2).sum()

    for_w, for_x = run(lambda *a: gc.hvp(f, a[:2], a[2:]), w, x, dw, dx)
    gradient = gc.grad(f, argnums=(0, 1))
    step = 1e-6
    above, below = (gradient(gc.tensor(w + s * dw), gc.tensor(x + s * dx)) for s in (step, -step))
    close(for_w, (above[0] - below[0]) / (2 * step), 1e-7)
    close(for_x, (above[1] - below[1]) / (2 * step), 1e-7)
    product, aux = gc.hvp(lambda v: ((v**3).sum(), "aux"), (gc.ones(2),), (gc.ones(2),), has_aux=True)
    close(product[0], [6.0, 6.0])
    assert aux == "aux"


def test_of_each_example() -> None:
    x = array(4, 3, dtype=np.float64)
    want = np.stack([np.diag(-np.sin(row)) for row in x])
    each = gc.vmap(gc.hessian(lambda v: gc.sin(v).sum()))
    close(each(gc.tensor(x)), want, 1e-12)
    close(gc.jit(each)(x), want, 1e-12)


def test_a_jacobian_can_be_differentiated() -> None:
    x = gc.tensor(array(3, dtype=np.float64), requires_grad=True)
    for transform in (gc.jacfwd, gc.jacrev):
        x.grad = None
        transform(lambda v: v**3)(x).sum().backward()
        close(x.grad, 6 * array(3, dtype=np.float64), 1e-12)
        gradient = gc.grad(lambda v: transform(lambda u: u**3)(v).sum())(gc.tensor(array(3, dtype=np.float64)))  # noqa: B023
        close(gradient, 6 * array(3, dtype=np.float64), 1e-12)


def test_a_pullback_can_be_vectorized(run: Function) -> None:
    def rows(x: Any, basis: Any) -> Any:
        _, pullback = gc.vjp(lambda v: gc.sin(v) * v.sum(), x)
        return gc.vmap(pullback)(basis)[0]

    x = array(3, dtype=np.float64)
    close(run(rows, x, np.eye(3)), np.diag(np.cos(x)) * x.sum() + np.sin(x)[:, None], 1e-12)


def test_a_recorded_jacobian_is_a_graph() -> None:
    x = gc.tensor(array(2))
    with gc.record() as recorder:
        result = gc.jacrev(lambda v: v * v)(x)
    assert not result.requires_grad
    (again,) = gc.compile_graph(recorder.graph(outputs=[result], inputs=[x]))(array(2))
    close(again, np.diag(2 * array(2)))


WRONG: list[tuple[Function, type[Exception], str]] = [
    (lambda: gc.jacobian(gc.sin, mode="sideways"), ArgumentError, "mode must be one of 'auto', 'forward', 'reverse'"),
    (lambda: gc.jacobian(gc.argmax)(gc.ones(3)), GradientError, "jacobian of argmax: a result of type i64[] has no derivative"),
    (lambda: gc.jacobian(gc.sin)(gc.arange(3)), GradientError, "an argument of type i64[3] has no gradient"),
    (lambda: gc.jacobian(gc.sin, argnums=1)(gc.ones(3)), ArgumentError, "argnums 1 is out of range"),
    (lambda: gc.hvp(gc.sin, gc.ones(3), gc.ones(3)), ArgumentError, "primals must be a tuple of the arguments"),
    (lambda: gc.hvp(gc.sin, (gc.ones(3),), (gc.ones(3),)), GradientError, "must return a floating scalar"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_errors(call: Function, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
