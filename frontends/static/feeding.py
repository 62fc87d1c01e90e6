"""Checking and converting what is fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.dtypes import DType, as_dtype
from graphc.errors import DTypeError, FeedError
from graphc.frontends.array.core import integer_range, show_shape
from graphc.frontends.dispatch import Array
from graphc.frontends.tracer import Tracer
from graphc.ir.dims import DimExpr, evaluate_dim, symbols_of
from graphc.ir.graph import Guard, Node, Value
from graphc.operands import Operand, describe_type
from graphc.ops.core import RELATIONS

_ORDER: Mapping[str, int] = {"bool": 0, "uint": 1, "int": 1, "float": 2}


def convert_feed(value: Any, target: Value, name: str) -> np.ndarray:
    """``value`` as an array of the dtype of ``target``, the tensor called ``name``.

    Numbers convert as NumPy's "same kind" rule says (float64 to float32, integers to floats), integers to integers where every
    value fits. Raises FeedError for what would change its meaning, and for a tensor, which has no value yet.
    """
    wanted: DType = target.dtype
    if isinstance(value, np.ndarray) and value.dtype == wanted.numpy:
        return value
    array = _as_numpy(value, target, name)
    try:
        given = as_dtype(array.dtype)
    except DTypeError:
        raise FeedError(
            f"{_described(target, name)}, and was fed {_short(value)}, which is not an array of numbers"
            f"{_declared(target.node)}",
            hint="feed an ndarray, a number or rectangular nested lists of numbers",
            cause=FeedError.DTYPE,
            operands=_fed(name, array),
        ) from None
    if not array.size:
        return array.astype(wanted.numpy)
    if _ORDER[given.kind] > _ORDER[wanted.kind] or (wanted.is_bool and not given.is_bool):
        raise FeedError(
            f"{_described(target, name)}, and was fed values of dtype {given.name}{_declared(target.node)}",
            hint=f"convert them yourself where that is meant: np.asarray(value).astype({wanted.name!r})",
            cause=FeedError.DTYPE,
            operands=_fed(name, array),
        )
    if given.is_integer and wanted.is_integer:
        low, high = integer_range(wanted)
        least, greatest = int(array.min()), int(array.max())
        if least < low or greatest > high:
            wrong = least if least < low else greatest
            raise FeedError(
                f"{_described(target, name)}, and was fed {wrong}, which {wanted.name} ({low} to {high}) cannot hold"
                f"{_declared(target.node)}",
                hint="declare the placeholder with a wider dtype",
                cause=FeedError.DTYPE,
                operands=_fed(name, array),
            )
    with np.errstate(all="ignore"):
        return array.astype(wanted.numpy)


def _as_numpy(value: Any, target: Value, name: str) -> np.ndarray:
    if isinstance(value, Tracer):
        raise FeedError(
            f"{_described(target, name)}, and was fed the tensor {value!r}, which has no value yet{_declared(target.node)}",
            hint="run it first, and feed the result; or use the tensor itself when the graph is built",
            cause=FeedError.DTYPE,
        )
    if isinstance(value, Array):
        array: np.ndarray = value.detach().numpy()  # type: ignore[attr-defined]
        return array
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise FeedError(
            f"{_described(target, name)}, and was fed {_short(value)}: {error}{_declared(target.node)}",
            hint="feed an ndarray, a number or rectangular nested lists of numbers",
            cause=FeedError.DTYPE,
        ) from None


def check_sizes(feeds: Sequence[tuple[Value, str]], arrays: Sequence[np.ndarray], guards: Sequence[Guard]) -> None:
    """Raise FeedError where the shapes that are fed do not fit what was declared, or each other."""
    sizes: dict[str, int] = {}
    owners: dict[str, str] = {}
    for (target, name), array in zip(feeds, arrays, strict=True):
        shape, declared = array.shape, target.shape
        fits = len(shape) == len(declared) and all(
            not isinstance(d, int) or d == s for d, s in zip(declared, shape, strict=True)
        )
        if not fits:
            raise FeedError(
                f"{_described(target, name)}, and was fed an array of shape {show_shape(shape)}; "
                f"{show_shape(declared)} was expected{_declared(target.node)}",
                hint=_shape_hint(declared, shape),
                cause=FeedError.SHAPE,
                operands=_fed(name, array),
            )
        for dim, size in zip(declared, shape, strict=True):
            if isinstance(dim, DimExpr) and str(dim) == next(dim.symbols()):
                known = sizes.setdefault(str(dim), size)
                owner = owners.setdefault(str(dim), name)
                if known != size:
                    raise FeedError(
                        f"the size {str(dim)!r} is {known} in what is fed for {owner!r} and {size} for {name!r} ({target.type})"
                        f"{_declared(target.node)}",
                        hint="feed arrays that agree in it",
                        cause=FeedError.SHAPE,
                        operands=_all_fed(feeds, arrays),
                    )
    for (target, name), array in zip(feeds, arrays, strict=True):
        for dim, size in zip(target.shape, array.shape, strict=True):
            if isinstance(dim, DimExpr) and all(s in sizes for s in dim.symbols()) and evaluate_dim(dim, sizes) != size:
                raise FeedError(
                    f"{_described(target, name)}, and was fed an array of shape {show_shape(array.shape)}, "
                    f"but {dim} is {evaluate_dim(dim, sizes)} in this run{_declared(target.node)}",
                    hint="feed arrays that agree in their sizes",
                    cause=FeedError.SHAPE,
                    operands=_all_fed(feeds, arrays),
                )
    for guard in guards:
        names = list(symbols_of((guard.lhs, guard.rhs)))
        if all(n in sizes for n in names):
            _check_guard(guard, names, sizes, owners)


def _check_guard(guard: Guard, names: Sequence[str], sizes: Mapping[str, int], owners: Mapping[str, str]) -> None:
    lhs, rhs = evaluate_dim(guard.lhs, sizes), evaluate_dim(guard.rhs, sizes)
    if not RELATIONS[guard.relation](lhs, rhs):
        fed = " and ".join(dict.fromkeys(f"{n} = {sizes[n]} (of {owners[n]!r})" for n in names))
        raise FeedError(
            f"the graph needs {guard}, but the feeds give {fed}\n  it is needed at {guard.location}",
            hint="feed arrays whose sizes agree",
            cause=FeedError.SHAPE,
        )


def _fed(name: str, array: np.ndarray) -> tuple[Operand, ...]:
    return (Operand(f"fed for {name}: {describe_type(array.dtype, array.shape)}"),)


def _all_fed(feeds: Sequence[tuple[Value, str]], arrays: Sequence[np.ndarray]) -> tuple[Operand, ...]:
    return tuple([operand for (_, name), array in zip(feeds, arrays, strict=True) for operand in _fed(name, array)])


def _described(target: Value, name: str) -> str:
    kind = "the placeholder" if target.node.op.name == "parameter" else "the tensor"
    return f"{kind} {name!r} is {target.type}"


def _declared(node: Node) -> str:
    return f"\n  it was declared at {node.location}" if node.location.line else ""


def _shape_hint(declared: Sequence[Any], shape: Sequence[int]) -> str:
    if len(shape) != len(declared):
        return f"it has {len(declared)} dimensions; reshape the array, or add axes with array[None]"
    return "feed an array of that shape, or declare the size as None"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
