"""Clusters become a kernel: values are expanded at symbolic indices until buffers are met, then loops are merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from graphc.ir.dims import Dim, product, substitute, symbol
from graphc.ir.graph import Node, Value
from graphc.ir.types import Shape
from graphc.loops.affine import INDEX_MAPS, Affine, Index, linear, loop_index, operand_index
from graphc.loops.body import Instruction, Recorder, Ref
from graphc.loops.fusion import REDUCTIONS, Cluster, is_literal, label
from graphc.loops.kernel import Kernel, Loop, Reduction, Stage, Store

_NAME_PARTS = 5


@dataclass(frozen=True)
class Placement:
    """A kernel's result is the region of ``update``, a dynamic_update_slice, that begins at ``starts``."""

    update: Node
    starts: tuple[int, ...]

    @property
    def whole(self) -> Value:
        """The array whose region is replaced."""
        return self.update.inputs[0]

    @property
    def part(self) -> Value:
        return self.update.inputs[1]


def expand(
    stages: Sequence[Sequence[Cluster]],
    in_memory: Callable[[Value], bool],
    is_read_outside: Callable[[Value], bool],
    placement: Placement | None = None,
) -> tuple[Kernel, list[Value], list[Value]]:
    """One kernel for all of ``stages``, and the values that it reads and writes, in the order of its buffers.

    Clusters of one stage do not read each other; those of later stages read only the same row of what earlier ones
    made. ``is_read_outside``: whether somebody else reads a value, so that it must be in memory. ``placement``: where the
    only result is written; then the last operand is the whole array, or an earlier one is, and the result that of the update.
    """
    expansion = _Expansion(stages, in_memory, is_read_outside, placement)
    return expansion.kernel(), list(expansion.buffers), expansion.results


def expand_epilogue(
    cluster: Cluster, grid: tuple[int, int], in_memory: Callable[[Value], bool], is_read_outside: Callable[[Value], bool]
) -> tuple[Kernel, list[Value], list[Value]]:
    """The kernel of a product's epilogue, and the values that it reads, the product's result first, and writes.

    ``grid``: how many axes of the result are matrices, and how many of them and the rows. No loop is over axes of two kinds.
    """
    assert cluster.product is not None
    expansion = _Expansion([[cluster]], in_memory, is_read_outside, first=cluster.product)
    return expansion.kernel(grid), list(expansion.buffers), expansion.results


def expand_prologue(cluster: Cluster, in_memory: Callable[[Value], bool]) -> tuple[Kernel, list[Value]]:
    """The kernel that computes an operand of a product, a matrix, whose loops stay apart; and the values that it reads."""
    expansion = _Expansion([[cluster]], in_memory, in_memory)
    kernel = expansion.kernel((0, 1))
    return replace(kernel, name=kernel.name.replace("epilogue", "prologue", 1)), list(expansion.buffers)


def loads(cluster: Cluster, in_memory: Callable[[Value], bool]) -> tuple[tuple[Value, Index], ...]:
    """What ``cluster`` loads, and at which index: loop *i* runs over axis *i* of the space of the cluster."""
    return tuple(_Expansion([[cluster]], in_memory, in_memory).loaded)


def concrete_loads(cluster: Cluster, in_memory: Callable[[Value], bool]) -> list[tuple[Value, Index]]:
    """:func:`loads`, with the sizes of the graph at hand."""
    expansion = _Expansion([[cluster]], in_memory, in_memory)

    def concrete(function: Affine) -> Affine:
        terms = [(loop, substitute(c, expansion.sizes)) for loop, c in function.terms]
        return Affine(substitute(function.offset, expansion.sizes), tuple(terms))

    return [(value, tuple(map(concrete, index))) for value, index in expansion.loaded]


