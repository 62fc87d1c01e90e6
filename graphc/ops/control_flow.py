"""Control flow: ``cond``, ``while_loop`` and ``scan``. Their branches and bodies are graphs held as attributes.

These graphs are *regions*: parts of the graph around them, whose sizes they share. What they read from outside are operands,
so they are closed. The names and the layout of operands follow JAX's ``lax.cond_p``, ``while_p`` and ``scan_p``. How they are
differentiated is in :mod:`graphc.ops.control_flow_vjp` and ``control_flow_jvp``, how they are vectorized in
``control_flow_batch``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import bool_
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dims import Dim, same_size, same_sizes
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.primitive import ALL, Residuals, register
from graphc.ir.types import TensorType
from graphc.ops.control_flow_batch import cond_batch, scan_batch, while_batch
from graphc.ops.control_flow_jvp import cond_jvp, scan_jvp, while_jvp
from graphc.ops.control_flow_vjp import cond_vjp, scan_vjp, while_vjp
from graphc.ops.core import Run, Runs, WithRegions

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

Types = tuple[TensorType, ...]


@register
class Cond(WithRegions):
    """One of ``branches``, chosen by the first operand, applied to the other operands. Only the chosen one runs.

    The selector is a scalar: a bool (false is branch 0, true is branch 1) or an integer, which is clamped to the branches that
    there are. All branches take the other operands and give results of the same types.
    """

    name = "cond"
    attributes = ("branches",)
    regions = ("branches",)
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def infer(self, inputs: Types, /, *, branches: tuple[Graph, ...]) -> Types:  # type: ignore[override]
        if not inputs or not branches:
            raise ArgumentError("cond: there must be a selector and at least one branch", cause=ArgumentError.RANGE)
        selector, *operands = inputs
        if selector.shape != ():
            raise ShapeError(
                f"cond: the selector must be a scalar, not {selector}",
                hint="reduce it with any() or all()",
                cause=ShapeError.DIMENSIONS,
            )
        if not (selector.dtype.is_bool or selector.dtype.is_integer):
            raise DTypeError(f"cond: the selector must be a bool or an integer, not {selector}")
        if selector.dtype.is_bool and len(branches) != 2:
            raise ArgumentError(
                f"cond: a bool chooses between two branches, and there are {len(branches)}", cause=ArgumentError.COUNT
            )
        for number, branch in enumerate(branches):
            _check_types(f"cond: branch {number}", "parameter", branch.parameter_types, tuple(operands))
            _check_types(f"cond: branch {number}", "result", branch.output_types, branches[0].output_types)
        return branches[0].output_types

    def runs(self, selector: Any, *operands: Any, branches: tuple[Graph, ...]) -> Runs:
        number = min(max(int(selector), 0), len(branches) - 1)
        part = f"the {str(bool(number)).lower()} branch" if np.asarray(selector).dtype == np.bool_ else f"branch {number}"
        results = yield Run(branches[number], operands, part)
        return tuple([_own(value, operands) for value in results])

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return cond_vjp(b, node, cotangents, needed)

    def jvp(self, b: Builder, node: Node, tangents: Sequence[Value | None]) -> Sequence[Value | None]:
        return cond_jvp(b, node, tangents)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return cond_batch(b, node, operands, size)


@register
class WhileLoop(WithRegions):
    """``carry = body(*constants, *carry)`` while ``cond(*constants, *carry)`` is true; the results are the last carry.

    The first ``constants`` operands are the same in every step, the others are the first carry. ``max_steps``, unless None,
    ends the loop after so many steps; only then does the loop have a gradient.
    """

    name = "while_loop"
    attributes = ("cond", "body", "constants", "max_steps")
    defaults: ClassVar[dict[str, Any]] = {"max_steps": None}
    regions = ("cond", "body")
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def infer(  # type: ignore[override]
        self, inputs: Types, /, *, cond: Graph, body: Graph, constants: int, max_steps: int | None
    ) -> Types:
        _check_count("while_loop", "constants", constants, len(inputs))
        if max_steps is not None and max_steps < 0:
            raise ArgumentError(f"while_loop: max_steps is {max_steps}, and must not be negative", cause=ArgumentError.RANGE)
        carry = inputs[constants:]
        _check_types("while_loop: cond", "parameter", cond.parameter_types, inputs)
        _check_types("while_loop: body", "parameter", body.parameter_types, inputs)
        _check_types("while_loop: cond", "result", cond.output_types, (TensorType(bool_, ()),))
        _check_types("while_loop: body", "result", body.output_types, carry)
        return carry

    def runs(
        self, *operands: Any, cond: Graph, body: Graph, constants: int, max_steps: int | None
    ) -> Runs:
        fixed, carry = list(operands[:constants]), list(operands[constants:])
        steps = 0
        while max_steps is None or steps < max_steps:
            (goes_on,) = yield Run(cond, fixed + carry, "the condition", steps)
            if not bool(goes_on):
                break
            carry = yield Run(body, fixed + carry, "the body", steps)
            steps += 1
        return tuple([_own(value, operands) for value in carry])

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return while_vjp(b, node, cotangents, needed)

    def jvp(self, b: Builder, node: Node, tangents: Sequence[Value | None]) -> Sequence[Value | None]:
        return while_jvp(b, node, tangents)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return while_batch(b, node, operands, size)


@register
class Scan(WithRegions):
    """``carry, y = body(*constants, *carry, *x)`` for each of ``length`` slices x along the first axis of the last operands.

    Operands: ``constants`` values that are the same in every step, ``carries`` values that are the first carry, and arrays
    whose slices are read one a step. Results: the last carry, and arrays of all y. With ``reverse`` steps go from the last
    slice to the first; y is at the place of the x that it came from.
    """

    name = "scan"
    attributes = ("body", "constants", "carries", "length", "reverse")
    defaults: ClassVar[dict[str, Any]] = {"reverse": False}
    regions = ("body",)
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def infer(  # type: ignore[override]
        self, inputs: Types, /, *, body: Graph, constants: int, carries: int, length: Dim, reverse: bool
    ) -> Types:
        _check_count("scan", "constants", constants, len(inputs))
        _check_count("scan", "carries", carries, len(inputs) - constants)
        if isinstance(length, int) and length < 0:
            raise ArgumentError(f"scan: the length is {length!r}, and must be a size")
        fixed, arrays = inputs[: constants + carries], inputs[constants + carries :]
        for number, array in enumerate(arrays):
            if not array.shape or not same_size(array.shape[0], length):
                raise ShapeError(
                    f"scan: array {number} has type {array}, and its first axis must have the length, {length}",
                    cause=ShapeError.LENGTHS,
                )
        slices = tuple([array.with_shape(array.shape[1:]) for array in arrays])
        _check_types("scan: body", "parameter", body.parameter_types, fixed + slices)
        results = body.output_types
        _check_count("scan", "carries", carries, len(results))
        _check_types("scan: body", "carry", results[:carries], inputs[constants : constants + carries])
        return results[:carries] + tuple([y.with_shape((length, *y.shape)) for y in results[carries:]])

    def runs(
        self, *operands: Any, body: Graph, constants: int, carries: int, length: int, reverse: bool
    ) -> Runs:
        fixed, carry = list(operands[:constants]), list(operands[constants : constants + carries])
        arrays = operands[constants + carries :]
        stacked = [np.zeros((length, *_shape(y.shape)), y.dtype.numpy) for y in body.outputs[carries:]]
        for number, step in enumerate(reversed(range(length)) if reverse else range(length)):
            slices = [np.asarray(array[step]) for array in arrays]
            part = f"the body for slice {step}" if reverse else "the body"
            results = yield Run(body, [*fixed, *carry, *slices], part, number)
            carry = results[:carries]
            for into, y in zip(stacked, results[carries:], strict=True):
                into[step] = y
        return (*[_own(value, operands) for value in carry], *stacked)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return scan_vjp(b, node, cotangents, needed)

    def jvp(self, b: Builder, node: Node, tangents: Sequence[Value | None]) -> Sequence[Value | None]:
        return scan_jvp(b, node, tangents)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return scan_batch(b, node, operands, size)


def _check_count(what: str, name: str, count: Any, most: int) -> None:
    if not isinstance(count, int) or not 0 <= count <= most:
        raise ArgumentError(f"{what}: {name} is {count!r}, of {most} values", cause=ArgumentError.COUNT)


def _check_types(what: str, kind: str, have: Types, want: Types) -> None:
    if len(have) != len(want):
        raise ArgumentError(f"{what} has {len(have)} {kind}s, and {len(want)} are needed", cause=ArgumentError.COUNT)
    for number, (one, other) in enumerate(zip(have, want, strict=True)):
        if one.dtype is not other.dtype:
            raise DTypeError(f"{what}: {kind} {number} has type {one}, and {other} is needed", cause=DTypeError.REGION)
        if not same_sizes(one.shape, other.shape):
            raise ShapeError(f"{what}: {kind} {number} has type {one}, and {other} is needed", cause=ShapeError.REGION)


def _shape(shape: tuple[Dim, ...]) -> tuple[int, ...]:
    assert all(isinstance(size, int) for size in shape), "a region is evaluated with its sizes known"
    return shape  # type: ignore[return-value]


def _own(value: Any, operands: Sequence[Any]) -> Any:
    """``value``, copied where it may share memory with an operand."""
    array = np.asarray(value)
    return array.copy() if any(np.may_share_memory(array, operand) for operand in operands) else array
