"""A cluster becomes a kernel: values are expanded at symbolic indices until buffers are met, then loops are merged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from graphc.ir.dims import Dim, product, substitute, symbol
from graphc.ir.graph import Node, Value
from graphc.ir.types import Shape
from graphc.loops.affine import INDEX_MAPS, Affine, Index, linear, loop_index, operand_index
from graphc.loops.body import Instruction, Recorder, Ref
from graphc.loops.fusion import REDUCTIONS, Cluster, is_literal
from graphc.loops.kernel import Kernel, Loop, Reduction, Store

_NAME_PARTS = 5


def expand(cluster: Cluster, in_memory: Callable[[Value], bool]) -> tuple[Kernel, list[Value], list[Value]]:
    """The kernel of ``cluster`` and the values that it reads and writes, in the order of its buffers."""
    return _Expansion(cluster, in_memory).run()


class _Expansion:
    def __init__(self, cluster: Cluster, in_memory: Callable[[Value], bool]) -> None:
        self.cluster = cluster
        self.in_memory = in_memory
        self.space: Shape = cluster.shape if cluster.body_shape is None else cluster.body_shape
        # Every size has a name of its own while the kernel is made: n0, n1, … are the loops' extents.
        self.sizes: dict[str, Dim] = {f"n{i}": size for i, size in enumerate(self.space) if size != 1}
        self._named: dict[object, Dim] = {}
        self.buffers: dict[Value, int] = {}
        self.body = Recorder()
        self.point = self.body if cluster.body_shape is None else Recorder()
        self.op_names: dict[str, None] = {}

    def run(self) -> tuple[Kernel, list[Value], list[Value]]:
        cluster = self.cluster
        full = tuple(Affine() if size == 1 else loop_index(i) for i, size in enumerate(self.space))
        reduced = cluster.axes if cluster.body_shape is not None else ()
        at_point = tuple(part for i, part in enumerate(full) if i not in reduced)
        memo: dict[tuple[Value, Index], Ref] = {}
        in_body: dict[tuple[Value, Index], Ref] = memo if cluster.body_shape is None else {}
        reductions: list[Reduction] = []
        for number, value in enumerate(cluster.reductions):
            node = value.node
            operand = self._expand(node.inputs[0], full, self.body, in_body)
            name = REDUCTIONS[node.op.name]
            position = full[node.attributes["axis"]] if name.startswith("arg") else None
            accumulates = node.inputs[0].dtype.compute
            reductions.append(Reduction(name, operand.id, accumulates, position))
            self.op_names[name] = None
            result = self.point.emit("reduced", value.dtype.compute, (), number)
            memo[value, at_point] = self.point.rounded(result, value.dtype) if name in ("sum", "prod") else result
        pending: list[tuple[Value, str, Index, Ref]] = []
        for value, where in cluster.stored.items():
            index = at_point if where == "point" else full
            recorder, known = (self.point, memo) if where == "point" else (self.body, in_body)
            pending.append((value, where, index, self._expand(value, index, recorder, known)))
        stores: dict[str, list[Store]] = {"point": [], "body": []}
        operands = list(self.buffers)
        for number, (value, region, index, ref) in enumerate(pending):
            position = linear(index, self._sizes_of(value, index))
            stores[region].append(Store(len(operands) + number, position, ref.id, value.dtype))
        is_map = cluster.body_shape is None
        results = [value for value, *_ in pending]
        kernel = Kernel(
            name="_".join(["map" if is_map else "reduce", *list(self.op_names)[:_NAME_PARTS]]),
            loops=tuple(Loop(1 if size == 1 else symbol(f"n{i}"), i in reduced) for i, size in enumerate(self.space)),
            operands=tuple(v.type for v in operands),
            results=tuple(v.type for v in results),
            body=tuple(self.body.instructions),
            reductions=tuple(reductions),
            epilogue=() if is_map else tuple(self.point.instructions),
            body_stores=tuple(stores["point"] if is_map else stores["body"]),
            epilogue_stores=() if is_map else tuple(stores["point"]),
            why=tuple(cluster.why),
        )
        return _name_sizes(_merge_loops(kernel), self.sizes), operands, results

    def _expand(self, root: Value, at: Index, recorder: Recorder, memo: dict[tuple[Value, Index], Ref]) -> Ref:
        """The instruction that computes ``root`` at ``at``; iterative, since a body can be deep."""
        stack: list[tuple[Value, Index]] = [(root, at)]
        while stack:
            key = stack[-1]
            if key in memo:
                stack.pop()
                continue
            value, index = key
            node = value.node
            recorder.location = node.location
            if value not in self.cluster.stored and self.in_memory(value) and not is_literal(value):
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
        buffer = self.buffers.setdefault(value, len(self.buffers))
        return recorder.load(buffer, linear(index, self._sizes_of(value, index)), value.dtype)

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


def _merge_loops(kernel: Kernel) -> Kernel:
    """Drop loops of one iteration, and make one loop of neighbours that every access runs through as one."""
    functions = _functions(kernel)
    loops = list(kernel.loops)
    mapping: dict[int, int | None] = {i: None for i, loop in enumerate(loops) if loop.extent == 1}
    kept = [i for i in range(len(loops)) if i not in mapping]
    groups: list[list[int]] = []
    for loop in kept:
        inner = loops[loop]
        if groups and loops[groups[-1][-1]].reduced == inner.reduced:
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

    return replace(_map_functions(kernel, renumber), loops=merged)


def _functions(kernel: Kernel) -> list[Affine]:
    found = [s.position for s in kernel.body_stores + kernel.epilogue_stores]
    found += [r.position for r in kernel.reductions if r.position is not None]
    for instruction in kernel.body + kernel.epilogue:
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

    return replace(
        kernel,
        body=tuple(map(instruction, kernel.body)),
        epilogue=tuple(map(instruction, kernel.epilogue)),
        body_stores=tuple(replace(s, position=change(s.position)) for s in kernel.body_stores),
        epilogue_stores=tuple(replace(s, position=change(s.position)) for s in kernel.epilogue_stores),
        reductions=tuple(
            r if r.position is None else replace(r, position=change(r.position)) for r in kernel.reductions
        ),
    )


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
        body=tuple(map(instruction, kernel.body)),
        epilogue=tuple(map(instruction, kernel.epilogue)),
        sizes=tuple(sizes),
    )