@dataclass
class _Stage:
    """A stage in the making: ``point`` is its epilogue, or the body of a map."""

    body: Recorder
    point: Recorder
    made: frozenset[Value]
    in_body: dict[tuple[Value, Index], Ref]
    at_point: dict[tuple[Value, Index], Ref]
    reductions: list[Reduction] = field(default_factory=list)
    stores: list[tuple[Value, bool, Index, Ref]] = field(default_factory=list)

    def recorder(self, is_body: bool) -> tuple[Recorder, dict[tuple[Value, Index], Ref]]:
        return (self.body, self.in_body) if is_body else (self.point, self.at_point)


class _Expansion:
    def __init__(
        self,
        stages: Sequence[Sequence[Cluster]],
        in_memory: Callable[[Value], bool],
        is_read_outside: Callable[[Value], bool],
        placement: Placement | None = None,
        first: Value | None = None,
    ) -> None:
        self.in_memory = in_memory
        self.placement = placement
        self.clusters = [cluster for clusters in stages for cluster in clusters]
        typical = next((c for c in self.clusters if c.body_shape is not None), self.clusters[0])
        self.space: Shape = typical.shape if typical.body_shape is None else typical.body_shape
        self.reduced = typical.axes if typical.body_shape is not None else ()
        self.is_map = typical.body_shape is None
        # Every size has a name of its own while the kernel is made: n0, n1, … are the loops' extents.
        self.sizes: dict[str, Dim] = {f"n{i}": size for i, size in enumerate(self.space) if size != 1}
        self._named: dict[object, Dim] = {}
        self._loops = [i for i, size in enumerate(self.space) if size != 1]
        self._kept = [i for i in self._loops if i not in self.reduced]
        self.buffers: dict[Value, int] = {} if first is None else {first: 0}
        self.loaded: dict[tuple[Value, Index], None] = {}
        self.op_names: dict[str, None] = {}
        #: What one stage makes and another reads: the stage, or the buffer of a whole row (numbered from -1 down).
        self._scalars: dict[Value, tuple[int, Ref]] = {}
        self._rows: dict[Value, int] = {}
        self.stored = {v for c in self.clusters for v in c.stored if len(stages) == 1 or is_read_outside(v)}
        self.results: list[Value] = []
        self.stages: list[_Stage] = []
        for clusters in stages:
            self._add_stage(clusters)

    def _index(self, shape: Shape, loops: Sequence[int]) -> Index:
        rest = iter(loops)
        return tuple(Affine() if size == 1 else loop_index(next(rest)) for size in shape)

    def _add_stage(self, clusters: Sequence[Cluster]) -> None:
        body = Recorder()
        in_body: dict[tuple[Value, Index], Ref] = {}
        made = frozenset(v for c in clusters for v in (*c.stored, *c.reductions))
        stage = _Stage(body, body, made, in_body, in_body) if self.is_map else _Stage(body, Recorder(), made, in_body, {})
        for value in (v for c in clusters for v in c.reductions):
            self._reduce(stage, value)
        for cluster in clusters:
            for value, region in cluster.stored.items():
                is_body = region == "body" or (cluster.body_shape is None and self._is_full(value))
                index = self._index(value.shape, self._loops if is_body else self._kept)
                ref = self._expand(value, index, stage, is_body)
                stage.stores.append((value, is_body, index, ref))
                if is_body:
                    self._rows[value] = -1 - len(self._rows)
                else:
                    self._scalars[value] = (len(self.stages), ref)
        self.results += [v for v, *_ in stage.stores if v in self.stored]
        self.stages.append(stage)

    def _is_full(self, value: Value) -> bool:
        return sum(size != 1 for size in value.shape) == len(self._loops)

    def _reduce(self, stage: _Stage, value: Value) -> None:
        node = value.node
        full = self._index(node.inputs[0].shape, self._loops)
        operand = self._expand(node.inputs[0], full, stage, is_body=True)
        name = REDUCTIONS[node.op.name]
        position = full[node.attributes["axis"]] if name.startswith("arg") else None
        result = stage.point.emit("reduced", value.dtype.compute, (), len(stage.reductions))
        stage.reductions.append(Reduction(name, operand.id, node.inputs[0].dtype.compute, position))
        self.op_names[name] = None
        index = self._index(value.shape, self._kept)
        is_rounded = name in ("sum", "prod")
        stage.at_point[value, index] = stage.point.rounded(result, value.dtype) if is_rounded else result

    def kernel(self, grid: tuple[int, int] | None = None) -> Kernel:
        if self.placement is not None:
            self.buffers.setdefault(self.placement.whole, len(self.buffers))
            self.results = [self.placement.update.results[0]]
            self._rows.clear()  # a map, of one stage
        operands = list(self.buffers)
        numbers = {value: len(operands) + i for i, value in enumerate(self.results)}
        kept_rows = [v for v in self._rows if v not in numbers]
        numbers.update({value: len(operands) + len(self.results) + i for i, value in enumerate(kept_rows)})
        places = {number: numbers[value] for value, number in self._rows.items()}

        def place(i: Instruction) -> Instruction:
            return replace(i, detail=(places[i.detail[0]], *i.detail[1:])) if i.kind == "load" and i.detail[0] < 0 else i

        stages: list[Stage] = []
        for made in self.stages:
            stores: tuple[list[Store], list[Store]] = ([], [])
            for value, is_body, index, ref in made.stores:
                if self.placement is not None:
                    update = self.placement.update.results[0]
                    stores[is_body].append(Store(numbers[update], self._placed(self.placement, index), ref.id, value.dtype))
                elif value in numbers:
                    position = self._position(value, index)
                    stores[is_body].append(Store(numbers[value], position, ref.id, value.dtype))
            stage = Stage(
                body=tuple(made.body.instructions),
                reductions=tuple(made.reductions),
                epilogue=() if self.is_map else tuple(made.point.instructions),
                body_stores=tuple(stores[True]),
                epilogue_stores=tuple(stores[False]),
            )
            stages.append(_map_instructions(stage, place))
        kind = "epilogue" if grid else "map" if self.is_map else "reduce" if len(stages) == 1 else "rows"
        kernel = Kernel(
            name="_".join([kind, *list(self.op_names)[:_NAME_PARTS]]),
            loops=tuple(Loop(1 if size == 1 else symbol(f"n{i}"), i in self.reduced) for i, size in enumerate(self.space)),
            operands=tuple(v.type for v in operands),
            results=tuple(v.type for v in self.results),
            stages=tuple(stages),
            why=tuple(reason for cluster in self.clusters for reason in self._why(cluster)),
            rows=tuple(v.dtype for v in kept_rows),
        )
        return _name_sizes(_merge_loops(kernel, grid), self.sizes)

    def _why(self, cluster: Cluster) -> list[str]:
        """The reasons of a cluster; what it makes for later stages only is not stored."""
        reasons = list(cluster.why)
        for value in cluster.stored:
            if value not in self.stored:
                name = label(value.node)
                at = next((i for i, reason in enumerate(reasons) if reason.startswith(f"stores {name}: ")), None)
                if at is not None:
                    reasons[at] = f"keeps {name} for the row: only later stages read it"
        return reasons

    def _expand(self, root: Value, at: Index, stage: _Stage, is_body: bool) -> Ref:
        """The instruction that computes ``root`` at ``at``; iterative, since a body can be deep."""
        recorder, memo = stage.recorder(is_body)
        stack: list[tuple[Value, Index]] = [(root, at)]
        while stack:
            key = stack[-1]
            if key in memo:
                stack.pop()
                continue
            value, index = key
            node = value.node
            recorder.location = node.location
            if value not in stage.made and self.in_memory(value) and not is_literal(value):
                memo[key] = self._load(value, index, recorder)
                continue
            needed = self._operands(node, index)
            missing = [n for n in needed if n not in memo]
            if missing:
                stack.extend(missing)
                continue
            memo[key] = self._apply(node, index, [memo[n] for n in needed], recorder)
        return memo[root, at]

    def _operands(self, node: Node, index: Index) -> list[tuple[Value, Index]]:
        if node.op.name in INDEX_MAPS:
            return [(node.inputs[0], operand_index(node, index, self._name_size))]
        return [(operand, index) for operand in node.inputs]

    def _apply(self, node: Node, index: Index, operands: list[Ref], recorder: Recorder) -> Ref:
        name, type_ = node.op.name, node.types[0]
        if name == "constant":
            return recorder.constant(node.attributes["value"].item(), type_.dtype)
        if name in INDEX_MAPS or name == "stop_gradient":
            return operands[0]
        self.op_names[_SHORT.get(name, name)] = None
        if name == "iota":
            return recorder.convert(recorder.index(index[node.attributes["axis"]]), type_.dtype)
        if name == "dimension":
            return recorder.size(self._name_size((node, "dim"), node.attributes["dim"], None))
        result: Ref = node.op.scalar(recorder, *operands, **node.attributes)
        return recorder.rounded(result, type_.dtype)

    def _load(self, value: Value, index: Index, recorder: Recorder) -> Ref:
        self.loaded[value, index] = None
        if value in self._scalars:
            stage, ref = self._scalars[value]
            return recorder.emit("row", ref.dtype, (), (stage, ref.id))
        buffer = self._rows.get(value)
        if buffer is None:
            buffer = self.buffers.setdefault(value, len(self.buffers))
        return recorder.load(buffer, self._position(value, index), value.dtype)

    def _position(self, value: Value, index: Index) -> Affine:
        """Where the element at ``index`` lies in the buffer of ``value``, or in the part of it that is for one row."""
        sizes = self._sizes_of(value, index)
        if value in self._rows and value not in self.stored:
            kept = [axis for axis, size in enumerate(value.shape) if size != 1][: len(self._kept)]
            first = kept[-1] + 1 if kept else 0
            return linear(index[first:], sizes[first:])
        return linear(index, sizes)

    def _placed(self, placement: Placement, index: Index) -> Affine:
        """The position in the whole array, in the terms that loads of the same region have."""
        named = {
            (key[2], key[0].attributes["starts"][key[2]]): name
            for key, name in self._named.items()
            if isinstance(key, tuple) and key[1] == "start" and key[0].inputs[0] == placement.whole
        }
        shifted: list[Affine] = []
        for axis, (part, start) in enumerate(zip(index, placement.starts, strict=True)):
            offset = named.get((axis, start)) or self._name_size((placement.update, "start", axis), start, None)
            shifted.append(part + Affine(offset if start != 0 else 0))
        return linear(shifted, self._sizes_of(placement.whole, tuple(shifted)))

    def _sizes_of(self, value: Value, index: Index) -> list[Dim]:
        return [self._name_size((value, axis), size, index[axis]) for axis, size in enumerate(value.shape)]

    def _name_size(self, what: object, size: Dim, index: Affine | None) -> Dim:
        """A kernel size for ``size``: the extent of the loop that runs over it, or a name for ``what`` it is."""
        if size == 1 and index is not None:
            return 1
        loop = None if index is None else index.loop
        if loop is not None and self.space[loop] == size:
            return symbol(f"n{loop}")
        if what not in self._named:
            name = f"t{len(self._named)}"
            self._named[what] = symbol(name)
            self.sizes[name] = size
        return self._named[what]


