"""Which clusters run row by row in one kernel, stage after stage: successive reductions over the same trailing axes.

Softmax is a maximum, a sum and a division, each over the whole row and each in need of the one before. As kernels of
their own they pass three times over memory. In one *row kernel* the stages are done for one row before the next row
begins: the row stays in the nearest cache, what is one number a row stays in a register, and what nobody else reads is
never written to memory.

Clusters join one by one, in the order of execution, where all of this holds:

* one of them reduces trailing axes, and the others run over the same points, or over the rows (the kept axes);
  argmax and argmin, which search twice, stay apart;
* a value that one makes and another reads is read at the same row;
* the loads of each run along memory where its last loop does, or do not depend on it;
* nothing outside the kernel lies between them: every group has a *level*, above those of what it reads and below those
  of what reads it, and stays so when it grows;
* together they are at most MAX_CLUSTERS, with at most MAX_OPS ops: LLVM takes seconds for a hundred loops.

They join groups that they read from, and groups that read the same operand over the same points. Sizes play no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.ir.dims import Dim
from graphc.ir.graph import Value
from graphc.ir.types import Shape
from graphc.loops.affine import Index, loop_index
from graphc.loops.expand import loads
from graphc.loops.fusion import MAX_OPS, Cluster, Partition, Single, Unit, label

MAX_CLUSTERS = 16


@dataclass(frozen=True)
class RowKernel:
    """Clusters that one kernel runs row by row. Those of one stage do not read each other."""

    stages: tuple[tuple[Cluster, ...], ...]

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        return tuple(cluster for stage in self.stages for cluster in stage)


#: The sizes of the axes that are not 1, and how many of them, from the first, are kept.
_Space = tuple[tuple[Dim, ...], int]


@dataclass(eq=False)
class _Group:
    """Units that run together: ``level`` and ``readers_level`` (the least of a group that reads this one) bound it."""

    units: list[Unit]
    level: int
    ops: int = 0
    space: _Space | None = None
    readers_level: float = float("inf")


def group_rows(parts: Partition) -> list[RowKernel | Unit]:
    """The units of ``parts``, some of them grouped, in an order of execution."""
    spaces = {space for unit in parts.units if isinstance(unit, Cluster) and (space := _space(unit)) is not None}
    if not spaces:
        return list(parts.units)
    return _Grouping(parts, spaces).run()


def _sizes(shape: Shape) -> tuple[Dim, ...]:
    return tuple(size for size in shape if size != 1)


def _space(cluster: Cluster) -> _Space | None:
    """The space of a cluster that reduces trailing axes and keeps others; None for any other."""
    if cluster.body_shape is None:
        return None
    axes = [axis for axis, size in enumerate(cluster.body_shape) if size != 1]
    reduced = [axis for axis in axes if axis in cluster.axes]
    kept = len(axes) - len(reduced)
    if not kept or not reduced or axes[kept:] != reduced:
        return None
    return _sizes(cluster.body_shape), kept


def _points(cluster: Cluster) -> tuple[Dim, ...]:
    return _sizes(cluster.shape if cluster.body_shape is None else cluster.body_shape)


def _loops(cluster: Cluster) -> list[int]:
    """The loops of the cluster: the axes of its space that are not of size 1."""
    space = cluster.shape if cluster.body_shape is None else cluster.body_shape
    return [axis for axis, size in enumerate(space) if size != 1]


def _is_same_row(value: Value, index: Index, cluster: Cluster, kept: int) -> bool:
    parts = [part for part, size in zip(index, value.shape, strict=True) if size != 1]
    return parts[:kept] == [loop_index(loop) for loop in _loops(cluster)[:kept]]


def _name(unit: Unit) -> str:
    if isinstance(unit, Single):
        return label(unit.node)
    return label(next(iter(unit.reductions or unit.stored)).node)


def _steps(unit: Unit) -> int:
    """By how much the level of ``unit`` is above what it reads: a product and its epilogue count as two.

    Units that nothing connects compare by level only, so long chains should not count as short ones.
    """
    return 2 if isinstance(unit, Cluster) and unit.product is not None else 1


class _Grouping:
    def __init__(self, parts: Partition, spaces: set[_Space]) -> None:
        self.parts = parts
        self.full = {sizes for sizes, _ in spaces}
        self.kept = {sizes[:kept] for sizes, kept in spaces}
        self.of: dict[Unit, _Group] = {}
        self.order = {unit: number for number, unit in enumerate(parts.units)}
        self.candidates: set[Unit] = set()
        self.last_reader: dict[Value, Unit] = {}
        self._loads: dict[Cluster, tuple[tuple[Value, Index], ...]] = {}

    def run(self) -> list[RowKernel | Unit]:
        for unit in self.parts.units:
            self._place(unit)
        return [self._finished(group) for group in self._in_order()]

    def _reads(self, unit: Unit) -> list[Value]:
        return self.parts.reads.get(unit, [])

    def _inputs(self, unit: Unit) -> list[_Group]:
        makers = [self.parts.home[value] for value in self._reads(unit)]
        return list(dict.fromkeys(self.of[maker] for maker in makers if maker is not None and maker is not unit))

    def _place(self, unit: Unit) -> None:
        inputs = self._inputs(unit)
        group = self.of[unit] = _Group([unit], _steps(unit) + max((g.level for g in inputs), default=0))
        if isinstance(unit, Cluster) and self._is_candidate(unit):
            self.candidates.add(unit)
            group.space, group.ops = _space(unit), unit.ops
            points = _points(unit)
            shared = [value for value in self._reads(unit) if _sizes(value.shape) == points]
            siblings = [self.last_reader[value] for value in shared if value in self.last_reader]
            near = [g for g in (*inputs, *(self.of[s] for s in siblings)) if g.units[0] in self.candidates]
            group = self._join(unit, list(dict.fromkeys(near)), inputs)
            self.last_reader.update(dict.fromkeys(shared, unit))
        for other in inputs:
            if other is not group and self.of[other.units[0]] is other:
                other.readers_level = min(other.readers_level, group.level)

    def _is_candidate(self, cluster: Cluster) -> bool:
        if cluster.product is not None:
            return False
        if cluster.body_shape is not None:
            # argmax and argmin look for the position in a second loop of their own.
            is_search = any(value.node.op.name in ("argmax", "argmin") for value in cluster.reductions)
            return _space(cluster) is not None and not is_search and self._runs_along(cluster)
        points = _points(cluster)
        return points in self.kept or (points in self.full and self._runs_along(cluster))

    def _loads_of(self, cluster: Cluster) -> tuple[tuple[Value, Index], ...]:
        if cluster not in self._loads:
            self._loads[cluster] = loads(cluster, self.parts.home.__contains__)
        return self._loads[cluster]

    def _runs_along(self, cluster: Cluster) -> bool:
        """Whether every load goes through memory in the order of the last loop, or does not depend on it."""
        last = _loops(cluster)[-1]
        for value, index in self._loads_of(cluster):
            moving = [axis for axis, part in enumerate(index) if last in part.loops]
            inner = max((axis for axis, size in enumerate(value.shape) if size != 1), default=0)
            if moving and (moving != [inner] or index[inner].coefficient(last) not in (1, -1)):
                return False
        return True

    def _join(self, unit: Cluster, near: Sequence[_Group], inputs: Sequence[_Group]) -> _Group:
        """The group that ``unit`` ends up in: the groups ``near`` that it can join become one, or it is alone."""
        alone = self.of[unit]
        chosen: list[_Group] = []
        for other in near:
            reason = self._objection(unit, [*chosen, other], inputs)
            if reason is None:
                chosen.append(other)
            elif reason:
                unit.why.append(f"is apart from {_name(other.units[-1])}: {reason}")
        if not chosen:
            return alone
        for other in chosen:
            how = "after" if other in inputs else "beside"
            unit.why.append(f"runs row by row {how} {_name(other.units[-1])}")
        members = [*chosen, alone]
        # The largest group takes in the others, so that a long chain of joins is linear.
        target = max(chosen, key=lambda g: len(g.units))
        target.level = self._level(chosen, inputs)
        target.space = next(g.space for g in members if g.space)
        target.ops = sum(g.ops for g in members)
        target.readers_level = min(g.readers_level for g in members)
        for other in members:
            if other is not target:
                target.units += other.units
                self.of.update(dict.fromkeys(other.units, target))
        return target

    def _level(self, chosen: Sequence[_Group], inputs: Sequence[_Group]) -> int:
        return max([g.level for g in chosen] + [1 + g.level for g in inputs if g not in chosen])

    def _objection(self, unit: Cluster, chosen: Sequence[_Group], inputs: Sequence[_Group]) -> str | None:
        """Why ``unit`` and the ``chosen`` groups cannot be one kernel; empty where there is nothing to say."""
        alone = self.of[unit]
        spaces = {g.space for g in (alone, *chosen) if g.space is not None}
        if len(spaces) != 1:
            return "" if not spaces else "they reduce other axes"
        (space,) = spaces
        for other in (alone, *chosen):
            if other.space is None and not self._fits(other.units[0], space):
                return ""
        kept = space[1]
        made = {value for other in chosen for u in other.units if isinstance(u, Cluster) for value in u.stored}
        for value, index in self._loads_of(unit):
            if value in made and not _is_same_row(value, index, unit, kept):
                return f"it reads other rows of {label(value.node)}"
        level = self._level(chosen, inputs)
        if any(level >= other.readers_level for other in chosen):
            return "what lies between them is not part of it"
        if sum(len(other.units) for other in chosen) >= MAX_CLUSTERS:
            return f"together they are more than {MAX_CLUSTERS} stages"
        if alone.ops + sum(other.ops for other in chosen) > MAX_OPS:
            return f"together they have more than {MAX_OPS} ops"
        return None

    def _fits(self, unit: Unit, space: _Space) -> bool:
        """Whether a map runs over the points of ``space``, or over its rows."""
        sizes, kept = space
        return isinstance(unit, Cluster) and unit in self.candidates and _points(unit) in (sizes, sizes[:kept])

    def _in_order(self) -> list[_Group]:
        """Groups after what they read; otherwise as the units were ordered."""
        order: list[_Group] = []
        done: set[_Group] = set()
        for unit in self.parts.units:
            root = self.of[unit]
            if root in done:
                continue
            done.add(root)
            stack = [(root, iter(self._all_inputs(root)))]
            while stack:
                group, inputs = stack[-1]
                for other in inputs:
                    if other not in done:
                        done.add(other)
                        stack.append((other, iter(self._all_inputs(other))))
                        break
                else:
                    order.append(group)
                    stack.pop()
        return order

    def _all_inputs(self, group: _Group) -> list[_Group]:
        return [other for unit in group.units for other in self._inputs(unit) if other is not group]

    def _finished(self, group: _Group) -> RowKernel | Unit:
        clusters = sorted((u for u in group.units if isinstance(u, Cluster)), key=self.order.__getitem__)
        if len(clusters) < 2 or group.space is None:
            return group.units[0]
        points = group.space[0]
        stages: list[list[Cluster]] = []
        stage_of: dict[Unit, int] = {}
        for cluster in clusters:
            # A map over the rows joins the epilogue of the stage that makes the numbers it reads.
            is_epilogue = cluster.body_shape is None and _points(cluster) != points
            number = 0
            for value in self._reads(cluster):
                maker = self.parts.home[value]
                if maker in stage_of and maker is not None:
                    is_late = not is_epilogue or _sizes(value.shape) == points
                    number = max(number, stage_of[maker] + is_late)
            stage_of[cluster] = number
            stages += [[] for _ in range(number + 1 - len(stages))]
            stages[number].append(cluster)
        return RowKernel(tuple(map(tuple, stages)))
