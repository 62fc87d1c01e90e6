"""Ops that do something outside of the graph when it runs: print, and call back into Python. In order, like all effects."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from graphc.dtypes import DType
from graphc.errors import ArgumentError, DTypeError, GradientError, ShapeError
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim
from graphc.ir.graph import Node, Value
from graphc.ir.primitive import Primitive, register
from graphc.ir.types import TensorType
from graphc.ops.batching import are_mapped

Types = tuple[TensorType, ...]


@register
class Print(Primitive):
    """Write ``template`` to the standard output, its fields ``{}`` filled with the operands (``str.format``). An effect."""

    name = "print"
    attributes = ("template",)
    effect = True

    def infer(self, inputs: Types, /, *, template: str) -> Types:  # type: ignore[override]
        try:
            template.format(*inputs)
        except (IndexError, KeyError, ValueError) as error:
            raise ArgumentError(f"print: the template {template!r} does not fit {len(inputs)} operands: {error}") from None
        return ()

    def evaluate(self, *operands: Any, template: str) -> Any:
        print(template.format(*[str(operand) for operand in operands]), end="", flush=True)
        return ()

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [None] * len(node.inputs)


    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return each_example(b, node, operands, size)


def each_example(b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
    """``node``, which has effects, for one example after the other, in order."""
    mapped = are_mapped(node, operands)
    region = Builder(node.op.name, location=node.location)
    places = sorted(range(len(operands)), key=lambda i: mapped[i])  # what all examples share comes first
    inner = {i: region.parameter(node.inputs[i].type) for i in places}
    results = region.emit(node.op, *[inner[i] for i in range(len(operands))], **node.attributes)
    body = region.finish(results)
    shared = mapped.count(False)
    return b.emit("scan", *[operands[i] for i in places], body=body, constants=shared, carries=0, length=size)


class CallbackKey(str):
    """The name of a Python function in a graph, which is text. The graphs that hold it keep the function alive."""

    called: Callable[..., Any]


_keys: WeakValueDictionary[Callable[..., Any], CallbackKey] = WeakValueDictionary()
_by_name: WeakValueDictionary[str, CallbackKey] = WeakValueDictionary()
_numbers = itertools.count()


def callback_key(function: Callable[..., Any]) -> CallbackKey:
    """The key under which ``callback`` finds ``function``, in this process, as long as the key is held."""
    key = _keys.get(function)
    if key is None:
        key = CallbackKey(f"{getattr(function, '__qualname__', type(function).__name__)}#{next(_numbers)}")
        key.called = function
        _keys[function] = _by_name[str(key)] = key
    return key


@register
class Callback(Primitive):
    """Call the Python function registered as ``function`` (:func:`callback_key`) with copies of the operands as NumPy arrays.

    Its results, a sequence, have the types that ``dtypes`` and ``shapes`` say. An effect: it runs in each run, in order.
    """

    name = "callback"
    attributes = ("function", "dtypes", "shapes")
    effect = True

    def infer(  # type: ignore[override]
        self, inputs: Types, /, *, function: str, dtypes: tuple[DType, ...], shapes: tuple[tuple[Dim, ...], ...]
    ) -> Types:
        if len(dtypes) != len(shapes):
            raise ArgumentError(f"callback: there are {len(dtypes)} dtypes and {len(shapes)} shapes", cause=ArgumentError.COUNT)
        return tuple([TensorType(dtype, shape) for dtype, shape in zip(dtypes, shapes, strict=True)])

    def evaluate(
        self, *operands: Any, function: str, dtypes: tuple[DType, ...], shapes: tuple[tuple[int, ...], ...]
    ) -> tuple[Any, ...]:
        key = function if isinstance(function, CallbackKey) else _by_name.get(function)  # a name that was read from text
        if key is None:
            raise ArgumentError(
                f"callback: there is no function {function} in this process",
                hint="a graph with callbacks runs only where it was made",
            )
        results = key.called(*[np.array(operand) for operand in operands])
        if len(results) != len(dtypes):
            raise ArgumentError(
                f"callback: {function} gave {len(results)} results, and {len(dtypes)} were declared", cause=ArgumentError.COUNT
            )
        return tuple([_declared(function, *each) for each in zip(results, dtypes, shapes, strict=True)])

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        if any(c is not None for c in cotangents) and any(needed):
            raise GradientError(
                "callback: a Python function has no gradient",
                hint="cut it off with x.detach(), or compute what needs a gradient with array functions",
                location=node.location,
                cause=GradientError.CALLBACK,
            )
        return [None] * len(node.inputs)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return each_example(b, node, operands, size)


def _declared(function: str, result: Any, dtype: DType, shape: tuple[int, ...]) -> Any:
    array = np.asarray(result)
    if array.shape != tuple(shape):
        raise ShapeError(
            f"callback: {function} gave an array of shape {array.shape}, and {tuple(shape)} was declared",
            cause=ShapeError.DECLARED,
        )
    if array.dtype != dtype.numpy and not np.can_cast(array.dtype, dtype.numpy, "same_kind"):
        raise DTypeError(
            f"callback: {function} gave an array of dtype {array.dtype}, and {dtype.name} was declared",
            cause=DTypeError.DECLARED,
        )
    return np.array(array, dtype.numpy)
