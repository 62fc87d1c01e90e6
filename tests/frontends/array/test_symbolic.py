"""Array functions traced once for symbolic sizes and run at several, compared with the same call executed at once."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc.frontends.array as gnp
from graphc.compile import compile_graph
from graphc.frontends.array.creation import asarray
from graphc.frontends.spec import spec
from graphc.frontends.tracing.jit import jit
from graphc.passes.differentiate import differentiate
from tests.frontends.array.checking import numpy_of


def _with_strided_writes(x: Any) -> Any:
    y = x * 1.0
    y[::2] = 2.0
    y[1::3, 1:] *= 3.0
    y[::-2, 0] += x[::-2, 1]
    return y


SIZES: list[dict[str, int]] = [{"n": 3, "m": 4}, {"n": 6, "m": 2}]

# name: (function, specs of its operands). n and m are free.
CASES: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "broadcast": (lambda x, y: x * y + 1, ["f64[n, m]", "f64[m]"]),
    "broadcast rows": (lambda x, y: x[:, None] - y, ["f64[n]", "f64[m]"]),
    "mean": (lambda x: gnp.mean(x, 0), ["f64[n, m]"]),
    "var": (lambda x: gnp.var(x, (0, 1), correction=1), ["f64[n, m]"]),
    "std": (lambda x: gnp.std(x, 1), ["f64[n, m]"]),
    "norm": (lambda x: gnp.norm(x, 3, 1), ["f64[n, m]"]),
    "logsumexp": (lambda x: gnp.logsumexp(x, 1), ["f64[n, m]"]),
    "softmax": (lambda x: gnp.softmax(x, 0), ["f64[n, m]"]),
    "log_softmax": (gnp.log_softmax, ["f64[n, m]"]),
    "gelu": (gnp.gelu, ["f64[n]"]),
    "glu": (gnp.glu, ["f64[n, m]"]),
    "layer_norm": (lambda x, w: gnp.layer_norm(x, x.shape[-1], w), ["f64[n, m]", "f64[m]"]),
    "batch_norm": (gnp.batch_norm, ["f64[n, 2, m]"]),
    "group_norm": (lambda x: gnp.group_norm(x, 2), ["f64[n, 4, m]"]),
    "linear": (gnp.linear, ["f64[n, m]", "f64[5, m]", "f64[5]"]),
    "matmul": (lambda x, y: x @ y, ["f64[n, 2, m]", "f64[m, 3]"]),
    "attention": (lambda q, k: gnp.scaled_dot_product_attention(q, k, k, is_causal=True), ["f64[2, n, 3]", "f64[2, m, 3]"]),
    "attention width": (lambda q, k: gnp.scaled_dot_product_attention(q, k, k), ["f64[2, m]", "f64[3, m]"]),
    "einsum": (lambda x, y: gnp.einsum("ij,kj->ik", x, y), ["f64[n, m]", "f64[n, m]"]),
    "einsum chain": (lambda x, y, z: gnp.einsum("ij,jk,kl->il", x, y, z), ["f64[2, n]", "f64[n, m]", "f64[m, 3]"]),
    "einsum trace": (lambda x: gnp.einsum("ii->i", x), ["f64[n, n]"]),
    "conv2d": (lambda x, w: gnp.conv2d(x, w, padding=1, stride=2), ["f64[n, 2, 5, m]", "f64[3, 2, 3, 3]"]),
    "conv_transpose1d": (lambda x, w: gnp.conv_transpose1d(x, w, stride=2), ["f64[n, 2, m]", "f64[2, 3, 3]"]),
    "max_pool2d": (lambda x: gnp.max_pool2d(x, 2), ["f64[n, 1, m, 4]"]),
    "avg_pool2d": (lambda x: gnp.avg_pool2d(x, 3, 1, 1, count_include_pad=False), ["f64[n, 1, m, 4]"]),
    "adaptive_avg_pool1d": (lambda x: gnp.adaptive_avg_pool1d(x, 2), ["f64[n, 1, m]"]),
    "mse_loss": (gnp.mse_loss, ["f64[n, m]", "f64[n, m]"]),
    "bce": (lambda x: gnp.binary_cross_entropy_with_logits(x, 0.5), ["f64[n, m]"]),
    "kl_div": (lambda x, y: gnp.kl_div(x, y, "batchmean", log_target=True), ["f64[n, m]", "f64[n, m]"]),
    "cross_entropy": (gnp.cross_entropy, ["f64[n, m]", "i64[n]"]),
    "cross_entropy smooth": (
        lambda x, y: gnp.cross_entropy(x, gnp.softmax(y, 1), label_smoothing=0.1),
        ["f64[n, m]", "f64[n, m]"],
    ),
    "embedding": (lambda i, w: gnp.embedding(i, w, padding_idx=0), ["i64[n]", "f64[m, 3]"]),
    "sort": (lambda x: gnp.sort(x, 0), ["f64[n, m]"]),
    "topk": (lambda x: gnp.topk(x, 2).values, ["f64[n, m]"]),
    "searchsorted": (lambda x, y: gnp.searchsorted(gnp.sort(x), y), ["f64[n]", "f64[m]"]),
    "cov": (gnp.cov, ["f64[n, m]"]),
    "diff": (gnp.diff, ["f64[n, m]"]),
    "trapezoid": (lambda x: gnp.trapezoid(x, axis=0), ["f64[n, m]"]),
    "interp": (lambda x, y: gnp.interp(x, gnp.cumsum(gnp.exp(y)), y), ["f64[n]", "f64[m]"]),
    "kron": (gnp.kron, ["f64[n, m]", "f64[m, 2]"]),
    "reshape": (lambda x: x.reshape(-1, 2), ["f64[n, m]"]),
    "flatten": (lambda x: gnp.flatten(x, 1), ["f64[n, m, 3]"]),
    "concat": (lambda x, y: gnp.concat([x, y], 0), ["f64[n, 3]", "f64[m, 3]"]),
    "stack": (lambda x, y: gnp.stack([x, y]), ["f64[n]", "f64[n]"]),
    "tile": (lambda x: gnp.tile(x, (2, 3)), ["f64[n, m]"]),
    "repeat": (lambda x: gnp.repeat(x, 3, 1), ["f64[n, m]"]),
    "roll": (lambda x: gnp.roll(x, 1, 0), ["f64[n, m]"]),
    "pad": (lambda x: gnp.pad(x, ((1, 0), (0, 2))), ["f64[n, m]"]),
    "tril": (gnp.tril, ["f64[n, m]"]),
    "split": (lambda x: gnp.split(x, 2, 1)[1], ["f64[n, m]"]),
    "one_hot": (lambda i: gnp.one_hot(i, 3), ["i64[n]"]),
    "slices": (lambda x: x[1:, ::-1], ["f64[n, m]"]),
    "slices from the end": (lambda x: x[-2:, :-1], ["f64[n, m]"]),
    "strided slices": (lambda x: x[::2, 1:-1:3], ["f64[n, m]"]),
    "backward slices": (lambda x: x[-2:0:-2, ::-3], ["f64[n, m]"]),
    "strided writes": (_with_strided_writes, ["f64[n, m]"]),
    "last": (lambda x: x[-1], ["f64[n, m]"]),
    "rows by index": (lambda x, i: x[i % x.shape[0]], ["f64[n, m]", "i64[5]"]),
    "sizes as operands": (lambda x: x / x.shape[0] + x.shape[1] * 2 - 1, ["f64[n, m]"]),
    "mask": (lambda x: gnp.where(x > 0, x, 0.0), ["f64[n, m]"]),
    "at": (lambda x: x.at[0].set(1.0), ["f64[n, m]"]),
}


def fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with a result that is not a view of an operand, which a traced function would not compute."""
    return lambda *operands: gnp.where(True, function(*operands), 0)


