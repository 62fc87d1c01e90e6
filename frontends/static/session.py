"""Sessions: they keep the values of Variables, and run parts of a graph."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from graphc.compile import compile_graph
from graphc.errors import FeedError, MixedDeviceError, StaticGraphError, UninitializedVariableError
from graphc.frontends.dispatch import Array, suspended
from graphc.frontends.grad_mode import no_grad
from graphc.frontends.pytree import TreeDef, flatten, paths, unflatten
from graphc.frontends.static.feeding import check_sizes, convert_feed
from graphc.frontends.static.graph import Graph, get_default_graph
from graphc.frontends.static.lowering import Lowered, lower
from graphc.frontends.static.tensor import Element, Operation, defaults
from graphc.frontends.symbolic import Captured
from graphc.frontends.tracer import Tracer
from graphc.ir.graph import Node, Value
from graphc.ops.core import inspected
from graphc.runtime.device_buffer import device_of
from graphc.runtime.devices import as_host

_MAX_PLANS = 256  # compiled parts of one graph that are kept
_MAX_SHAPES = 256

_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


class _Plan:
    """What one combination of fetches and feeds runs; compiled once for all shapes."""

    def __init__(self, graph: Graph, fetches: Sequence[Element], feeds: Sequence[Value], target: str) -> None:
        self.lowered: Lowered = lower(graph, fetches, feeds)
        self.executable = compile_graph(self.lowered.ir, target)
        self.stays = hasattr(self.executable, "on_device")
        self.feeds = [(value, graph.name_of(value)) for value in self.lowered.feeds]
        self.fetched = [not isinstance(f, Operation) for f in fetches]
        self.checked: set[tuple[tuple[int, ...], ...]] = set()
        self.writes = bool(self.lowered.assigned or self.lowered.written)

    def check(self, arrays: Sequence[np.ndarray]) -> None:
        shapes = tuple([a.shape for a in arrays])
        if shapes not in self.checked:
            check_sizes(self.feeds, arrays, self.lowered.ir.guards)
            if len(self.checked) < _MAX_SHAPES:
                self.checked.add(shapes)


class Session:
    """Runs parts of a graph, and keeps the values of its Variables.

    Several Sessions of one graph are independent. :meth:`run` may be called from several threads at once: each run sees the
    Variables as they were when it began, and runs that change them wait for each other.

    ``target``: where to run, "cpu", "cuda" (Variables then stay on the GPU from run to run) or "reference" (NumPy, op by op).
    As a context manager it is the default Session, its graph the default graph for ``placeholder`` and the like, and it is
    closed at the end.
    """

    def __init__(self, graph: Graph | None = None, *, target: str = "cpu") -> None:
        self.graph = get_default_graph() if graph is None else graph
        self.target = target
        self._state: dict[Node, Any] = {}  # arrays, on the device where the target has one
        self._closed = False
        self._updating = threading.RLock()

    def run(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> Any:
        """The values of ``fetches``: a tensor, Variable, operation or name, or lists, tuples, dicts or dataclasses of them.

        The result has the same structure, with NumPy arrays (NumPy scalars where the shape is ``()``) for tensors and None for
        operations. Only what they need is computed. ``feed_dict``: values for placeholders, or for any other tensor, which
        is then not computed. Updates by assigns are made together at the end, and none of them if anything fails.

        Raises FeedError for a placeholder that is not fed or fed wrongly, UninitializedVariableError, WrongGraphError,
        StaticGraphError for a fetch that is not in the graph or after :meth:`close`, and what the ops raise.
        """
        self._check_open()
        leaves, tree = flatten(fetches)
        elements = self._elements(leaves, tree)
        feeds = self._feeds(feed_dict or {})
        return unflatten(tree, self._run(elements, feeds))

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] = ()) -> Callable[..., Any]:
        """``run`` prepared: a function of the values of ``feed_list``, in order, that gives what ``run`` would."""
        self._check_open()
        leaves, tree = flatten(fetches)
        elements = self._elements(leaves, tree)
        targets = [self._feed_target(f) for f in feed_list]

        def call(*values: Any) -> Any:
            self._check_open()
            if len(values) != len(targets):
                raise FeedError(f"this callable takes {len(targets)} values, {len(values)} were given", cause=FeedError.UNKNOWN)
            return unflatten(tree, self._run(elements, dict(zip(targets, values, strict=True))))

        return call

    def close(self) -> None:
        """Drop the values of the Variables; running after that is an error."""
        self._closed = True
        self._state = {}

    def __enter__(self) -> Session:
        self._check_open()
        defaults.sessions.append(self)
        defaults.graphs.append(self.graph)
        return self

    def __exit__(self, *exception: object) -> None:
        defaults.sessions.pop()
        defaults.graphs.pop()
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StaticGraphError(
                "this Session is closed", hint="make a new Session, and initialize its Variables", cause=StaticGraphError.CLOSED
            )

    def _elements(self, leaves: Sequence[Any], tree: TreeDef) -> list[Element]:
        elements: list[Element] = []
        for position, leaf in enumerate(leaves):
            try:
                elements.append(self.graph.element_of(leaf))
            except StaticGraphError as error:
                if type(error) is not StaticGraphError or not paths(tree)[position]:
                    raise
                raise StaticGraphError(
                    f"fetches{paths(tree)[position]}: {error.message}", hint=error.hint, cause=StaticGraphError.UNKNOWN_FETCH
                ) from None
        return elements

    def _feed_target(self, key: Any) -> Value:
        if not isinstance(key, (Tracer, str)):
            raise FeedError(
                f"{key!r} ({type(key).__name__}) is a key of the feeds, but not a tensor of the graph",
                hint="use the placeholder itself as the key: feed_dict={x: value}",
                cause=FeedError.UNKNOWN,
            )
        try:
            return self.graph.feed_key(self.graph.get_tensor_by_name(key) if isinstance(key, str) else key)
        except StaticGraphError as error:
            if type(error) is not StaticGraphError:
                raise
            raise FeedError(f"feed_dict: {error.message}", hint=error.hint, cause=FeedError.UNKNOWN) from None

    def _feeds(self, feed_dict: Mapping[Any, Any]) -> dict[Value, Any]:
        if not isinstance(feed_dict, Mapping):
            raise FeedError(
                f"feed_dict must be a dict, not {type(feed_dict).__name__}",
                hint="feed_dict={x: value}",
            )
        return {self._feed_target(key): value for key, value in feed_dict.items()}

    def _run(self, elements: Sequence[Element], feeds: Mapping[Value, Any]) -> list[Any]:
        plan = self._plan(tuple(elements), feeds)
        arrays = [convert_feed(feeds[value], value, name) for value, name in plan.feeds]
        plan.check(arrays)
        # Runs that update wait for each other, so that no increment is lost; others read what is there when they begin.
        with self._updating if plan.writes else nullcontext():
            return self._run_plan(plan, arrays)

    def _run_plan(self, plan: _Plan, arrays: Sequence[np.ndarray]) -> list[Any]:
        lowered = plan.lowered
        state = self._state
        values: list[Any] = list(arrays)
        for variable in lowered.variables:
            value = state.get(variable.parameter.node)
            if value is None:
                raise UninitializedVariableError(
                    f"the Variable {variable.name!r} ({variable.type}) has no value in this Session"
                    f"\n  it was made at {variable.parameter.node.location}",
                    hint="run gc.global_variables_initializer() first, made after all Variables",
                )
            values.append(value)
        values += [_contents(c) for c in lowered.captured]
        results = self._computed(plan, values)
        count = sum(plan.fetched)
        updates = iter(results[count:])
        changed = {v.parameter.node: next(updates) for v in lowered.assigned}
        if changed:
            self._state = {**self._state, **changed}
        for captured in lowered.written:
            _replace_contents(captured, next(updates))
        fetched = iter(as_host(results[:count]))
        return [_as_result(next(fetched)) if has_value else None for has_value in plan.fetched]

    def _computed(self, plan: _Plan, values: Sequence[Any]) -> list[Any]:
        """The outputs; with the target cuda, buffers of the device, so that what becomes of Variables stays there."""
        lowered = plan.lowered
        run = inspected(lowered.ir)
        if run is not None:
            return run(*as_host(values))
        if plan.stays:
            results: list[Any] = plan.executable.on_device(*values)  # type: ignore[attr-defined]
            return results
        device = device_of(values)
        if device is not None:
            raise MixedDeviceError(
                f"a Session with the target {self.target} reads a tensor that is on {device.name}",
                hint="make the Session with target=\"cuda\", or copy the tensor to the CPU: x.cpu()",
            )
        return plan.executable(*values)

    def _plan(self, elements: tuple[Element, ...], feeds: Mapping[Value, Any]) -> _Plan:
        graph = self.graph
        targets = tuple(sorted(feeds, key=graph.serial))
        key = (elements, targets, self.target, graph.state_version)
        with _lock:
            plan = graph.plans.get(key)
            if plan is not None:
                graph.plans.move_to_end(key)
        if plan is None:
            plan = _Plan(graph, elements, targets, self.target)
            with _lock:
                plan = graph.plans.setdefault(key, plan)
                while len(graph.plans) > _MAX_PLANS:
                    graph.plans.popitem(last=False)
        result: _Plan = plan
        return result

    def __repr__(self) -> str:
        return f"<Session of {self.graph.name!r}{', closed' if self._closed else ''}>"


def get_default_session() -> Session | None:
    """The Session of the innermost ``with`` block of this thread, None outside of any."""
    return defaults.sessions[-1] if defaults.sessions else None


def _as_result(array: np.ndarray) -> Any:
    return array if array.ndim else array[()]


def _contents(captured: Captured) -> Any:
    source = captured.source
    if captured.is_base:
        return source.storage().base_array
    return source._array if isinstance(source, Array) else source  # type: ignore[attr-defined]


def _replace_contents(captured: Captured, value: np.ndarray) -> None:
    source = captured.source
    if not isinstance(source, Array):
        np.copyto(source, *as_host([value]))
        return
    with suspended(), no_grad():
        target: Any = source
        if captured.is_base:
            storage = target.storage()
            target = type(source).wrap(storage.base_array)  # type: ignore[attr-defined]
            target._storage, target._seen = storage, -1
        context: Any = target.context
        new = value if target.is_cuda else as_host([value])[0]
        context.write(target, context.lift(new))
