"""What runs through NumPy instead of a kernel: rare functions, and matrix products where BLAS is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphc.dtypes import float32
from graphc.errors import GraphcError
from graphc.ir.graph import Node
from graphc.ir.operands import operands_of_node
from graphc.ir.types import Bindings, bind_shape
from graphc.ops.core import concrete_attributes
from graphc.ops.quiet import quietly

LibraryFunction = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], None]
LibraryMaker = Callable[[Node], LibraryFunction]


def dot_general(node: Node) -> LibraryFunction:
    """``dot_general`` as ``np.matmul`` of views: batch axes first, then free by contracted, contracted by free.

    16-bit floats are multiplied in float32 and rounded once.
    """
    (left_contract, right_contract), (left_batch, right_batch) = (
        node.attributes["contract"],
        node.attributes["batch"],
    )
    left_ndim, right_ndim = node.inputs[0].ndim, node.inputs[1].ndim
    left_free = [a for a in range(left_ndim) if a not in left_contract and a not in left_batch]
    right_free = [a for a in range(right_ndim) if a not in right_contract and a not in right_batch]
    left_order = (*left_batch, *left_free, *left_contract)
    right_order = (*right_batch, *right_contract, *right_free)
    batches, contracted = len(left_batch), len(left_contract)
    is_half = node.types[0].dtype.compute is not node.types[0].dtype

    if not is_half and not batches and contracted == len(left_free) == len(right_free) == 1:
        return _matrix_product(left_order == (1, 0), right_order == (1, 0))

    def matrices(x: np.ndarray, order: Sequence[int], rows: int) -> np.ndarray:
        """``x`` permuted and reshaped to batch × rows × columns, where ``rows`` axes make up the rows."""
        x = x.transpose(order)
        split = batches + rows
        shape = (*x.shape[:batches], _count(x.shape[batches:split]), _count(x.shape[split:]))
        return x.reshape(shape)

    def run(operands: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        left, right = operands
        if is_half:
            left, right = left.astype(float32.numpy), right.astype(float32.numpy)
        lhs = matrices(left, left_order, len(left_free))
        rhs = matrices(right, right_order, contracted)
        (result,) = results
        with np.errstate(all="ignore"):
            if is_half:
                result[...] = np.matmul(lhs, rhs).reshape(result.shape)
            else:
                np.matmul(lhs, rhs, out=result.reshape((*lhs.shape[:-1], rhs.shape[-1])))

    return run


def _matrix_product(turn_left: bool, turn_right: bool) -> LibraryFunction:
    """``dot_general`` of two matrices, either of them transposed."""

    def run(operands: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        left, right = operands
        quietly(np.matmul, left.T if turn_left else left, right.T if turn_right else right, out=results[0])

    return run


def _count(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def evaluated(node: Node) -> LibraryFunction:
    """The primitive's own NumPy rule, with the sizes of this call: for ops too rare to have code here, and control flow on
    devices."""

    def run(operands: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        types = [value.type for value in node.inputs]
        bindings: Bindings = {}
        for position, (type_, array) in enumerate(zip(types, operands, strict=True)):
            bind_shape(type_, array.shape, bindings, f"{node.op.name}: operand {position}")
        found = node.op.evaluate(*operands, **concrete_attributes(node.op, node.attributes, bindings))
        for result, array in zip(results, found if isinstance(found, tuple) else (found,), strict=True):
            result[...] = array

    return run


def effect(node: Node) -> LibraryFunction:
    """An op that acts outside of the graph: printing, a call of Python. The results are of the types that the frame has."""

    def run(operands: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        attributes = dict(node.attributes)
        if "shapes" in attributes:
            attributes["shapes"] = tuple([result.shape for result in results])
        try:
            values = node.op.evaluate(*operands, **attributes)
        except GraphcError as error:
            error.location, error.operands = node.location, operands_of_node(node)
            raise
        for result, value in zip(results, values, strict=True):
            result[...] = value

    return run


LIBRARY: dict[str, LibraryMaker] = {"polygamma": evaluated, "print": effect, "callback": effect}
BLAS: dict[str, LibraryMaker] = {"dot_general": dot_general}
"""Matrix products by ``np.matmul``, as alternatives to kernels."""
CONTROL: dict[str, LibraryMaker] = dict.fromkeys(("cond", "while_loop", "scan", "optimization_barrier"), evaluated)
"""Control flow node by node, for targets whose tape has no jumps."""
