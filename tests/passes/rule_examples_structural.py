"""Examples of the rules on ops that move, pick, reduce and contract."""

import numpy as np

from graphc.dtypes import float32, int32, int64
from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from tests.passes.rule_example import Example

E = Example
X = "f32[3, 4]"


def wide(b: Builder, x: Value, shape: tuple[object, ...], *dims: int) -> Value:
    """`x` broadcast."""
    value: Value = b.broadcast_in_dim(x, shape=shape, dims=dims)
    return value


def cut(b: Builder, x: Value, *bounds: tuple[int, int, int]) -> Value:
    """`x[start:limit:stride, …]`."""
    starts, limits, strides = zip(*bounds, strict=True)
    value: Value = b.slice(x, starts=starts, limits=limits, strides=strides)
    return value


def pad(b: Builder, x: Value, low: tuple[int, ...], high: tuple[int, ...], value: float = 0.0) -> Value:
    """`x` padded without interior."""
    padded: Value = b.pad(x, b.constant(value, x.dtype), low=low, high=high, interior=(0,) * x.ndim)
    return padded


def at(b: Builder, *indices: int) -> list[Value]:
    """Scalar literal indices."""
    return [b.constant(i, int64) for i in indices]


def move(b: Builder, x: Value, *permutation: int) -> Value:
    value: Value = b.transpose(x, permutation=permutation)
    return value


def dot(b: Builder, x: Value, y: Value, left: int, right: int) -> Value:
    value: Value = b.dot_general(x, y, contract=((left,), (right,)), batch=((), ()))
    return value


MOVEMENT = [
    E("broadcast_to_own_shape", X, lambda b, x: wide(b, x, (3, 4), 0, 1)),
    E("constant_of_one_value", X, lambda b, x: b.add(x, b.constant(np.full((3, 4), 2.0), float32))),
    E("broadcast_twice", "f32[3]", lambda b, x: wide(b, wide(b, x, (3, 4), 0), (2, 3, 4), 1, 2)),
    E("broadcast_that_inserts_units", X, lambda b, x: wide(b, x, (3, 1, 4), 0, 2)),
    E("broadcast_of_inserted_units", "f32[3]", lambda b, x: wide(b, b.reshape(x, shape=(3, 1)), (3, 4), 0, 1)),
    E("reshape_of_broadcast_scalar", "f32[]", lambda b, x: b.reshape(wide(b, x, (6,)), shape=(2, 3))),
    E("reshape_of_broadcast", "f32[3]", lambda b, x: b.reshape(wide(b, x, (3, 4), 0), shape=(3, 1, 4))),
    E("reshape_of_broadcast", "f32[1, 3]", lambda b, x: b.reshape(wide(b, x, (1, 3, 4), 0, 1), shape=(3, 4))),
    E("transpose_of_broadcast", X, lambda b, x: move(b, wide(b, x, (3, 2, 4), 0, 2), 2, 0, 1)),
    E("transpose_of_broadcast", "f32[3]", lambda b, x: move(b, wide(b, x, (3, 4), 0), 1, 0)),
    E("reverse_of_broadcast", "f32[3]", lambda b, x: b.reverse(wide(b, x, (3, 4), 0), axes=(0, 1))),
    E("slice_of_broadcast", "f32[3]", lambda b, x: cut(b, wide(b, x, (3, 4), 0), (1, 3, 1), (0, 4, 2))),
    E("slice_of_broadcast", "f32[1]", lambda b, x: cut(b, wide(b, x, (3, 4), 0), (1, 3, 1), (0, 4, 2))),
    E("elementwise_of_broadcasts", "f32[3]", lambda b, x: b.exp(wide(b, x, (3, 4), 0))),
    E(
        "elementwise_of_broadcasts",
        "f32[3]; f32[3]",
        lambda b, x, y: b.clamp(wide(b, x, (3, 4), 0), wide(b, y, (3, 4), 0), b.full((3, 4), 2.0, float32)),
    ),
    E("reshape_to_own_shape", X, lambda b, x: b.reshape(x, shape=(3, 4))),
    E("reshape_twice", X, lambda b, x: b.reshape(b.reshape(x, shape=(2, 6)), shape=(12,))),
    E(
        "reshape_twice",
        "f32[n, 6]",
        lambda b, x: b.reshape(b.reshape(x, shape=(2 * x.shape[0], 3)), shape=(3, 2 * x.shape[0])),
        sizes=(("n", 5),),
    ),
    E("reshape_of_literal", "f32[1]", lambda b, x: b.add(x, b.reshape(b.constant(2.0, float32), shape=(1,)))),
    E("transpose_in_order", X, lambda b, x: move(b, x, 0, 1)),
    E("transpose_in_order", "f32[3, 1, 4]", lambda b, x: move(b, x, 1, 0, 2)),
    E("transpose_twice", "f32[2, 3, 4]", lambda b, x: move(b, move(b, x, 1, 2, 0), 0, 2, 1)),
    E("reverse_of_units", "f32[1, 4]", lambda b, x: b.reverse(x, axes=(0,))),
    E("reverse_of_units", "f32[1, 4]", lambda b, x: b.reverse(x, axes=(0, 1))),
    E("reverse_twice", X, lambda b, x: b.reverse(b.reverse(x, axes=(0, 1)), axes=(1,))),
    E("iota_along_one_axis", "", lambda b: b.iota(dtype=int32, shape=(3, 4), axis=1)),
    E("iota_along_one_axis", "", lambda b: b.iota(dtype=int32, shape=(1,), axis=0)),
    E("dimension_that_is_known", "", lambda b: b.dimension(dim=3)),
]



