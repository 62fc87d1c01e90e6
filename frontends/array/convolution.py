"""Convolutions over one, two or three spatial dimensions, in PyTorch's layout: x [N, C, …], weight [O, C / groups, …]."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.array.core import ArrayLike, converted, lift, show_shape
from graphc.frontends.array.elementwise import add
from graphc.frontends.array.movement import expand_dims, flip, permute_dims, reshape, squeeze
from graphc.frontends.dispatch import Array, bind, context_of
from graphc.ir.dims import Dim, is_smaller, same_sizes

PerAxis = int | Sequence[int]


def per_axis(value: PerAxis, count: int, what: str, name: str, minimum: int) -> tuple[int, ...]:
    """One int for each spatial axis, from one for all or a sequence. Raises ArgumentError naming the argument."""
    try:
        values = (value.__index__(),) * count if hasattr(value, "__index__") else tuple(v.__index__() for v in value)
    except (AttributeError, TypeError):
        raise ArgumentError(
            f"{what}: {name} must be an int or {count} ints, not {value!r}", cause=ArgumentError.RANGE
        ) from None
    if len(values) == 1:
        values = values * count
    if len(values) != count or any(v < minimum for v in values):
        raise ArgumentError(
            f"{what}: {name} must be an int or {count} ints of at least {minimum}, not {value!r}", cause=ArgumentError.RANGE
        )
    return values


def batched(x: Array, spatial: int, what: str) -> tuple[Array, bool]:
    """``x`` with a batch dimension, and whether one was added to [C, …]."""
    if len(x.shape) == spatial + 2:
        return x, False
    if len(x.shape) == spatial + 1:
        return expand_dims(x, 0), True
    raise ShapeError(
        f"{what}: x must be [N, C, …] with {spatial} spatial dimensions, or [C, …] for one image, not "
        f"{show_shape(x.shape)}",
        hint=f"give {spatial + 2} dimensions; expand_dims() or reshape() adds them",
        cause=ShapeError.DIMENSIONS,
    )


def _same_padding(window: Sequence[int], strides: Sequence[int], dilation: Sequence[int], what: str) -> list[tuple[int, int]]:
    if any(s != 1 for s in strides):
        raise ArgumentError(f'{what}: padding="same" needs a stride of 1', hint="give the padding in numbers")
    totals = [d * (k - 1) for k, d in zip(window, dilation, strict=True)]
    return [(t // 2, t - t // 2) for t in totals]


def _biased(result: Array, bias: ArrayLike | None, channels: Dim, what: str) -> Array:
    if bias is None:
        return result
    shift = lift(bias, result)
    if not same_sizes(shift.shape, (channels,)):
        raise ShapeError(
            f"{what}: bias has shape {show_shape(shift.shape)}, but there are {channels} output channels",
            cause=ShapeError.CHANNELS,
        )
    return add(result, reshape(shift, (channels, *(1 for _ in result.shape[2:]))))


def _operands(x: ArrayLike, weight: ArrayLike, spatial: int, what: str) -> tuple[Array, Array, bool]:
    a, w = converted(context_of((x, weight)), (x, weight), what=what)
    a, single = batched(a, spatial, what)
    if len(w.shape) != spatial + 2:
        raise ShapeError(
            f"{what}: weight must have {spatial + 2} dimensions, not shape {show_shape(w.shape)}", cause=ShapeError.DIMENSIONS
        )
    return a, w, single


def _mismatch(x: Array, w: Array, takes: Dim, groups: int, what: str) -> ShapeError:
    return ShapeError(
        f"{what}: x {show_shape(x.shape)} has {x.shape[1]} channels, but weight {show_shape(w.shape)} with groups={groups} "
        f"takes {takes}",
        hint="axis 1 of x holds the channels; check the layout and groups",
        cause=ShapeError.CHANNELS,
    )


def _convolve(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    stride: PerAxis,
    padding: PerAxis | str,
    dilation: PerAxis,
    groups: int,
    spatial: int,
) -> Array:
    what = f"conv{spatial}d"
    a, w, single = _operands(x, weight, spatial, what)
    strides = per_axis(stride, spatial, what, "stride", 1)
    dilations = per_axis(dilation, spatial, what, "dilation", 1)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ArgumentError(
                f"{what}: unknown padding {padding!r}", hint='use "same", "valid", an int or ints', cause=ArgumentError.CHOICE
            )
        window = [k.__index__() for k in w.shape[2:]]
        pads = _same_padding(window, strides, dilations, what) if padding == "same" else [(0, 0)] * spatial
    else:
        pads = [(p, p) for p in per_axis(padding, spatial, what, "padding", 0)]
    channels, takes = a.shape[1], w.shape[1] * groups
    if channels != takes:
        if isinstance(channels, int) and isinstance(takes, int):
            raise _mismatch(a, w, takes, groups, what)
        context_of((a, w)).guard("==", channels, takes)
        a = reshape(a, (a.shape[0], takes, *a.shape[2:]))
    if isinstance(w.shape[0], int) and w.shape[0] % groups:
        raise ShapeError(
            f"{what}: the {w.shape[0]} kernels of weight {show_shape(w.shape)} do not divide into {groups} groups",
            cause=ShapeError.CHANNELS,
        )
    _check_windows(a, w, pads, dilations, what)
    result = bind(
        "conv_general", a, w, strides=strides, padding=tuple(pads), lhs_dilation=(1,) * spatial, rhs_dilation=dilations,
        groups=groups,
    )  # fmt: skip
    result = _biased(result, bias, w.shape[0], what)
    return squeeze(result, 0) if single else result


def _check_windows(
    x: Array, w: Array, pads: Sequence[tuple[int, int]], dilation: Sequence[int], what: str
) -> None:
    for axis, (low, high) in enumerate(pads):
        size, kernel = x.shape[2 + axis], w.shape[2 + axis]
        extent = dilation[axis] * (kernel - 1) + 1
        if is_smaller(size + low + high, extent):
            raise ShapeError(
                f"{what}: the kernel spans {extent} elements of spatial axis {axis}, but x {show_shape(x.shape)} with padding "
                f"has {size + low + high}",
                hint="enlarge x or the padding, or use a smaller kernel or dilation",
                cause=ShapeError.WINDOW,
            )


def conv1d(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: PerAxis = 1, padding: PerAxis | str = 0,
    dilation: PerAxis = 1, groups: int = 1,
) -> Array:  # fmt: skip
    """The cross-correlation of x [N, C, L] with weight [O, C / groups, K], plus bias [O]. See :func:`conv2d`."""
    return _convolve(x, weight, bias, stride, padding, dilation, groups, 1)


def conv2d(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: PerAxis = 1, padding: PerAxis | str = 0,
    dilation: PerAxis = 1, groups: int = 1,
) -> Array:  # fmt: skip
    """The cross-correlation of x [N, C, H, W] with weight [O, C / groups, Kh, Kw], plus bias [O]; PyTorch's ``conv2d``.

    ``stride``, ``padding`` (zeros on both sides) and ``dilation`` are ints or one int for each spatial dimension;
    ``padding`` may be "valid" (none) or "same" (the size is kept; stride 1 only). ``groups``: output channels in group g see
    the input channels of group g alone. x may be one image [C, H, W]. Output size: (H + 2 padding - dilation (Kh - 1) - 1)
    // stride + 1. Raises ShapeError where channels do not fit or the kernel is larger than the padded image.

    >>> gc.conv2d(images, kernels, padding="same")
    """
    return _convolve(x, weight, bias, stride, padding, dilation, groups, 2)


def conv3d(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: PerAxis = 1, padding: PerAxis | str = 0,
    dilation: PerAxis = 1, groups: int = 1,
) -> Array:  # fmt: skip
    """The cross-correlation of x [N, C, D, H, W] with weight [O, C / groups, Kd, Kh, Kw], plus bias [O]. See :func:`conv2d`."""
    return _convolve(x, weight, bias, stride, padding, dilation, groups, 3)


def _convolve_transposed(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    stride: PerAxis,
    padding: PerAxis,
    output_padding: PerAxis,
    groups: int,
    dilation: PerAxis,
    spatial: int,
) -> Array:
    what = f"conv_transpose{spatial}d"
    a, w, single = _operands(x, weight, spatial, what)
    strides = per_axis(stride, spatial, what, "stride", 1)
    dilations = per_axis(dilation, spatial, what, "dilation", 1)
    cut = per_axis(padding, spatial, what, "padding", 0)
    extra = per_axis(output_padding, spatial, what, "output_padding", 0)
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise ArgumentError(
            f"{what}: output_padding must be smaller than stride or dilation, and is {output_padding!r}",
            cause=ArgumentError.RANGE,
        )
    channels, window = w.shape[0], w.shape[2:]
    if a.shape[1] != channels:
        raise _mismatch(a, w, channels, groups, what)
    if groups < 1 or (isinstance(channels, int) and channels % groups):
        raise ShapeError(f"{what}: {channels} channels do not divide into {groups} groups", cause=ShapeError.PARTS)
    # The gradient of a convolution: kernels mirrored, input and output channels exchanged within each group.
    grouped = reshape(w, (groups, channels // groups, *w.shape[1:]))
    swapped = permute_dims(grouped, (0, 2, 1, *range(3, 3 + spatial)))
    kernels = flip(reshape(swapped, (w.shape[1] * groups, channels // groups, *window)), tuple(range(2, 2 + spatial)))
    reach = [d * (k - 1) for k, d in zip(window, dilations, strict=True)]
    result = bind(
        "conv_general", a, kernels, strides=(1,) * spatial,
        padding=tuple((r - p, r - p + e) for r, p, e in zip(reach, cut, extra, strict=True)),
        lhs_dilation=strides, rhs_dilation=dilations, groups=groups,
    )  # fmt: skip
    result = _biased(result, bias, w.shape[1] * groups, what)
    return squeeze(result, 0) if single else result


def conv_transpose1d(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: PerAxis = 1, padding: PerAxis = 0,
    output_padding: PerAxis = 0, groups: int = 1, dilation: PerAxis = 1,
) -> Array:  # fmt: skip
    """The transposed convolution of x [N, C, L] with weight [C, O / groups, K]. See :func:`conv_transpose2d`."""
    return _convolve_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation, 1)


def conv_transpose2d(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: PerAxis = 1, padding: PerAxis = 0,
    output_padding: PerAxis = 0, groups: int = 1, dilation: PerAxis = 1,
) -> Array:  # fmt: skip
    """What the gradient of :func:`conv2d` does to its cotangent: x [N, C, H, W], weight [C, O / groups, Kh, Kw], bias [O].

    Each element of x adds its multiple of the kernel to the result, ``stride`` apart; ``padding`` elements are cut off both
    ends and ``output_padding`` added to the far one. Output size: (H - 1) stride - 2 padding + dilation (Kh - 1) +
    output_padding + 1.
    """
    return _convolve_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation, 2)


def conv_transpose3d(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: PerAxis = 1, padding: PerAxis = 0,
    output_padding: PerAxis = 0, groups: int = 1, dilation: PerAxis = 1,
) -> Array:  # fmt: skip
    """The transposed convolution of x [N, C, D, H, W] with weight [C, O / groups, Kd, Kh, Kw]. See :func:`conv_transpose2d`."""
    return _convolve_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation, 3)
