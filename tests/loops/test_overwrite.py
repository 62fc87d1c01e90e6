"""Which results may be written over an operand, and how a kernel that does it reads."""

from dataclasses import replace

import pytest

from graphc.backends.numba_cpu.emit import emit
from graphc.dtypes import float32, float64
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from graphc.loops.overwrite import Overwrite, overwritable
from graphc.loops.plan import KernelStep, make_plan

M, N = symbol("m"), symbol("n")


def kernel_of(function, *types):
    b = Builder("g")
    outputs = function(b, *[b.parameter(t, f"x{i}") for i, t in enumerate(types)])
    (step,) = make_plan(b.finish(outputs if isinstance(outputs, list) else [outputs])).steps
    assert isinstance(step, KernelStep)
    return step.kernel


def columns(b, x, like):
    return b.broadcast_in_dim(x, shape=like.shape, dims=(1,))


def softmax(b, x):
    def rows(v):
        return b.broadcast_in_dim(v, shape=x.shape, dims=(0,))

    e = b.exp(b.sub(x, rows(b.reduce_max(x, axes=(1,)))))
    return b.div(e, rows(b.reduce_sum(e, axes=(1,))))


def sum_and_square(b, x):
    return [b.reduce_sum(x, axes=(1,)), b.mul(x, x)]


def scaled_sums(b, x, s):
    return b.mul(b.reduce_sum(x, axes=(1,)), s)


X, V, ROW = TensorType(float32, (M, N)), TensorType(float32, (N,)), TensorType(float32, (M,))
CASES = {
    "map": (lambda b, x, y: b.add(x, y), (X, X), {(0, 0), (0, 1)}),
    "broadcast operand": (lambda b, x, y: b.add(x, columns(b, y, x)), (X, V), {(0, 1)}),
    "transposed operand": (lambda b, x, y: b.add(x, b.transpose(y, permutation=(1, 0))),
                           (TensorType(float32, (N, N)),) * 2, {(0, 1)}),
    "other positions too": (lambda b, x: b.add(x, b.reverse(x, axes=(0,))), (X,), set()),
    "part of an operand": (lambda b, x: b.neg(b.slice(x, starts=(0,), limits=(2,), strides=(1,))),
                           (TensorType(float32, (4,)),), set()),
    "other dtype": (lambda b, x: b.convert_element_type(x, dtype=float64), (X,), set()),
    "stages of a row": (softmax, (X,), {(0, 0)}),
    "reduction and map": (sum_and_square, (X,), {(1, 0)}),
    "epilogue": (scaled_sums, (X, ROW), {(0, 1)}),
    "reduction of everything": (lambda b, x, s: b.mul(b.reduce_sum(x, axes=(0, 1)), s), (X, TensorType(float32, ())), set()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pairs(name):
    function, types, expected = CASES[name]
    kernel = kernel_of(function, *types)
    assert {tuple(pair) for pair in overwritable(kernel)} == expected


def test_a_pair_is_one_parameter():
    kernel = replace(kernel_of(lambda b, x, y: b.sub(x, columns(b, y, x)), X, V), overwrites=(Overwrite(0, 1),))
    (source,) = emit(kernel)
    assert source.source == """\
@noalias
def map_sub_loop(in0, inout1, s0, s1, lo, hi):
    for i0 in range(lo, hi):
        p0 = s1*i0
        for i1 in range(s1):
            v0 = in0[i1]
            v1 = inout1[p0 + i1]
            v2 = v1 - v0
            inout1[p0 + i1] = v2


def map_sub(buffers, sizes, lo, hi, status):
    map_sub_loop(
        pointer_f32(buffers[0]),
        pointer_f32(buffers[1]),
        sizes[0],
        sizes[1],
        lo,
        hi,
    )
"""
    assert "writes b2: f32[m, n] over b1" in kernel.describe()
