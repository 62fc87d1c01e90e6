"""``@gc.jit``: trace a Python function once per kind of call, and run its graph from then on."""

from __future__ import annotations

import functools
import inspect
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

from graphc.errors import ArgumentError, ArgumentTypeError, GraphcError, SizeDivisionError
from graphc.frontends.arguments import as_list
from graphc.frontends.call_pattern import NOT_ALIKE
from graphc.frontends.debug.verification import Verification, verify_levels
from graphc.frontends.debug.walk import Walk
from graphc.frontends.dispatch import active_trace, context_of, tracing
from graphc.frontends.mixed import common_device
from graphc.frontends.pytree import flatten, unflatten
from graphc.frontends.settings import VARIABLES, encoded
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.frontends.tracing.arguments import (
    check_donated,
    donated_leaves,
    identifier,
    labels,
    names_of_arguments,
    names_of_parameters,
    static_positions,
)
from graphc.frontends.tracing.context import TraceContext, Varying
from graphc.frontends.tracing.convert.operators import new_converter
from graphc.frontends.tracing.declared import Declared
from graphc.frontends.tracing.explanation import Explanation
from graphc.frontends.tracing.families import Family
from graphc.frontends.tracing.history import History
from graphc.frontends.tracing.lowered import Lowered
from graphc.frontends.tracing.program import TracedProgram
from graphc.frontends.tracing.signature import Signature, Static, default_device, signature
from graphc.frontends.tracing.tiers import COMPILED, check_tier
from graphc.ir.dims import consulting
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
        donate: str | int | Sequence[str | int] = (),
        name: str | None = None,
        dynamic: Any = None,
        static_shapes: bool = False,
        max_traces: int | None = None,
        convert: bool = True,
        tier: str = COMPILED,
    ) -> None:
        functools.update_wrapper(self, function)
        static_argnames = _names(static_argnames, "static_argnames")
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self._converts = convert
        self._is_tiered = check_tier(tier)
        self._static_names = frozenset(static_argnames)
        self._static_positions = static_positions(function, static_argnums, static_argnames)
        self._donated = frozenset(_names(donate, "donate"))
        check_donated(function, self._donated, self._static_positions, self._static_names)
        if static_shapes and dynamic:
            raise ArgumentError(
                "static_shapes=True fixes all sizes, and dynamic= says that some vary",
                hint="give one of them",
                cause=ArgumentError.PARAMETER,
            )
        self._argument_names = names_of_arguments(function)
        self._declared = Declared(dynamic, names_of_parameters(function))
        self._fixed_shapes = static_shapes
        self._history = History(self.name, max_traces)
        self._families: OrderedDict[Signature, Family] = OrderedDict()
        self._sizes: list[int] = []  # of the graphs of all programs
        self._lock = threading.RLock()
        self._repeated: Any = None  # for a call like the latest one
        _functions.add(self)

    @property
    def trace_count(self) -> int:
        """How often the function has been traced."""
        return self._history.count

    def explain(self) -> Explanation:
        """Every trace so far: why it was made and how to avoid it, the guards it holds under, what its compilation took and
        which kernels it has. ``print(f.explain())``, or ``.to_dict()`` and ``.to_json()``."""
        with self._lock:
            return self._history.explanation()

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
        key = signature(tree, key_leaves, fixed_shapes=self._fixed_shapes)
        with self._lock:
            family = self._families.get(key)
            if family is not None:
                self._families.move_to_end(key)
            found = None if family is None else family.find(leaves)
            program, sources = found or self._retrace(key, family, tree, leaves)
        if self._donated:
            return cast("R", program.run_donating(sources, leaves))
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
            varying = Varying(self._declared.axes(leaves, labels(self._argument_names, tree)))
            return self._trace(tree, leaves, varying, whole=True).graph

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The traced, uncompiled form of a call with these arguments (or specs)."""
        return Lowered(self.graph(*args, **kwargs))

    def traced_call(self, *args: Any, **kwargs: Any) -> tuple[Graph, list[np.ndarray]]:
        """The graph of a call with these arguments, and what its parameters are in that call, captured tensors included."""
        leaves, tree = flatten(self._wrap_static(args, kwargs))
        with self._lock:
            varying = Varying(self._declared.axes(leaves, labels(self._argument_names, tree)))
            program = self._trace(tree, leaves, varying, whole=True)
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
            self._families.clear()
            self._sizes.clear()
            self._history.cleared()
            self._repeated = None

    def __repr__(self) -> str:
        return f"<jit {self.name}: {self.trace_count} traces>"

    def _retrace(
        self, key: Signature, family: Family | None, tree: Any, leaves: list[Any]
    ) -> tuple[TracedProgram, list[Any]]:
        """A new program for a call that no program is for."""
        names = labels(self._argument_names, tree)
        declared = self._declared.axes(leaves, names)
        if family is None:
            causes = self._history.causes_of(key, names, reversed(self._families.values()))
            family = Family(key, leaves, names, declared)
        else:
            causes = family.causes(leaves)
        self._history.begin(causes)
        start = time.perf_counter()
        program = self._generalized(family, tree, leaves, is_declared=bool(declared))
        sources = program.match(leaves)
        assert sources is not None, "a program that was just traced is not for its own call"
        causes = family.settled(causes)
        self._history.add(causes, program, family, time.perf_counter() - start)
        self._remember(family, program)
        self._history.warn()
        return program, sources

    def _generalized(self, family: Family, tree: Any, leaves: list[Any], *, is_declared: bool) -> TracedProgram:
        """A program in which the sizes that vary are symbols; where the function cannot be traced so, one for these sizes."""
        varying, kept = family.symbolic()
        if not (any(varying.arguments.values()) or varying.captures):
            return self._trace(tree, leaves, varying)
        try:
            return self._trace(tree, leaves, varying)
        except SizeDivisionError:  # by one that is 0 in this call: so it is for fixed sizes
            raise
        except Exception as error:
            fixed = self._trace(tree, leaves, Varying())  # raises what is wrong with the call itself, for the sizes it has
            if is_declared:
                raise
            why = error.message if isinstance(error, GraphcError) else f"{type(error).__name__}: {error}"
            family.fix(why)
            return fixed
        finally:
            del kept

    def _remember(self, family: Family, program: TracedProgram) -> None:
        family.programs.insert(0, program)
        self._families[family.key] = family
        self._families.move_to_end(family.key)
        self._sizes.append(program.size)
        while len(self._sizes) > 1 and (len(self._sizes) > MAX_PROGRAMS or sum(self._sizes) > MAX_NODES):
            oldest = next(iter(self._families.values()))
            self._sizes.remove(oldest.programs.pop().size)
            if not oldest.programs:
                del self._families[oldest.key]
                self._history.forgotten(oldest.key)

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

    def _trace(self, tree: Any, leaves: list[Any], varying: Varying, *, whole: bool = False) -> TracedProgram:
        context = TraceContext(self.name, varying)
        context.device = common_device(self.name, leaves) or default_device(leaves) or None
        converter = context.converter = new_converter() if self._converts else None
        context.leaves = leaves
        plain = [leaf.value if isinstance(leaf, StaticArgument) else leaf for leaf in leaves]
        try:
            with tracing(context), consulting(context.symbols):
                names = labels(self._argument_names, tree)
                inputs = context.arguments(leaves, [identifier(name) for name in names], names)
                inputs = [
                    value if isinstance(leaf, StaticArgument) else tracer
                    for tracer, value, leaf in zip(inputs, plain, leaves, strict=True)
                ]
                args, kwargs = unflatten(tree, inputs)
                if converter is not None:
                    converter.watch.arguments((args, kwargs))
                result = context.converted(self.function)(*args, **kwargs)
                donated = {} if whole or not self._donated else donated_leaves(self.function, tree, self._donated)
                tiered = self._is_tiered and not whole
                program = TracedProgram(
                    context, result, self.function, plain, whole=whole, donated=donated, tiered=tiered
                )
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

    def explain(self) -> Explanation:
        """See :meth:`JitFunction.explain`."""
        return self._function.explain()

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

    A size that differs from call to call becomes a symbol at its second value, and from then on a size is traced anew only if
    it violates a guard: a comparison that the function made, two sizes that had to be equal. ``dynamic`` declares sizes that
    vary from the start (``True``, ``{"x": 0}``, ``{"x": {0: "batch"}}``, ``{"x": gc.spec("f32[batch, 784]")}``; sizes of one
    name must be equal); ``static_shapes=True`` traces for each combination of shapes. ``max_traces``: one trace more is a
    RetraceError. ``f.explain()`` says why each trace was made.

    ``static_argnums``, ``static_argnames``: what the graph may depend on. ``donate``: names or positions of arguments that the
    caller has no more use for, so that results may take their memory; a tensor among them raises DonatedError when it is used
    again. Memory that others see too, as views or through NumPy, is copied. ``tier="auto"``: the first calls of each trace run
    on the reference path, with NumPy, while another thread compiles. ``name``: of the graph. Under GRAPHC_MODE=eager in
    the environment the function runs op by op, for debugging.

    >>> @gc.jit
    ... def f(x, scale):
    ...     return (x * scale).sum()
    """
    if function is None:
        return functools.partial(jit, **options)
    if not callable(function):
        raise ArgumentError(
            f"jit needs a function, not {function!r}", hint="use it as @gc.jit or gc.jit(f)", cause=ArgumentError.FUNCTION
        )
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise ArgumentError(f"jit cannot trace the generator or coroutine {function.__name__}",
                            hint="return arrays from an ordinary function", cause=ArgumentError.FUNCTION)  # fmt: skip
    return JitFunction(function, **options)


