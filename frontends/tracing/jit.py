"""``@gc.jit``: trace a Python function once per kind of call, and run its graph from then on."""

from __future__ import annotations

import functools
import inspect
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

from graphc.errors import ArgumentError
from graphc.frontends.call_pattern import NOT_ALIKE
from graphc.frontends.debug.verification import Verification, verify_levels
from graphc.frontends.debug.walk import Walk
from graphc.frontends.dispatch import active_trace, context_of, tracing
from graphc.frontends.pytree import flatten, paths, unflatten
from graphc.frontends.settings import VARIABLES, encoded
from graphc.frontends.symbolic import GraphContext, Tracer
from graphc.frontends.tracing.context import TraceContext
from graphc.frontends.tracing.convert.operators import new_converter
from graphc.frontends.tracing.lowered import Lowered
from graphc.frontends.tracing.program import TracedProgram
from graphc.frontends.tracing.signature import Static, signature
from graphc.ir.graph import Graph

P = ParamSpec("P")
R = TypeVar("R")
_MODE = encoded("GRAPHC_MODE")
#: What a function keeps: programs, and nodes of their graphs, about a kilobyte each. The least recently used go first.
MAX_PROGRAMS = 1024
MAX_NODES = 200_000


class StaticArgument:
    """Wraps an argument named in ``static_argnames`` so that it is a leaf, however it is nested."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class JitFunction(Generic[P, R]):
    """A function that is traced into a graph. Made by :func:`jit`."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        static_argnums: Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
        name: str | None = None,
        convert: bool = True,
    ) -> None:
        functools.update_wrapper(self, function)
        static_argnames = (static_argnames,) if isinstance(static_argnames, str) else static_argnames
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self._converts = convert
        self._static_names = frozenset(static_argnames)
        self._static_positions = _static_positions(function, static_argnums, static_argnames)
        self._programs: OrderedDict[Any, list[TracedProgram]] = OrderedDict()
        self._sizes: list[int] = []  # of the graphs of all programs
        self._lock = threading.RLock()
        self._repeated: Any = None  # for a call like the latest one
        self._traces = 0
        _functions.add(self)

    @property
    def trace_count(self) -> int:
        """How often the function has been traced."""
        return self._traces

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        repeated = self._repeated
        if repeated is not None and not kwargs and _MODE not in VARIABLES:
            result = repeated(args)
            if result is not NOT_ALIKE:
                return result  # type: ignore[no-any-return]
        return self._call(args, kwargs)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        leaves, tree = flatten(self._wrap_static(args, kwargs))
        if active_trace() is not None or _eager_mode() or any(isinstance(leaf, Tracer) for leaf in leaves):
            return self._inline(tree, leaves)
        key_leaves = [_key_leaf(leaf) for leaf in leaves]
        key = signature(tree, key_leaves)
        with self._lock:
            programs = self._programs.get(key)
            if programs is not None:
                self._programs.move_to_end(key)
            for program in programs or ():
                sources = program.match(leaves)
                if sources is not None:
                    break
            else:
                program = self._trace(tree, leaves)
                self._traces += 1
                self._remember(key, program)
                sources = program.match(leaves)
                assert sources is not None
        result = program.run(sources)
        self._repeated = program.repeated(tree, key_leaves)
        return cast("R", result)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return BoundJit(self, instance)

    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """The graph of a call with these arguments; arrays may be given as specs: ``f.graph(gc.spec("f32[batch, 784]"))``."""
        leaves, tree = flatten(self._wrap_static(args, kwargs))
        with self._lock:
            return self._trace(tree, leaves, whole=True).graph

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The traced, uncompiled form of a call with these arguments (or specs)."""
        return Lowered(self.graph(*args, **kwargs))

    def traced_call(self, *args: Any, **kwargs: Any) -> tuple[Graph, list[np.ndarray]]:
        """The graph of a call with these arguments, and what its parameters are in that call, captured tensors included."""
        leaves, tree = flatten(self._wrap_static(args, kwargs))
        with self._lock:
            program = self._trace(tree, leaves, whole=True)
        return program.graph, program.arrays(leaves)

    def step(self, *args: Any, **kwargs: Any) -> Walk:
        """Run a call node by node: an iterator over the steps, each with its values and the user's line.

        The function is traced with these arguments and its graph run with NumPy, unoptimized. Nothing is written back.

        >>> for step in f.step(x):
        ...     print(step)
        """
        return Walk(*self.traced_call(*args, **kwargs))

    def verify(self, *args: Any, **kwargs: Any) -> Verification:
        """Compare every level of optimization of a call with the reference, and trace the first difference to the rule or
        node that makes it; see :func:`graphc.frontends.debug.verification.verify_levels`.

        >>> report = f.verify(x)
        >>> assert report.agrees, report
        """
        return verify_levels(*self.traced_call(*args, **kwargs))

    def clear_cache(self) -> None:
        """Forget all traces."""
        with self._lock:
            self._programs.clear()
            self._sizes.clear()
            self._repeated = None

    def __repr__(self) -> str:
        return f"<jit {self.name}: {self._traces} traces>"

    def _remember(self, key: Any, program: TracedProgram) -> None:
        self._programs.setdefault(key, []).insert(0, program)
        self._sizes.append(program.size)
        while len(self._sizes) > 1 and (len(self._sizes) > MAX_PROGRAMS or sum(self._sizes) > MAX_NODES):
            oldest_key, oldest = next(iter(self._programs.items()))
            self._sizes.remove(oldest.pop().size)
            if not oldest:
                del self._programs[oldest_key]

    def _wrap_static(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._static_positions and not self._static_names:
            return (args, dict(sorted(kwargs.items())) if len(kwargs) > 1 else kwargs)
        wrapped = tuple(StaticArgument(a) if i in self._static_positions else a for i, a in enumerate(args))
        return (wrapped, {k: StaticArgument(v) if k in self._static_names else v for k, v in sorted(kwargs.items())})

    def _inline(self, tree: Any, leaves: Sequence[Any]) -> R:
        """Run as a part of the graph that is being built, or (under GRAPHC_MODE=eager) op by op."""
        context = context_of(leaves)
        plain = [leaf.value if isinstance(leaf, StaticArgument) else leaf for leaf in leaves]
        args, kwargs = unflatten(tree, [context.lift(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in plain])
        if not isinstance(context, GraphContext):
            return self.function(*args, **kwargs)
        outer = context.converter
        context.converter = (outer or new_converter()) if self._converts else None
        try:
            return cast("R", context.converted(self.function)(*args, **kwargs))
        finally:
            context.converter = outer

    def _trace(self, tree: Any, leaves: list[Any], *, whole: bool = False) -> TracedProgram:
        context = TraceContext(self.name)
        converter = context.converter = new_converter() if self._converts else None
        context.leaves = leaves
        plain = [leaf.value if isinstance(leaf, StaticArgument) else leaf for leaf in leaves]
        try:
            with tracing(context):
                inputs = context.arguments(leaves, _parameter_names(self.function, tree))
                inputs = [
                    value if isinstance(leaf, StaticArgument) else tracer
                    for tracer, value, leaf in zip(inputs, plain, leaves, strict=True)
                ]
                args, kwargs = unflatten(tree, inputs)
                if converter is not None:
                    converter.watch.arguments((args, kwargs))
                result = context.converted(self.function)(*args, **kwargs)
                program = TracedProgram(context, result, self.function, plain, whole=whole)
                if converter is not None:
                    del result, args, kwargs, inputs
                    converter.watch.finish()
                return program
        finally:
            context.close()


class BoundJit:
    """A jitted method on its instance. The instance is a static argument, and its tensors are captured state."""

    def __init__(self, function: JitFunction[Any, Any], instance: Any) -> None:
        self._function = function
        self._instance = instance
        functools.update_wrapper(self, function.function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(self._instance, *args, **kwargs)

    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """See :meth:`JitFunction.graph`."""
        return self._function.graph(self._instance, *args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """See :meth:`JitFunction.lower`."""
        return self._function.lower(self._instance, *args, **kwargs)

    def traced_call(self, *args: Any, **kwargs: Any) -> tuple[Graph, list[np.ndarray]]:
        """See :meth:`JitFunction.traced_call`."""
        return self._function.traced_call(self._instance, *args, **kwargs)

    def step(self, *args: Any, **kwargs: Any) -> Walk:
        """See :meth:`JitFunction.step`."""
        return self._function.step(self._instance, *args, **kwargs)

    def verify(self, *args: Any, **kwargs: Any) -> Verification:
        """See :meth:`JitFunction.verify`."""
        return self._function.verify(self._instance, *args, **kwargs)

    @property
    def trace_count(self) -> int:
        """See :attr:`JitFunction.trace_count`."""
        return self._function.trace_count

    def __repr__(self) -> str:
        return f"<bound {self._function!r} of {self._instance!r}>"


def jit(function: Any = None, **options: Any) -> Any:
    """Trace ``function`` into a graph at its first call, compile it, and run the compiled graph from then on.

    Use as ``@gc.jit`` or ``@gc.jit(static_argnames=("n",))``. Arguments and results are nested structures of arrays. Arrays and
    Python floats are run-time inputs; a Python int is one too until its value is needed (then a guard retraces for another
    value); bools, strings, None and other objects are static. Tensors that the function reads from closures, globals or
    ``self`` are inputs with their contents at each call. In-place writes and views keep their eager meaning, and
    ``backward()`` works within and through it.

    ``static_argnums``, ``static_argnames``: what the graph may depend on. ``name``: of the graph. Under GRAPHC_MODE=eager in
    the environment the function runs op by op, for debugging.

    >>> @gc.jit
    ... def f(x, scale):
    ...     return (x * scale).sum()
    """
    if function is None:
        return functools.partial(jit, **options)
    if not callable(function):
        raise ArgumentError(f"jit needs a function, not {function!r}", hint="use it as @gc.jit or gc.jit(f)")
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise ArgumentError(f"jit cannot trace the generator or coroutine {function.__name__}",
                            hint="return arrays from an ordinary function")  # fmt: skip
    return JitFunction(function, **options)


def _eager_mode() -> bool:
    return _MODE in VARIABLES and os.environ.get("GRAPHC_MODE") == "eager"


def _key_leaf(leaf: Any) -> Any:
    return Static(leaf.value) if isinstance(leaf, StaticArgument) else leaf


def _static_positions(function: Any, numbers: Sequence[int], names: Sequence[str]) -> frozenset[int]:
    numbers = (numbers,) if isinstance(numbers, int) else numbers
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = []
    unknown = [n for n in names if parameters and n not in parameters and "kwargs" not in parameters]
    if unknown:
        raise ArgumentError(f"static_argnames: the function has no parameter {unknown[0]!r}; it has {parameters}")
    count = len(parameters)
    positions = {n + count if n < 0 else n for n in numbers}
    return frozenset(positions | {i for i, p in enumerate(parameters) if p in names})


def _parameter_names(function: Any, tree: Any) -> list[str]:
    """A readable name for each leaf of the arguments: ``x``, ``params_w``."""
    args, kwargs = tree.children
    try:
        names = [p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_POSITIONAL]
    except (TypeError, ValueError):
        names = []
    result: list[str] = []
    for index, child in enumerate(args.children):
        result += paths(child, names[index] if index < len(names) else f"arg{index}")
    for key, child in zip(kwargs.keys, kwargs.children, strict=True):
        result += paths(child, str(key))
    return [_identifier(name) for name in result]


def _identifier(path: str) -> str:
    cleaned = "".join(c if c.isalnum() else "_" for c in path)
    while "__" in cleaned:
        cleaned = cleaned.replace("__", "_")
    return cleaned.strip("_") or "x"


_functions: weakref.WeakSet[JitFunction[Any, Any]] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a forked child the thread that held a lock is gone."""
    for function in _functions:
        function._lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_locks)
