"""random_bits: a counter-based generator, Philox4x32-10.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC '11,
https://doi.org/10.1145/2063384.2063405. The same key and counter give the same bits on every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.dtypes import DType, uint32, uint64
from graphc.errors import DTypeError, ShapeError
from graphc.ir.dims import Dim, product
from graphc.ir.primitive import register
from graphc.ir.types import TensorType
from graphc.ops.batching import all_mapped, are_mapped
from graphc.ops.checking import NoGradient, check_sizes, describe, take

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox4x32(counters: tuple[Any, Any, Any, Any], key: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """The four 32-bit words of each block: ``counters`` are four arrays of 32-bit words, all as uint64 arrays."""
    c0, c1, c2, c3 = counters
    k0, k1 = key
    m0, m1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
    for _ in range(ROUNDS):
        p0, p1 = m0 * c0, m1 * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _HALF) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


@register
class RandomBits(NoGradient):
    """Uniform random bits, a function of ``key`` and ``counter`` (uint64 scalars) alone: Philox4x32-10.

    The stream of a key is the four words of block 0, then block 1, …, a block being a 128-bit counter whose upper
    half is 0. Element i in row-major order of a uint32 result is word ``counter + i`` of the stream; of a uint64
    result it is the words ``2 (counter + i)``, low half, and the next one, high half. Positions wrap at 2**64.

    The examples of a batch that share key and counter take what follows each other in the stream.
    """

    name = "random_bits"
    attributes = ("shape", "dtype")
    varies = True

    def infer(  # type: ignore[override]
        self, inputs: tuple[TensorType, ...], /, *, shape: tuple[Dim, ...], dtype: DType
    ) -> tuple[TensorType, ...]:
        for x in take(self.name, inputs, 2):
            if x.dtype is not uint64:
                raise DTypeError(f"{self.name}: key and counter must be uint64 scalars: {describe(inputs)}")
            if x.shape != ():
                raise ShapeError(
                    f"{self.name}: key and counter must be uint64 scalars: {describe(inputs)}", cause=ShapeError.DIMENSIONS
                )
        if dtype not in (uint32, uint64):
            raise DTypeError(f"{self.name}: makes uint32 or uint64, not {dtype}")
        check_sizes(self.name, "shape", shape)
        return (TensorType(dtype, shape),)

    def evaluate(self, key: Any, counter: Any, *, shape: tuple[int, ...], dtype: DType) -> Any:
        size = int(np.prod(shape, dtype=np.int64))
        with np.errstate(all="ignore"):
            position = np.arange(size, dtype=np.uint64) + np.uint64(counter)
            per_block = np.uint64(2 if dtype is uint64 else 4)
            block, offset = position // per_block, (position % per_block).astype(np.int64)
            zero = np.zeros_like(block)
            words = (int(key) & 0xFFFFFFFF, int(key) >> 32)
            lanes = np.stack(philox4x32((block & _LOW, block >> _HALF, zero, zero), words))
        element = np.arange(size)
        if dtype is uint32:
            bits = lanes[offset, element].astype(np.uint32)
        else:
            bits = lanes[2 * offset, element] | (lanes[2 * offset + 1, element] << _HALF)
        return bits.reshape(shape)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        key, counter = operands
        shape, dtype = (size, *node.attributes["shape"]), node.attributes["dtype"]
        if not any(are_mapped(node, operands)):
            return b.emit(self, key, counter, shape=shape, dtype=dtype)
        keys, counters = all_mapped(b, node, operands, size)
        return (_bits_by_arithmetic(b, keys, counters, shape, dtype),)


def _bits_by_arithmetic(b: Builder, keys: Value, counters: Value, shape: tuple[Dim, ...], dtype: DType) -> Value:
    """The bits of a key and a counter for each example, with the generator written in elementwise ops."""

    def number(value: int, like: Value) -> Value:
        return b.full_like(like, value)

    def halves(x: Value) -> tuple[Value, Value]:
        return b.bitwise_and(x, number(0xFFFFFFFF, x)), b.shift_right(x, number(32, x))

    def spread(x: Value) -> Value:
        spread: Value = b.broadcast_in_dim(x, shape=shape, dims=(0,))
        return spread

    own = shape[1:]
    index = b.reshape(b.iota(dtype=uint64, shape=(product(own),), axis=0), shape=own)
    position = b.add(spread(counters), b.broadcast_in_dim(index, shape=shape, dims=tuple(range(1, len(shape)))))
    bits_per_block = 1 if dtype is uint64 else 2
    block = b.shift_right(position, number(bits_per_block, position))
    c0, c1 = halves(block)
    c2 = c3 = number(0, block)
    k0, k1 = halves(keys)
    for step in range(ROUNDS):
        if step:
            k0, k1 = (halves(b.add(k, number(w, k)))[0] for k, w in zip((k0, k1), WEYL, strict=True))
        (low0, high0), (low1, high1) = (halves(b.mul(c, number(m, c))) for c, m in zip((c0, c2), MULTIPLIERS, strict=True))
        c0, c1, c2, c3 = (
            b.bitwise_xor(b.bitwise_xor(high1, c1), spread(k0)),
            low1,
            b.bitwise_xor(b.bitwise_xor(high0, c3), spread(k1)),
            low0,
        )

    def bit(place: int) -> Value:
        masked = b.bitwise_and(position, number(1 << place, position))
        is_set: Value = b.ne(masked, number(0, position))
        return is_set

    def joined(low: Value, high: Value) -> Value:
        word: Value = b.bitwise_or(low, b.shift_left(high, number(32, high)))
        return word

    if dtype is uint64:
        wide: Value = b.select(bit(0), joined(c2, c3), joined(c0, c1))
        return wide
    word = b.select(bit(1), b.select(bit(0), c3, c2), b.select(bit(0), c1, c0))
    narrow: Value = b.convert_element_type(word, dtype=dtype)
    return narrow

