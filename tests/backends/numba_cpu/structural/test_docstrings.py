"""The texts that docstrings show are the texts that are emitted."""

import inspect
import itertools

import pytest

from graphc.backends.numba_cpu.backend import LOWERINGS
from graphc.backends.numba_cpu.gemm.convolution import _ImplicitProduct
from graphc.backends.numba_cpu.gemm.convolution_in_place import InPlaceProduct
from graphc.backends.numba_cpu.structural import (
    convolution,
    cumulative,
    indexing,
    select_and_scatter,
    template,
)
from graphc.backends.numba_cpu.structural.window import Windows
from graphc.dtypes import float16, float32, int32, int64, uint64
from graphc.dtypes import uint32 as u32
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType

MATRIX = TensorType(float32, (6, 5))
SCALAR = TensorType(int64, ())
ONES = {"base_dilation": (1, 1), "window_dilation": (1, 1)}
POOLING = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 1)), **ONES}
INSIDE = {**POOLING, "padding": ((0, 0), (0, 0))}
CONVOLUTION = {"strides": (1,), "padding": ((0, 0),), "lhs_dilation": (1,), "rhs_dilation": (1,), "groups": 1}


def lowered(name, types, **attributes):
    kernels = LOWERINGS[name](attributes, types, get_primitive(name).infer(tuple(types), **attributes))
    return "\n".join(k.source for k in kernels) if isinstance(kernels, tuple) else kernels.source


def convolved(dtype=float32):
    return lowered("conv_general", [TensorType(dtype, (2, 3, 9)), TensorType(dtype, (4, 3, 3))], **CONVOLUTION)


def convolved_in_place():
    types = [TensorType(float32, (2, 64, 30)), TensorType(float32, (32, 64, 5))]
    return lowered("conv_general", types, **CONVOLUTION)


EXAMPLES = {
    "pad": (
        LOWERINGS["pad"],
        lambda: lowered("pad", [MATRIX, TensorType(float32, ())], low=(0, 1), high=(0, 1), interior=(1, 0)),
    ),
    "concatenate": (LOWERINGS["concatenate"], lambda: lowered("concatenate", [MATRIX] * 3, axis=1)),
    "gather": (
        LOWERINGS["gather"],
        lambda: lowered("gather", [MATRIX, TensorType(int64, (7,))], axes=(0,)),
    ),
    "scatter_add": (
        indexing._scatter_kernel,
        lambda: lowered("scatter_add", [MATRIX, TensorType(float32, (7, 5)), TensorType(int64, (7,))], axes=(0,)),
    ),
    "dynamic_slice": (
        LOWERINGS["dynamic_slice"],
        lambda: lowered("dynamic_slice", [MATRIX, SCALAR, SCALAR], sizes=(2, 3)),
    ),
    "dynamic_update_slice": (
        LOWERINGS["dynamic_update_slice"],
        lambda: lowered("dynamic_update_slice", [MATRIX, TensorType(float32, (2, 3)), SCALAR, SCALAR]),
    ),
    "sort": (LOWERINGS["sort"], lambda: lowered("sort", [MATRIX], axis=1, descending=False)),
    "argsort": (LOWERINGS["argsort"], lambda: lowered("argsort", [MATRIX], axis=1, descending=False)),
    "top_k": (LOWERINGS["top_k"], lambda: lowered("top_k", [MATRIX], k=2)),
    "cumulative_sum of rows": (
        cumulative._along_rows,
        lambda: lowered("cumulative_sum", [TensorType(float16, (6, 5))], axis=1, reverse=False),
    ),
    "cumulative_sum of columns": (
        cumulative._along_columns,
        lambda: lowered("cumulative_sum", [MATRIX], axis=0, reverse=False),
    ),
    "reduce_window_max": (LOWERINGS["reduce_window_max"], lambda: lowered("reduce_window_max", [MATRIX], **POOLING)),
    "reduce_window_argmax": (
        LOWERINGS["reduce_window_argmax"],
        lambda: lowered("reduce_window_argmax", [MATRIX], **POOLING),
    ),
    "windows written out": (
        Windows.walk_unrolled,
        lambda: lowered("reduce_window_max", [MATRIX], **{**INSIDE, "strides": (2, 3)}),
    ),
    "windows side by side": (Windows.walk_side_by_side, lambda: lowered("reduce_window_max", [MATRIX], **INSIDE)),
    "select_and_scatter side by side": (
        LOWERINGS["select_and_scatter"],
        lambda: lowered("select_and_scatter", [MATRIX, TensorType(float32, (3, 2))], select="max", **INSIDE),
    ),
    "select_and_scatter in turn": (
        select_and_scatter._in_turn,
        lambda: lowered("select_and_scatter", [MATRIX, TensorType(float32, (3, 3))], select="max", **POOLING),
    ),
    "conv table": (convolution.table_kernel, convolved),
    "conv padding": (convolution.padding_kernel, convolved),
    "conv weights": (_ImplicitProduct.weights_kernel, convolved),
    "conv product": (_ImplicitProduct.product_kernel, convolved),
    "conv vectors": (InPlaceProduct.weights_kernel, convolved_in_place),
    "conv in place": (InPlaceProduct.product_kernel, convolved_in_place),
    "conv directly": (convolution.direct_kernel, lambda: convolved(int32)),
    "random_bits": (
        LOWERINGS["random_bits"],
        lambda: lowered("random_bits", [TensorType(uint64, ())] * 2, shape=(9,), dtype=u32),
    ),
    "copy": (template.copy_kernel, lambda: template.copy_kernel(float32, 6, 0, 2).source),
    "convert": (template.convert_kernel, lambda: template.convert_kernel(float16, float32, 6, 0, 3).source),
}


def shown_lines(docstring):
    """The lines of the example after ``::``, without those that leave something out."""
    _, example = inspect.cleandoc(docstring).split("::\n\n", 1)
    lines = itertools.takewhile(lambda line: not line or line.startswith("    "), example.splitlines())
    return [line.strip() for line in lines if line.strip() and "..." not in line]


@pytest.mark.parametrize("name", EXAMPLES)
def test_shown_lines_are_emitted_in_order(name):
    shown, emit = EXAMPLES[name]
    source = iter([line.strip() for line in emit().splitlines()])
    for line in shown_lines(shown.__doc__):
        assert line in source, f"not emitted (in this order): {line}"
