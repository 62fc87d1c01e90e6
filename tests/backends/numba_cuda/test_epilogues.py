"""Products and convolutions with the maps after them in the same kernel."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.backends.numba_cuda.adapter import IS_SIMULATOR, link
from graphc.compile import compile_graph
from graphc.ir.graph import Graph
from graphc.testing import assert_equivalent
from tests.backends.numba_cuda.programs import ARCHITECTURES

Function = Callable[..., Any]


def scaled_residual(x: Any, w: Any, s: Any, r: Any) -> Any:
    return r + 0.5 * (x @ w) * s


def both(x: Any, w: Any) -> Any:
    sums = x @ w
    return sums, gc.tanh(sums), sums > 0.0


def heads(q: Any, k: Any, m: Any) -> Any:
    return gc.where(m, q @ gc.swapaxes(k, -1, -2) / 8.0, -1e9)


def grouped(x: Any, k: Any, b: Any, r: Any) -> Any:
    return gc.maximum(gc.conv2d(x, k, b, padding=1, groups=2), 0.0) + r


#: name → (function, its types, shapes for the simulator)
PROGRAMS: dict[str, tuple[Function, tuple[str, ...], tuple[tuple[int, ...], ...]]] = {
    "dense": (lambda x, w, b: gc.relu(x @ w + b), ("f32[n, k]", "f32[k, m]", "f32[m]"), ((5, 7), (7, 9), (9,))),
    "gelu": (lambda x, w, b: gc.gelu(x @ w + b), ("f32[n, k]", "f32[k, 3]", "f32[3]"), ((6, 4), (4, 3), (3,))),
    "f64": (lambda x, w, b: gc.gelu(x @ w + b), ("f64[n, k]", "f64[k, m]", "f64[m]"), ((5, 3), (3, 6), (6,))),
    "f16": (lambda x, w, b: gc.relu(x @ w + b), ("f16[n, k]", "f16[k, m]", "f16[m]"), ((5, 3), (3, 6), (6,))),
    "to a narrow dtype": (lambda x, w: (x @ w).astype("float16"), ("f32[n, k]", "f32[k, m]"), ((5, 3), (3, 6))),
    "integers": (lambda x, w: (x @ w) * 3 + 1, ("i32[n, k]", "i32[k, m]"), ((5, 3), (3, 6))),
    "scaled rows and a residual": (
        scaled_residual,
        ("f32[n, k]", "f32[k, m]", "f32[n, 1]", "f32[n, m]"),
        ((5, 2), (2, 6), (5, 1), (5, 6)),
    ),
    "sums that are kept": (both, ("f32[n, k]", "f32[k, m]"), ((5, 3), (3, 6))),
    "batches": (
        heads,
        ("f32[b, h, t, 8]", "f32[b, h, u, 8]", "bool[b, 1, t, u]"),
        ((2, 3, 5, 8), (2, 3, 4, 8), (2, 1, 5, 4)),
    ),
    "rows of two axes": (
        lambda x, w, b: gc.relu(x @ w + b),
        ("f32[b, t, k]", "f32[k, m]", "f32[t, m]"),
        ((2, 3, 4), (4, 5), (3, 5)),
    ),
    "one column": (lambda x, w: gc.sigmoid(x @ w), ("f32[n, k]", "f32[k]"), ((7, 3), (3,))),
    "convolution": (
        lambda x, k, b: gc.relu(gc.conv2d(x, k, b, padding=1)),
        ("f32[n, 2, h, w]", "f32[5, 2, 3, 3]", "f32[5]"),
        ((2, 2, 4, 3), (5, 2, 3, 3), (5,)),
    ),
    "groups and a residual": (
        grouped,
        ("f32[n, 4, h, w]", "f32[6, 2, 3, 3]", "f32[6]", "f32[n, 6, h, w]"),
        ((2, 4, 3, 3), (6, 2, 3, 3), (6,), (2, 6, 3, 3)),
    ),
}  # fmt: skip


def graph_of(name: str) -> Graph:
    function, types, _ = PROGRAMS[name]
    graph: Graph = gc.jit(function, name="program").graph(*(gc.spec(t) for t in types))
    return graph


@pytest.mark.simulator
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_they_agree_with_the_reference(name: str) -> None:
    _, _, shapes = PROGRAMS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    graph = graph_of(name)
    dtypes = [parameter.type.dtype.numpy for parameter in graph.parameters]
    arrays = [(rng.normal(size=s) * 3).astype(d) for s, d in zip(shapes, dtypes, strict=True)]
    kernel, *_ = compile_graph(graph, "cuda").kernels()
    assert kernel.name.startswith(("dot_general_", "conv_general_"))
    wide = 2e-2 if "f16" in name or "narrow" in name else 1e-5
    assert_equivalent(graph, arrays, targets=("reference", "cuda"), rtol=wide, atol=wide)


@pytest.mark.ptx
@pytest.mark.parametrize("name", ["gelu", "f64", "f16", "sums that are kept", "batches", "groups and a residual"])
def test_their_code_fits_in_registers(name: str) -> None:
    compiled: Any = compile_graph(graph_of(name), f"cuda:{ARCHITECTURES[0]}")
    for kernel in compiled.kernels():
        for architecture in ARCHITECTURES:
            _, usage = link(kernel.code.ptx, architecture)
            assert (usage.spills, usage.stack) == (0, 0), f"{architecture}: {usage}"


def test_the_source_names_the_users_lines() -> None:
    (line,) = {
        number
        for number, text in enumerate(Path(__file__).read_text().splitlines(), 1)
        if text.startswith('    "dense": (lambda')
    }
    target = "cuda" if IS_SIMULATOR else "cuda:sm_90"
    assert f"# test_epilogues.py:{line}" in compile_graph(graph_of("dense"), target).stages()["source"]
