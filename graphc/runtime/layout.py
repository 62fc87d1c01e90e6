"""How an array lies in memory: views as offsets and strides, which is all that reshape, transpose and slices change.

NumPy does this for the host's memory. Memory of a device has no ndarray over it, so that the same is said here in numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Layout(NamedTuple):
    """Elements of an array within a memory: the one at ``(i, j, …)`` is ``offset + i * strides[0] + j * strides[1] + …``.

    Offset and strides are counted in elements; strides may be negative, or 0 where elements are repeated.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def contiguous(cls, shape: Sequence[int], offset: int = 0) -> Layout:
        """Row by row, as C has it."""
        return cls(tuple(shape), _row_major(shape), offset)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Whether elements lie row by row without gaps. Arrays of at most one element always do."""
        if self.size <= 1:
            return True
        return all(n == 1 or s == r for n, s, r in zip(self.shape, self.strides, _row_major(self.shape), strict=True))

    @property
    def repeats(self) -> bool:
        """Whether several places of the array are one element of the memory."""
        return self.size > 0 and any(n > 1 and stride == 0 for n, stride in zip(self.shape, self.strides, strict=True))

    def view(self, op: str, attributes: Mapping[str, Any]) -> Layout | None:
        """What the view op (reshape, transpose, slice, reverse, broadcast_in_dim, stop_gradient) makes of it; None for a
        reshape that no strides can express."""
        shape, strides, offset = self
        if op == "stop_gradient":
            return self
        if op == "reshape":
            return self._reshaped(attributes["shape"])
        if op == "transpose":
            order = attributes["permutation"]
            return Layout(tuple([shape[i] for i in order]), tuple([strides[i] for i in order]), offset)
        if op == "reverse":
            axes = attributes["axes"]
            offset += sum(strides[axis] * (shape[axis] - 1) for axis in axes if shape[axis])
            return Layout(shape, tuple([-s if axis in axes else s for axis, s in enumerate(strides)]), offset)
        if op == "slice":
            starts, limits, steps = attributes["starts"], attributes["limits"], attributes["strides"]
            sizes = [max(0, -(-(limit - start) // step)) for start, limit, step in zip(starts, limits, steps, strict=True)]
            offset += sum(start * stride for start, stride, size in zip(starts, strides, sizes, strict=True) if size)
            return Layout(tuple(sizes), tuple([s * step for s, step in zip(strides, steps, strict=True)]), offset)
        assert op == "broadcast_in_dim", f"{op} is not a view op"
        new, dims = attributes["shape"], attributes["dims"]
        repeated = [0] * len(new)
        for axis, dim in enumerate(dims):
            repeated[dim] = strides[axis] if shape[axis] == new[dim] else 0
        return Layout(tuple(new), tuple(repeated), offset)

    def _reshaped(self, shape: Sequence[int]) -> Layout | None:
        """Axes of both shapes are matched in groups of equal size; the old axes of a group must follow each other."""
        new = tuple(shape)
        if self.size <= 1 or self.is_contiguous:
            return Layout.contiguous(new, self.offset)
        old = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        strides = [0] * len(new)
        position, group = 0, 0
        while position < len(new):
            if new[position] == 1:
                position += 1
                continue
            end, size, (whole, stride) = position + 1, new[position], old[group]
            last = group + 1
            while size != whole:
                if size < whole:
                    size *= new[end]
                    end += 1
                else:
                    if old[last - 1][1] != old[last][0] * old[last][1]:
                        return None
                    whole *= old[last][0]
                    last += 1
            stride = old[last - 1][1]
            for axis in range(end - 1, position - 1, -1):
                strides[axis] = stride
                stride *= new[axis]
            position, group = end, last
        return Layout(new, tuple(strides), self.offset)


def _row_major(shape: Sequence[int]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(1, shape[axis + 1])
    return tuple(strides)
