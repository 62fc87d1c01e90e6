"""Random graphs: the compiled result against the reference, for several sizes of one compilation."""

import numpy as np
import pytest

from graphc.compile import compile_graph

from .random_graphs import RandomGraph

TOLERANCE = {2: 2e-2, 4: 1e-4, 8: 1e-4}


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs(seed: int) -> None:
    random = RandomGraph(seed, size=14)
    reference = compile_graph(random.graph, "reference")
    compiled = compile_graph(random.graph, optimize=seed % 2 == 0)
    for n in (7, 2, 0, 1):
        arrays = random.inputs(n)
        for got, want in zip(compiled(*arrays), reference(*arrays), strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            if want.dtype.kind in "biu":
                np.testing.assert_array_equal(got, want)
            else:
                allowed = TOLERANCE[want.dtype.itemsize]
                np.testing.assert_allclose(got.astype("f8"), want.astype("f8"), rtol=allowed, atol=allowed)
