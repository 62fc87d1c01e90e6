"""Convolution and pooling written as loops over windows, as their definitions read."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

Axes = Sequence[int]


def convolution(
    x: np.ndarray, w: np.ndarray, stride: Axes, pads: Sequence[tuple[int, int]], dilation: Axes, groups: int
) -> np.ndarray:
    """Cross-correlation of x [N, C, …] with w [O, C / groups, …]."""
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    window = w.shape[2:]
    spans = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    counts = [(n - s) // t + 1 for n, s, t in zip(padded.shape[2:], spans, stride, strict=True)]
    result = np.zeros((x.shape[0], w.shape[0], *counts))
    per_group = w.shape[0] // groups
    for place in np.ndindex(*counts):
        cut = tuple(
            slice(p * t, p * t + s, d) for p, t, s, d in zip(place, stride, spans, dilation, strict=True)
        )  # fmt: skip
        patch = padded[(slice(None), slice(None), *cut)]
        for o in range(w.shape[0]):
            start = o // per_group * w.shape[1]
            result[(slice(None), o, *place)] = (patch[:, start : start + w.shape[1]] * w[o]).reshape(x.shape[0], -1).sum(1)
    return result


def transposed_convolution(
    x: np.ndarray, w: np.ndarray, stride: Axes, padding: Axes, extra: Axes, groups: int, dilation: Axes
) -> np.ndarray:
    """Each element of x [N, C, …] adds its multiple of w[C, O / groups, …] to the result."""
    window = w.shape[2:]
    each = zip(x.shape[2:], stride, dilation, window, extra, strict=True)
    sizes = [(n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in each]
    result = np.zeros((x.shape[0], w.shape[1] * groups, *sizes))
    per_group = x.shape[1] // groups
    for place in np.ndindex(*x.shape[2:]):
        for offset in np.ndindex(*window):
            target = tuple(p * s + o * d for p, s, o, d in zip(place, stride, offset, dilation, strict=True))
            for c in range(x.shape[1]):
                start = c // per_group * w.shape[1]
                value = x[(slice(None), c, *place)][:, None] * w[(c, slice(None), *offset)]
                result[(slice(None), slice(start, start + w.shape[1]), *target)] += value
    return result[(slice(None), slice(None), *(slice(p, n - p) for p, n in zip(padding, sizes, strict=True)))]


def pooled(
    x: np.ndarray,
    reduce: Callable[[list[float], int], float],
    window: Axes,
    stride: Axes,
    padding: Axes,
    dilation: Axes,
    ceil_mode: bool,
) -> np.ndarray:
    """``reduce(elements, padding)`` of each window: the elements of x in it, and how much of the padding asked for."""
    sizes, counts = x.shape[2:], []
    for n, k, s, p, d in zip(sizes, window, stride, padding, dilation, strict=True):
        steps = (n + 2 * p - d * (k - 1) - 1) / s
        count = int(np.ceil(steps) if ceil_mode else np.floor(steps)) + 1
        counts.append(count - 1 if ceil_mode and (count - 1) * s >= n + p else count)
    result = np.zeros((*x.shape[:2], *counts))
    for place in np.ndindex(*result.shape):
        axes = [
            [i * s - p + j * d for j in range(k)]
            for i, s, p, d, k in zip(place[2:], stride, padding, dilation, window, strict=True)
        ]
        elements, padded = [], 0
        for point in itertools.product(*axes):
            if all(0 <= a < n for a, n in zip(point, sizes, strict=True)):
                elements.append(float(x[(*place[:2], *point)]))
            elif all(-p <= a < n + p for a, n, p in zip(point, sizes, padding, strict=True)):
                padded += 1
        result[place] = reduce(elements, padded)
    return result
