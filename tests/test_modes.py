"""Whole programs, written once: op by op, traced and declared they give the same numbers and one optimized graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.ir.structure import first_difference
from graphc.passes.pipeline import pipeline

STEPS = 2  # from the third on, an eager backward() would be compiled too
RNG = np.random.default_rng(0)


def random(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


class Training(NamedTuple):
    """A loss of parameters and a batch, minimized by an optimizer that is made from (parameters,) options."""

    loss: Callable[..., Any]
    parameters: Sequence[np.ndarray]
    batch: Sequence[np.ndarray]
    optimizer: Any
    options: dict[str, Any]


# The programs


def mlp(params: Sequence[Any], x: Any, y: Any) -> Any:
    w1, b1, w2, b2 = params
    return gc.cross_entropy(gc.relu(x @ w1 + b1) @ w2 + b2, y)


def cnn(params: Sequence[Any], x: Any, y: Any) -> Any:
    kernel, bias, w = params
    h = gc.relu(gc.conv2d(x, kernel, bias, padding=1))
    h = gc.max_pool2d(h, 2)
    return gc.cross_entropy(h.reshape(x.shape[0], -1) @ w, y)


def transformer(params: Sequence[Any], tokens: Any, targets: Any) -> Any:
    table, wq, wk, wv, wo, up, down, scale, shift = params
    batch, length = tokens.shape
    heads, width = 2, wq.shape[0]

    def split(h: Any) -> Any:
        return h.reshape(batch, length, heads, width // heads).swapaxes(1, 2)

    x = table[tokens]
    h = gc.layer_norm(x, width, scale, shift)
    scores = split(h @ wq) @ split(h @ wk).swapaxes(2, 3) / (width // heads) ** 0.5
    causal = gc.arange(length)[:, None] >= gc.arange(length)[None, :]
    attention = gc.softmax(gc.where(causal, scores, -1e9), axis=-1) @ split(h @ wv)
    x = x + attention.swapaxes(1, 2).reshape(batch, length, width) @ wo
    x = x + gc.gelu(gc.layer_norm(x, width, scale, shift) @ up) @ down
    return gc.cross_entropy((x @ table.T).reshape(batch * length, -1), targets.reshape(-1))


def rnn(params: Sequence[Any], x: Any, y: Any) -> Any:
    wx, wh, b, wo = params
    h = gc.zeros_like(x[:, 0] @ wx)
    for t in range(x.shape[1]):
        h = gc.tanh(x[:, t] @ wx + h @ wh + b)
    return ((h @ wo - y) ** 2).mean()


WIDTH = 8
TRAININGS = {
    "a perceptron with Adam": Training(
        mlp, [random(6, 8), random(8), random(8, 3), random(3)], [random(5, 6), np.array([0, 2, 1, 1, 0])],
        gc.optim.Adam, {},
    ),
    "a convolutional network with momentum": Training(
        cnn, [random(4, 1, 3, 3), random(4), random(4 * 3 * 3, 3)], [random(2, 1, 6, 6), np.array([2, 0])],
        gc.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
    ),
    "a transformer with AdamW": Training(
        transformer,
        [random(11, WIDTH), *(random(WIDTH, WIDTH, scale=0.3) for _ in range(4)), random(WIDTH, 16), random(16, WIDTH),
         np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)],
        [RNG.integers(0, 11, (2, 5)), RNG.integers(0, 11, (2, 5))],
        gc.optim.AdamW, {},
    ),
    "a recurrent network with RMSprop": Training(
        rnn, [random(3, 7), random(7, 7, scale=0.3), random(7), random(7, 2)], [random(4, 5, 3), random(4, 2)],
        gc.optim.RMSprop, {},
    ),
}  # fmt: skip
RATE = 0.01


class Trainer:
    """A training as a PyTorch user writes it."""

    def __init__(self, program: Training) -> None:
        self.program = program
        self.params = [gc.tensor(a, requires_grad=True) for a in program.parameters]
        self.rate = gc.tensor(RATE)
        self.optimizer = program.optimizer(self.params, lr=self.rate, **program.options)

    def step(self, *batch: Any) -> Any:
        loss = self.program.loss(self.params, *batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def state(self) -> list[Any]:
        return [slot for p in self.params for slot in self.optimizer.state[id(p)].values()]

    def recorded(self, step: Callable[..., Any]) -> Graph:
        batch = [gc.tensor(a) for a in self.program.batch]
        with gc.record() as recording:
            loss = step(*batch)
        state = [*self.params, *self.state()]
        return recording.graph(outputs=[loss, *state], inputs=[*batch, self.rate, *state])

    def trained(self, step: Callable[..., Any]) -> list[np.ndarray]:
        losses = [step(*(gc.tensor(a) for a in self.program.batch)).item() for _ in range(STEPS)]
        return [np.array(losses), *(p.detach().numpy() for p in self.params)]


class Declared:
    """The same training as a static graph."""

    def __init__(self, program: Training) -> None:
        self.program = program
        self.graph = gc.Graph()
        with self.graph:
            self.batch = [gc.placeholder(a.dtype, a.shape) for a in program.batch]
            self.rate = gc.placeholder(gc.float32, ())
            self.params = [gc.Variable(a) for a in program.parameters]
            self.loss = program.loss(self.params, *self.batch)
            self.train = program.optimizer(lr=self.rate, **program.options).minimize(self.loss)
            self.initialize = gc.global_variables_initializer()

    def recorded(self) -> Graph:
        return self.graph.to_ir([self.loss, self.train], [*self.batch, self.rate])

    def trained(self) -> list[np.ndarray]:
        feeds = {**dict(zip(self.batch, self.program.batch, strict=True)), self.rate: RATE}
        with gc.Session(self.graph) as session:
            session.run(self.initialize)
            losses = [session.run([self.loss, self.train], feeds)[0] for _ in range(STEPS)]
            return [np.array(losses), *session.run(self.params)]


def check_one_graph(graphs: dict[str, Graph]) -> None:
    optimized = {mode: pipeline("cpu").run(graph, verify=True) for mode, graph in graphs.items()}
    for mode, graph in optimized.items():
        assert first_difference(optimized["eager"], graph) is None, mode


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if "transformer" in n else []) for n in TRAININGS]
)
def test_a_training_is_one_program(name: str) -> None:
    program = TRAININGS[name]
    eager = Trainer(program)
    want = eager.trained(eager.step)
    assert want[0][-1] < want[0][0], "the loss falls"
    traced = Trainer(program)
    step = gc.jit(traced.step)
    in_jit = traced.trained(step)
    assert step.trace_count == 1
    in_session = Declared(program).trained()
    for one, other, third in zip(want, in_jit, in_session, strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(third, one, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_one_graph(name: str) -> None:
    program = TRAININGS[name]
    eager, traced = Trainer(program), Trainer(program)
    graphs = {"eager": eager.recorded(eager.step), "jit": traced.recorded(gc.jit(traced.step))}
    check_one_graph({**graphs, "static": Declared(program).recorded()})


# Functions of arrays: NumPy-style code with slice assignments, its gradient, and a network with dropout


def heat(u: Any, source: Any) -> Any:
    """Explicit steps of the heat equation with fixed edges, in place."""
    u = u.copy()
    for _ in range(3):
        u[1:-1, 1:-1] += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
        u[2:4, ::2] += source
        u[0] = u[1]
    return u


def heat_and_its_sensitivity(u: Any, source: Any) -> list[Any]:
    value, gradients = gc.value_and_grad(lambda a, b: (heat(a, b) ** 2).sum(), argnums=(0, 1))(u, source)
    return [value, *gradients]


def normalized(u: Any, source: Any) -> list[Any]:
    rows = u.T.copy()
    rows -= rows.mean(0, keepdims=True)
    rows /= gc.sqrt((rows**2).mean(0, keepdims=True) + 1e-5)
    rows[::2] *= 2.0
    rows[rows < 0] = 0.0
    return [rows, rows[::-1].cumsum(0), source.max() + rows.argmax()]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "a stencil": lambda u, source: [heat(u, source)],
    "the gradient of a stencil": heat_and_its_sensitivity,
    "in-place statistics": normalized,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_one_program_and_one_graph(name: str) -> None:
    function, arrays = FUNCTIONS[name], [random(6, 8), random(2, 4)]

    def recorded(call: Callable[..., Any]) -> tuple[list[np.ndarray], Graph]:
        inputs = [gc.tensor(a) for a in arrays]
        with gc.record() as recording:
            results = call(*inputs)
        return [r.numpy() for r in results], recording.graph(outputs=results, inputs=inputs)

    want, eager = recorded(function)
    in_jit, traced = recorded(gc.jit(function))
    graph = gc.Graph()
    with graph:
        feeds = [gc.placeholder(a.dtype, a.shape) for a in arrays]
        fetches = function(*feeds)
    with gc.Session(graph) as session:
        in_session = session.run(fetches, dict(zip(feeds, arrays, strict=True)))
    for one, other, third in zip(want, in_jit, in_session, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(third, other)  # the same kernels
    check_one_graph({"eager": eager, "jit": traced, "static": graph.to_ir(fetches, feeds)})


def test_a_network_with_dropout_draws_the_same_from_one_seed() -> None:
    x, w = random(4, 6), random(6, 5)

    def network(generator: Any, x: Any, w: Any) -> Any:
        h = generator.dropout(gc.tanh(x @ w), 0.4)
        return (h + 0.1 * generator.normal(h.shape)).sum(1)

    def recorded(jitted: bool) -> tuple[list[np.ndarray], Graph, Any]:
        generator = gc.random.Generator(7)

        def call(x: Any, w: Any) -> Any:
            return network(generator, x, w)

        run = gc.jit(call) if jitted else call
        inputs = [gc.tensor(x), gc.tensor(w)]
        first = run(*inputs).numpy()
        with gc.record() as recording:
            second = run(*inputs)
        state = [generator._key, generator._counter]
        return [first, second.numpy()], recording.graph(outputs=[second, state[1]], inputs=[*inputs, *state]), generator

    want, eager, generator = recorded(jitted=False)
    in_jit, traced, its_generator = recorded(jitted=True)
    declared, graph = gc.random.Generator(7), gc.Graph()
    with graph:
        feeds = [gc.placeholder(a.dtype, a.shape) for a in (x, w)]
        fetch = network(declared, *feeds)
    with gc.Session(graph) as session:
        in_session = [session.run(fetch, dict(zip(feeds, (x, w), strict=True))) for _ in range(2)]
    assert not np.allclose(want[0], want[1]), "the stream goes on"
    for one, other, third in zip(want, in_jit, in_session, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(third, other)
    for other in (its_generator, declared):
        np.testing.assert_array_equal(other.get_state().numpy(), generator.get_state().numpy())
    check_one_graph({"eager": eager, "jit": traced, "static": graph.to_ir([fetch], feeds)})
