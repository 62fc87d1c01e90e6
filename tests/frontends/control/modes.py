"""One function in every mode: eagerly, jitted, jitted on the reference backend, and in a Session."""

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc.compile import compile_graph
from graphc.frontends.pytree import flatten
from graphc.ir.verifier import verify


def leaves(value: Any) -> list[Any]:
    return [np.asarray(leaf.detach()) if isinstance(leaf, gc.Tensor) else leaf for leaf in flatten(value)[0]]


def in_session(function: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> list[Any]:
    graph = gc.Graph()
    with graph.as_default():
        fed = [gc.placeholder(a.dtype, a.shape) for a in arrays]
        fetches = flatten(function(*fed))[0]
        wanted = [f for f in fetches if not isinstance(f, (str, type(None)))]
    with gc.Session(graph) as session:
        got = iter(session.run([gc.identity(f) for f in wanted], dict(zip(fed, arrays, strict=True))))
        return [f if isinstance(f, (str, type(None))) else next(got) for f in fetches]


def agree(function: Callable[..., Any], *arrays: Any, tolerance: float = 1e-5) -> list[Any]:
    """The leaves of ``function(*arrays)``, after a check that all modes give the same structure, dtypes and values."""
    numpy = tuple(np.asarray(a) for a in arrays)

    def fresh() -> list[Any]:
        return [gc.tensor(a.copy()) for a in numpy]

    eager = function(*fresh())
    want = leaves(eager)
    jitted = gc.jit(function)(*fresh())
    assert flatten(jitted)[1] == flatten(eager)[1]
    compare(leaves(jitted), want, tolerance)
    graph = gc.jit(function).graph(*fresh())
    verify(graph)
    if all(isinstance(w, np.ndarray) for w in want) and len(graph.parameters) == len(numpy):
        compare(compile_graph(graph, "reference")(*numpy)[: len(want)], want, tolerance)
    compare(in_session(function, numpy), want, tolerance)
    return want


def compare(got: list[Any], want: list[Any], tolerance: float) -> None:
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        if not isinstance(other, np.ndarray):
            assert one == other
            continue
        one = np.asarray(one)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
