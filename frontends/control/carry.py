"""What loops carry from step to step: its structure, and the types that it has in every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphc.dtypes import float32, float64
from graphc.errors import ArgumentError
from graphc.frontends.array.core import astype, is_scalar, lift_in, scalar_dtype
from graphc.frontends.control.leaves import (
    check_static,
    check_structure,
    common_dtype,
    is_array,
    raise_different,
)
from graphc.frontends.control.region import Region, RegionContext, Surroundings
from graphc.frontends.dispatch import Array
from graphc.frontends.pytree import TreeDef, flatten, paths, unflatten
from graphc.frontends.tracer import Tracer
from graphc.ir.dims import same_sizes
from graphc.ir.types import TensorType

_MOST_TRACES = 4


class Carry(NamedTuple):
    """A loop's first carry: its leaves, and the types of those that are arrays (by place).

    ``weak``: those whose dtype the body is still to say. ``wide``: Python floats to which it gives none. As Python does, a loop
    computes them in float64, and they yield to the arrays that they meet.
    """

    what: str
    leaves: tuple[Any, ...]
    tree: TreeDef
    types: dict[int, TensorType]
    weak: frozenset[int]
    wide: frozenset[int] = frozenset()

    @classmethod
    def of(cls, what: str, context: Any, value: Any) -> Carry:
        """``value`` as a first carry; arrays become arrays of ``context``, Python scalars stay as they are."""
        leaves, tree = flatten(value)
        lifted: list[Any] = [lift_in(context, leaf) if is_array(leaf) and not is_scalar(leaf) else leaf for leaf in leaves]
        types: dict[int, TensorType] = {}
        for place, leaf in enumerate(lifted):
            if is_scalar(leaf):
                types[place] = TensorType(scalar_dtype(leaf), ())
            elif isinstance(leaf, Array):
                types[place] = leaf.type
        weak = frozenset(i for i in types if is_scalar(lifted[i]) or lifted[i].weak)
        return cls(what, tuple(lifted), tree, types, weak)

    def arrays(self, context: Any) -> list[Any]:
        """The leaves that are arrays, of the types that the loop has; ones that nobody else writes to."""
        result: list[Any] = []
        for place, type_ in self.types.items():
            leaf = self.leaves[place]
            if is_scalar(leaf):
                result.append(context.literal(leaf, type_.dtype))
            else:
                array = astype(leaf, type_.dtype)
                result.append(context.copy(array) if array is leaf else array)
            result[-1].weak = place in self.wide
        return result

    def final(self, arrays: Sequence[Any]) -> Any:
        """The carry after the loop."""
        results = list(arrays)
        for i, place in enumerate(self.types):
            if place in self.wide:
                results[i] = narrowed(arrays[i])
        return self.value(results)

    def value(self, arrays: Sequence[Any]) -> Any:
        """The carry with these arrays."""
        leaves = list(self.leaves)
        for place, array in zip(self.types, arrays, strict=True):
            leaves[place] = array
        return unflatten(self.tree, leaves)

    def checked(self, context: Any, value: Any) -> list[Any]:
        """The arrays of what a step gave, of the loop's types. Raises an error, which names the leaf, for another type."""
        leaves, tree = flatten(value)
        check_structure(self.what, ("the first carry", self.tree), ("the result of the body", tree))
        arrays: list[Any] = []
        for place, path in enumerate(paths(tree, "carry")):
            leaf, type_ = leaves[place], self.types.get(place)
            if type_ is None or not is_array(leaf):
                check_static(self.what, path, self.leaves[place], leaf)
                continue
            if is_scalar(leaf) and common_dtype([(type_.dtype, False), (scalar_dtype(leaf), True)]) is type_.dtype:
                array = context.literal(leaf, type_.dtype)
            else:
                array = lift_in(context, leaf)
            if array.weak and common_dtype([(type_.dtype, False), (array.dtype, True)]) is type_.dtype:
                array = astype(array, type_.dtype)
            if array.dtype is not type_.dtype or not same_sizes(array.shape, type_.shape):
                self._raise(path, type_, array)
            if place in self.wide and not array.weak:
                array = context.copy(array)
                array.weak = True
            arrays.append(array)
        return arrays

    def _raise(self, path: str, type_: TensorType, array: Any) -> None:
        hint = None
        if array.dtype is not type_.dtype and array.shape == type_.shape:
            hint = f"begin with {array.dtype.name}, or end the body with .astype({type_.dtype.name!r})"
        elif array.shape != type_.shape:
            hint = "a loop's arrays keep their shapes: begin with the full shape, and write slices, or stack with gc.scan"
        raise_different(self.what, path, ("before the first step", type_), ("after it", array.type), hint)

    def settled(self, around: Surroundings, body: Callable[[RegionContext, Carry, list[Tracer]], Any]) -> Carry:
        """The carry with the dtypes that ``body`` gives to Python scalars in it.

        ``body(region, carry, parameters)`` is traced until the dtypes do not change any more, and gives the next carry.
        """
        carry = self
        for _ in range(_MOST_TRACES):
            if not carry.weak:
                return carry
            parameters: list[Tracer] = []

            def step(region: RegionContext, carry: Carry = carry, parameters: list[Tracer] = parameters) -> Any:
                parameters[:] = carry.parameters(region)
                return body(region, carry, parameters)

            region = around.keep_trying(lambda step=step: around.trace(self.what, step))  # type: ignore[misc]
            carry, is_settled = carry._given(region)
            region.context.close()
            if is_settled:
                return carry._widened()
        raise ArgumentError(
            f"{self.what}: the dtypes of the carry do not settle: each step gives another one",
            hint="begin with arrays of the dtypes that you want, for example gc.tensor(0.0)",
        )

    def _widened(self) -> Carry:
        wide = {p for p in self.weak if self.types[p].dtype in (float32, float64) and self.types[p].shape == ()}
        types = {p: type_.with_dtype(float64) if p in wide else type_ for p, type_ in self.types.items()}
        return self._replace(types=types, weak=frozenset(), wide=frozenset(wide))

    def _given(self, region: Region) -> tuple[Carry, bool]:
        leaves, tree = flatten(region.result)
        check_structure(self.what, ("the first carry", self.tree), ("the result of the body", tree))
        types, weak = dict(self.types), set(self.weak)
        for place in self.weak:
            if not is_array(leaves[place]):
                continue
            array = region.lift(leaves[place])
            dtype = common_dtype([(types[place].dtype, True), (array.dtype, array.weak)])
            if dtype is not None and dtype is not types[place].dtype:
                types[place] = types[place].with_dtype(dtype)
            if dtype is not None and not array.weak:
                weak.discard(place)
        return self._replace(types=types, weak=frozenset(weak)), types == self.types

    def parameters(self, region: RegionContext) -> list[Tracer]:
        """A parameter of ``region`` for each array."""
        names = paths(self.tree, "carry")
        return [
            region.parameter(
                type_, "".join(c if c.isalnum() else "_" for c in names[i]).strip("_"), weak=i in self.weak | self.wide
            )
            for i, type_ in self.types.items()
        ]


def narrowed(array: Any) -> Any:
    """A number that a loop computed in float64, as the float32 that a Python float is where no array says otherwise."""
    result: Any = astype(array, float32)
    result.weak = False
    return result
