"""Who computes matrix products: GRAPHC_MATMUL chooses between BLAS and kernels of our own."""

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.dtypes import float32
from graphc.errors import ArgumentError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph
from graphc.ir.types import TensorType


def product() -> Graph:
    b = Builder("product")
    x, y = (b.parameter(TensorType(float32, shape)) for shape in ((5, 7), (7, 3)))
    return b.finish([b.dot_general(x, y, contract=((1,), (0,)), batch=((), ()))])


@pytest.mark.parametrize(("choice", "library"), [("blas", True), ("own", False)])
def test_the_choice_is_followed(choice: str, library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MATMUL", choice)
    executable = compile_graph(product())
    assert (not executable.kernels()) is library
    rng = np.random.default_rng(0)
    x, y = rng.random((5, 7), np.float32), rng.random((7, 3), np.float32)
    np.testing.assert_allclose(executable(x, y)[0], x @ y, rtol=1e-6)


@pytest.mark.parametrize("choice", ["blas", "own"])
def test_maps_after_a_product_whoever_computes_it(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MATMUL", choice)
    b = Builder("dense")
    x, y, z = (b.parameter(TensorType(float32, shape)) for shape in ((5, 7), (7, 3), (5, 3)))
    graph = b.finish([b.tanh(b.add(b.dot_general(x, y, contract=((1,), (0,)), batch=((), ())), z))])
    arrays = [np.random.default_rng(0).random(type_.shape, np.float32) for type_ in graph.parameter_types]
    np.testing.assert_allclose(compile_graph(graph)(*arrays)[0], np.tanh(arrays[0] @ arrays[1] + arrays[2]), rtol=1e-5)


def test_another_choice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MATMUL", "mkl")
    with pytest.raises(ArgumentError, match=r"GRAPHC_MATMUL is 'mkl'\n(.|\n)*fix: set it to blas or own"):
        compile_graph(product())