def inputs_for(specs: list[str], sizes: dict[str, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(sum(sizes.values()))
    arrays = []
    for text in specs:
        dtype, _, shape = text.rstrip("]").partition("[")
        dims = tuple(eval(part, {}, sizes) for part in shape.split(",")) if shape else ()
        arrays.append(rng.integers(0, 2, dims) if dtype == "i64" else rng.standard_normal(dims))
    return arrays


@pytest.mark.parametrize("name", CASES)
def test_one_graph_serves_all_sizes(name: str) -> None:
    function, specs = CASES[name]
    function = fresh(function)
    graph = jit(function).graph(*map(spec, specs))
    run = compile_graph(graph, target="reference")
    for sizes in SIZES:
        arrays = inputs_for(specs, sizes)
        want = numpy_of(function(*map(asarray, arrays)))
        (got,) = run(*arrays)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [n for n, (f, specs) in CASES.items() if specs[0].startswith("f64") and n != "searchsorted"])
def test_the_gradient_of_one_graph_serves_all_sizes(name: str) -> None:
    function, specs = CASES[name]

    def loss(*operands: Any) -> Any:
        return gnp.sum(gnp.sin(function(*operands)))

    graph = differentiate(jit(loss).graph(*map(spec, specs)), [0], [0])
    run = compile_graph(graph, target="reference")
    for sizes in SIZES:
        arrays = inputs_for(specs, sizes)
        x = asarray(arrays[0].copy()).requires_grad_()
        loss(x, *map(asarray, arrays[1:])).backward()
        assert x.grad is not None
        (got,) = run(*arrays, np.float64(1.0))
        np.testing.assert_allclose(got, numpy_of(x.grad), rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_compiled_kernels_agree_with_eager_execution(name: str) -> None:
    function, specs = CASES[name]
    function = fresh(function)
    run = compile_graph(jit(function).graph(*map(spec, specs)), target="cpu")
    for sizes in SIZES:
        arrays = inputs_for(specs, sizes)
        (got,) = run(*arrays)
        np.testing.assert_allclose(got, numpy_of(function(*map(asarray, arrays))), rtol=1e-11, atol=1e-12)


BOUNDS = (None, 0, 2, 5, -1, -4)


@pytest.mark.parametrize("step", [1, 2, 3, -1, -2, -3])
def test_a_slice_of_a_symbolic_size_is_pythons(step: int) -> None:
    for start, stop in itertools.product(BOUNDS, BOUNDS):
        key = slice(start, stop, step)
        run = compile_graph(jit(lambda x, key=key: x[key]).graph(spec("f64[n]")), target="reference")
        for size in (0, 1, 2, 3, 4, 7):
            x = np.arange(float(size))
            np.testing.assert_array_equal(run(x)[0], x[key], err_msg=f"{key} of {size}")


def test_bounds_of_a_slice_may_be_sizes() -> None:
    def f(x: Any) -> list[Any]:
        half = x.shape[0] // 2
        return [x[half::2] * 1, x[half::-1] * 1, x[:half:-2] * 1]

    run = compile_graph(jit(f).graph(spec("f64[n]")), target="reference")
    for size in range(7):
        x = np.arange(float(size))
        for got, want in zip(run(x), (x[size // 2 :: 2], x[size // 2 :: -1], x[: size // 2 : -2]), strict=True):
            np.testing.assert_array_equal(got, want)
