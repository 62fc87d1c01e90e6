"""Models trained in a Session, next to the same training in eager mode."""

import numpy as np
import pytest

import graphc as gc
from graphc.frontends.array.elementwise import maximum, tanh
from graphc.ir.structure import structural_hash


@pytest.fixture(autouse=True)
def fresh() -> None:
    gc.reset_default_graph()


def descend(loss: gc.Tensor, rate: float) -> object:
    """Gradient descent on all trainable Variables, as one operation."""
    variables = gc.trainable_variables()
    gradients = gc.gradients(loss, variables)
    return gc.group(*(gc.assign_sub(v, rate * g) for v, g in zip(variables, gradients, strict=True)), name="train")


def test_linear_regression_finds_the_line() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(64, 3)).astype(np.float32)
    truth = np.array([[1.0], [-2.0], [3.0]], np.float32)
    targets = inputs @ truth + 4.0

    x = gc.placeholder(gc.float32, [None, 3], name="x")
    y = gc.placeholder(gc.float32, [None, 1], name="y")
    w = gc.Variable(np.zeros((3, 1), np.float32), name="w")
    b = gc.Variable(0.0, name="b")
    loss = ((x @ w + b - y) ** 2).mean()
    train = descend(loss, 0.1)

    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        losses = [session.run([train, loss], {x: inputs, y: targets})[1] for _ in range(150)]
        weights, bias = session.run([w, b])
        # Another batch size, without another compilation.
        compiled = len(gc.get_default_graph().plans)
        _, small = session.run([train, loss], {x: inputs[:10], y: targets[:10]})
        assert len(gc.get_default_graph().plans) == compiled
    assert losses[-1] < 1e-6 < losses[0]
    assert small < 1e-5
    np.testing.assert_allclose(weights, truth, atol=1e-3)
    np.testing.assert_allclose(bias, 4.0, atol=1e-3)


def test_a_network_learns_as_in_eager_mode_number_for_number() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(96, 2)).astype(np.float32)
    targets = (inputs[:, :1] * inputs[:, 1:] > 0).astype(np.float32)  # the exclusive or of two signs
    sizes = [(2, 16), (16, 8), (8, 1)]
    starts = [(rng.normal(size=s) / np.sqrt(s[0])).astype(np.float32) for s in sizes]
    rate, steps = 0.3, 500

    def network(x: gc.Tensor, weights: list[gc.Tensor], biases: list[gc.Tensor]) -> gc.Tensor:
        hidden = tanh(x @ weights[0] + biases[0])
        hidden = maximum(hidden @ weights[1] + biases[1], 0.0)
        return hidden @ weights[2] + biases[2]

    x = gc.placeholder("f32[batch, 2]", name="x")
    y = gc.placeholder("f32[batch, 1]", name="y")
    weights = [gc.Variable(w, name="w") for w in starts]
    biases = [gc.Variable(np.zeros(s[1], np.float32), name="b") for s in sizes]
    output = network(x, weights, biases)
    loss = ((output - y) ** 2).mean()
    train = descend(loss, rate)
    gc.get_default_graph().finalize()
    session = gc.Session()
    for variable in gc.global_variables():
        session.run(variable.initializer)
    static = [session.run([loss, train], {x: inputs, y: targets})[0] for _ in range(steps)]

    tensors = [gc.tensor(w, requires_grad=True) for w in starts]
    offsets = [gc.tensor(np.zeros(s[1], np.float32), requires_grad=True) for s in sizes]
    eager = []
    for _ in range(20):
        error = ((network(gc.tensor(inputs), tensors, offsets) - gc.tensor(targets)) ** 2).mean()
        error.backward()
        eager.append(error.item())
        with gc.no_grad():
            for parameter in (*tensors, *offsets):
                parameter.sub_(rate * parameter.grad)
                parameter.grad = None

    np.testing.assert_allclose(static[:20], eager, rtol=1e-4)
    assert static[-1] < 0.25 * static[0]
    predicted = session.run(output, {x: inputs}) > 0.5
    assert (predicted == (targets > 0.5)).mean() > 0.9


def test_a_static_graph_is_the_graph_that_tracing_makes() -> None:

    x = gc.placeholder("f32[4, 2]", name="x")
    w = gc.Variable(np.ones((2, 1), np.float32), name="w")
    ir = gc.get_default_graph().to_ir([tanh(x @ w).sum()], variables=[w])
    traced = gc.jit(lambda x, w: tanh(x @ w).sum()).graph(gc.spec("f32[4, 2]"), gc.spec("f32[2, 1]"))
    assert structural_hash(ir) == structural_hash(traced)