_SHORT = {"convert_element_type": "convert"}


def _merge_loops(kernel: Kernel, grid: tuple[int, int] | None = None) -> Kernel:
    """Drop loops of one iteration, and make one loop of neighbours that every access runs through as one.

    With a ``grid``, see :func:`expand_epilogue`, only of neighbours of one kind.
    """
    functions = _functions(kernel)
    loops = list(kernel.loops)
    mapping: dict[int, int | None] = {i: None for i, loop in enumerate(loops) if loop.extent == 1}
    kept = [i for i in range(len(loops)) if i not in mapping]
    groups: list[list[int]] = []
    for loop in kept:
        inner = loops[loop]
        is_apart = groups and grid is not None and any(groups[-1][-1] < edge <= loop for edge in grid)
        if groups and not is_apart and loops[groups[-1][-1]].reduced == inner.reduced:
            outer = groups[-1][-1]
            if all(f.coefficient(outer) == f.coefficient(loop) * inner.extent for f in functions):
                groups[-1].append(loop)
                continue
        groups.append([loop])
    merged = tuple(Loop(product(loops[i].extent for i in g), loops[g[0]].reduced) for g in groups)
    # A merged loop runs with the step of its innermost member; the outer members vanish.
    for number, group in enumerate(groups):
        mapping.update(dict.fromkeys(group[:-1]))
        mapping[group[-1]] = number

    def renumber(function: Affine) -> Affine:
        terms = [(mapping[loop], c) for loop, c in function.terms]
        return Affine(function.offset, tuple((loop, c) for loop, c in terms if loop is not None))

    if grid is not None:
        kinds = [sum(group[0] >= edge for edge in grid) for group in groups]
        kernel = replace(kernel, grid=(kinds.count(0), kinds.count(1), kinds.count(2)))
    return replace(_map_functions(kernel, renumber), loops=merged)


