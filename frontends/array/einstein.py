"""einsum: sums of products in Einstein's notation, contracted two operands at a time."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import NamedTuple

from graphc.dtypes import bool_, int64
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.array.core import ArrayLike, converted, show_shape
from graphc.frontends.array.movement import permute_dims, reshape
from graphc.frontends.dispatch import Array, Context, bind, bind_near, context_of
from graphc.ir.dims import Dim, DimExpr, evaluate_dim, symbols_of

_NOMINAL = 64  # stands for a symbolic size when the costs of contractions are compared
Labels = tuple[str, ...]  # one letter each; the i-th dimension from the right under an ellipsis is ".i"


class _Term(NamedTuple):
    array: Array
    labels: Labels


def einsum(subscripts: str, *operands: ArrayLike) -> Array:
    """The sum of products that ``subscripts`` describes; NumPy's ``einsum``.

    Each operand's dimensions are named by letters; a letter that the output lacks is summed over, one repeated within an
    operand takes its diagonal. ``...`` stands for the dimensions not named, which broadcast. Without ``->`` the output has
    the letters that occur once, in alphabetical order. Several operands are contracted pairwise, the pair that leaves the
    least work first. Raises ArgumentError for malformed subscripts, ShapeError where a letter has two sizes.

    >>> gc.einsum("bij,bjk->bik", a, b)  # a batched matrix product
    >>> gc.einsum("ii", m)  # the trace
    """
    items = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    context = context_of(items)
    arrays = converted(context, items, what="einsum") if items else []
    if arrays and arrays[0].dtype is bool_:
        raise DTypeError("einsum is not defined for bools", hint="convert with .astype(gc.int64)")
    labels, output = _parse(subscripts, arrays)
    terms = _with_common_sizes(context, subscripts, [_Term(*t) for t in zip(arrays, labels, strict=True)])
    terms = [_diagonal(term) for term in terms]
    while len(terms) > 1:
        first, second = _best_pair(terms, output)
        others = [t for i, t in enumerate(terms) if i not in (first, second)]
        kept = {*output, *(label for t in others for label in t.labels)}
        terms = [*others, _contract(terms[first], terms[second], kept)]
    (term,) = terms
    term = _sum_out(term, [label for label in term.labels if label not in output])
    order = tuple(term.labels.index(label) for label in output)
    return term.array if order == tuple(range(len(order))) else permute_dims(term.array, order)


def _parse(subscripts: str, arrays: Sequence[Array]) -> tuple[list[Labels], Labels]:
    """The labels of each operand's dimensions, and of the output's."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    parts = inputs.split(",")
    if len(parts) != len(arrays):
        raise ArgumentError(f"einsum {subscripts!r} names {len(parts)} operands, and {len(arrays)} were given")
    labels = [_operand_labels(part, array, i, subscripts) for i, (part, array) in enumerate(zip(parts, arrays, strict=True))]
    dots = max((sum(label[0] == "." for label in each) for each in labels), default=0)
    ellipsis = tuple(f".{i}" for i in reversed(range(dots)))
    if not arrow:
        letters = [label for each in labels for label in each if label[0] != "."]
        return labels, (*ellipsis, *sorted(label for label in set(letters) if letters.count(label) == 1))
    before, found, after = _split(output, subscripts)
    if dots and not found:
        raise ArgumentError(
            f"einsum {subscripts!r}: the operands have {dots} dimensions under '...', which the output does not mention",
            hint="add ... to the output, or sum them with sum()",
        )
    result = (*before, *(ellipsis if found else ()), *after)
    known = {label for each in labels for label in each}
    for label in result:
        if label not in known:
            raise ArgumentError(f"einsum {subscripts!r}: the output's {label!r} is in no operand")
        if result.count(label) > 1:
            raise ArgumentError(f"einsum {subscripts!r}: the output names {label!r} twice")
    return labels, result


def _split(part: str, subscripts: str) -> tuple[str, bool, str]:
    """The letters before and after an ellipsis, and whether there is one."""
    before, found, after = part.partition("...")
    for letter in before + after:
        if letter not in string.ascii_letters:
            raise ArgumentError(
                f"einsum {subscripts!r}: {letter!r} is not a subscript", hint="use letters, ',', '...' and '->'"
            )
    return before, bool(found), after


def _operand_labels(part: str, array: Array, position: int, subscripts: str) -> Labels:
    before, found, after = _split(part, subscripts)
    rest = len(array.shape) - len(before) - len(after)
    if rest < 0 or (rest > 0 and not found):
        raise ShapeError(
            f"einsum {subscripts!r}: operand {position} has shape {show_shape(array.shape)}, but subscripts {part!r}",
            hint="give one letter a dimension, or '...' for those not named",
        )
    return (*before, *(f".{i}" for i in reversed(range(rest))), *after)


