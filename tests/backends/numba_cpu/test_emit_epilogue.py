"""The text of epilogues, and where a product's sums may be until they are replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from graphc.backends.numba_cpu.emit_epilogue import emit_epilogue, sum_in_result
from graphc.dtypes import float32
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Value
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.loops.kernel import Kernel
from graphc.loops.plan import ProductStep, make_plan

P, M, N, K = (symbol(name) for name in "pmnk")


def epilogue(
    after: Callable[[Builder, Value, Value], Value], bias_axes: tuple[int, ...] = (3,), columns: object = N
) -> Kernel:
    """The epilogue ``after``, of sums and a broadcast operand, of a batch of products whose rows have two axes."""
    b = Builder("g", location=Location("model.py", 3))
    x = b.parameter(TensorType(float32, (P, 2, M, K)))
    y = b.parameter(TensorType(float32, (P, K, columns)))  # type: ignore[arg-type]
    sums = b.dot_general(x, y, contract=((3,), (1,)), batch=((0,), (0,)))
    operand = b.parameter(TensorType(float32, tuple(sums.shape[axis] for axis in bias_axes)))
    spread = b.broadcast_in_dim(operand, shape=sums.shape, dims=bias_axes)
    (step,) = make_plan(b.finish([after(b, sums, spread)]), epilogues=True).steps
    assert isinstance(step, ProductStep)
    return step.epilogue


def test_a_bias_and_an_activation(golden: Callable[[str | Path, str], None]) -> None:
    kernel = epilogue(lambda b, sums, bias: b.tanh(b.add(sums, bias)))
    assert sum_in_result(kernel) == 0
    golden("golden/epilogue_dense.txt", emit_epilogue(kernel, [3, 2, 3], annotate=True).source)


def test_loops_over_matrices_rows_and_columns(golden: Callable[[str | Path, str], None]) -> None:
    kernel = epilogue(lambda b, sums, scale: b.mul(sums, scale), (0, 2))
    assert kernel.grid == (1, 2, 1)
    golden("golden/epilogue_grid.txt", emit_epilogue(kernel, [3, 2, 3]).source)


def test_one_column_runs_along_the_rows(golden: Callable[[str | Path, str], None]) -> None:
    kernel = epilogue(lambda b, sums, scale: b.mul(sums, scale), (0, 1, 2), columns=1)
    assert kernel.grid is not None and kernel.grid[2] == 0
    golden("golden/epilogue_column.txt", emit_epilogue(kernel, [3, 2, 3]).source)


def test_sums_of_another_dtype_need_room_of_their_own() -> None:
    kernel = epilogue(lambda b, sums, bias: b.gt(sums, bias))
    assert sum_in_result(kernel) is None
    text = emit_epilogue(kernel, [4, 2, 3]).source
    assert "pointer_f32(buffers[4])" in text and "pointer_bool(buffers[3])" in text


def test_sizes_are_those_of_the_kernel() -> None:
    kernel = epilogue(lambda b, sums, bias: b.add(sums, bias))
    assert emit_epilogue(kernel, [3, 2, 3]).sizes == tuple(size for _, size in kernel.sizes)
    assert np.all([size != 0 for size in emit_epilogue(kernel, [3, 2, 3]).sizes])
