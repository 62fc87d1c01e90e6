"""The driver: applies rules to a graph until none fires.

A sweep visits every node once its operands are settled. What a rule builds is settled in the same way before it takes
the node's place, so one sweep reaches the fixed point of all patterns, which only look towards operands; further
sweeps are for conditions on the number of uses. Equal nodes are merged on the way. Time is linear in the nodes
visited and made, and no part of it recurses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from graphc.dtypes import DType
from graphc.errors import GraphcError, RewriteError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value, uses
from graphc.ir.primitive import Primitive
from graphc.locations import Location
from graphc.rewrite.interning import Interner
from graphc.rewrite.pattern import Environment, Op, Replacement, Rule

MAX_SWEEPS = 32
MAX_FIRINGS_PER_NODE = 2000


class Firing(NamedTuple):
    """One use of a rule: which, on what primitive, and the line that the node came from."""

    rule: str
    op: str
    location: Location

    def __str__(self) -> str:
        return f"{self.rule} on {self.op} at {self.location}"


#: Told of each firing before it takes effect; what returns False does not let it.
Record = Callable[[Firing], bool | None]


class RuleSet:
    """Rules ready for matching: of the ones given, those allowed, looked up by the primitives of a node and its
    operands.
    """

    def __init__(self, rules: Iterable[Rule], *, fast_math: bool = False) -> None:
        self.rules = tuple(rules)
        self.fast_math = fast_math
        names = Counter(rule.name for rule in self.rules)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise RewriteError(f"two rules are named {twice[0]!r}")
        self._candidates: dict[tuple[str, ...], tuple[tuple[Rule, Op], ...]] = {}

    def candidates(self, node: Node) -> tuple[tuple[Rule, Op], ...]:
        """The rules whose pattern the primitives of ``node`` and of its operands do not rule out, in order."""
        key = (node.op.name, *[value.node.op.name for value in node.inputs])
        found = self._candidates.get(key)
        if found is None:
            found = tuple((rule, p) for rule in self.rules for p in rule.patterns if p.accepts(node))
            self._candidates[key] = found
        return found


class RewriteBuilder(Builder):
    """The builder that rules get: equal nodes are one node, and effects cannot be made."""

    def __init__(self, interner: Interner) -> None:
        super().__init__("rewrite")
        self._interner = interner

    def constant(self, value: Any, dtype: DType | None = None) -> Value:
        return Value(self._interner.intern(super().constant(value, dtype).node), 0)

    def emit(self, op: Primitive | str, *operands: Value, name: str = "", **attributes: Any) -> tuple[Value, ...]:
        results = super().emit(op, *operands, name=name, **attributes)
        if self.effects:
            raise RewriteError(f"a rule cannot make the effect {self.effects.pop().op.name}")
        return self._interner.intern(results[0].node).results if results else results


def rewrite(graph: Graph, rules: RuleSet, record: Record | None = None) -> Graph:
    """``graph`` with ``rules`` applied until none fires; ``record`` is told of each firing.

    Raises RewriteError for a rule that changes a type, fails, or (with others) never settles; the rules are named.
    """
    last: Counter[str] = Counter()
    for _ in range(MAX_SWEEPS):
        sweep = _Sweep(graph, rules, record)
        graph = sweep.run()
        if not sweep.fired:
            return graph
        last = sweep.fired
    raise RewriteError(f"the rules {_names(last)} still fire after {MAX_SWEEPS} sweeps over {graph.name}")


class _Pending(NamedTuple):
    """What takes a node's place once it is settled, and the rule that said so (None: an equal node)."""

    values: tuple[Value, ...]
    rule: Rule | None


