"""Random graphs of what kernels fuse: elementwise ops, index maps, reductions, with a symbolic size."""

import numpy as np

from graphc.dtypes import bool_, float16, float32, float64, int8, int32, uint16
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN

DTYPES = (float32, float32, float64, int32, int8, uint16, bool_, float16)
UNARY = {"float": ("neg", "abs", "tanh", "logistic", "floor", "sign", "sin"), "int": ("neg", "abs", "bitwise_not")}
BINARY = {
    "float": ("add", "sub", "mul", "maximum", "minimum"),
    "int": ("add", "sub", "mul", "maximum", "minimum", "bitwise_xor", "floor_divide", "remainder", "shift_left"),
    "bool": ("bitwise_and", "bitwise_or", "bitwise_xor"),
}


class RandomGraph:
    """A graph made by ``size`` random steps from ``seed``, and inputs for it."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = Builder(f"random_{seed}", location=UNKNOWN)
        self.n = symbol("n")
        self.values: list[Value] = []
        for number in range(int(self.rng.integers(1, 4))):
            shape: list[Dim] = [self.pick((1, 3, 5, self.n, self.n)) for _ in range(int(self.rng.integers(0, 4)))]
            dtype = self.pick(DTYPES)
            self.values.append(self.b.parameter(TensorType(dtype, shape), f"x{number}"))
        self.values.append(self.b.parameter(TensorType(float32, (self.n, 4)), "binds_n"))
        for _ in range(size):
            self.step()
        count = int(self.rng.integers(1, 5))
        outputs = [self.values[-1], *(self.pick(self.values) for _ in range(count - 1))]
        self.graph: Graph = self.b.finish(outputs)

    def pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    def recent(self) -> Value:
        """A value, a late one more often than not."""
        return self.pick(self.values[-4:] if self.rng.random() < 0.7 else self.values)

    def step(self) -> None:
        x = self.recent()
        made = self.pick(
            (self.unary, self.binary, self.binary, self.binary, self.move, self.move, self.reduce, self.convert)
        )(x)
        if made is not None:
            self.values.append(made)

    def kind(self, x: Value) -> str:
        return "int" if x.dtype.is_integer else "bool" if x.dtype.is_bool else "float"

    def unary(self, x: Value) -> Value | None:
        if x.dtype.is_bool:
            return self.b.bitwise_not(x)
        names = [n for n in UNARY[self.kind(x)] if x.dtype.kind != "uint" or n == "bitwise_not"]
        return self.b.emit_one(self.pick(names), x)

    def binary(self, x: Value) -> Value | None:
        same = [v for v in self.values if v.type == x.type]
        y = self.pick(same) if self.rng.random() < 0.5 else self.fit(self.recent(), x)
        choice = self.rng.random()
        if choice < 0.15:
            return self.b.emit_one(self.pick(("lt", "eq", "ge")), x, y)
        if choice < 0.25:
            return self.b.select(self.b.ne(x, y), x, y)
        return self.b.emit_one(self.pick(BINARY[self.kind(x)]), x, y)

    def fit(self, y: Value, x: Value) -> Value:
        """``y`` in the dtype and shape of ``x``: broadcast where that works, else a counter of that shape."""
        if y.dtype is not x.dtype and not (
            x.dtype.is_bool and y.type.with_dtype(x.dtype) == x.type and y.dtype.is_bool
        ):
            y = self.b.convert_element_type(y, dtype=x.dtype)
        if y.shape == x.shape:
            return y
        offset = x.ndim - y.ndim
        if offset >= 0 and all(a in (1, b) for a, b in zip(y.shape, x.shape[offset:], strict=True)):
            return self.b.broadcast_in_dim(y, shape=x.shape, dims=tuple(range(offset, x.ndim)))
        if y.ndim <= x.ndim and all(a in (1, b) for a, b in zip(y.shape, x.shape, strict=False)):
            return self.b.broadcast_in_dim(y, shape=x.shape, dims=tuple(range(y.ndim)))
        if x.ndim and not x.dtype.is_bool:
            return self.b.iota(dtype=x.dtype, shape=x.shape, axis=int(self.rng.integers(x.ndim)))
        return self.b.full_like(x, 1)

    def move(self, x: Value) -> Value | None:
        choice = int(self.rng.integers(6))
        if choice == 0 and x.ndim:
            return self.b.transpose(x, permutation=tuple(int(a) for a in self.rng.permutation(x.ndim)))
        if choice == 1 and x.ndim:
            return self.b.reverse(x, axes=(int(self.rng.integers(x.ndim)),))
        if choice == 2 and x.ndim:
            starts, limits, strides = [], [], []
            for size in x.shape:
                is_cut = size in (3, 4, 5) and self.rng.random() < 0.6
                starts.append(1 if is_cut else 0)
                limits.append(size)
                strides.append(2 if is_cut and self.rng.random() < 0.5 else 1)
            return self.b.slice(x, starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))
        if choice == 3 and x.ndim < 4:
            at = int(self.rng.integers(x.ndim + 1))
            new = self.pick((1, 2, self.n))
            dims = tuple(a if a < at else a + 1 for a in range(x.ndim))
            return self.b.broadcast_in_dim(x, shape=(*x.shape[:at], new, *x.shape[at:]), dims=dims)
        if choice == 4 and x.ndim >= 2:
            return self.b.reshape(x, shape=(x.shape[0] * x.shape[1], *x.shape[2:]))
        return self.b.reshape(x, shape=(1, *x.shape)) if x.ndim < 4 else None

    def reduce(self, x: Value) -> Value | None:
        if x.ndim == 0:
            return None
        axes = tuple(sorted({int(a) for a in self.rng.integers(x.ndim, size=int(self.rng.integers(1, 3)))}))
        if x.dtype.is_bool:
            return self.b.emit_one(self.pick(("reduce_any", "reduce_all")), x, axes=axes)
        names = ["reduce_max", "reduce_min"] + ([] if x.dtype is float16 else ["reduce_sum"])
        if x.shape[axes[0]] in (3, 4, 5) and self.rng.random() < 0.3:
            return self.b.emit_one(self.pick(("argmax", "argmin")), x, axis=axes[0])
        return self.b.emit_one(self.pick(names), x, axes=axes)

    def convert(self, x: Value) -> Value:
        return self.b.convert_element_type(x, dtype=self.pick(DTYPES))

    def inputs(self, n: int, seed: int = 0) -> list[np.ndarray]:
        """Arrays for the parameters, with the symbolic size ``n``."""
        rng = np.random.default_rng(seed)
        arrays = []
        for parameter in self.graph.parameters:
            shape = tuple(n if d == self.n else d for d in parameter.shape)
            dtype = parameter.dtype
            if dtype.is_floating:
                arrays.append(np.asarray(rng.uniform(-2, 2, shape)).astype(dtype.numpy))
            elif dtype.is_bool:
                arrays.append(np.asarray(rng.integers(0, 2, shape)).astype(bool))
            else:
                arrays.append(np.asarray(rng.integers(0 if dtype.kind == "uint" else -9, 9, shape)).astype(dtype.numpy))
        return arrays