def _names(given: Any, option: str) -> tuple[Any, ...]:
    """Names and positions of parameters, one or several."""
    names = (given,) if isinstance(given, (str, int)) else tuple(as_list(given, f"jit: {option}", "names"))
    for name in names:
        if not isinstance(name, (str, int)):
            raise ArgumentTypeError(f"jit: {option} must name parameters, not {name!r}", cause=ArgumentError.PARAMETER)
    return names


def _eager_mode() -> bool:
    if _MODE not in VARIABLES:
        return False
    chosen = os.environ.get("GRAPHC_MODE", "")
    if chosen not in ("", "eager"):
        raise ArgumentError(
            f"GRAPHC_MODE is {chosen!r}",
            hint="eager runs jitted functions as plain Python; without it they are traced",
            cause=ArgumentError.SETTING,
        )
    return chosen == "eager"


def _key_leaf(leaf: Any) -> Any:
    return Static(leaf.value) if isinstance(leaf, StaticArgument) else leaf


_functions: weakref.WeakSet[JitFunction[Any, Any]] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a forked child the thread that held a lock is gone."""
    for function in _functions:
        function._lock = threading.RLock()
        for family in function._families.values():
            for program in family.programs:
                program.renew_lock()


os.register_at_fork(after_in_child=_renew_locks)
