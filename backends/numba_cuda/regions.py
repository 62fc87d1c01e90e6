"""Control flow on a device: branches and bodies of loops are programs of their own, which the host launches as it goes along.

What a loop carries is in two buffers that take turns, so a step copies nothing; one of them is the result. Slices are read and
written where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from graphc.backends.numba_cpu.library import LibraryFunction, evaluated
from graphc.ir.dims import evaluate_dim
from graphc.ir.graph import Graph, Node
from graphc.ir.types import Bindings
from graphc.runtime.program import Program
from graphc.runtime.storage import Storage, assign_storage

from .arguments import Move, Place
from .parts import Choice, Walk

_ALIGNMENT: Final = 64


@dataclass(frozen=True, eq=False)
class Region:
    """A branch or body: its program, and where that has its buffers."""

    program: Program
    storage: Storage


@dataclass(frozen=True, eq=False)
class RegionCall:
    """What stands for control flow in a program: the op and its regions. Called as a function, it runs on the host."""

    node: Node
    regions: Mapping[str, tuple[Region, ...]]
    on_host: LibraryFunction = field(repr=False)

    def __call__(self, operands: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        self.on_host(operands, results)

    @property
    def all(self) -> list[Region]:
        """The regions, in order."""
        return [region for several in self.regions.values() for region in several]


def control_flow(node: Node, compile: Callable[[Graph], Program]) -> RegionCall:
    """``cond``, ``while_loop``, ``scan`` or ``optimization_barrier`` with its regions compiled by ``compile``."""
    regions: dict[str, tuple[Region, ...]] = {}
    for name in node.op.regions:
        held = node.attributes[name]
        programs = [compile(graph) for graph in (held if isinstance(held, tuple) else (held,))]
        regions[name] = tuple([Region(program, assign_storage(program)) for program in programs])
    return RegionCall(node, regions, evaluated(node))


class Body(Protocol):
    """A region with every size known."""

    @property
    def input_bytes(self) -> list[int]:
        """The bytes of each parameter."""

    def passes_on(self, output: int, parameter: int) -> bool:
        """Whether the output is the parameter as it was."""

    def into(self, parameters: Sequence[Place], destinations: Sequence[Place]) -> Walk:
        """What runs, from ``parameters`` to outputs at ``destinations``."""


class RegionSchedule:
    """One op of control flow with every size known. ``schedules`` are of its regions, by name; ``room(nbytes)`` gives a place
    among the temporaries."""

    def __init__(
        self,
        call: RegionCall,
        bindings: Bindings,
        sizes: Sequence[int],
        schedules: Mapping[str, Sequence[Body]],
        room: Callable[[int], Place],
    ) -> None:
        attributes = call.node.attributes
        self._kind, self._sizes, self._schedules = call.node.op.name, tuple(sizes), schedules
        self._constants = attributes.get("constants", 0)
        self._carries = attributes.get("carries", len(sizes))
        self._reverse = bool(attributes.get("reverse", False))
        length = attributes.get("length", attributes.get("max_steps"))
        self._length = None if length is None else evaluate_dim(length, bindings)
        self._selector = call.node.inputs[0].type.dtype.numpy if self._kind == "cond" else np.dtype(np.bool_)
        is_loop = self._kind in ("while_loop", "scan")
        self._others = [room(size) for size in self._sizes[: self._carries]] if is_loop else []
        self._goes_on = room(1) if self._kind == "while_loop" else Place(0)

    def walk(self, operands: Sequence[Place], results: Sequence[Place]) -> Walk:
        """What runs, in order: from ``operands`` to ``results``."""
        if self._kind == "cond":
            return self._cond(operands, results)
        if self._kind == "while_loop":
            return self._while(operands, results)
        if self._kind == "scan":
            return self._scan(operands, results)
        return self._copies(operands, results)

    def _copies(self, operands: Sequence[Place], results: Sequence[Place]) -> Walk:
        for operand, result, size in zip(operands, results, self._sizes, strict=True):
            yield Move(result, operand, size)

    def _cond(self, operands: Sequence[Place], results: Sequence[Place]) -> Walk:
        branches = self._schedules["branches"]
        chosen = yield Choice(operands[0], self._selector)
        assert chosen is not None, "whoever walks decides"
        yield from branches[min(max(chosen, 0), len(branches) - 1)].into(operands[1:], results)

    def _while(self, operands: Sequence[Place], results: Sequence[Place]) -> Walk:
        (test,), (body,) = self._schedules["cond"], self._schedules["body"]
        constants, current = list(operands[: self._constants]), list(operands[self._constants :])
        steps = 0
        while self._length is None or steps < self._length:
            yield from test.into([*constants, *current], [self._goes_on])
            if not (yield Choice(self._goes_on, np.dtype(np.bool_))):
                break
            targets = [
                other if now == result else result
                for now, result, other in zip(current, results, self._others, strict=True)
            ]
            yield from self._step(body, constants, current, [], targets, [])
            steps += 1
        yield from self._finish(current, results)

    def _scan(self, operands: Sequence[Place], results: Sequence[Place]) -> Walk:
        (body,) = self._schedules["body"]
        length, carries = self._length or 0, self._carries
        constants, current = list(operands[: self._constants]), list(operands[self._constants : self._constants + carries])
        arrays, stacked = operands[self._constants + carries :], results[carries:]
        read = body.input_bytes[self._constants + carries :]
        written = [size // max(1, length) for size in self._sizes[carries:]]
        for step in range(length):
            number = length - 1 - step if self._reverse else step
            is_last = (length - 1 - step) % 2 == 0  # the buffers take turns so that the last step writes the results
            targets = list(results[:carries] if is_last else self._others)
            slices = [_after(array, number * size) for array, size in zip(arrays, read, strict=True)]
            parts = [_after(array, number * size) for array, size in zip(stacked, written, strict=True)]
            yield from self._step(body, constants, current, slices, targets, parts)
        yield from self._finish(current, results[:carries])

    def _step(
        self,
        body: Body,
        constants: Sequence[Place],
        current: list[Place],
        slices: Sequence[Place],
        targets: Sequence[Place],
        parts: Sequence[Place],
    ) -> Walk:
        """One step; ``current`` is then where the carry is: what the body leaves as it is stays where it is."""
        parameters = [*constants, *current, *slices]
        stays = [body.passes_on(number, len(constants) + number) for number in range(len(current))]
        destinations = [now if stay else target for now, target, stay in zip(current, targets, stays, strict=True)]
        yield from body.into(parameters, [*destinations, *parts])
        current[:] = destinations

    def _finish(self, current: Sequence[Place], results: Sequence[Place]) -> Walk:
        for now, result, size in zip(current, results, self._sizes, strict=False):
            if now != result:
                yield Move(result, now, size)


def _after(place: Place, nbytes: int) -> Place:
    return Place(place.base, place.offset + nbytes)


def align(nbytes: int) -> int:
    """The next place for a buffer."""
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT


def kernels_of(program: Program) -> list[Any]:
    """The kernels of ``program`` and of its regions, in the order in which they are written."""
    found: list[Any] = []
    for step in program.instructions:
        found += getattr(step, "kernels", ())
        call = getattr(step, "function", None)
        if isinstance(call, RegionCall):
            for region in call.all:
                found += kernels_of(region.program)
    return found
