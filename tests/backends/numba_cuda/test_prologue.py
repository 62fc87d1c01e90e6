"""Products that make their operands of other values while they read them."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.backends.numba_cuda.adapter import IS_SIMULATOR, link
from graphc.compile import compile_graph
from graphc.ir.graph import Graph
from graphc.testing import assert_equivalent
from tests.backends.numba_cuda.programs import ARCHITECTURES

PRODUCT = (("f32[n, k]", "f32[k, m]"), ((5, 3), (3, 6)))

#: name → (function, its types, shapes for the simulator)
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[str, ...], tuple[tuple[int, ...], ...]]] = {
    "casts": (lambda x, w: x.astype("float32") @ w, ("f16[n, k]", "f32[k, m]"), ((5, 3), (3, 6))),
    "casts to less": (lambda x, w: x.astype("float16") @ w, ("f32[n, k]", "f16[k, m]"), ((5, 3), (3, 6))),
    "casts from bytes": (lambda x, w: x.astype("float32") / 2.0 @ w, ("u8[n, k]", "f32[k, m]"), ((5, 3), (3, 6))),
    "both operands": (lambda x, w: gc.relu(x) @ (w * 0.5 + 1.0), *PRODUCT),
    "a mask": (lambda x, m, w: gc.where(m, x, 0.0) @ w, ("f32[n, k]", "bool[n, k]", "f32[k, m]"), ((5, 3), (5, 3), (3, 6))),
    "an operand in another order": (lambda x, w: x @ gc.relu(w).T, ("f32[n, k]", "f32[m, k]"), ((5, 3), (6, 3))),
    "batches": (lambda x, w: (x * 2.0) @ gc.relu(w), ("f32[b, n, k]", "f32[b, k, m]"), ((2, 5, 3), (2, 3, 6))),
    "another shape": (lambda x, w: gc.relu(x).reshape(-1, 6) @ w, ("f32[n, 2, 3]", "f32[6, m]"), ((4, 2, 3), (6, 5))),
    "and an epilogue": (lambda x, w, b: gc.tanh(gc.relu(x) @ w + b), (*PRODUCT[0], "f32[m]"), (*PRODUCT[1], (6,))),
    "integers": (lambda x, w: (x + 1) @ w, ("i32[n, k]", "i32[k, m]"), ((5, 3), (3, 6))),
    "convolution": (
        lambda x, k: gc.conv2d(x.astype("float32") * 0.25, gc.relu(k), padding=1),
        ("u8[n, 2, h, w]", "f32[3, 2, 3, 3]"),
        ((2, 2, 4, 3), (3, 2, 3, 3)),
    ),
}  # fmt: skip

APART: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "the map has another reader": (lambda x, w: (gc.relu(x) @ w, gc.sum(gc.relu(x))), PRODUCT[0]),
    "the map is an output": (lambda x, w: (gc.relu(x) @ w, gc.relu(x)), PRODUCT[0]),
    "both operands are the map": (lambda x: gc.relu(x) @ gc.relu(x).T, ("f32[n, k]",)),
    "a polynomial": (lambda x, w: gc.exp(x) @ w, PRODUCT[0]),
    "rows of their own": (lambda x, s, w: (x * s) @ w, ("f32[n, k]", "f32[n, 1]", "f32[k, m]")),
}


def graph_of(function: Callable[..., Any], types: tuple[str, ...]) -> Graph:
    graph: Graph = gc.jit(function, name="program").graph(*(gc.spec(t) for t in types))
    return graph


@pytest.mark.simulator
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_they_agree_with_the_reference(name: str) -> None:
    function, types, shapes = PROGRAMS[name]
    graph = graph_of(function, types)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    dtypes = [parameter.type.dtype.numpy for parameter in graph.parameters]
    arrays = [
        rng.integers(0, 9, s).astype(d) if d.kind in "iub" else rng.normal(size=s).astype(d)
        for s, d in zip(shapes, dtypes, strict=True)
    ]
    wide = 2e-2 if "less" in name else 1e-5
    assert_equivalent(graph, arrays, targets=("reference", "cuda"), rtol=wide, atol=wide)


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_nothing_runs_before_the_product(name: str) -> None:
    compiled: Any = compile_graph(graph_of(*PROGRAMS[name][:2]), "cuda" if IS_SIMULATOR else "cuda:sm_90")
    assert all(kernel.name.startswith(("dot_general", "conv_general")) for kernel in compiled.kernels())


@pytest.mark.parametrize("name", list(APART))
def test_maps_that_are_not_computed_again(name: str) -> None:
    compiled: Any = compile_graph(graph_of(*APART[name]), "cuda" if IS_SIMULATOR else "cuda:sm_90")
    assert any(kernel.name.startswith("map") for kernel in compiled.kernels())


@pytest.mark.ptx
@pytest.mark.parametrize("name", ["casts", "a mask", "and an epilogue", "convolution"])
def test_their_code_fits_in_registers(name: str) -> None:
    compiled: Any = compile_graph(graph_of(*PROGRAMS[name][:2]), f"cuda:{ARCHITECTURES[0]}")
    for kernel in compiled.kernels():
        for architecture in ARCHITECTURES:
            _, usage = link(kernel.code.ptx, architecture)
            assert (usage.spills, usage.stack) == (0, 0), f"{architecture}: {usage}"