def every_second(b: Builder, x: Value) -> Value:
    """Of the first axis, of any size."""
    starts, strides = (0,) * x.ndim, (2,) + (1,) * (x.ndim - 1)
    return b.slice(x, starts=starts, limits=x.shape, strides=strides)


SLICING = [
    E("slice_of_everything", X, lambda b, x: cut(b, x, (0, 3, 1), (0, 4, 1))),
    E("slice_twice", "f32[20]", lambda b, x: cut(b, cut(b, x, (1, 18, 2)), (1, 8, 3))),
    E("slice_twice", "f32[20]", lambda b, x: cut(b, cut(b, x, (1, 18, 2)), (3, 3, 1))),
    E("slice_twice", "f32[n, 3]", lambda b, x: every_second(b, every_second(b, x)), sizes=(("n", 7),)),
    E(
        "slice_twice",
        "f32[n, 9]",
        lambda b, x: b.slice(
            b.slice(x, starts=(0, 2), limits=(x.shape[0], 8), strides=(2, 1)),
            starts=(0, 1),
            limits=((x.shape[0] + 1) // 2, 5),
            strides=(1, 3),
        ),
        sizes=(("n", 7),),
    ),
    E("slice_of_pad", X, lambda b, x: cut(b, pad(b, x, (1, 0), (2, 3)), (1, 4, 1), (0, 4, 1))),
    E(
        "slice_of_concatenation",
        "f32[3, 4]; f32[5, 4]",
        lambda b, x, y: cut(b, b.concatenate(x, y, axis=0), (4, 8, 2), (1, 3, 1)),
    ),
    E("pad_with_nothing", X, lambda b, x: pad(b, x, (0, 0), (0, 0))),
    E("pad_twice", X, lambda b, x: pad(b, pad(b, x, (1, 0), (0, 2)), (1, 1), (0, 0))),
    E("pad_that_removes", X, lambda b, x: pad(b, x, (-1, 0), (0, -2))),
    E("pad_with_own_value", "f32[5]", lambda b, x: b.add(x, pad(b, b.full((3,), 2.0, float32), (1,), (1,), 2.0))),
    E("concatenate_one", X, lambda b, x: b.concatenate(x, axis=0)),
    E("concatenate_nothing", "f32[3]; f32[0]; f32[2]", lambda b, x, y, z: b.concatenate(x, y, z, axis=0)),
    E(
        "concatenate_nested",
        "f32[3]; f32[1]; f32[2]",
        lambda b, x, y, z: b.concatenate(b.concatenate(x, y, axis=0), z, axis=0),
    ),
    E(
        "concatenate_adjacent_slices",
        "f32[9, 4]; f32[1, 4]",
        lambda b, x, y: b.concatenate(
            cut(b, x, (1, 3, 1), (0, 4, 1)), cut(b, x, (3, 4, 1), (0, 4, 1)), cut(b, x, (4, 9, 1), (0, 4, 1)), y, axis=0
        ),
    ),
    E(
        "concatenate_equal_literals",
        "f32[5]",
        lambda b, x: b.add(x, b.concatenate(b.full((2,), 1.0, float32), b.full((3,), 1.0, float32), axis=0)),
    ),
    E("gather_at_literal", "f32[3, 4, 5]", lambda b, x: b.gather(x, *at(b, 2, 1), axes=(0, 2))),
    E("gather_in_order", X, lambda b, x: b.gather(x, b.iota(dtype=int64, shape=(4,), axis=0), axes=(1,))),
    E("dynamic_slice_at_literal", X, lambda b, x: b.dynamic_slice(x, *at(b, 1, 2), sizes=(2, 2))),
    E(
        "dynamic_slice_at_literal",
        "f32[n, 4]",
        lambda b, x: b.dynamic_slice(x, *at(b, 1, 2), sizes=(x.shape[0] - 2, 2)),
        sizes=(("n", 5),),
    ),
    E("dynamic_update_of_everything", f"{X}; {X}", lambda b, x, y: b.dynamic_update_slice(x, y, *at(b, 0, 0))),
    E(
        "scatter_nothing",
        "f32[3, 4]; f32[0, 4]; i64[0]",
        lambda b, x, y, i: b.scatter_add(x, y, i, axes=(0,)),
    ),
    E("sort_sorted", X, lambda b, x: b.sort(b.sort(x, axis=1, descending=True), axis=1, descending=True)),
    E("sort_one", "f32[1, 4]", lambda b, x: b.sort(x, axis=0, descending=False)),
    E("argsort_one", "f32[1, 4]", lambda b, x: b.argsort(x, axis=0, descending=False)),
]

REDUCTION = [
    E("reduce_of_units", "f32[3, 1, 4]", lambda b, x: b.reduce_max(x, axes=(1,))),
    E("reduce_of_units", "f32[3, 1, 4]", lambda b, x: b.reduce_sum(x, axes=(1,))),
    E("reduce_of_units", X, lambda b, x: b.reduce_max(x, axes=())),
    E("sum_of_sum", "i32[2, 3, 4]", lambda b, x: b.reduce_sum(b.reduce_sum(x, axes=(1,)), axes=(0,))),
    E("sum_of_sum", "f32[2, 3, 4]", lambda b, x: b.reduce_prod(b.reduce_prod(x, axes=(1,)), axes=(1,))),
    E("choice_of_choice", "f32[2, 3, 4]", lambda b, x: b.reduce_max(b.reduce_max(x, axes=(0, 2)), axes=(0,))),
    E("sum_of_transpose", "i32[2, 3, 4]", lambda b, x: b.reduce_sum(move(b, x, 2, 0, 1), axes=(1,))),
    E("sum_of_transpose", "f32[2, 3, 4]", lambda b, x: b.reduce_sum(move(b, x, 2, 0, 1), axes=(0,))),
    E("choice_of_transpose", "bool[2, 3, 4]", lambda b, x: b.reduce_any(move(b, x, 2, 0, 1), axes=(1,))),
    E("choice_of_broadcast", "f32[3]", lambda b, x: b.reduce_min(wide(b, x, (2, 3, 4), 1), axes=(0, 1, 2))),
    E("choice_of_broadcast", "f32[3, 1]", lambda b, x: b.reduce_min(wide(b, x, (3, 4), 0, 1), axes=(1,))),
    E("sum_of_broadcast", "i8[3]", lambda b, x: b.reduce_sum(wide(b, x, (20, 3, 9), 1), axes=(0, 2))),
    E("sum_of_broadcast", "f32[3]", lambda b, x: b.reduce_sum(wide(b, x, (2, 3, 4), 1), axes=(0, 1))),
    E("sum_of_negative", "i32[3, 4]", lambda b, x: b.reduce_sum(b.neg(x), axes=(0,))),
    E("sum_of_negative", X, lambda b, x: b.reduce_sum(b.neg(x), axes=(1,))),
    E("sum_of_scaled", "i32[3, 4]", lambda b, x: b.reduce_sum(b.mul(x, b.full_like(x, 5)), axes=(0,))),
    E("sum_of_scaled", X, lambda b, x: b.reduce_sum(b.mul(x, b.full_like(x, 0.3)), axes=(0, 1))),
    E("not_any_not", "bool[3, 4]", lambda b, x: b.bitwise_not(b.reduce_any(b.bitwise_not(x), axes=(1,)))),
    E("not_all_not", "bool[3, 4]", lambda b, x: b.bitwise_not(b.reduce_all(b.bitwise_not(x), axes=(1,)))),
    E("arg_of_one", "f32[1, 4]", lambda b, x: b.argmax(x, axis=0)),
    E("cumulative_of_one", "f32[1, 4]", lambda b, x: b.cumulative_sum(x, axis=0, reverse=False)),
    E(
        "cumulative_again",
        X,
        lambda b, x: b.cumulative_max(b.cumulative_max(x, axis=1, reverse=True), axis=1, reverse=True),
    ),
    E("dot_of_transposed_left", "i32[4, 3]; i32[4, 5]", lambda b, x, y: dot(b, move(b, x, 1, 0), y, 1, 0)),
    E("dot_of_transposed_right", "i32[3, 4]; i32[5, 4]", lambda b, x, y: dot(b, x, move(b, y, 1, 0), 1, 0)),
    E("transpose_of_dot", "i32[3, 4]; i32[4, 5]", lambda b, x, y: move(b, dot(b, x, y, 1, 0), 1, 0)),
    E(
        "transpose_of_dot",
        "i32[7, 3, 4]; i32[7, 4, 5]",
        lambda b, x, y: move(b, b.dot_general(x, y, contract=((2,), (1,)), batch=((0,), (0,))), 0, 2, 1),
    ),
]

OTHERS = [
    E(
        "fold_literals",
        "f32[3]",
        lambda b, x: b.add(x, b.mul(b.constant([1.0, 2.0, 3.0], float32), b.full((3,), 0.5, float32))),
    ),
    E("fold_literals", "f32[n]", lambda b, x: b.add(x, b.exp(b.full_like(x, 1.0))), sizes=(("n", 3),)),
    E("stop_gradient_is_identity", X, lambda b, x: b.stop_gradient(x)),
]
EXAMPLES = [*MOVEMENT, *SLICING, *REDUCTION, *OTHERS]