def _with_common_sizes(context: Context, subscripts: str, terms: Sequence[_Term]) -> list[_Term]:
    """Check that each label has one size, and drop dimensions of size 1 that broadcast against a larger one."""
    sizes: dict[str, Dim] = {}
    owners: dict[str, int] = {}
    for position, term in enumerate(terms):
        for label, size in zip(term.labels, term.array.shape, strict=True):
            known = sizes.get(label, 1)
            if known == 1:
                sizes[label], owners[label] = size, position
            elif size not in (1, known):
                if isinstance(size, DimExpr) or isinstance(known, DimExpr):
                    context.guard("==", known, size)
                    sizes[label] = known if isinstance(known, int) else size if isinstance(size, int) else known
                    continue
                name = "a dimension under '...'" if label[0] == "." else f"the subscript {label!r}"
                raise ShapeError(
                    f"einsum {subscripts!r}: {name} has size {known} in operand {owners[label]} (shape "
                    f"{show_shape(terms[owners[label]].array.shape)}) and {size} in operand {position} (shape "
                    f"{show_shape(term.array.shape)})",
                    hint="a letter stands for one size; check the order of the letters",
                )
    return [_broadcast_dropped(term, sizes) for term in terms]


def _broadcast_dropped(term: _Term, sizes: dict[str, Dim]) -> _Term:
    kept: list[tuple[str, Dim]] = []
    for label, size in zip(term.labels, term.array.shape, strict=True):
        if size == 1 and sizes[label] != 1 and term.labels.count(label) == 1:
            continue
        kept.append((label, sizes[label] if size != 1 else 1))
    return _Term(reshape(term.array, tuple(s for _, s in kept)), tuple(label for label, _ in kept))


def _diagonal(term: _Term) -> _Term:
    """The diagonal of each label that occurs several times."""
    array, labels = term
    for label in dict.fromkeys(labels):
        if labels.count(label) < 2:
            continue
        axes = tuple(i for i, other in enumerate(labels) if other == label)
        found: list[Dim] = [array.shape[a] for a in axes if array.shape[a] != 1]
        size = found[0] if found else 1
        along = bind_near(array, "iota", dtype=int64, shape=(size,), axis=0)
        start = bind("broadcast_in_dim", context_of((array,)).literal(0, int64), shape=(size,), dims=())
        array = bind("gather", array, *(start if array.shape[a] == 1 else along for a in axes), axes=axes)
        labels = (label, *(other for other in labels if other != label))
    return _Term(array, labels)


def _nominal(shape: Sequence[Dim]) -> int:
    names = dict.fromkeys(symbols_of(shape), _NOMINAL)
    total = 1
    for size in shape:
        total *= evaluate_dim(size, names)
    return total


def _best_pair(terms: Sequence[_Term], output: Labels) -> tuple[int, int]:
    """The two terms whose product is smallest compared with themselves, of those the one with the fewest products."""
    if len(terms) == 2:
        return 0, 1
    best: tuple[tuple[int, int], tuple[int, int]] | None = None
    for i, first in enumerate(terms):
        for j in range(i + 1, len(terms)):
            second = terms[j]
            sizes = dict(zip((*first.labels, *second.labels), (*first.array.shape, *second.array.shape), strict=True))
            elsewhere = {*output, *(label for k, t in enumerate(terms) if k not in (i, j) for label in t.labels)}
            result = _nominal([s for label, s in sizes.items() if label in elsewhere])
            saved = _nominal(first.array.shape) + _nominal(second.array.shape) - result
            cost = (-saved, _nominal(list(sizes.values())))
            if best is None or cost < best[0]:
                best = (cost, (i, j))
    assert best is not None
    return best[1]


def _sum_out(term: _Term, labels: Sequence[str]) -> _Term:
    if not labels:
        return term
    axes = tuple(sorted(term.labels.index(label) for label in labels))
    rest = tuple(label for label in term.labels if label not in labels)
    return _Term(bind("reduce_sum", term.array, axes=axes), rest)


def _contract(first: _Term, second: _Term, kept: set[str]) -> _Term:
    """The product of two terms, summed over what is not ``kept``."""
    first = _sum_out(first, [v for v in first.labels if v not in kept and v not in second.labels])
    second = _sum_out(second, [v for v in second.labels if v not in kept and v not in first.labels])
    shared = [v for v in first.labels if v in second.labels]
    batch = tuple(v for v in shared if v in kept)
    summed = tuple(v for v in shared if v not in kept)
    places = [
        (tuple(first.labels.index(v) for v in group), tuple(second.labels.index(v) for v in group)) for group in (summed, batch)
    ]
    array = bind("dot_general", first.array, second.array, contract=places[0], batch=places[1])
    labels = (*batch, *(v for v in first.labels if v not in shared), *(v for v in second.labels if v not in shared))
    return _Term(array, labels)
