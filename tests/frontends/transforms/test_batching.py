"""gc.vmap: axes, modes, composition with gradients, random numbers, writes, and what it refuses."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.dtypes import DType
from graphc.errors import (
    ArgumentError,
    AxisError,
    CheckError,
    ConcretizationError,
    GradientError,
    InPlaceError,
    LeakedTracerError,
    OutOfBoundsError,
    ShapeError,
)
from graphc.frontends.dispatch import bind_all
from graphc.ir.structure import first_difference
from graphc.passes.pipeline import pipeline
from tests.frontends.transforms.modes import MODES, Function, array, close
from tests.op_database.cases import cases, samples
from tests.op_record import OpRecord, assert_same


@pytest.fixture(params=MODES)
def run(request: pytest.FixtureRequest) -> Iterator[Function]:
    yield MODES[request.param]


# Axes


def test_axes_of_arguments_and_results(run: Function) -> None:
    x, w = array(3, 4), array(3, 5)

    def function(a: Any, b: Any) -> Any:  # a[3] with b[3] → [3], []
        return gc.exp(a) * b, (a * b).sum()

    product, total = run(gc.vmap(function, in_axes=(1, None), out_axes=(-1, 0)), x, w[:, 0])
    close(product, np.exp(x) * w[:, :1])
    close(total, x.T @ w[:, 0])
    table = run(gc.vmap(gc.vmap(lambda a, b: (a * b).sum(), (None, 1)), (-1, None)), x, w)
    close(table, x.T @ w)


def test_structures_of_axes() -> None:
    parameters = {"w": array(2, 3), "b": array(4, 2)}
    data = [array(3), array(3, 4)]

    def model(p: Any, xs: Any, *, scale: Any) -> Any:
        return {"first": p["w"] @ xs[0] + p["b"], "second": (xs[1] * scale, p["w"])}

    scale = array(4)
    axes: Any = ({"b": 0, "w": None}, [None, 1])
    results = gc.vmap(model, in_axes=axes, out_axes={"first": 1, "second": (0, None)})(parameters, data, scale=scale)
    close(results["first"], (parameters["w"] @ data[0] + parameters["b"]).T)
    close(results["second"][0], (data[1] * scale).T)
    close(results["second"][1], parameters["w"])


def test_what_is_shared_may_be_anything() -> None:
    def function(x: Any, factor: float, how: str, *, training: bool) -> Any:
        assert (factor, how, training) == (2.0, "mean", True)
        return getattr(x * factor, how)(), 7, None

    mean, seven, nothing = gc.vmap(function, in_axes=(0, None, None))(array(3, 4), 2.0, "mean", training=True)
    close(mean, 2 * array(3, 4).mean(axis=1))
    np.testing.assert_array_equal(seven.numpy(), [7, 7, 7])
    assert nothing is None


def test_results_that_no_example_changes_are_repeated_or_left() -> None:
    w = gc.tensor(array(2))
    repeated = gc.vmap(lambda x: w * 2, out_axes=1)(gc.zeros(3))
    np.testing.assert_array_equal(repeated.numpy(), np.repeat(2 * array(2)[:, None], 3, axis=1))
    repeated[0, 0] = 5.0  # an array like any other
    assert gc.vmap(lambda x: w * 2, out_axes=None)(gc.zeros(3)).shape == (2,)
    same = gc.vmap(lambda x: w, out_axes=None)(gc.zeros(3))
    same[0] = 9.0
    assert w[0].item() != 9.0


def test_an_argument_as_result_is_a_copy() -> None:
    x = gc.zeros((3, 2))
    for result in (gc.vmap(lambda row: row)(x), gc.vmap(lambda row: row[::-1])(x)):
        result[0, 0] = 1.0
    assert x.sum().item() == 0


def test_as_a_decorator_and_of_no_examples() -> None:
    @gc.vmap(in_axes=1)
    def norm(x: Any) -> Any:
        return gc.sqrt((x * x).sum())

    close(norm(array(3, 4)), np.linalg.norm(array(3, 4), axis=0))
    assert norm(array(3, 0)).shape == (0,)
    assert norm.__name__ == "norm"
    assert gc.vmap(lambda: gc.random.uniform((2,)), axis_size=5)().shape == (5, 2)


def test_symbolic_sizes() -> None:
    def function(x: Any, w: Any) -> Any:
        return gc.vmap(lambda row, weights: gc.softmax(row * weights) @ row, in_axes=(1, None))(x, w)

    x, w = array(4, 6), array(4)
    compiled = gc.jit(function).lower(gc.spec("f32[n, m]"), gc.spec("f32[n]")).compile()
    want = [np.exp(c * w - (c * w).max()) for c in x.T]
    close(compiled(x, w)[0], [e / e.sum() @ c for e, c in zip(want, x.T, strict=True)])


def test_two_symbolic_numbers_of_examples_are_guarded_to_be_equal() -> None:
    graph = gc.jit(gc.vmap(lambda a, b: a + b)).graph(gc.spec("f32[n, 2]"), gc.spec("f32[m, 2]"))
    assert [str(guard) for guard in graph.guards] == ["n == m"]
    with pytest.raises(ShapeError, match="n == m"):
        gc.compile_graph(graph)(array(2, 2), array(3, 2))
    graph = gc.jit(gc.vmap(lambda a, b: a + b)).graph(gc.spec("f32[n, 2]"), gc.spec("f32[3, 2]"))
    assert str(graph.output_types[0]) == "f32[3, 2]"


@pytest.mark.parametrize(("record", "dtype"), cases())
def test_every_op_along_the_last_axis(record: OpRecord, dtype: DType) -> None:
    for sample in samples(record, dtype):
        if not sample.arrays or record.name == "check":
            continue
        examples = [np.stack([np.asarray(a)] * 2, axis=-1) for a in sample.arrays]
        want = bind_all(record.name, *sample.arrays, **sample.attributes)
        function = lambda *operands: bind_all(record.name, *operands, **sample.attributes)  # noqa: B023, E731
        got = gc.vmap(function, in_axes=-1, out_axes=-1)(*examples)
        for one, other in zip(got, want, strict=True):
            for example in range(2):
                near = {8: (1e-12, 1e-13), 4: (1e-5, 1e-6), 2: (2e-2, 1e-3)}[one.dtype.numpy.itemsize] if (
                    one.dtype.is_inexact) else (0.0, 0.0)  # fmt: skip
                assert_same(one.numpy()[..., example], other.numpy(), str(sample), tolerance=near)


# As fast as code written for a batch


BY_HAND = [
    (lambda x, w: w @ x, lambda x, w: x @ w.T, (0, None), ("f32[b, k]", "f32[m, k]")),
    (lambda x, w: w @ x, lambda x, w: gc.einsum("bmk,bk->bm", w, x), (0, 0), ("f32[b, k]", "f32[b, m, k]")),
    (gc.softmax, lambda x: gc.softmax(x, axis=-1), (0,), ("f32[b, k]",)),
    (lambda x, s: gc.tanh(x + s).sum(), lambda x, s: gc.tanh(x + s).sum(axis=1), (0, None), ("f32[b, k]", "f32[k]")),
    (lambda x: gc.cumsum(x[::-1]), lambda x: gc.cumsum(x[:, ::-1], axis=1), (0,), ("f32[b, k]",)),
    (lambda t, i: t[i], lambda t, i: t[i], (None, 0), ("f32[v, k]", "i64[b]")),
    (
        lambda x, w: gc.conv2d(x[None], w)[0],
        gc.conv2d,
        (0, None),
        ("f32[b, 3, 8, 8]", "f32[4, 3, 3, 3]"),
    ),
]


@pytest.mark.parametrize(("one", "many", "axes", "specs"), BY_HAND)
def test_the_optimized_graph_is_that_of_batched_code(one: Function, many: Function, axes: Any, specs: Any) -> None:
    types = [gc.spec(s) for s in specs]
    mapped, by_hand = (
        pipeline("cpu").run(gc.jit(f).graph(*types), verify=True) for f in (gc.vmap(one, in_axes=axes), many)
    )
    assert first_difference(mapped, by_hand) is None, f"{mapped}\n{by_hand}"


# With gradients


def loss(w: Any, x: Any, y: Any) -> Any:
    return ((gc.tanh(w @ x) - y) ** 2).mean()


def test_gradients_of_each_example(run: Function) -> None:
    w, x, y = array(2, 3), array(4, 3, seed=1), array(4, 2, seed=2)
    got = run(gc.vmap(gc.grad(loss), in_axes=(None, 0, 0)), w, x, y)
    for i in range(4):
        close(got[i], gc.grad(loss)(w, x[i], y[i]))
    values, gradients = run(gc.vmap(gc.value_and_grad(loss, argnums=(0, 1)), in_axes=(None, 0, 0)), w, x, y)
    close(values, [loss(gc.tensor(w), x[i], y[i]).item() for i in range(4)])
    assert [tuple(g.shape) for g in gradients] == [(4, 2, 3), (4, 3)]


def test_gradient_of_a_batch(run: Function) -> None:
    w, x, y = array(2, 3), array(4, 3, seed=1), array(4, 2, seed=2)
    got = run(gc.grad(lambda w, x, y: gc.vmap(loss, in_axes=(None, 0, 0))(w, x, y).sum()), w, x, y)
    close(got, sum(gc.grad(loss)(w, x[i], y[i]).numpy() for i in range(4)))


def test_jit_and_vmap_in_any_order() -> None:
    w, x, y = array(2, 3), array(4, 3, seed=1), array(4, 2, seed=2)
    inner = gc.vmap(gc.jit(gc.grad(gc.jit(loss))), in_axes=(None, 0, 0))
    want = gc.vmap(gc.grad(loss), in_axes=(None, 0, 0))(w, x, y)
    close(inner(w, x, y), want)
    close(gc.jit(inner)(w, x, y), want)
    outer = gc.grad(lambda w: (gc.jit(inner)(w, x, y) ** 2).sum())
    close(outer(w), gc.grad(lambda w: (inner(w, x, y) ** 2).sum())(w))


def test_backward_goes_through_to_captured_tensors() -> None:
    w, x = gc.tensor(array(2, 3), requires_grad=True), gc.tensor(array(4, 3), requires_grad=True)
    (gc.vmap(lambda row: gc.exp(w @ row).sum())(x)).sum().backward()
    close(w.grad, np.exp(array(4, 3) @ array(2, 3).T).T @ array(4, 3))
    assert x.grad.shape == (4, 3)
    with gc.no_grad():
        assert not gc.vmap(lambda row: w @ row)(x).requires_grad

    def partly(row: Any) -> Any:
        with gc.no_grad():
            fixed = w @ row
        return (fixed * row.sum()).sum()

    w.grad = None
    gc.vmap(partly)(x).sum().backward()
    assert w.grad is None


def test_backward_within_reaches_local_leaves_only() -> None:
    def gradient(row: Any) -> Any:
        leaf = row.detach().copy().requires_grad_()
        (leaf**3).sum().backward()
        return leaf.grad

    close(gc.vmap(gradient)(gc.tensor(array(4, 3))), 3 * array(4, 3) ** 2)
    w = gc.tensor(array(3), requires_grad=True)
    with pytest.raises(GradientError, match=r"backward\(\) within it would change the .grad of an array of type f32\[3\]"):
        gc.vmap(lambda row: (w * row).sum().backward())(gc.tensor(array(4, 3)))
    assert w.grad is None


# Random numbers


def test_draws_differ_between_examples_and_repeat_with_the_seed(run: Function) -> None:
    def noisy(x: Any) -> Any:
        return x + gc.random.uniform((2,)), gc.random.normal(())

    drawn = []
    for _ in range(2):
        gc.random.manual_seed(3)
        first, second = run(gc.vmap(noisy), np.zeros((5, 2), np.float32))
        drawn.append(np.asarray(first))
        assert len(np.unique(np.asarray(first))) == 10 and len(np.unique(np.asarray(second))) == 5
    np.testing.assert_array_equal(*drawn)
    assert gc.random.get_state()[1].item() == 15
    gc.random.manual_seed(3)
    close(gc.vmap(noisy)(gc.zeros((5, 2)))[0], drawn[0])
    gc.random.manual_seed(3)
    np.testing.assert_array_equal(np.asarray(gc.random.uniform((5, 2))), drawn[0])


def test_nested_batches_draw_for_each_pair() -> None:
    gc.random.manual_seed(1)
    inner = gc.vmap(lambda a: gc.random.uniform(()) + 0 * a)
    for function in (gc.vmap(inner), gc.jit(gc.vmap(inner))):
        gc.random.manual_seed(1)
        got = function(np.zeros((3, 4), np.float32))
        assert len(np.unique(got.numpy())) == 12
        assert gc.random.get_state()[1].item() == 12


def test_generators_of_each_example() -> None:
    def draw(seed: Any) -> Any:
        generator = gc.random.Generator(gc.astype(seed, gc.uint64))
        return generator.uniform((3,)), generator.normal((2,))

    seeds = np.array([1, 2, 7], np.float32)
    uniform, normal = gc.vmap(draw)(seeds)
    for i, seed in enumerate((1, 2, 7)):
        generator = gc.random.Generator(seed)
        np.testing.assert_array_equal(np.asarray(uniform[i]), generator.uniform((3,)).numpy())
        close(normal[i], generator.normal((2,)))


def test_permutations_differ() -> None:
    gc.random.manual_seed(0)
    rows = gc.vmap(gc.random.permutation)(gc.broadcast_to(gc.arange(20), (4, 20))).numpy()
    assert len({tuple(row) for row in rows}) == 4
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(20), (4, 1)))


# Writes


def test_writes_to_local_arrays_and_arguments(run: Function) -> None:
    def accumulate(row: Any) -> Any:
        out = gc.zeros(3)
        out[0] = row[1]
        out[1:] += row[:2]
        return out

    x = array(4, 3)
    close(run(gc.vmap(accumulate), x), np.stack([x[:, 1], x[:, 0], x[:, 1]], axis=1))


def test_a_mapped_argument_that_is_written_changes() -> None:
    def double(row: Any) -> None:
        row *= 2

    for wrap in (lambda f: f, gc.jit):
        x = gc.tensor(array(3, 4))
        wrap(gc.vmap(double, in_axes=1))(x)
        close(x, 2 * array(3, 4))
    with pytest.raises(InPlaceError, match=r"writes in place to an array of type f32\[4\] whose memory it also reads"):
        gc.vmap(lambda a, b: a.add_(b))(x, x)


def test_shared_arrays_may_be_written_with_shared_values_only() -> None:
    count, total = gc.zeros(()), gc.zeros(3)

    def step(row: Any) -> Any:
        count.add_(1)
        return row * count

    close(gc.vmap(step)(gc.tensor(array(4, 3))), array(4, 3))
    assert count.item() == 1

    def sum_up(row: Any) -> None:
        total.add_(row)

    with pytest.raises(InPlaceError, match=r"vmap of sum_up: an array of type f32\[3\] that all examples share is written"):
        gc.vmap(sum_up)(gc.tensor(array(4, 3)))
    np.testing.assert_array_equal(total.numpy(), np.zeros(3))


# What is checked


def test_a_check_fails_for_any_example(run: Function) -> None:
    def positive(x: Any) -> Any:
        bind_all("check", x > 0, message="must be positive")
        return gc.log(x)

    close(run(gc.vmap(positive), np.float32([1, 2])), np.log([1, 2]))
    with pytest.raises(CheckError, match="must be positive"):
        run(gc.vmap(positive), np.float32([1, -2]))


def test_an_index_out_of_bounds_names_the_line_of_the_op() -> None:
    def pick(i: Any) -> Any:
        return gc.take(gc.arange(3), i, axis=0)  # this line

    with pytest.raises(OutOfBoundsError) as caught:
        gc.vmap(pick)(gc.tensor([0, 5]))
    assert "this line" in caught.value.location.source_line


def model(x: Any, w: Any) -> Any:
    return x @ w


WRONG: list[tuple[Function, type[Exception], str]] = [
    (lambda: gc.vmap(model)(gc.ones((3, 2)), gc.ones((4, 2))), ShapeError,
     "vmap of model: the numbers of examples differ: x has size 3 along axis 0, w has size 4 along axis 0"),
    (lambda: gc.vmap(model, in_axes=(0, 1))(gc.ones((3, 2)), {"a": gc.ones((2, 4))}), ShapeError,
     "x has size 3 along axis 0, w['a'] has size 4 along axis 1"),
    (lambda: gc.vmap(model, axis_size=2)(gc.ones((3, 2)), gc.ones((3, 2))), ShapeError,
     "x has size 3 along axis 0, axis_size is 2"),
    (lambda: gc.vmap(model, in_axes=(0, 0, 0))(gc.ones(3), gc.ones(3)), ArgumentError,
     "in_axes has 3 entries for 2 positional arguments"),
    (lambda: gc.vmap(model, in_axes=(0, {"b": 0}))(gc.ones(3), {"a": gc.ones(3)}), ArgumentError,
     "in_axes: {'b': 0} does not fit the structure {'a': array}"),
    (lambda: gc.vmap(model, in_axes=1.5)(gc.ones(3), gc.ones(3)), ArgumentError, "1.5 does not fit the structure array"),
    (lambda: gc.vmap(model)(gc.ones(3), 2.0), ArgumentError, "w is a float, which has no axis to map"),
    (lambda: gc.vmap(model)(gc.ones(3), gc.ones(())), ArgumentError, "w is a scalar, which has no axis to map"),
    (lambda: gc.vmap(model, in_axes=(0, -3))(gc.ones(3), gc.ones((3, 2))), AxisError,
     "in_axes maps axis -3 of w, which has shape (3, 2)"),
    (lambda: gc.vmap(model, in_axes=None)(gc.ones((3, 3)), gc.ones((3, 3))), ArgumentError, "no argument is mapped"),
    (lambda: gc.vmap(lambda x: x, out_axes=2)(gc.ones((3, 2))), AxisError,
     "out_axes puts the examples of the result at axis 2, but with them it has 2 axes"),
    (lambda: gc.vmap(lambda x: (x, x), out_axes=(0, None))(gc.ones((3, 2))), ArgumentError,
     "out_axes is None for the result[1], whose values differ between examples"),
    (lambda: gc.vmap(lambda x: (x, x), out_axes=(0, 0, 0))(gc.ones((3, 2))), ArgumentError,
     "out_axes: (0, 0, 0) does not fit the structure (array, array)"),
    (lambda: gc.vmap(lambda x: "text")(gc.ones(3)), ArgumentError, "the function returned a str"),
    (lambda: gc.vmap(3), ArgumentError, "vmap needs a function, not 3"),
    (lambda: gc.vmap(lambda x: x if x > 0 else -x)(gc.ones(3)), ConcretizationError, "which may differ between examples"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_errors(call: Function, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_an_example_that_is_kept_is_an_error_when_it_is_used() -> None:
    kept: list[Any] = []
    gc.vmap(lambda x: kept.append(x) or x)(gc.ones(3))
    with pytest.raises(LeakedTracerError):
        kept[0] + 1
