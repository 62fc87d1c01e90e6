"""Checks for tests, graphc's own and its users': gradients, graphs, agreement of modes and targets, retracing.

>>> gc.testing.check_gradients(lambda x: gc.tanh(x).sum(), [gc.tensor([0.1, -0.4])])
>>> gc.testing.assert_equivalent(model, [x])
>>> with gc.testing.assert_trace_count(step, 0):
...     step(x)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np

from graphc.compile import compile_graph
from graphc.dtypes import DType, as_dtype, float64
from graphc.errors import ArgumentError, GradientError
from graphc.frontends import static
from graphc.frontends.debug.agreement import differing
from graphc.frontends.dispatch import Array
from graphc.frontends.eager.create import tensor
from graphc.frontends.eager.tensor import Tensor
from graphc.frontends.grad_mode import no_grad
from graphc.frontends.pytree import flatten, paths, unflatten
from graphc.frontends.tracing.jit import jit
from graphc.frontends.transforms.gradient import grad
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.structure import first_difference

TARGETS: Final = ("reference", "cpu")

#: Relative difference that two correct computations of a few dozen ops may show, by dtype; 0 for integers and bools.
TOLERANCE: Final[Mapping[str, float]] = MappingProxyType(
    {"float64": 1e-11, "float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
)


class Traced(Protocol):
    """What :func:`assert_trace_count` counts: a function made by ``gc.jit``."""

    @property
    def trace_count(self) -> int: ...


def check_gradients(
    function: Callable[..., Any],
    args: Sequence[Any],
    *,
    order: int = 2,
    eps: float = 1e-5,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    seed: int = 0,
) -> None:
    """Compare the gradients of ``function`` at ``args`` with central differences, up to the ``order``-th derivative.

    ``args`` and the results are nested structures of arrays and numbers. Floating arrays are converted to float64 and
    differentiated; all else is passed on as it is. Each result is multiplied by random numbers and summed, so all of
    its elements are checked at once. The cost is two calls an element of ``args`` for each order. The function must be
    smooth for ``eps`` around ``args``.

    Raises AssertionError naming the argument, the element and the order of the first gradient that differs by more
    than ``atol + rtol * |difference quotient|``; GradientError where there is nothing to differentiate.

    >>> check_gradients(lambda x, y: x * gc.sin(y), [gc.tensor([0.3, 1.2]), gc.tensor([2.0, -1.0])])
    """
    if order < 1:
        raise ArgumentError(f"check_gradients: order must be at least 1, not {order}", cause=ArgumentError.RANGE)
    name = getattr(function, "__name__", "the function")
    leaves, tree = flatten(tuple(args))
    names = paths(tree, "args")
    moved = [i for i, leaf in enumerate(leaves) if _is_floating(leaf)]
    if not moved:
        raise GradientError(
            f"check_gradients: no argument of {name} is floating",
            hint="pass floating arrays, for example gc.tensor([1.0, 2.0])",
            cause=GradientError.NOT_FLOATING,
        )
    start = [np.array(_array_of(leaves[i]), dtype=np.float64) for i in moved]

    def on_arrays(*arrays: Any) -> tuple[Any, ...]:
        replaced = list(leaves)
        for position, array in zip(moved, arrays, strict=True):
            replaced[position] = array
        results = [r for r in flatten(function(*unflatten(tree, replaced)))[0] if _is_floating(r)]
        if not results:
            raise GradientError(f"check_gradients: no result of {name} is floating", cause=GradientError.NOT_FLOATING)
        return tuple(results)

    _check_order(on_arrays, start, [names[i] for i in moved], name, 1, order, (eps, rtol, atol), seed)


def _check_order(
    function: Callable[..., tuple[Any, ...]],
    start: Sequence[np.ndarray],
    names: Sequence[str],
    name: str,
    current: int,
    last: int,
    tolerances: tuple[float, float, float],
    seed: int,
) -> None:
    eps, rtol, atol = tolerances
    rng = np.random.default_rng([seed, current])
    tensors = [tensor(a, dtype=float64) for a in start]
    with no_grad():
        weights = [rng.uniform(0.5, 1.5, r.shape) * rng.choice((-1.0, 1.0), r.shape) for r in function(*tensors)]

    def weighted(*arrays: Any) -> Any:
        terms = [(r * w).sum() for r, w in zip(function(*arrays), weights, strict=True)]
        return sum(terms[1:], terms[0])

    gradient = grad(weighted, argnums=tuple(range(len(start))))
    found = [np.asarray(g.numpy()) for g in gradient(*tensors)]
    for position, array in enumerate(start):
        for element in np.ndindex(array.shape):
            quotient = _difference_quotient(weighted, start, position, element, eps)
            value = float(found[position][element])
            if not abs(value - quotient) <= atol + rtol * abs(quotient):
                where = names[position] + (f"[{', '.join(map(str, element))}]" if element else "")
                raise AssertionError(
                    f"gradient of order {current} of {name} with respect to {where}:\n"
                    f"  differentiation gives   {value!r}\n"
                    f"  finite differences give {quotient!r}\n"
                    f"  difference {abs(value - quotient):.3g}, allowed {atol + rtol * abs(quotient):.3g}"
                )
    if current < last:
        _check_order(gradient, start, names, name, current + 1, last, tolerances, seed)


def _difference_quotient(
    function: Callable[..., Any], start: Sequence[np.ndarray], position: int, element: tuple[int, ...], eps: float
) -> float:
    values: list[float] = []
    for step in (eps, -eps):
        arrays = [a.copy() for a in start]
        arrays[position][element] += step
        with no_grad():
            values.append(float(function(*[tensor(a, dtype=float64) for a in arrays]).item()))
    return (values[0] - values[1]) / (2 * eps)


def assert_graph_equal(actual: Graph | str, expected: Graph | str) -> None:
    """Fail unless the graphs are structurally equal: names, locations and the naming of sizes do not count.

    Either may be given as text. The AssertionError shows the first difference and a diff of the texts.

    >>> assert_graph_equal(f.graph(gc.spec("f32[3]")), "graph @f(%x: f32[3]) -> (f32[3]) { return %x }")
    """
    graphs = [parse(g) if isinstance(g, str) else g for g in (actual, expected)]
    difference = first_difference(*graphs)
    if difference is None:
        return
    texts = [str(g).splitlines() for g in graphs]
    lines = difflib.unified_diff(texts[1], texts[0], "expected", "actual", lineterm="", n=2)
    raise AssertionError(f"the graphs differ: {difference}\n" + "\n".join(lines))


def assert_equivalent(
    subject: Graph | Callable[..., Any],
    inputs: Sequence[Any],
    *,
    targets: Sequence[str] = TARGETS,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Fail unless ``subject`` gives the same on all ``targets``, and if it is a function, in all modes.

    A Graph is compiled for each target and run on ``inputs``, one array a parameter. A function is called eagerly,
    through ``gc.jit``, and inside a static graph that a Session runs on each target; each call gets fresh copies of
    the arrays in ``inputs``. Integers, bools, NaNs and infinities must be equal. Floats may differ by
    ``atol + rtol * |x|``; both default to :data:`TOLERANCE` of the dtype.

    >>> assert_equivalent(gc.softmax, [gc.tensor([1.0, 2.0, 3.0])])
    """
    if isinstance(subject, Graph):
        arrays = [np.asarray(_array_of(x)) for x in inputs]
        ways: dict[str, Callable[[], Any]] = {
            f"target {target!r}": lambda target=target: compile_graph(subject, target)(*arrays)  # type: ignore[misc]
            for target in targets
        }
    else:
        ways = {"eager": lambda: subject(*_copies(inputs)), "jit": lambda: jit(subject)(*_copies(inputs))}
        for target in targets:
            ways[f"Session on {target!r}"] = lambda target=target: _in_session(subject, inputs, target)  # type: ignore[misc]
    first: tuple[str, list[Any], Any] | None = None
    for way, run in ways.items():
        leaves, tree = flatten(run())
        if first is None:
            first = (way, leaves, tree)
            continue
        if tree != first[2]:
            raise AssertionError(f"{way} gives another structure than {first[0]}: {tree} instead of {first[2]}")
        for path, mine, theirs in zip(paths(tree, "result"), leaves, first[1], strict=True):
            _compare(f"{path}: {way} differs from {first[0]}", mine, theirs, rtol, atol)