def _functions(kernel: Kernel) -> list[Affine]:
    found: list[Affine] = []
    for stage in kernel.stages:
        found += [s.position for s in stage.body_stores + stage.epilogue_stores]
        found += [r.position for r in stage.reductions if r.position is not None]
        for instruction in stage.body + stage.epilogue:
            if instruction.kind == "load":
                found.append(instruction.detail[1])
            elif instruction.kind == "index":
                found.append(instruction.detail)
    return found


def _map_functions(kernel: Kernel, change: Callable[[Affine], Affine]) -> Kernel:
    def instruction(i: Instruction) -> Instruction:
        if i.kind == "load":
            buffer, position, dtype = i.detail
            return replace(i, detail=(buffer, change(position), dtype))
        return replace(i, detail=change(i.detail)) if i.kind == "index" else i

    def changed(stage: Stage) -> Stage:
        return replace(
            _map_instructions(stage, instruction),
            body_stores=tuple(replace(s, position=change(s.position)) for s in stage.body_stores),
            epilogue_stores=tuple(replace(s, position=change(s.position)) for s in stage.epilogue_stores),
            reductions=tuple(r if r.position is None else replace(r, position=change(r.position)) for r in stage.reductions),
        )

    return replace(kernel, stages=tuple(map(changed, kernel.stages)))