class _Sweep:
    def __init__(self, graph: Graph, rules: RuleSet, record: Record | None) -> None:
        self.graph = graph
        self.rules = rules
        self.interner = Interner()
        self.record = record
        self.builder = RewriteBuilder(self.interner)
        self.fired: Counter[str] = Counter()
        self.settled: dict[Node, tuple[Value, ...]] = {}
        self.pending: dict[Node, _Pending] = {}
        self.effects: dict[Node, Node] = {}
        self.counts: dict[Value, int] = {}

    def run(self) -> Graph:
        original_uses = uses(self.graph)
        for parameter in self.graph.parameters:
            self.settled[parameter.node] = parameter.node.results
            self.counts[parameter] = original_uses.get(parameter, 0)
        effects = set(self.graph.effects)
        for node in self.graph.nodes():
            if node in effects:
                operands = self._current(node.inputs)
                new = node if operands == node.inputs else node.with_inputs(operands)
                self.settled[node] = new.results
                self.effects[node] = new
            elif node not in self.settled:
                self._settle(node)
            if node.op.name != "parameter":
                for old, current in zip(node.results, self.settled[node], strict=True):
                    self.counts[current] = self.counts.get(current, 0) + original_uses.get(old, 0)
        outputs = self._current(self.graph.outputs)
        ordered = tuple(self.effects[e] for e in self.graph.effects)
        if outputs == self.graph.outputs and ordered == self.graph.effects:
            return self.graph
        return self.graph.replace(outputs=outputs, effects=ordered)

    def _current(self, values: Sequence[Value]) -> tuple[Value, ...]:
        return tuple([self.settled[v.node][v.index] for v in values])

    def _settle(self, root: Node) -> None:
        """Bring ``root``, whose operands are settled or new, to its final form, without recursion."""
        settled, pending = self.settled, self.pending
        firings: Counter[str] = Counter()
        stack = [root]
        while stack:
            node = stack[-1]
            if node in settled:
                stack.pop()
                continue
            waiting = pending.get(node)
            needed = node.inputs if waiting is None else waiting.values
            missing = [v.node for v in needed if v.node not in settled]
            if missing:
                if any(m in pending for m in missing):
                    self._raise_cycle(node, stack)
                stack.extend(reversed(missing))
                continue
            if waiting is not None:
                settled[node] = self._current(waiting.values)
                del pending[node]
                stack.pop()
                continue
            operands = self._current(node.inputs)
            current = self.interner.intern(node if operands == node.inputs else node.with_inputs(operands))
            if current is not node:
                if current in pending:
                    self._raise_cycle(node, stack)
                pending[node] = _Pending(current.results, None)
                continue
            fired = self._apply(node)
            if fired is None:
                settled[node] = node.results
                stack.pop()
                continue
            pending[node] = fired
            if fired.rule is not None:
                firings[fired.rule.name] += 1
            if firings.total() > MAX_FIRINGS_PER_NODE:
                raise RewriteError(
                    f"the rules {_names(firings)} do not settle: {MAX_FIRINGS_PER_NODE} firings on one {root.op.name}",
                    location=root.location,
                )

    def _apply(self, node: Node) -> _Pending | None:
        for rule, pattern in self.rules.candidates(node):
            env: Environment = {}
            if not pattern.match_node(node, env, self._uses):
                continue
            if not (self.rules.fast_math or rule.is_exact_for(node)):
                continue
            if pattern.label and node.types:
                env[pattern.label] = Value(node, 0)
            values = self._call(rule, node, env)
            if values is None or values == node.results:
                continue
            self._check(rule, node, values)
            if self.record is not None and self.record(Firing(rule.name, node.op.name, node.location)) is False:
                continue
            self.fired[rule.name] += 1
            return _Pending(values, rule)
        return None

    def _uses(self, value: Value) -> int:
        return self.counts.get(value, 0)

    def _call(self, rule: Rule, node: Node, env: Environment) -> tuple[Value, ...] | None:
        def arguments(names: tuple[str, ...]) -> list[Any]:
            special = {"b": self.builder, "root": node}
            return [special[name] if name in special else env[name] for name in names]

        try:
            if rule.when is not None and not rule.when(*arguments(rule.when_parameters)):
                return None
            with self.builder.at(node.location):
                result: Replacement = rule.action(*arguments(rule.parameters))
        except GraphcError as error:
            raise RewriteError(
                f"rule {rule.name} ({rule.summary}) failed on {node.op.name}: {error.message}", location=node.location
            ) from error
        if result is None:
            return None
        return (result,) if isinstance(result, Value) else tuple(result)

    @staticmethod
    def _check(rule: Rule, node: Node, values: tuple[Value, ...]) -> None:
        new = tuple(value.type for value in values)
        if new != node.types:
            before, after = (", ".join(map(str, types)) for types in (node.types, new))
            raise RewriteError(
                f"rule {rule.name} ({rule.summary}) changes the type of {node.op.name} from {before} to {after}",
                location=node.location,
            )

    def _raise_cycle(self, node: Node, stack: list[Node]) -> None:
        rules = [p.rule.name for n in stack if (p := self.pending.get(n)) is not None and p.rule is not None]
        raise RewriteError(f"the rules {_names(rules)} undo each other, on {node.op.name}", location=node.location)


def _names(rules: Iterable[str]) -> str:
    return ", ".join(sorted(set(rules)))