def _in_session(function: Callable[..., Any], inputs: Sequence[Any], target: str) -> Any:
    graph = static.Graph()
    with graph.as_default():
        result = function(*_copies(inputs))
    leaves, tree = flatten(result)
    symbolic = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Array)]
    with static.Session(graph, target=target) as session:
        session.run(static.global_variables_initializer())
        for position, value in zip(symbolic, session.run([leaves[i] for i in symbolic]), strict=True):
            leaves[position] = value
    return unflatten(tree, leaves)


def _copies(inputs: Sequence[Any]) -> tuple[Any, ...]:
    leaves, tree = flatten(tuple(inputs))
    fresh = [_copy(leaf) for leaf in leaves]
    copied: tuple[Any, ...] = unflatten(tree, fresh)
    return copied


def _copy(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return tensor(np.array(leaf.detach().numpy()), requires_grad=leaf.requires_grad)
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _compare(what: str, actual: Any, expected: Any, rtol: float | None, atol: float | None) -> None:
    if not (_is_array(actual) or _is_array(expected)):
        if actual != expected:
            raise AssertionError(f"{what}: {actual!r} instead of {expected!r}")
        return
    mine, theirs = np.asarray(_array_of(actual)), np.asarray(_array_of(expected))
    if not (_is_array(actual) and _is_array(expected)):  # a Python number, which graphs give an array for
        mine, theirs = (mine.astype(theirs.dtype), theirs) if _is_array(expected) else (mine, theirs.astype(mine.dtype))
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
        raise AssertionError(f"{what}: {_describe(mine)} instead of {_describe(theirs)}")
    tolerance = TOLERANCE.get(_dtype_of(theirs).name, 0.0)
    rtol, atol = (tolerance if t is None else t for t in (rtol, atol))
    if _dtype_of(theirs).is_floating:
        mine, theirs = mine.astype(np.float64), theirs.astype(np.float64)
    wrong = differing(mine, theirs, rtol, atol)
    if np.any(wrong):
        element = tuple(int(i) for i in np.argwhere(wrong)[0])
        count = int(np.count_nonzero(wrong))
        raise AssertionError(
            f"{what} in {count} of {mine.size} elements, first at [{', '.join(map(str, element))}]: "
            f"{mine[element]!s} instead of {theirs[element]!s}"
        )


@contextmanager
def assert_trace_count(function: Traced, count: int) -> Iterator[None]:
    """Within the block, ``function`` (made by ``gc.jit``) must be traced exactly ``count`` times.

    >>> with assert_trace_count(step, 1):
    ...     step(x)
    ...     step(x + 1)
    """
    before = function.trace_count
    yield
    traced = function.trace_count - before
    if traced != count:
        raise AssertionError(f"{function!r} was traced {traced} times in this block, not {count}")


def _is_array(value: Any) -> bool:
    return isinstance(value, (Array, np.ndarray, np.generic))


def _is_floating(value: Any) -> bool:
    if isinstance(value, Array):
        return value.dtype.is_floating
    return isinstance(value, (np.ndarray, np.generic, float)) and _dtype_of(np.asarray(value)).is_floating


def _array_of(value: Any) -> Any:
    """``value`` as something NumPy takes: a tensor without its history."""
    return value.detach().numpy() if isinstance(value, Tensor) else value


def _dtype_of(array: np.ndarray) -> DType:
    return as_dtype(array.dtype)


def _describe(array: np.ndarray) -> str:
    return f"{_dtype_of(array).name} of shape {array.shape}"