def _map_instructions(stage: Stage, change: Callable[[Instruction], Instruction]) -> Stage:
    return replace(stage, body=tuple(map(change, stage.body)), epilogue=tuple(map(change, stage.epilogue)))


def _name_sizes(kernel: Kernel, values: dict[str, Dim]) -> Kernel:
    """Give every extent, stride and offset that is not 0, 1 or -1 a name: s0, s1, … in order of appearance."""
    names: dict[Dim, Dim] = {}
    sizes: list[tuple[str, Dim]] = []

    def named(dim: Dim, is_loop: bool = False) -> Dim:
        if isinstance(dim, int) and abs(dim) <= 1 and not is_loop:
            return dim
        if is_loop or dim not in names:
            name = f"s{len(sizes)}"
            names.setdefault(dim, symbol(name))
            sizes.append((name, substitute(dim, values)))
            return symbol(name)
        return names[dim]

    def rename(function: Affine) -> Affine:
        return Affine(named(function.offset), tuple((loop, named(c)) for loop, c in function.terms))

    def instruction(i: Instruction) -> Instruction:
        return replace(i, detail=named(i.detail)) if i.kind == "size" else i

    loops = tuple(replace(loop, extent=named(loop.extent, is_loop=True)) for loop in kernel.loops)
    kernel = _map_functions(kernel, rename)
    return replace(
        kernel,
        loops=loops,
        stages=tuple(_map_instructions(stage, instruction) for stage in kernel.stages),
        sizes=tuple(sizes),
    )
