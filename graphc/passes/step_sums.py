"""Products and sums of a scan's steps that are done once, after the loop, on stacks of what the steps gave."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value, uses
from graphc.rewrite.driver import Firing, Record
from graphc.rewrite.pattern import splat_of


def sum_after(b: Builder, node: Node, record: Record | None) -> Sequence[Value]:
    """The results of the scan ``node``, with the sums in its carry that can be done after it done there.

    Such a carry is ``total + product`` or ``total + sum``, is read for that alone, and the product has no batch axes.
    """
    return _AfterScan(b, node, record).results()


class _AfterScan:
    def __init__(self, b: Builder, node: Node, record: Record | None) -> None:
        self.b, self.node, self.record = b, node, record
        self.body: Graph = node.attributes["body"]
        self.constants: int = node.attributes["constants"]
        self.carries: int = node.attributes["carries"]
        self.uses = uses(self.body)
        own = self.body.parameters
        self.fixed = set(own[: self.constants])
        self.arrays = dict(zip(own[self.constants + self.carries :], node.inputs[self.constants + self.carries :], strict=True))
        self.stacked: dict[Value, int] = {}  # what is stacked besides, and at which place

    def results(self) -> Sequence[Value]:
        sums = {k: term for k in range(self.carries) if (term := self._term(k)) is not None}
        products = {k: v for k in range(self.carries, len(self.body.outputs)) if (v := self._stacked_product(k)) is not None}
        if not sums and not products:
            return self.node.results
        kept = [k for k in range(len(self.body.outputs)) if k not in sums and k not in products]
        for term in sums.values():
            for value in self._operands(term):
                self._stack(value)
        for value in products.values():
            self._stack(value)
        carried = [k for k in kept if k < self.carries]
        outputs = [*[self.body.outputs[k] for k in kept], *self.stacked]
        first = self.constants
        parameters = [
            *self.body.parameters[:first],
            *[self.body.parameters[first + k] for k in carried],
            *self.body.parameters[first + self.carries :],
        ]
        operands = [
            *self.node.inputs[:first], *[self.node.inputs[first + k] for k in carried],
            *self.node.inputs[first + self.carries :],
        ]  # fmt: skip
        attributes = {
            **self.node.attributes,
            "body": self.body.replace(parameters=parameters, outputs=outputs),
            "carries": len(carried),
        }
        length = self.node.attributes["length"]
        types = tuple(
            [self.node.types[k] for k in kept] + [v.type.with_shape((length, *v.type.shape)) for v in self.stacked]
        )
        made = Node(self.node.op, tuple(operands), attributes, types, self.node.location, self.node.name)
        found = dict(zip(kept, made.results, strict=False))
        for value, place in self.stacked.items():
            self.arrays[value] = Value(made, len(kept) + place)
        for k, term in sums.items():
            self._log("sum_after_scan", term)
            with self.b.at(term.node.location):
                total = self._over_all_steps(term)
                start = self.node.inputs[first + k]
                found[k] = total if splat_of(start) == 0 else self.b.emit_one("add", start, total)
        for k in products:
            product = self.body.outputs[k]
            self._log("product_after_scan", product)
            found[k] = self._product(product)
        return [found[k] for k in range(len(self.node.types))]

    def _term(self, k: int) -> Value | None:
        """What each step adds to carry ``k``, where that is a product or sum that can be done later."""
        output, total = self.body.outputs[k], self.body.parameters[self.constants + k]
        if output.node.op.name != "add" or self.uses.get(output) != 1 or self.uses.get(total) != 1:
            return None
        if not output.dtype.is_inexact:
            return None
        left, right = output.node.inputs
        term = right if left == total else left if right == total else None
        if term is None:
            return None
        node = term.node
        if node.op.name == "reduce_sum":
            return term
        if node.op.name == "dot_general" and node.attributes["batch"] == ((), ()) and not self.fixed.intersection(node.inputs):
            return term if all(self._is_of_step(v) for v in node.inputs) else None
        return None

    def _is_of_step(self, value: Value) -> bool:
        return value.node.op.name != "constant" and value not in self.fixed

    def _operands(self, term: Value) -> Sequence[Value]:
        return term.node.inputs

    def _stack(self, value: Value) -> None:
        if value not in self.arrays:
            self.stacked.setdefault(value, len(self.stacked))

    def _over_all_steps(self, term: Value) -> Value:
        node = term.node
        stacks = [self.arrays[v] for v in node.inputs]
        if node.op.name == "reduce_sum":
            axes = (0, *[axis + 1 for axis in node.attributes["axes"]])
            return self.b.emit_one("reduce_sum", *stacks, **{**node.attributes, "axes": axes})
        contract = tuple([(0, *[axis + 1 for axis in axes]) for axes in node.attributes["contract"]])
        return self.b.emit_one("dot_general", *stacks, contract=contract, batch=((), ()))

    def _stacked_product(self, k: int) -> Value | None:
        """The operand of output ``k`` to be stacked instead, where the output is its product with a constant."""
        output = self.body.outputs[k]
        node = output.node
        if node.op.name != "dot_general" or node.attributes["batch"] != ((), ()) or self.uses.get(output) != 1:
            return None
        left, right = node.inputs
        if right in self.fixed and left not in self.fixed and self._is_of_step(left):
            return left
        return None

    def _product(self, product: Value) -> Value:
        node = product.node
        left, right = node.inputs
        (of_left, of_right) = node.attributes["contract"]
        constant = self.node.inputs[self.body.parameters.index(right)]
        contract = (tuple([axis + 1 for axis in of_left]), of_right)
        with self.b.at(node.location):
            return self.b.emit_one("dot_general", self.arrays[left], constant, contract=contract, batch=((), ()))

    def _log(self, rule: str, value: Value) -> None:
        if self.record is not None:
            self.record(Firing(rule, value.node.op.name, value.node.location))
