"""dot_general in all its forms against its `evaluate`; results repeat bit for bit however the range is split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.backends.numba_cpu.backend import LOWERINGS
from graphc.backends.numba_cpu.gemm.blocked import block_sizes, row_blocks
from graphc.backends.numba_cpu.gemm.blocking import Blocking
from graphc.backends.numba_cpu.gemm.product import Product, Strides
from graphc.dtypes import ALL, bfloat16, float16, float32, float64, int32
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from tests.backends.numba_cpu.structural.running import judge, run, samples

NUMBERS = [dtype for dtype in ALL if not dtype.is_bool]
# What one sum of k products of standard normal numbers may be off by, per sqrt(k).
TOLERANCE = {"float64": 1e-14, "float32": 3e-6, "float16": 4e-3, "bfloat16": 3e-2}
MATRICES = {"contract": ((1,), (0,)), "batch": ((), ())}


def check(arrays, attributes, **options):
    dtype = arrays[0].dtype
    depth = int(np.prod([arrays[0].shape[a] for a in attributes["contract"][0]], dtype=np.int64))
    scale = TOLERANCE.get(dtype.name, 0.0)
    judge("dot_general", arrays, attributes, rtol=scale, atol=scale * max(1, depth) ** 0.5, **options)


def matrices(rng, dtype, m, n, k, transposed=(False, False), batch=()):
    """The operands of a product of matrices, each transposed in memory or not, and the attributes."""
    a = samples(rng, dtype, (*batch, *((k, m) if transposed[0] else (m, k))))
    b = samples(rng, dtype, (*batch, *((n, k) if transposed[1] else (k, n))))
    first = len(batch)
    contract = ((first + (not transposed[0]),), (first + transposed[1],))
    axes = tuple(range(first))
    return (a, b), {"contract": contract, "batch": (axes, axes)}


@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_dtypes_and_transpositions(dtype, transposed):
    arrays, attributes = matrices(np.random.default_rng(0), dtype, 37, 45, 29, transposed)
    check(arrays, attributes, pieces=(1, 2))


SIZES = [0, 1, 2, 3, 5, 7, 8, 9, 13, 14, 15, 16, 17, 28, 31, 32, 33, 63, 64, 65, 100, 129]


@settings(deadline=None)
@given(
    m=st.sampled_from(SIZES),
    n=st.sampled_from(SIZES),
    k=st.sampled_from(SIZES),
    transposed=st.tuples(st.booleans(), st.booleans()),
    batch=st.sampled_from([(), (1,), (3,), (2, 3), (0,)]),
    dtype=st.sampled_from([float32, float64, float16, bfloat16]),
    symbolic=st.booleans(),
)
def test_sizes(m, n, k, transposed, batch, dtype, symbolic):
    arrays, attributes = matrices(np.random.default_rng(m * n + k), dtype, m, n, k, transposed, batch)
    check(arrays, attributes, pieces=(1, 3), symbolic=symbolic)


@st.composite
def axis_groups(draw):
    """Operands with their axes in any order, of any grouping, and the attributes."""
    sizes = st.lists(st.integers(0, 5), max_size=2)
    batch, left, right, summed = (draw(sizes) for _ in range(4))

    def operand(free):
        labels = [("b", i, n) for i, n in enumerate(batch)] + [("s", i, n) for i, n in enumerate(summed)]
        labels += [("f", i, n) for i, n in enumerate(free)]
        order = draw(st.permutations(labels))
        places = {label[:2]: place for place, label in enumerate(order)}
        return [n for _, _, n in order], places

    (shape_a, places_a), (shape_b, places_b) = operand(left), operand(right)
    pairs = {}
    for name, letter, group in (("batch", "b", batch), ("contract", "s", summed)):
        indices = draw(st.permutations(range(len(group))))
        pairs[name] = (tuple(places_a[letter, i] for i in indices), tuple(places_b[letter, i] for i in indices))
    return shape_a, shape_b, pairs


@settings(deadline=None)
@given(case=axis_groups(), symbolic=st.booleans())
def test_any_axes(case, symbolic):
    shape_a, shape_b, attributes = case
    rng = np.random.default_rng(0)
    arrays = (samples(rng, float32, shape_a), samples(rng, float32, shape_b))
    check(arrays, attributes, pieces=(1, 2), symbolic=symbolic)


@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=str)
@pytest.mark.parametrize("transposed", [(False, False), (True, True)], ids=str)
def test_several_blocks_in_every_direction(dtype, transposed):
    """More rows, columns and depth than one block has, and not by a multiple of a tile."""
    blocks = block_sizes(dtype)
    m, n, k = blocks.rows + 19, 2 * blocks.columns + 21, 2 * blocks.depth + 5
    arrays, attributes = matrices(np.random.default_rng(0), dtype, m, n, k, transposed)
    check(arrays, attributes, pieces=(1, 2, 5))


@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
@pytest.mark.parametrize("dtype", [float32, bfloat16], ids=str)
def test_rows_divided_among_threads(dtype, batch):
    """One column of blocks with much to sum is several tasks, and neighbours that one thread has are one block."""
    m, n, k = 201, 37, 1100
    rng = np.random.default_rng(0)
    arrays = (samples(rng, dtype, (*batch, m, k)), samples(rng, dtype, (*batch, k, n)))
    first = len(batch)
    axes = tuple(range(first))
    check(arrays, {"contract": ((first + 1,), (first,)), "batch": (axes, axes)}, pieces=(1, 2, 3, 5))


@pytest.mark.parametrize(
    "rows, columns, depth, count",
    [(128, 128, 4096, 2), (32, 128, 128, 1), (200, 128, 1024, 4), (128, 129, 4096, 1), (1024, 64, 128, 4), (0, 0, 9, 0)],
)
def test_number_of_row_blocks(rows, columns, depth, count):
    strides = Strides((), depth, 1), Strides((), columns, 1)
    p = Product(float32, (), rows, columns, depth, *strides)
    assert row_blocks(p, Blocking(266, 128, 384)) == count


@pytest.mark.parametrize("shape", [(3, 100_003), (100_003, 3)], ids=str)
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_long_sums(dtype, shape):
    m, k = shape
    arrays, attributes = matrices(np.random.default_rng(0), dtype, m, 5, k)
    check(arrays, attributes, pieces=(1, 2))


VECTORS = [
    ((70, 50), (50,), ((1,), (0,))),
    ((50, 70), (50,), ((0,), (0,))),
    ((50,), (50, 70), ((0,), (0,))),
    ((50,), (70, 50), ((0,), (1,))),
    ((1500, 7), (1500,), ((0,), (0,))),
    ((1500, 1301), (1500,), ((0,), (0,))),
    ((7, 3001), (3001,), ((1,), (0,))),
    ((40_001,), (40_001,), ((0,), (0,))),
    ((0,), (0,), ((0,), (0,))),
    ((4, 0), (0,), ((1,), (0,))),
    ((0, 4), (0,), ((0,), (0,))),
    ((50,), (70,), ((), ())),
    ((5, 7), (3,), ((), ())),
    ((), (), ((), ())),
]


@pytest.mark.parametrize("shape_a, shape_b, contract", VECTORS, ids=str)
@pytest.mark.parametrize("dtype", [float32, float64, bfloat16, int32], ids=str)
def test_vectors(dtype, shape_a, shape_b, contract):
    rng = np.random.default_rng(0)
    arrays = (samples(rng, dtype, shape_a), samples(rng, dtype, shape_b))
    check(arrays, {"contract": contract, "batch": ((), ())}, pieces=(1, 3))


@pytest.mark.parametrize("shape_a, shape_b", [((6, 5), (6, 5)), ((5, 6), (5, 6))], ids=str)
@pytest.mark.parametrize("batch", [0, 1])
def test_batches_of_dots(shape_a, shape_b, batch):
    rng = np.random.default_rng(0)
    arrays = (samples(rng, float32, shape_a), samples(rng, float32, shape_b))
    other = 1 - batch
    check(arrays, {"contract": ((other,), (other,)), "batch": ((batch,), (batch,))}, pieces=(1, 3))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=str)
@pytest.mark.parametrize("sizes", [(33, 45, 29), (16, 16, 16), (1, 45, 29), (33, 1, 29)], ids=str)
def test_special_values_reach_what_they_should_and_nothing_else(sizes, dtype, value):
    m, n, k = sizes
    rng = np.random.default_rng(0)
    arrays, attributes = matrices(rng, dtype, m, n, k)
    arrays[0][m // 2, k // 2] = value
    arrays[1][k // 3, n // 2] = value
    arrays[1][k // 2, n - 1] = 0
    check(arrays, attributes)


def test_integers_wrap():
    for dtype in NUMBERS:
        if dtype.is_integer:
            rng = np.random.default_rng(0)
            arrays = (samples(rng, dtype, (9, 70), special=True), samples(rng, dtype, (70, 11), special=True))
            check(arrays, MATRICES, pieces=(1, 4))
            check((arrays[0], np.ascontiguousarray(arrays[1].T)), {"contract": ((1,), (1,)), "batch": ((), ())})


def test_rows_are_the_same_however_many_there_are():
    """A row's sums do not depend on the other rows of the batch, nor on the tile that they fall in."""
    (a, b), attributes = matrices(np.random.default_rng(0), float32, 61, 77, 900)
    (whole,), _ = run("dot_general", (a, b), attributes)
    for rows in (2, 7, 14, 30):
        (part,), _ = run("dot_general", (a[:rows], b), attributes)
        assert part.tobytes() == whole[:rows].tobytes()


