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


def test_another_choice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MATMUL", "mkl")
    with pytest.raises(ArgumentError, match=r"GRAPHC_MATMUL is 'mkl'\n(.|\n)*fix: set it to blas or own"):
        compile_graph(product())
