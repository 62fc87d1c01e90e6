"""gather, scatter_* and dynamic slices against their `evaluate`, and what they do with indices out of range."""

import numpy as np
import pytest

from graphc.dtypes import ALL, bfloat16, bool_, float16

from .running import judge, run, samples

GATHERS = [
    ((7,), (0,), (4,)),
    ((7,), (0,), ()),
    ((7,), (0,), (2, 0)),
    ((5, 3), (0,), (2, 4)),
    ((5, 3), (1,), (6,)),
    ((5, 3), (0, 1), (8,)),
    ((4, 3, 5), (1,), (2,)),
    ((4, 3, 5), (0, 2), (3,)),
    ((2, 3, 4, 2), (1, 2), (3, 2)),
    ((2, 3, 4, 2), (1,), (3,)),
    ((5, 0), (0,), (3,)),
]


def indices_for(rng, shape, axes, count_shape):
    return [rng.integers(0, shape[a], count_shape, dtype=np.int64) for a in axes]


@pytest.mark.parametrize("shape, axes, count_shape", GATHERS)
@pytest.mark.parametrize("symbolic", [False, True])
def test_gather_shapes(shape, axes, count_shape, symbolic):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    arrays = (x, *indices_for(rng, shape, axes, count_shape))
    judge("gather", arrays, {"axes": axes}, pieces=(1, 3), symbolic=symbolic)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_gather_dtypes(dtype):
    rng = np.random.default_rng(0)
    x = samples(rng, dtype, (6, 3), special=True)
    judge("gather", (x, np.array([5, 0, 0])), {"axes": (0,)})


@pytest.mark.parametrize("name", ["scatter_set", "scatter_add", "scatter_max", "scatter_min"])
@pytest.mark.parametrize("shape, axes, count_shape", GATHERS)
def test_scatter_shapes(name, shape, axes, count_shape):
    rng = np.random.default_rng(0)
    rest = tuple(d for a, d in enumerate(shape) if a not in axes)
    x, updates = samples(rng, float16, shape, special=True), samples(rng, float16, (*count_shape, *rest))
    x, updates = x.astype(np.float32), updates.astype(np.float32)
    arrays = (x, updates, *indices_for(rng, shape, axes, count_shape))
    judge(name, arrays, {"axes": axes}, pieces=(1, 3), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("name", ["scatter_set", "scatter_add", "scatter_max", "scatter_min"])
def test_scatter_dtypes(name, dtype):
    if name == "scatter_add" and dtype is bool_:
        pytest.skip("scatter_add takes numbers")
    rng = np.random.default_rng(0)
    x, updates = samples(rng, dtype, (3, 5), special=True), samples(rng, dtype, (9, 5), special=True)
    judge(name, (x, updates, rng.integers(0, 3, 9)), {"axes": (0,)}, rtol=1e-6)


@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=str)
def test_scatter_add_accumulates_16_bits_in_32(dtype):
    x, updates = np.zeros(1, dtype.numpy), np.full(4096, 0.25, dtype.numpy)
    (result,), _ = run("scatter_add", (x, updates, np.zeros(4096, np.int64)), {"axes": (0,)})
    assert float(result[0]) == 1024


def test_scatter_set_keeps_the_last_of_several():
    x, updates = np.zeros((2, 2), np.float32), np.arange(6, dtype=np.float32).reshape(3, 2)
    (result,), _ = run("scatter_set", (x, updates, np.array([1, 0, 1])), {"axes": (0,)}, pieces=2)
    assert result.tolist() == [[2, 3], [4, 5]]


@pytest.mark.parametrize("bad", [-1, 5, 2**62, -(2**63)])
def test_an_index_out_of_range_is_reported(bad):
    x, indices = np.zeros((3, 5), np.float32), np.array([1, bad, 2])
    _, status = run("gather", (x, indices), {"axes": (1,)})
    assert status == [1, bad, 1, 5]
    updates = np.ones((3, 3), np.float32)
    for name in ("scatter_set", "scatter_add", "scatter_max", "scatter_min"):
        _, status = run(name, (x, updates, indices), {"axes": (1,)}, pieces=2)
        assert status == [1, bad, 1, 5]


def test_an_earlier_report_stays():
    x = np.zeros((3,), np.float32)
    _, status = run("gather", (x, np.array([7, 8, 9])), {"axes": (0,)})
    assert status == [1, 7, 0, 3]


SLICES = [
    ((), (), ()),
    ((6,), (3,), (2,)),
    ((6,), (6,), (0,)),
    ((6,), (0,), (6,)),
    ((4, 5), (2, 3), (1, 2)),
    ((4, 5), (2, 5), (2, 0)),
    ((4, 5), (4, 1), (0, 4)),
    ((3, 4, 5), (1, 2, 5), (2, 1, 0)),
    ((3, 4, 5), (3, 4, 5), (0, 0, 0)),
    ((3, 4, 5), (2, 0, 5), (1, 4, 0)),
]


@pytest.mark.parametrize("shape, sizes, starts", SLICES)
@pytest.mark.parametrize("symbolic", [False, True])
def test_dynamic_slices(shape, sizes, starts, symbolic):
    x = np.arange(1, 1 + np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    positions = [np.int64(s) for s in starts]
    judge("dynamic_slice", (x, *positions), {"sizes": sizes}, pieces=(1, 2))
    update = -np.ones(sizes, np.float32)
    judge("dynamic_update_slice", (x, update, *positions), {}, pieces=(1, 2), symbolic=symbolic)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_dynamic_slice_dtypes(dtype):
    rng = np.random.default_rng(0)
    x, update = samples(rng, dtype, (4, 5), special=True), samples(rng, dtype, (2, 2), special=True)
    starts = (np.int64(1), np.int64(3))
    judge("dynamic_slice", (x, *starts), {"sizes": (2, 2)})
    judge("dynamic_update_slice", (x, update, *starts), {})


@pytest.mark.parametrize("start, axis", [((-1, 0), 0), ((3, 0), 0), ((0, 4), 1), ((0, 2**62), 1)])
def test_a_slice_out_of_range_is_reported(start, axis):
    x, update = np.zeros((4, 5), np.float32), np.ones((2, 2), np.float32)
    starts = [np.int64(s) for s in start]
    _, status = run("dynamic_slice", (x, *starts), {"sizes": (2, 2)}, pieces=2)
    assert status == [1, start[axis], axis, (4, 5)[axis]]
    (result,), status = run("dynamic_update_slice", (x, update, *starts), {})
    assert status == [1, start[axis], axis, (4, 5)[axis]]
    assert not result.any()