def test_text_depends_on_no_size():
    def source(m, n, k):
        types = (TensorType(float32, (m, k)), TensorType(float32, (k, n)))
        result = (TensorType(float32, (m, n)),)
        return [kernel.source for kernel in LOWERINGS["dot_general"](MATRICES, types, result)]

    assert source(3, 4, 5) == source(300, 1000, 2000) == source(symbol("m"), symbol("n"), symbol("k"))


def test_only_axes_that_no_stride_describes_are_copied():
    def names(shape_a, shape_b, contract, batch=((), ())):
        types = (TensorType(float32, shape_a), TensorType(float32, shape_b))
        return [k.name for k in LOWERINGS["dot_general"]({"contract": contract, "batch": batch}, types, ())]

    assert names((2, 3, 4), (4, 5), ((2,), (0,))) == ["product_f32"]
    assert names((2, 3, 4), (2, 3, 5), ((0, 1), (0, 1))) == ["product_f32"]
    assert names((2, 3, 4, 5), (2, 6, 4, 5), ((3,), (3,)), ((0, 2), (0, 2))) == ["product_f32"]
    assert names((2, 3, 4), (3, 5), ((1,), (0,))) == ["permute", "product_f32"]
    assert names((2, 3, 4), (4, 2, 5), ((0, 2), (1, 0))) == ["permute", "product_f32"]
    assert names((2, 1, 4), (4, 5), ((2,), (0,))) == ["product_f32"]
