"""PyTorch's operators as functions of graphc arrays, with PyTorch's parameters."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import graphc as gc
from tests.judges.opinfo_losses import LOSSES
from tests.judges.opinfo_network import NETWORK
from tests.judges.opinfo_samples import Unsupported

Axis = int | Sequence[int] | None


def reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Any, dim: Axis = None, keepdim: bool = False) -> Any:
        return function(x, all_axes_if_empty(dim), keepdims=keepdim)

    return reduce


def all_axes_if_empty(dim: Axis) -> Axis:
    return (
        None if isinstance(dim, (list, tuple)) and not dim else dim
    )  # an empty list of axes means all of them in PyTorch


def along(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def spread(function: Callable[..., Any]) -> Callable[..., Any]:
    """``var`` and ``std``, whose second parameter is ``unbiased`` in one overload."""

    def reduce(
        x: Any, dim: Any = None, unbiased: bool | None = None, *, correction: float | None = 1, keepdim: bool = False
    ) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        if unbiased is not None:
            correction = int(unbiased)
        correction = 1 if correction is None else correction
        return function(x, all_axes_if_empty(dim), correction=correction, keepdims=keepdim)

    return reduce


def shape_of(sizes: Sequence[Any]) -> tuple[int, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (list, tuple)) else tuple(sizes)


def add(x: Any, other: Any, *, alpha: float = 1) -> Any:
    return x + other * alpha


def sub(x: Any, other: Any, *, alpha: float = 1) -> Any:
    return x - other * alpha


def rsub(x: Any, other: Any, alpha: float = 1) -> Any:
    return other - x * alpha


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    return gc.clamp(x, min, max)


def logit(x: Any, eps: float | None = None) -> Any:
    return gc.logit(x if eps is None else gc.clamp(x, eps, 1 - eps))


def product(dimensions: int | None = None) -> Callable[..., Any]:
    def multiply(x: Any, other: Any) -> Any:
        assert dimensions is None or x.ndim == dimensions
        return gc.matmul(x, other)

    return multiply


def weighted_product(total: Callable[[Any], Any] = lambda product: product) -> Callable[..., Any]:
    def combine(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        scaled = total(a @ b) * alpha
        return scaled if beta == 0 else x * beta + scaled

    return combine


def addr(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return x * beta + gc.outer(a, b) * alpha


def addcmul(x: Any, a: Any, b: Any, *, value: float = 1) -> Any:
    return x + value * (a * b)


def addcdiv(x: Any, a: Any, b: Any, *, value: float = 1) -> Any:
    return x + value * (a / b)


def maximum_along(values: Callable[..., Any], positions: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None:
            return values(x)
        if x.ndim == 0:
            return values(x), gc.zeros((), dtype="int64")
        where = positions(x, dim, keepdims=True)
        found = gc.take_along_axis(x, where, dim)
        return (found, where) if keepdim else (gc.squeeze(found, dim), gc.squeeze(where, dim))

    return reduce


def argument(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim=None, keepdim=False: function(x, dim, keepdims=keepdim)


def sort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Any:
    return gc.sort(x, dim, descending=descending), gc.argsort(x, dim, descending=descending)


def argsort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Any:
    return gc.argsort(x, dim, descending=descending)


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    return tuple(gc.topk(x, k, dim, largest=largest, sorted=sorted))


def quantile(x: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Any:
    if interpolation != "linear":
        raise Unsupported("quantile interpolates linearly only")
    return gc.quantile(x, q.tolist() if gc.is_tensor(q) else q, dim, keepdims=keepdim)


def nan_to_num(x: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Any:
    return gc.nan_to_num(x, 0.0 if nan is None else nan, posinf, neginf)


def cross(x: Any, other: Any, *, dim: int = -1) -> Any:
    return gc.cross(x, other, dim)


def diff(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    parts = [part for part in (prepend, x, append) if part is not None]
    return gc.diff(gc.concat(parts, dim) if len(parts) > 1 else x, n, dim)


def flip(x: Any, dims: Sequence[int]) -> Any:
    return gc.flip(x, dims) if dims else x


def roll(x: Any, shifts: Any, dims: Any = None) -> Any:
    if isinstance(shifts, (list, tuple)) and dims is None:
        (shifts,) = shifts
    return gc.roll(x, shifts, None if dims == () else dims)


def split_sizes(x: Any, sizes: int | Sequence[int], dim: int = 0) -> Any:
    """PyTorch's ``split``: parts of a size, or of the listed sizes."""
    total = x.shape[dim]
    listed = [sizes] * -(-total // sizes) if isinstance(sizes, int) else list(sizes)
    return gc.split(x, [sum(listed[:i]) for i in range(1, len(listed))], dim)


def tensor_split(x: Any, sections: Any, dim: int = 0) -> Any:
    if gc.is_tensor(sections):
        sections = sections.tolist()
    if isinstance(sections, int):
        size, rest = divmod(x.shape[dim], sections)
        sections = [i * size + min(i, rest) for i in range(1, sections)]
    return gc.split(x, sections, dim)


def narrow(x: Any, dim: int, start: Any, length: int) -> Any:
    start = int(start.item()) if gc.is_tensor(start) else start
    start = start + x.shape[dim] if start < 0 else start
    return gc.moveaxis(gc.moveaxis(x, dim, 0)[start : start + length], 0, dim)


def select(x: Any, dim: int, index: int) -> Any:
    return gc.moveaxis(x, dim, 0)[index]


def select_scatter(x: Any, source: Any, dim: int, index: int) -> Any:
    return gc.moveaxis(gc.moveaxis(x, dim, 0).at[index].set(source), 0, dim)


def slice_scatter(
    x: Any, source: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    moved = gc.moveaxis(x, dim, 0).at[start:end:step].set(gc.moveaxis(source, dim, 0))
    return gc.moveaxis(moved, 0, dim)


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    return gc.diagonal(gc.moveaxis(x, (dim1, dim2), (-2, -1)), offset)


def linalg_diagonal(x: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    return diagonal(x, offset, dim1, dim2)


def gather(x: Any, dim: int, index: Any) -> Any:
    if x.ndim == 0 or index.ndim != x.ndim:
        raise Unsupported("take_along_axis needs an index of as many dimensions")
    box = tuple(slice(None) if d == dim % x.ndim else slice(size) for d, size in enumerate(index.shape))
    return gc.take_along_axis(x[box], index, dim)


def take_along_dim(x: Any, indices: Any, dim: int | None = None) -> Any:
    if dim is None:
        return gc.take(gc.ravel(x), gc.ravel(indices), 0)
    ndim, shapes = x.ndim, [list(x.shape), list(indices.shape)]
    rest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    for shape, array_shape in zip(shapes, (x.shape, indices.shape), strict=True):
        shape[:] = [array_shape[d] if d == dim % ndim else rest[d] for d in range(ndim)]
    return gc.take_along_axis(gc.broadcast_to(x, shapes[0]), gc.broadcast_to(indices, shapes[1]), dim)


def index_select(x: Any, dim: int, index: Any) -> Any:
    if x.ndim == 0:
        raise Unsupported("take needs a dimension")
    return gc.take(x, gc.ravel(index), dim)


def along_index(update: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """``index_add`` and its like: ``update(x.at[index], source)`` with ``dim`` moved to the front."""

    def write(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
        if x.ndim == 0:
            raise Unsupported("indexing needs a dimension")
        if gc.is_tensor(source) and source.ndim:
            source = gc.moveaxis(source, dim, 0)
        return gc.moveaxis(update(gc.moveaxis(x, dim, 0).at[gc.ravel(index)], source * alpha), 0, dim)

    return write


def scatter_at(update: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """``scatter`` and its like: the element of ``source`` at a position goes where ``index`` says along ``dim``."""

    def write(x: Any, dim: int, index: Any, source: Any) -> Any:
        if x.ndim == 0 or index.ndim == 0:
            raise Unsupported("indexing needs a dimension")
        places = [
            gc.reshape(gc.arange(size), [-1 if i == d else 1 for i in range(x.ndim)])
            for d, size in enumerate(index.shape)
        ]
        places[dim] = index
        if gc.is_tensor(source) and source.ndim:
            source = source[tuple(slice(size) for size in index.shape)]
        return update(x.at[tuple(gc.broadcast_arrays(*places))], source)

    return write


def scatter(x: Any, dim: int, index: Any, source: Any = None, *, value: Any = None, reduce: str | None = None) -> Any:
    source = value if source is None else source
    modes: dict[str | None, Callable[[Any, Any], Any]] = {
        None: lambda at, v: at.set(v),
        "add": lambda at, v: at.add(v),
        "multiply": lambda at, v: at.multiply(v),
    }
    return scatter_at(modes[reduce])(x, dim, index, source)


def scatter_extreme(update: Callable[[Any, Any], Any], reduce: str) -> Callable[..., Any]:
    def write(x: Any, dim: int, index: Any, source: Any, reduction: str = reduce, *, include_self: bool = True) -> Any:
        if not include_self:
            raise Unsupported("scatters start from what is there")
        return scatter_at(update)(x, dim, index, source)

    return write


def index_put(x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    at = x.at[tuple(indices)]
    return at.add(values) if accumulate else at.set(values)


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    return gc.where(mask, value, x)


def masked_select(x: Any, mask: Any) -> Any:
    if x.ndim == mask.ndim == 0:
        raise Unsupported("a scalar mask is no index")
    x, mask = gc.broadcast_arrays(x, mask)
    return x[mask]


def where(x: Any, condition: Any, other: Any = None) -> Any:
    return gc.where(condition, x, other)


def meshgrid(*arrays: Any, indexing: str = "ij") -> Any:
    listed = arrays[0] if len(arrays) == 1 and isinstance(arrays[0], (list, tuple)) else arrays
    return gc.meshgrid(*(gc.reshape(a, -1) for a in listed), indexing=indexing)


def norm(x: Any, p: Any = "fro", dim: Axis = None, keepdim: bool = False) -> Any:
    if p == "nuc":
        raise Unsupported("nuclear norms need a singular value decomposition")
    p = 2 if p in ("fro", None) else p
    return gc.vector_norm(x, all_axes_if_empty(dim), keepdims=keepdim, ord=p)


def vector_norm(x: Any, ord: float = 2, dim: Axis = None, keepdim: bool = False) -> Any:
    return gc.vector_norm(x, all_axes_if_empty(dim), keepdims=keepdim, ord=ord)


def matrix_norm(x: Any, ord: Any = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False) -> Any:
    if ord in (2, -2, "nuc"):
        raise Unsupported("spectral norms need a singular value decomposition")
    moved = gc.moveaxis(x, dim, (-2, -1))
    result = gc.matrix_norm(moved, keepdims=keepdim, ord=ord)
    return gc.moveaxis(result, (-2, -1), dim) if keepdim else result


def tensordot(x: Any, other: Any, dims: Any = 2) -> Any:
    if not isinstance(dims, int) and any(x.shape[a] != other.shape[b] for a, b in zip(*dims, strict=True)):
        raise Unsupported("products do not broadcast the axes that they sum over")
    return gc.tensordot(x, other, axes=dims)


def einsum(operands: Sequence[Any], equation: str) -> Any:
    return gc.einsum(equation, *operands)


def trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Any:
    return gc.trapezoid(y, x, dx, dim)


def searchsorted(sequence: Any, values: Any, *, side: str | None = None, right: bool = False, **options: Any) -> Any:
    if (
        sequence.ndim != 1
        or any(option is not None and option is not False for option in options.values())
        or not gc.is_tensor(values)
    ):
        raise Unsupported("searchsorted takes one sorted sequence")
    return gc.searchsorted(sequence, values, side=side or ("right" if right else "left"))


def matrix_power(x: Any, n: int) -> Any:
    if n < 0:
        raise Unsupported("negative powers need an inverse")
    return gc.matrix_power(x, n)


def squeeze(x: Any, dim: Axis = None) -> Any:
    axes = [] if dim is None else [dim] if isinstance(dim, int) else dim
    if x.ndim and any(x.shape[axis] != 1 for axis in axes):
        raise Unsupported("squeeze refuses an axis of another size than 1, as NumPy's does")
    return x.squeeze(dim)


def cat(arrays: Sequence[Any], dim: int = 0) -> Any:
    if len({array.ndim for array in arrays}) > 1:
        raise Unsupported("concat takes no empty vector among arrays of more dimensions")
    return gc.cat(arrays, dim)


def nonzero(x: Any, as_tuple: bool = False) -> Any:
    if x.ndim == 0:
        raise Unsupported("nonzero needs a dimension, as NumPy's does")
    return gc.nonzero(x) if as_tuple else gc.stack(gc.nonzero(x), 1)


def multi_dot(arrays: Sequence[Any]) -> Any:
    result = arrays[0]
    for array in arrays[1:]:
        result = result @ array
    return result


def div_trunc(x: Any, other: Any, *, rounding_mode: str) -> Any:
    return gc.trunc(x / other) if rounding_mode == "trunc" else x // other


def cumulative(values: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim: values(x, dim) if x.ndim else values(gc.reshape(x, 1), 0).reshape(())


def repeat_interleave(x: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Any:
    if gc.is_tensor(repeats) and repeats.size > 1:
        raise Unsupported("repeat takes one count")
    return gc.repeat(x, int(repeats.item()) if gc.is_tensor(repeats) else repeats, dim)


SAME_NAME = (
    *(
        "abs",
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "ceil",
        "cos",
        "cosh",
        "digamma",
        "erf",
        "erfc",
        "exp",
        "exp2",
    ),
    *(
        "expm1",
        "floor",
        "isfinite",
        "isinf",
        "isnan",
        "lgamma",
        "log",
        "log10",
        "log1p",
        "log2",
        "logical_not",
        "positive",
    ),
    *(
        "reciprocal",
        "round",
        "rsqrt",
        "sigmoid",
        "sign",
        "signbit",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "tan",
        "tanh",
        "trunc",
    ),
    *(
        "atan2",
        "copysign",
        "hypot",
        "logaddexp",
        "logical_and",
        "logical_or",
        "logical_xor",
        "maximum",
        "minimum",
        "pow",
    ),
    *("floor_divide", "remainder", "true_divide", "xlogy", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"),
    *("bitwise_left_shift", "bitwise_right_shift", "allclose", "isclose", "lerp"),
)
OTHER_NAME = {
    "neg": gc.negative,
    "eq": gc.equal,
    "ne": gc.not_equal,
    "lt": gc.less,
    "le": gc.less_equal,
    "gt": gc.greater,
    "ge": gc.greater_equal,
    "mul": gc.multiply,
    "div.no_rounding_mode": gc.divide,
    "max.binary": gc.maximum,
    "min.binary": gc.minimum,
    "bitwise_not": gc.bitwise_invert,
    "__radd__": lambda x, y: y + x,
    "__rmul__": lambda x, y: y * x,
    "__rdiv__": lambda x, y: y / x,
    "__rmod__": lambda x, y: y % x,
    "__rpow__": lambda x, y: y**x,
    "__rmatmul__": lambda x, y: y @ x,
    "__rsub__": lambda x, y: y - x,
    "__getitem__": lambda x, key: x[key],
}

OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(gc, name) for name in SAME_NAME if hasattr(gc, name)},
    **OTHER_NAME,
    **NETWORK,
    **LOSSES,
    # elementwise
    "add": add,
    "sub": sub,
    "rsub": rsub,
    "clamp": clamp,
    "clamp_min": lambda x, min: gc.clamp(x, min=min),
    "clamp_max": lambda x, max: gc.clamp(x, max=max),
    "div.trunc_rounding": div_trunc,
    "div.floor_rounding": div_trunc,
    "fmod": lambda x, other: x - other * gc.trunc(x / other),
    "frac": lambda x: x - gc.trunc(x),
    "deg2rad": lambda x: x * (math.pi / 180),
    "rad2deg": lambda x: x * (180 / math.pi),
    "logit": logit,
    "nan_to_num": nan_to_num,
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "where": where,
    "masked_fill": masked_fill,
    "clone": lambda x, *, memory_format=None: x.clone(),
    "contiguous": lambda x, *, memory_format=None: x.contiguous(),
    # reductions
    "sum": reduction(gc.sum),
    "prod": reduction(gc.prod),
    "mean": reduction(gc.mean),
    "amax": reduction(gc.max),
    "amin": reduction(gc.min),
    "any": reduction(gc.any),
    "all": reduction(gc.all),
    "nansum": reduction(gc.nansum),
    "nanmean": reduction(gc.nanmean),
    "count_nonzero": reduction(gc.count_nonzero),
    "logsumexp": reduction(gc.logsumexp),
    "var": spread(gc.var),
    "std": spread(gc.std),
    "var.unbiased": spread(gc.var),
    "std.unbiased": spread(gc.std),
    "max.reduction_no_dim": maximum_along(gc.max, gc.argmax),
    "min.reduction_no_dim": maximum_along(gc.min, gc.argmin),
    "max.reduction_with_dim": maximum_along(gc.max, gc.argmax),
    "min.reduction_with_dim": maximum_along(gc.min, gc.argmin),
    "argmax": argument(gc.argmax),
    "argmin": argument(gc.argmin),
    "quantile": quantile,
    "cumsum": cumulative(gc.cumsum),
    "cumprod": cumulative(gc.cumprod),
    "logcumsumexp": cumulative(gc.cumulative_logsumexp),
    "cov": lambda x, *, correction=1: gc.cov(x, correction=correction),
    "corrcoef": gc.corrcoef,
    "norm": norm,
    "norm.fro": norm,
    "norm.inf": norm,
    "linalg.vector_norm": vector_norm,
    "linalg.matrix_norm": matrix_norm,
    "trapezoid": trapezoid,
    "trapz": trapezoid,
    # sorting
    "sort": sort,
    "argsort": argsort,
    "topk": topk,
    "msort": lambda x: gc.sort(x, 0),
    "searchsorted": searchsorted,
    # movement
    "broadcast_to": gc.broadcast_to,
    "broadcast_tensors": gc.broadcast_arrays,
    "expand": lambda x, *sizes: x.expand(*sizes),
    "reshape": gc.reshape,
    "view": lambda x, *sizes: x.view(*sizes),
    "ravel": gc.ravel,
    "flatten": lambda x, start_dim=0, end_dim=-1: gc.flatten(x, start_dim, end_dim),
    "permute": lambda x, *dims: x.permute(*dims),
    "transpose": lambda x, dim0, dim1: gc.swapaxes(x, dim0, dim1) if x.ndim else x,
    "movedim": gc.moveaxis,
    "t": lambda x: x.t(),
    "mT": lambda x: x.mT,
    "squeeze": squeeze,
    "squeeze.multiple": squeeze,
    "unsqueeze": lambda x, dim: x.unsqueeze(dim),
    "flip": flip,
    "fliplr": lambda x: gc.flip(x, 1),
    "flipud": lambda x: gc.flip(x, 0),
    "roll": roll,
    "rot90": lambda x, k=1, dims=(0, 1): gc.rot90(x, k, dims),
    "tile": gc.tile,
    "repeat": lambda x, *sizes: x.repeat(*shape_of(sizes)),
    "repeat_interleave": repeat_interleave,
    "cat": cat,
    "stack": lambda arrays, dim=0: gc.stack(arrays, dim),
    "hstack": gc.hstack,
    "vstack": gc.vstack,
    "chunk": lambda x, chunks, dim=0: x.chunk(chunks, dim),
    "split": split_sizes,
    "split.list_args": split_sizes,
    "split_with_sizes": split_sizes,
    "tensor_split": tensor_split,
    "unbind": lambda x, dim=0: gc.unstack(x, dim),
    "narrow": narrow,
    "select": select,
    "select_scatter": select_scatter,
    "slice_scatter": slice_scatter,
    "diag": lambda x, diagonal=0: gc.diag(x, diagonal),
    "diagonal": diagonal,
    "linalg.diagonal": linalg_diagonal,
    "tril": lambda x, diagonal=0: gc.tril(x, diagonal),
    "triu": lambda x, diagonal=0: gc.triu(x, diagonal),
    "trace": gc.trace,
    "diff": diff,
    "meshgrid.variadic_tensors": meshgrid,
    "meshgrid.list_of_tensors": meshgrid,
    # indexing
    "gather": gather,
    "take_along_dim": take_along_dim,
    "take": gc.take,
    "index_select": index_select,
    "index_add": along_index(lambda at, source: at.add(source)),
    "index_copy": along_index(lambda at, source: at.set(source)),
    "index_fill": along_index(lambda at, value: at.set(value)),
    "index_put": index_put,
    "masked_select": masked_select,
    "scatter": scatter,
    "scatter_add": scatter_at(lambda at, source: at.add(source)),
    "scatter_reduce.sum": scatter_extreme(lambda at, source: at.add(source), "sum"),
    "scatter_reduce.amax": scatter_extreme(lambda at, source: at.max(source), "amax"),
    "scatter_reduce.amin": scatter_extreme(lambda at, source: at.min(source), "amin"),
    "nonzero": nonzero,
    "argwhere": nonzero,
    # products
    "matmul": gc.matmul,
    "mm": product(2),
    "bmm": product(3),
    "mv": product(2),
    "dot": gc.dot,
    "vdot": gc.dot,
    "inner": gc.inner,
    "outer": gc.outer,
    "kron": gc.kron,
    "tensordot": tensordot,
    "einsum": einsum,
    "addmm": weighted_product(),
    "addmm.decomposed": weighted_product(),
    "addmv": weighted_product(),
    "baddbmm": weighted_product(),
    "addbmm": weighted_product(lambda product: gc.sum(product, 0)),
    "addr": addr,
    "linalg.vecdot": lambda x, y, *, dim=-1: gc.vecdot(x, y, dim),
    "linalg.cross": cross,
    "linalg.matrix_power": matrix_power,
    "linalg.multi_dot": multi_dot,
    # creation
    "zeros_like": lambda x, *, dtype=None: gc.zeros_like(x, dtype=dtype),
    "ones_like": lambda x, *, dtype=None: gc.ones_like(x, dtype=dtype),
    "full_like": lambda x, value, *, dtype=None: gc.full_like(x, value, dtype=dtype),
    "double": lambda x: x.double(),
    "float": lambda x: x.float(),
    "half": lambda x: x.half(),
    "long": lambda x: x.long(),
    "int": lambda x: x.int(),
    "bool": lambda x: x.bool(),
}

# Where PyTorch itself is not exact: the gradient of its hardsigmoid multiplies by a sixth that was rounded to float32.
TOLERANCES = {"nn.functional.hardsigmoid": 1e-7}
