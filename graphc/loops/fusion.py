"""Which values are computed together: a graph becomes clusters (kernels to be) and single ops, in an order that works.

The walk goes from the outputs to the parameters, so that when a value is met, everything that reads it has a place
already.

* *Index maps* (broadcast_in_dim, transpose, slice, reverse, reshapes that split or drop axes), iota, sizes and scalar
  literals are free: each reader looks through them.
* An elementwise value that one cluster reads at one index is computed there. One that must be in memory, because it
  is an output or other clusters or ops read it, is stored by a cluster that computes it anyway, or gets a cluster of
  its own.
* What is cheap (:func:`_is_cheap`) is computed again by each reader instead of being stored.
* A reduction whose result one cluster reads point by point takes that cluster as its epilogue.
* A product of matrices does too, if the cluster is a map (:mod:`.products`). What leads out of a product and must be in
  memory gets a map of its own for that, rather than being stored by a reduction that reads it.

Cycles cannot arise: every cluster and op has a *level*, one more than the highest level of what reads it, and a value
joins a cluster only if all its other readers are below that cluster's level. The walk is linear in the size of the
graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from graphc.ir.graph import Graph, Node, Value
from graphc.ir.types import Shape
from graphc.loops.affine import INDEX_MAPS, split_groups
from graphc.loops.products import find_followers

#: At most this many elementwise ops in a kernel: what LLVM compiles in a fraction of a second, in registers for the
#: most part.
MAX_OPS = 200
#: A value is computed again by each reader, not stored, up to this many ops …
CHEAP_OPS = 4
#: … or this many where it is a scalar, which a kernel computes once, before its loops.
CHEAP_SCALAR_OPS = 16
#: Ops that count as several: a polynomial of a dozen terms is not cheap.
_COSTLY = frozenset(
    [
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "asinh",
        "acosh",
        "atanh",
        "erf",
        "erfc",
        "lgamma",
        "digamma",
        "polygamma",
        "logistic",
        "pow",
        "atan2",
        "remainder",
        "floor_divide",
        "div",
        "sqrt",
        "rsqrt",
    ]
)
_COSTLY_WEIGHT = 8

REDUCTIONS = {
    "reduce_sum": "sum", "reduce_prod": "prod", "reduce_max": "max", "reduce_min": "min", "reduce_any": "any",
    "reduce_all": "all", "argmax": "argmax", "argmin": "argmin",
}  # fmt: skip
_GENERATORS = ("iota", "dimension")

Region = Literal["point", "body"]
# How a cluster reads a value: at its own index of the point (epilogue) or body, or through index maps, numbered from 2.
_POINT, _BODY = 0, 1


@dataclass(eq=False)
class Cluster:
    """A kernel to be. ``shape`` is its points' space; with reductions, ``body_shape`` is the space they run over.

    ``stored``: the values it writes, and from where; ``reductions``: the reductions that it does; ``product``: the result
    of the matrix product whose epilogue it is.
    """

    level: int
    shape: Shape
    body_shape: Shape | None = None
    axes: tuple[int, ...] = ()
    stored: dict[Value, Region] = field(default_factory=dict)
    reductions: dict[Value, None] = field(default_factory=dict)
    ops: int = 0
    why: list[str] = field(default_factory=list)
    product: Value | None = None
    follows: Value | None = None


@dataclass(eq=False)
class Single:
    """An op that is no part of a kernel: structural, a library call, a check, a reshape of a buffer (a view)."""

    level: int
    node: Node
    is_view: bool = False
    why: list[str] = field(default_factory=list)


Unit = Cluster | Single


@dataclass
class Partition:
    """The units in execution order, which unit makes each value in memory (parameters and literals: None), and which of
    those values each unit reads.
    """

    units: list[Unit]
    home: dict[Value, Unit | None]
    reads: dict[Unit, list[Value]]


def is_literal(value: Value) -> bool:
    """Whether the value is a scalar literal, which kernels have in their text."""
    return value.node.op.name == "constant" and value.type.shape == ()


def partition(
    graph: Graph, separate: frozenset[str] = frozenset(), products: frozenset[str] = frozenset()
) -> Partition:
    """Group the nodes of ``graph``; see the module. ``separate`` names elementwise ops that no kernel can hold; ``products``
    those of :data:`.products.PRODUCTS` that may have epilogues."""
    return _Partitioner(graph, separate, products).run()


class _Partitioner:
    def __init__(self, graph: Graph, separate: frozenset[str], products: frozenset[str]) -> None:
        self.graph = graph
        self.separate = separate
        self.nodes = graph.nodes()
        self.readers: dict[Value, dict[Cluster, set[int]]] = {}
        self._reads_of: dict[Cluster, list[Value]] = {}
        self.demanded: dict[Value, tuple[int, str]] = {}  # must be in memory for a reader of that level, because …
        self.home: dict[Value, Unit | None] = {}
        self.effects = set(graph.effects)
        self._paths: dict[tuple[int, Node], int] = {}
        self._repeats: list[bool] = [False, False]
        self._open: dict[tuple[object, ...], Cluster] = {}
        self._cost: dict[Value, int] = {}
        self._loads: dict[Value, frozenset[Value]] = {}
        self._products = products
        self._followers = find_followers(graph, self.nodes, self._products, self._is_elementwise)

    def run(self) -> Partition:
        self._weigh()
        for output in self.graph.outputs:
            self._demand(output, -1, "is an output")
        singles: dict[Node, Single] = {}
        for node in reversed(self.nodes):
            name = node.op.name
            if name == "parameter" or (name == "constant" and not is_literal(Value(node, 0))):
                self.home[Value(node, 0)] = None
            elif name == "constant":
                if Value(node, 0) in self.demanded:
                    self.home[Value(node, 0)] = None
            elif self._is_elementwise(node):
                self._place_elementwise(node)
            elif name in REDUCTIONS:
                self._place_reduction(node)
            elif name in _GENERATORS or (name in INDEX_MAPS and not self._is_view(node)):
                self._place_index_map(node)
            elif name not in self._products or not self._take_in_product(node):
                self._place_single(node, singles)
        reads = self._reads(singles)
        return Partition(self._schedule(singles, reads), self.home, reads)

    # What things cost, from the parameters on.

    def _weigh(self) -> None:
        for node in self.nodes:
            for value in node.results:
                cost, loads = 0, frozenset((value,))
                if is_literal(value) or node.op.name in _GENERATORS:
                    loads = frozenset()
                elif self._is_elementwise(node) or node.op.name in INDEX_MAPS:
                    cost = sum(self._cost[v] for v in node.inputs) + _weight(node)
                    loads = frozenset().union(*(self._loads[v] for v in node.inputs))
                    if node.op.name == "broadcast_in_dim" and value.type != node.inputs[0].type:
                        loads = frozenset()
                    if len(loads) > 2:  # enough to know that it is not cheap
                        loads = frozenset(list(loads)[:2])
                self._cost[value], self._loads[value] = min(cost, 1000), loads

    def _is_elementwise(self, node: Node) -> bool:
        name = node.op.name
        return name == "stop_gradient" or (node.op.elementwise and name not in self.separate)

    def _is_cheap(self, value: Value) -> bool:
        """Whether computing the value in each reader beats storing it: few ops on at most one full-size operand."""
        if value.shape == ():
            return self._cost[value] <= CHEAP_SCALAR_OPS
        return self._cost[value] <= CHEAP_OPS and len(self._loads[value]) <= 1

    # Recording who reads what.

    def _demand(self, value: Value, level: int, reason: str) -> None:
        known = self.demanded.get(value)
        if known is None or known[0] < level:
            self.demanded[value] = (level, reason if known is None else known[1])

    def _read(self, value: Value, cluster: Cluster, path: int) -> None:
        self.readers.setdefault(value, {}).setdefault(cluster, set()).add(path)
        self._reads_of.setdefault(cluster, []).append(value)

    def _through(self, path: int, node: Node) -> int:
        """The path that reads the operand of ``node``, an index map, where its result is read by ``path``."""
        key = (path, node)
        if key not in self._paths:
            self._paths[key] = len(self._repeats)
            self._repeats.append(self._repeats[path] or _repeats(node))
        return self._paths[key]

    def _level(self, value: Value, except_for: Cluster | None = None) -> int:
        """The least level of a unit that stores ``value``."""
        level = self.demanded[value][0] if value in self.demanded else -1
        for cluster in self.readers.get(value, ()):
            if cluster is not except_for:
                level = max(level, cluster.level)
        return level + 1

    # Finding each node its place.

    def _place_elementwise(self, node: Node) -> None:
        value = Value(node, 0)
        readers = self.readers.get(value, {})
        leads = value in self._followers.leads
        is_smaller = self._is_smaller(value, readers)
        if value not in self.demanded and not is_smaller:
            if len(readers) == 1:
                ((cluster, paths),) = readers.items()
                if len(paths) == 1 and not self._repeats[next(iter(paths))] and cluster.ops < MAX_OPS:
                    self._inline(node, cluster, paths)
                    return
            if self._is_cheap(value) and all(cluster.ops < MAX_OPS for cluster in readers):
                for cluster, paths in readers.items():
                    self._inline(node, cluster, paths)
                    cluster.why.append(f"computes {label(node)} again: cheaper than reading it")
                return
        host, region = self._host(value, leads or is_smaller) or self._sibling(node) or (None, "point")
        if host is None:
            host = Cluster(self._level(value), node.types[0].shape, follows=self._followers.follows.get(value))
        host.stored[value] = region  # type: ignore[assignment]
        host.why.append(f"stores {label(node)}: {self._reason(value)}")
        self.home[value] = host
        self._inline(node, host, {_POINT if region == "point" else _BODY})
        self._offer(node, host, region)

    def _is_smaller(self, value: Value, readers: Mapping[Cluster, set[int]]) -> bool:
        """Whether to store ``value`` because it is smaller than the result of the product before it, as a mask is: others
        than the epilogue then need not read that result."""
        product = self._followers.follows.get(value)
        if product is None or value.dtype.itemsize >= product.dtype.itemsize:
            return False
        if len(readers) > 1 and self._host(value, True) is not None:
            return True
        is_read_apart = any(cluster.body_shape is not None or paths != {_POINT} for cluster, paths in readers.items())
        return is_read_apart and value in self._followers.leads

    def _inline(self, node: Node, cluster: Cluster, paths: set[int]) -> None:
        cluster.ops += 1
        for operand in node.inputs:
            for path in paths:
                self._read(operand, cluster, path)

    def _host(self, value: Value, is_map: bool) -> tuple[Cluster, str] | None:
        """A reader of ``value`` that computes it point by point and may store it for the others; ``is_map``: a map."""
        for cluster, paths in self.readers.get(value, {}).items():
            if is_map and cluster.body_shape is not None:
                continue
            if len(paths) != 1 or cluster.ops >= MAX_OPS or self._level(value, cluster) > cluster.level:
                continue
            path = next(iter(paths))
            if path == _POINT and cluster.shape == value.shape:
                return cluster, "point"
            if path == _BODY and cluster.body_shape == value.shape:
                return cluster, "body"
        return None

    def _sibling(self, node: Node) -> tuple[Cluster, str] | None:
        """A cluster over the same points that reads one of the operands too: one pass over memory instead of two."""
        value = Value(node, 0)
        product = self._followers.follows.get(value)
        for operand in node.inputs:
            for region in ("point", "body"):
                cluster = self._open.get((operand, region, value.shape))
                if cluster is None or cluster in self.readers.get(value, ()) or cluster.ops >= MAX_OPS:
                    continue
                if product is not None and (cluster.body_shape is not None or cluster.follows not in (product, None)):
                    continue  # or the product would lose its epilogue
                if cluster.level >= self._level(value):
                    cluster.why.append(f"takes in {label(node)}: it reads the same operand over the same points")
                    return cluster, region
        return None

    def _offer(self, node: Node, cluster: Cluster, region: str) -> None:
        for operand in node.inputs:
            if not is_literal(operand):
                self._open[operand, region, node.types[0].shape] = cluster

    def _place_reduction(self, node: Node) -> None:
        value, operand = Value(node, 0), node.inputs[0]
        axes = _axes(node)
        host = self._epilogue_host(value, operand.shape, axes)
        if host is None:
            host = self._open.get((operand, axes, operand.shape))
            if host is not None:
                if host.level < self._level(value) or host in self.readers.get(value, ()) or host.ops >= MAX_OPS:
                    host = None
                else:
                    host.why.append(f"takes in {label(node)}: it reduces the same operand over the same axes")
        if host is None:
            host = Cluster(self._level(value), value.shape, operand.shape, axes)
        host.body_shape, host.axes = operand.shape, axes
        host.reductions[value] = None
        host.ops += 1
        if value in self.demanded or any(reader is not host for reader in self.readers.get(value, ())):
            host.stored[value] = "point"
            host.why.append(f"stores {label(node)}: {self._reason(value)}")
            self.home[value] = host
        self._open[operand, axes, operand.shape] = host
        self._open[operand, "body", operand.shape] = host
        self._read(operand, host, _BODY)

    def _epilogue_host(self, value: Value, body_shape: Shape, axes: tuple[int, ...]) -> Cluster | None:
        for cluster, paths in self.readers.get(value, {}).items():
            fits = cluster.body_shape is None or (cluster.body_shape == body_shape and cluster.axes == axes)
            fits = fits and paths == {_POINT} and cluster.shape == value.shape and cluster.ops < MAX_OPS
            fits = fits and cluster.product is None
            if fits and self._level(value, cluster) <= cluster.level:
                cluster.why.append(f"is the epilogue of {label(value.node)}: it reads the result point by point")
                return cluster
        return None

    def _place_index_map(self, node: Node) -> None:
        value = Value(node, 0)
        if value in self.demanded:
            cluster = Cluster(self._level(value), value.shape, ops=1)
            cluster.stored[value] = "point"
            cluster.why.append(f"stores {label(node)}: {self._reason(value)}")
            self.home[value] = cluster
            for operand in node.inputs:
                self._read(operand, cluster, self._through(_POINT, node))
        for cluster, paths in self.readers.get(value, {}).items():
            for operand in node.inputs:
                for path in paths:
                    self._read(operand, cluster, self._through(path, node))

    def _is_view(self, node: Node) -> bool:
        """Whether a reshape is done as a view of its operand's buffer: readers cannot, or need not, look through it."""
        if node.op.name != "reshape":
            return False
        return Value(node, 0) in self.demanded or split_groups(node.inputs[0].shape, node.types[0].shape) is None

    def _place_single(self, node: Node, singles: dict[Node, Single]) -> None:
        level = max((self._level(value) for value in node.results), default=0)
        is_view = node.op.name == "reshape"
        single = singles[node] = Single(level, node, is_view)
        for value in node.results:
            self.home[value] = single
        if node.op.name in self._products:
            single.why.append(f"has no epilogue: {self._no_epilogue(Value(node, 0))}")
        for operand in node.inputs:
            self._demand(operand, level, f"{label(node)} reads it")

    def _take_in_product(self, node: Node) -> bool:
        """Give the product ``node`` to a map that reads its result point by point; whether there is one."""
        value = Value(node, 0)
        for cluster, paths in self.readers.get(value, {}).items():
            is_map = cluster.body_shape is None and paths == {_POINT} and cluster.shape == value.shape
            if is_map and cluster.product is None and self._raise(cluster, self._level(value, cluster)):
                cluster.product = value
                self.home[value] = cluster
                for operand in node.inputs:
                    self._demand(operand, cluster.level, f"{label(node)} reads it")
                return True
        return False

    def _raise(self, cluster: Cluster, level: int) -> bool:
        """Let ``cluster`` have at least ``level``, unless what it reads has a place below that already."""
        if level > cluster.level:
            makers = (self.home.get(value) for value in self._reads_of[cluster])
            if any(maker is not None and maker is not cluster and maker.level <= level for maker in makers):
                return False
            cluster.level = level
        return True

    def _no_epilogue(self, value: Value) -> str:
        """Why a product is a step of its own."""
        readers = self.readers.get(value, {})
        maps = [c for c, paths in readers.items() if c.body_shape is None and paths == {_POINT} and c.shape == value.shape]
        if not maps:
            return "no map reads its result point by point"
        if all(cluster.product is not None for cluster in maps):
            return f"{label(maps[0].product.node)} has the map that reads its result"  # type: ignore[union-attr]
        for cluster in maps:
            makers = {v: self.home.get(v) for v in self._reads_of[cluster] if v != value}
            level = self._level(value, cluster)
            late = [v for v, maker in makers.items() if maker is not None and maker is not cluster and maker.level <= level]
            if late and cluster.product is None:
                return f"the map that reads its result point by point reads {label(late[0].node)} too, which is made after it"
        return "others read its result before the map that does it point by point"

    def _reason(self, value: Value) -> str:
        if value in self.demanded:
            return self.demanded[value][1]
        readers = self.readers.get(value, {})
        if self._is_smaller(value, readers):
            return f"others read it, and it is smaller than what {label(self._followers.follows[value].node)} gives"
        return f"{len(self.readers.get(value, ()))} kernels read it, and it is not cheap"

    # Order of execution.

    def _reads(self, singles: dict[Node, Single]) -> dict[Unit, list[Value]]:
        reads: dict[Unit, list[Value]] = {}
        for value, clusters in self.readers.items():
            if value in self.home:
                for cluster in clusters:
                    if self.home[value] is not cluster:
                        reads.setdefault(cluster, []).append(value)
        for maker in dict.fromkeys(self.home.values()):
            if isinstance(maker, Cluster) and maker.product is not None:
                known = reads.setdefault(maker, [])
                known += [v for v in dict.fromkeys(maker.product.node.inputs) if v not in known]
        for node, single in singles.items():
            reads[single] = list(node.inputs)
        return reads

    def _schedule(self, singles: dict[Node, Single], reads: dict[Unit, list[Value]]) -> list[Unit]:
        """Units after what they read, depth first from effects and outputs, so that temporaries are short-lived."""
        order: list[Unit] = []
        done: set[Unit] = set()
        roots: list[Unit | None] = [singles[effect] for effect in self.graph.effects]
        roots += [self.home[output] for output in self.graph.outputs]
        for root in roots:
            if root is None or root in done:
                continue
            done.add(root)
            stack = [(root, iter(reads.get(root, ())))]
            while stack:
                unit, operands = stack[-1]
                for value in operands:
                    maker = self.home[value]
                    if maker is not None and maker not in done:
                        done.add(maker)
                        stack.append((maker, iter(reads.get(maker, ()))))
                        break
                else:
                    order.append(unit)
                    stack.pop()
        return order


def _weight(node: Node) -> int:
    if node.op.name in INDEX_MAPS:
        return 0
    return _COSTLY_WEIGHT if node.op.name in _COSTLY else 1


def _axes(node: Node) -> tuple[int, ...]:
    return tuple(node.attributes["axes"]) if "axes" in node.attributes else (node.attributes["axis"],)


def _repeats(node: Node) -> bool:
    """Whether reading through the index map computes an operand's element several times.

    A broadcast along trailing axes does not: the inner loop finds the value computed before it.
    """
    if node.op.name != "broadcast_in_dim":
        return False
    dims = node.attributes["dims"]
    from_operand = [dims[axis] for axis, size in enumerate(node.inputs[0].shape) if size != 1]
    last = max(from_operand, default=-1)
    return any(size != 1 and axis < last and axis not in from_operand for axis, size in enumerate(node.types[0].shape))


def label(node: Node) -> str:
    """The op and the user's line."""
    where = f" (line {node.location.line})" if node.location.line else ""
    return f"{node.op.name}{where}"
