"""A function that was run on fresh copies of its arguments, as a linear map between small changes of both.

That map can be applied in either direction: :meth:`Linear.pull` gives cotangents of the arguments, :meth:`Linear.push` tangents
of the results. ``grad``, ``vjp``, ``jvp``, ``jacobian`` and the like are all made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from graphc.dtypes import default_float
from graphc.errors import ArgumentError, GradientError
from graphc.frontends.arguments import as_ints
from graphc.frontends.array.core import astype, is_scalar, lift
from graphc.frontends.array.creation import zeros_like
from graphc.frontends.dispatch import Array, Context, active_trace, context_of
from graphc.frontends.eager.autograd import Gradient, compute_gradients, compute_tangents, linear_program
from graphc.frontends.eager.recording import Leaf, Reference, ordered_sources, recorders
from graphc.frontends.eager.tensor import Tensor, from_gradient
from graphc.frontends.pytree import TreeDef, flatten, unflatten
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.frontends.transforms.nested import NestedContext, at_location, replay
from graphc.ir.builder import Builder
from graphc.ir.graph import Node, Value, topological_order
from graphc.ir.types import TensorType
from graphc.passes.differentiate import backpropagate, gradient_builder
from graphc.passes.push_forward import push_forward

Argnums = int | Sequence[int]


class Inputs(NamedTuple):
    """The arguments being differentiated: fresh copies, so that only what flows through *them* counts.

    ``starts``: what graph or recording knew of the copies before the function, which may write to them, saw them. ``leaves``:
    what was made to require gradients for them, so that eager ops are recorded.
    """

    context: Context
    copies: tuple[Any, ...]
    starts: tuple[Any, ...]
    tree: TreeDef
    leaves: tuple[Leaf, ...]


def _fresh(value: Any, what: str, context: Context, leaves: list[Leaf]) -> Any:
    if is_scalar(value):
        value = astype(context.literal(float(value), default_float), default_float)
    array = lift(value)
    if not array.dtype.is_inexact:
        raise GradientError(
            f"{what}: an argument of type {array.type} has no gradient: only floating arrays do",
            hint="convert it to a floating dtype, or leave it out of argnums",
            cause=GradientError.NOT_FLOATING,
        )
    if isinstance(array, Tracer):
        value = array.context.emit("reshape", array.value, shape=array.shape)
        tracer = array.context.array_class(array.context, value)
        tracer._requires_grad = True
        return tracer
    assert isinstance(array, Tensor)
    if not array.requires_grad:
        fresh = type(array).wrap(array._array).requires_grad_()
        assert fresh._reference is not None
        leaf = fresh._reference.source
        assert isinstance(leaf, Leaf)
        leaves.append(leaf)
        if recorders.active:  # the recording goes on through the leaf
            leaf.origin = array.recorded(leaf.location)
        array = fresh
    return array.context.copy(array)


def prepare(what: str, args: Sequence[Any], argnums: Argnums) -> tuple[list[Any], Inputs]:
    """``args`` with fresh copies in place of those at ``argnums``, and these copies. Raises ArgumentError for a position that
    is not there, GradientError for an argument that is not floating."""
    numbers = as_ints(argnums, "argnums")
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise ArgumentError(
                f"{what}: argnums {number} is out of range for {len(args)} positional arguments", cause=ArgumentError.STRUCTURE
            )
    numbers = [n % len(args) for n in numbers]
    selected = args[numbers[0]] if isinstance(argnums, int) else tuple(args[n] for n in numbers)
    leaves, tree = flatten(selected)
    context = active_trace() or context_of(leaves)
    private: list[Leaf] = []
    copies = tuple([_fresh(leaf, what, context, private) for leaf in leaves])
    replaced = unflatten(tree, copies)
    new = list(args)
    for position, number in enumerate(numbers):
        new[number] = replaced if isinstance(argnums, int) else replaced[position]
    starts = tuple(c.value if isinstance(c, Tracer) else c.reference() for c in copies)
    return new, Inputs(context, copies, starts, tree, tuple(private))


class Linear:
    """The derivative at one point: between changes of the ``inputs``' copies and changes of ``outputs``."""

    def __init__(self, what: str, inputs: Inputs, outputs: Sequence[Array]) -> None:
        self.what = what
        self.inputs = inputs
        self.outputs = outputs
        for leaf in inputs.leaves:  # the function is done: nobody else can ask for gradients of what was made for it
            leaf.requires_grad = False

    def pull(self, cotangents: Sequence[Any], *, retain: bool = True) -> list[Any]:
        """The gradients of the copies, zeros where none flows.

        A cotangent of None is zero, but for the only output, where it is one. ``retain``: whether to be able to do it again.
        """
        pairs = [
            (o, c) for o, c in zip(self.outputs, cotangents, strict=True)
            if o.dtype.is_inexact and (c is not None or len(self.outputs) == 1)
        ]  # fmt: skip
        elsewhere = self._elsewhere()
        if elsewhere is not None:
            return self._pull_elsewhere(elsewhere, pairs)
        if isinstance(self.inputs.context, GraphContext):
            return self._pull_in_graph(self.inputs.context, pairs)
        roots = []
        for output, cotangent in pairs:
            reference = _recorded(output)
            if reference is not None:
                assert isinstance(output, Tensor)
                roots.append((reference, output.seed(cotangent)))
        is_function = self._is_function([r for r, _ in roots], [g for _, g in roots])
        create = bool(recorders.active) or is_function
        starts = self.inputs.starts
        found = compute_gradients(roots, starts, retain_graph=retain or create, create_graph=create) if roots else {}
        gradients = [found.get(start) for start in starts]
        return [_tensor(g, c, is_function or not create) for g, c in zip(gradients, self.inputs.copies, strict=True)]

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the outputs, zeros where none flows, None for those that are not floating.

        A tangent of None is zero.
        """
        pairs = [(i, t) for i, t in enumerate(tangents) if t is not None]
        elsewhere = self._elsewhere()
        if elsewhere is not None:
            return self._push_elsewhere(elsewhere, pairs)
        if isinstance(self.inputs.context, GraphContext):
            return self._push_in_graph(self.inputs.context, pairs)
        seeds = []
        for position, tangent in pairs:
            copy = self.inputs.copies[position]
            given = self._given(copy.context, tangent, copy.type, "tangent")
            assert isinstance(given, Tensor)
            seeds.append((self.inputs.starts[position], Gradient(given._array, given.reference())))
        references = [_recorded(output) for output in self.outputs]
        roots = [r for r in references if r is not None]
        is_function = self._is_function(roots, [g for _, g in seeds])
        create = bool(recorders.active) or is_function
        found = iter(compute_tangents(roots, seeds, create_graph=create) if roots else ())
        flows = [None if r is None else next(found) for r in references]
        return [
            _tensor(f, o, is_function or not create) if o.dtype.is_inexact else None
            for f, o in zip(flows, self.outputs, strict=True)
        ]

    def outward(self, value: Any) -> Any:
        """A result of the function for the caller: without the history that ends in the private copies."""
        if isinstance(value, Tensor):
            reference = value.reference()
            if reference is not None and reference.requires_grad and not self._is_function([reference], []):
                return value.detach()
        return value

    def outward_tree(self, tree: Any) -> Any:
        """:meth:`outward` for every array in a nested structure."""
        leaves, structure = flatten(tree)
        return unflatten(structure, [self.outward(leaf) for leaf in leaves])

    def _is_function(self, roots: Sequence[Reference], seeds: Sequence[Gradient]) -> bool:
        """Whether something else than the fresh copies wants gradients: then the result must be differentiable itself."""
        if any(s.reference is not None and s.reference.requires_grad for s in seeds):
            return True
        order = ordered_sources([*roots, *self.inputs.starts], only_gradients=True)
        return any(isinstance(source, Leaf) for source in order)

    def _given(self, context: Context, seed: Any, type_: TensorType, what: str) -> Array:
        """A cotangent or tangent for a value of ``type_``; None stands for ones."""
        if seed is None and isinstance(context, GraphContext):
            return context.array_class(context, context.builder.full(type_.shape, 1, type_.dtype))
        if is_scalar(seed):
            seed = context.literal(seed, type_.dtype)
        array = context.lift(seed)
        if array.dtype is not type_.dtype or array.shape != type_.shape:
            raise GradientError(
                f"{self.what}: a {what} of type {array.type} was given for a value of type {type_}",
                hint="they must have the same type",
                cause=GradientError.COTANGENT,
            )
        return array

    # Within the graph that the function is a part of

    def _pull_in_graph(self, context: GraphContext, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        seeds = []
        for output, cotangent in pairs:
            given = self._given(context, cotangent, output.type, "cotangent")
            seeds.append((context.lift(output).value, context.lift(given).value))
        flows = context.cotangents(seeds, self.inputs.starts)
        return [_tracer(context, f, s.type) for f, s in zip(flows, self.inputs.starts, strict=True)]

    def _push_in_graph(self, context: GraphContext, pairs: Sequence[tuple[int, Any]]) -> list[Any]:
        seeds = []
        for position, tangent in pairs:
            start = self.inputs.starts[position]
            seeds.append((start, context.lift(self._given(context, tangent, start.type, "tangent")).value))
        flows = context.tangents(seeds, [context.lift(o).value for o in self.outputs])
        return [
            _tracer(context, f, o.type) if o.dtype.is_inexact else None for f, o in zip(flows, self.outputs, strict=True)
        ]

    # Within a nested graph, as where the map is vectorized: what the derivative reads of the function is captured there

    def _elsewhere(self) -> NestedContext | None:
        active, own = active_trace(), self.inputs.context
        if active is own or not isinstance(active, NestedContext):
            return None
        return active if isinstance(own, GraphContext) or active.is_in_eager_code else None

    def _pull_elsewhere(self, context: NestedContext, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        seeds = [self._given(context, c, o.type, "cotangent") for o, c in pairs]
        starts = self.inputs.starts
        if isinstance(self.inputs.context, GraphContext):
            values = [self.inputs.context.lift(o).value for o, _ in pairs]
            flows = _transplanted(
                self.inputs.context, context, values, starts, values, seeds,
                lambda b, given: backpropagate(b, given, starts),
            )  # fmt: skip
        else:
            recorded = [(r, seed) for (o, _), seed in zip(pairs, seeds, strict=True) if (r := _recorded(o)) is not None]
            flows = self._replayed(context, [r for r, _ in recorded], starts, [s for _, s in recorded], forward=False)
        return [_within(context, f, c.type) for f, c in zip(flows, self.inputs.copies, strict=True)]

    def _push_elsewhere(self, context: NestedContext, pairs: Sequence[tuple[int, Any]]) -> list[Any]:
        seeds = [self._given(context, t, self.inputs.copies[i].type, "tangent") for i, t in pairs]
        starts = [self.inputs.starts[i] for i, _ in pairs]
        flows: list[Array | None]
        if isinstance(self.inputs.context, GraphContext):
            values = [self.inputs.context.lift(o).value for o in self.outputs]
            flows = _transplanted(
                self.inputs.context, context, values, starts, starts, seeds,
                lambda b, given: push_forward(b, given, values),
            )  # fmt: skip
        else:
            references = [_recorded(o) for o in self.outputs]
            found = iter(self._replayed(context, [r for r in references if r is not None], starts, seeds, forward=True))
            flows = [None if r is None else next(found) for r in references]
        return [
            _within(context, f, o.type) if o.dtype.is_inexact else None for f, o in zip(flows, self.outputs, strict=True)
        ]


    def _replayed(
        self,
        context: NestedContext,
        roots: Sequence[Reference],
        targets: Sequence[Reference],
        seeds: Sequence[Array],
        *,
        forward: bool,
    ) -> list[Array | None]:
        """The backward or forward program of the recording, applied in ``context``."""
        if not roots:
            return [] if forward else [None for _ in targets]
        program = linear_program(roots, targets, forward=forward)
        is_function = self._is_function(roots, [])
        has_history = is_function or bool(recorders.active)
        residuals = [from_gradient(r if has_history else r._replace(reference=None)) for r in program.residuals]
        operands = [*seeds, *(context.lift(residual) for residual in residuals)]
        found = replay(program.graph, operands, context)
        outputs = iter(found if is_function or not has_history else [context.stop_gradient(f) for f in found])
        return [next(outputs) if flows else None for flows in program.flows]


def _recorded(output: Array) -> Reference | None:
    """What a recording knows of an eager result that gradients flow through."""
    assert isinstance(output, Tensor)
    reference = output.reference()
    return reference if reference is not None and reference.requires_grad and output.dtype.is_inexact else None


def _tensor(gradient: Gradient | None, like: Any, with_history: bool) -> Tensor:
    if gradient is None:
        return cast("Tensor", zeros_like(like.detach()))
    tensor = from_gradient(gradient)
    if type(tensor) is not type(like):  # what was copied from one device to another
        tensor = tensor.to(like.device)
    return tensor if with_history else tensor.detach()


def _tracer(context: GraphContext, flow: Value | None, type_: TensorType) -> Tracer:
    tracer = context.array_class(context, context.builder.full(type_.shape, 0, type_.dtype) if flow is None else flow)
    tracer._requires_grad = True
    return tracer


def _within(context: NestedContext, flow: Array | None, type_: TensorType) -> Array:
    return _tracer(context, None, type_) if flow is None else flow


def _transplanted(
    source: GraphContext,
    target: NestedContext,
    outputs: Sequence[Value],
    starts: Sequence[Value],
    seeded: Sequence[Value],
    seeds: Sequence[Array],
    derive: Callable[[Builder, list[tuple[Value, Value]]], Sequence[Value | None]],
) -> list[Array | None]:
    """What ``derive`` makes of values of ``source`` and their ``seeds``, made in ``target`` instead."""
    scratch = gradient_builder(source.name)
    given = [(value, scratch.parameter(seed.type)) for value, seed in zip(seeded, seeds, strict=True)]
    flows = derive(scratch, given)
    present: set[Node] = set(topological_order([v.node for v in (*outputs, *starts)]))
    made: dict[Value, Array] = {parameter: seed for (_, parameter), seed in zip(given, seeds, strict=True)}

    def within(value: Value) -> Array:
        if value not in made:
            tracer = source.array_class(source, value)
            tracer._requires_grad = value.dtype.is_inexact
            made[value] = target.lift(tracer)
        return made[value]

    for node in topological_order([f.node for f in flows if f is not None]):
        if node not in present and node.op.name != "parameter":
            with at_location(target, node.location):
                results = target.bind(node.op, [within(v) for v in node.inputs], dict(node.attributes))
            made.update(zip(node.results, results, strict=True))
    return [None if f is None else within(f) for f in flows]
