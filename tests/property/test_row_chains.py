"""Random chains of row and column reductions, maps over the matrix and over its rows: any grouping into row kernels
gives what the reference interpreter gives, with any number of threads.
"""

from collections import Counter
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.dtypes import DType, bfloat16, float16, float32, float64
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN
from graphc.loops.plan import make_plan

N, M = symbol("n"), symbol("m")
SHAPES = [(5, 7), (1, 1), (4, 1), (0, 3), (3, 1030)]


class Chain:
    """A graph made by ``size`` random steps: values are matrices [n, m], one number a row [n], or one a column [m]."""

    def __init__(self, seed: int, size: int, dtype: DType) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = Builder(f"chain_{seed}", location=UNKNOWN)
        self.matrices = [self.b.parameter(TensorType(dtype, (N, M)), f"x{i}") for i in range(2)]
        self.rows = [self.b.parameter(TensorType(dtype, (N,)), "r")]
        self.columns = [self.b.parameter(TensorType(dtype, (M,)), "c")]
        for _ in range(size):
            self.step()
        outputs = [self.matrices[-1], self.rows[-1], self.columns[-1], *(self.late(self.matrices) for _ in range(2))]
        self.graph: Graph = self.b.finish(list(dict.fromkeys(outputs)))

    def late(self, values: list[Value]) -> Value:
        return values[-1 - min(int(self.rng.geometric(0.4)) - 1, len(values) - 1)]

    def step(self) -> None:
        x = self.late(self.matrices)
        choice = int(self.rng.integers(10))
        if choice < 3:
            self.rows.append(self.bounded(self.reduced(x, 1)))
        elif choice == 3:
            self.columns.append(self.bounded(self.reduced(x, 0)))
        elif choice < 6:
            r = self.b.broadcast_in_dim(self.late(self.rows), shape=x.shape, dims=(0,))
            self.matrices.append(self.combined(x, r))
        elif choice == 6:
            c = self.b.broadcast_in_dim(self.late(self.columns), shape=x.shape, dims=(1,))
            self.matrices.append(self.combined(x, c))
        elif choice == 7:
            self.matrices.append(self.combined(x, self.late(self.matrices)))
        elif choice == 8:
            self.rows.append(self.combined(self.late(self.rows), self.late(self.rows)))
        else:
            axis = int(self.rng.integers(2))
            self.matrices.append(self.combined(x, self.b.reverse(self.late(self.matrices), axes=(axis,))))

    def reduced(self, x: Value, axis: int) -> Value:
        if self.rng.random() < 0.5:
            # Bounded operands keep sums, and with them rounding errors, small.
            return self.b.reduce_sum(self.bounded(x), axes=(axis,))
        largest = self.b.reduce_max(x, axes=(axis,)) if x.shape[axis] is M else self.b.reduce_sum(x, axes=(axis,))
        return largest

    def bounded(self, x: Value) -> Value:
        return self.b.tanh(x)

    def combined(self, x: Value, y: Value) -> Value:
        op = ("add", "sub", "mul", "maximum")[int(self.rng.integers(4))]
        made = self.b.emit_one(op, x, y)
        return self.bounded(made) if self.rng.random() < 0.5 else self.b.mul(made, self.b.full_like(made, 0.5))

    def inputs(self, n: int, m: int) -> list[np.ndarray]:
        shapes = [tuple({N: n, M: m}[d] for d in p.shape) for p in self.graph.parameters]
        dtype = self.graph.parameters[0].dtype.numpy
        return [self.rng.normal(size=shape).astype(dtype) for shape in shapes]


def check(got: np.ndarray, want: np.ndarray, tolerance: float, what: str) -> None:
    assert (got.dtype, got.shape) == (want.dtype, want.shape), what
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance, err_msg=what)


@pytest.mark.parametrize("part", range(6))
def test_compiled_chains_agree_with_the_reference(part: int) -> None:
    for seed in range(part, 48, 6):
        chain = Chain(seed, 6 + seed % 12, float64)
        cpu, reference = compile_graph(chain.graph), compile_graph(chain.graph, "reference")
        for n, m in SHAPES:
            arrays = chain.inputs(n, m)
            for number, (got, want) in enumerate(zip(cpu(*arrays), reference(*arrays), strict=True)):
                check(got, want, 1e-9, f"seed {seed}, shape {(n, m)}, result {number}")


@pytest.mark.parametrize("dtype", [float16, bfloat16, float32], ids=str)
def test_chains_of_other_floats(dtype: Any) -> None:
    tolerance = {"float32": 1e-4, "float16": 0.05, "bfloat16": 0.3}[dtype.name]
    for seed in range(200, 206):
        chain = Chain(seed, 5, dtype)
        arrays = chain.inputs(4, 9)
        wants = compile_graph(chain.graph, "reference")(*arrays)
        for got, want in zip(compile_graph(chain.graph)(*arrays), wants, strict=True):
            check(got, want, tolerance, f"seed {seed}")


def test_the_number_of_threads_changes_no_bit() -> None:
    before = gc.get_num_threads()
    try:
        for seed in range(100, 104):
            chain = Chain(seed, 12, float32)
            executable, arrays = compile_graph(chain.graph), chain.inputs(700, 611)
            results = []
            for threads in (1, 2, 5):
                gc.set_num_threads(threads)
                results.append(executable(*arrays))
            for other in results[1:]:
                for one, two in zip(results[0], other, strict=True):
                    np.testing.assert_array_equal(one, two)
    finally:
        gc.set_num_threads(before)


def test_chains_have_row_kernels_of_several_stages() -> None:
    stages = Counter(len(k.stages) for seed in range(48) for k in make_plan(Chain(seed, 12, float64).graph).kernels)
    assert sum(count for number, count in stages.items() if number > 1) > 20
    assert max(stages) >= 3
