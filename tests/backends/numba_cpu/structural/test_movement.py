"""pad and concatenate against their `evaluate`."""

import numpy as np
import pytest

from graphc.backends.numba_cpu.structural import LOWERINGS
from graphc.dtypes import ALL, float32
from graphc.ir.types import TensorType

from .running import judge, samples

SHAPE_PADS = [
    ((), (), (), ()),
    ((5,), (2,), (3,), (0,)),
    ((5,), (-2,), (3,), (0,)),
    ((5,), (-6,), (8,), (0,)),
    ((5,), (2,), (-6,), (0,)),
    ((5,), (1,), (-2,), (2,)),
    ((5,), (-4,), (-3,), (1,)),
    ((0,), (2,), (1,), (1,)),
    ((3, 4), (1, 0), (0, 2), (0, 0)),
    ((3, 4), (-1, 2), (2, -1), (1, 0)),
    ((3, 4), (-1, -2), (2, 3), (0, 1)),
    ((2, 0, 3), (1, 1, 1), (0, 2, 0), (0, 1, 0)),
    ((2, 3, 4), (-1, 1, -1), (1, 0, 1), (1, 2, 0)),
    ((2, 3, 4), (0, 0, 0), (0, -3, 0), (0, 0, 0)),
]


@pytest.mark.parametrize("shape, low, high, interior", SHAPE_PADS)
def test_pad_shapes(shape, low, high, interior):
    x = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
    attributes = {"low": low, "high": high, "interior": interior}
    judge("pad", (x, np.float32(-7)), attributes, pieces=(1, 2, 5))


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_pad_dtypes(dtype):
    rng = np.random.default_rng(0)
    x, value = samples(rng, dtype, (4, 3), special=True), samples(rng, dtype, ())
    judge("pad", (x, value), {"low": (1, -1), "high": (0, 2), "interior": (0, 0)})


def test_pad_is_one_kernel_for_all_sizes():
    x, value = np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(9)
    judge("pad", (x, value), {"low": (1, 2), "high": (3, 0), "interior": (0, 0)}, symbolic=True)


@pytest.mark.parametrize(
    "shapes, axis",
    [
        ([(3,)], 0),
        ([(3,), (0,), (2,)], 0),
        ([(0,), (0,)], 0),
        ([(2, 3), (4, 3)], 0),
        ([(2, 3), (2, 1), (2, 4)], 1),
        ([(2, 0, 3), (2, 5, 3)], 1),
        ([(2, 1, 3)] * 7, 1),
        ([(0, 2), (0, 3)], 1),
    ],
)
def test_concatenate_shapes(shapes, axis):
    arrays = [np.random.default_rng(i).standard_normal(s).astype(np.float32) for i, s in enumerate(shapes)]
    judge("concatenate", arrays, {"axis": axis}, pieces=(1, 2, 3, 7))
    judge("concatenate", arrays, {"axis": axis}, symbolic=True)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_concatenate_dtypes(dtype):
    rng = np.random.default_rng(0)
    arrays = [samples(rng, dtype, (2, n), special=True) for n in (3, 1)]
    judge("concatenate", arrays, {"axis": 1})


def test_many_operands_share_one_kernel():
    arrays = [np.full((2, 1), i, dtype=np.int64) for i in range(100)]
    judge("concatenate", arrays, {"axis": 1}, pieces=(1, 9))
    kernels = [LOWERINGS["concatenate"]({"axis": 1}, *concatenation(count)) for count in (2, 100)]
    assert kernels[0].source == kernels[1].source


def concatenation(count):
    """Operand and result types of ``count`` columns of f32 side by side."""
    return [TensorType(float32, (2, 1))] * count, [TensorType(float32, (2, count))]
