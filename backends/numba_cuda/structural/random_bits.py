"""random_bits: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC '11, https://doi.org/10.1145/2063384.2063405)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cuda.geometry import Geometry
from graphc.backends.numba_cuda.source import DeviceLowering, DeviceSource, DeviceText
from graphc.dtypes import uint64
from graphc.ir.types import TensorType
from graphc.ops.random import MULTIPLIERS, ROUNDS, WEYL


def lower_random_bits(
    attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``random_bits``: each thread makes the block that its element is in, so the bits are those of every other backend::

        def random_bits(keys, counters, result, extent):
            half = u64(32)
            low_word = u64(4294967295)
            for p in range(cuda.grid(1), extent, cuda.gridsize(1)):
                position = counters[0] + u64(p)
                block = position >> u64(2)
                c0 = block & low_word
                ...
                for _ in range(10):
                    p0 = u64(3528531795) * c0
                    ...
                lane = position & u64(3)
                word = c0
                if lane == u64(1):
                    word = c1
                ...
                result[p] = u32(word)

    Positions in the stream wrap at 2**64.
    """
    (result,) = results
    wide = result.dtype is uint64
    text = DeviceText("random_bits", geometry)
    text.buffer("keys", 0, uint64)
    text.buffer("counters", 1, uint64)
    text.buffer("result", 2, result.dtype)
    text.line("half = u64(32)", f"low_word = u64({2**32 - 1})")
    with text.points("p"):
        text.line("position = counters[0] + u64(p)", f"block = position >> u64({1 if wide else 2})")
        text.line("c0 = block & low_word", "c1 = block >> half", "c2 = u64(0)", "c3 = u64(0)")
        text.line("k0 = keys[0] & low_word", "k1 = keys[0] >> half")
        with text.block(f"for _ in range({ROUNDS}):"):
            text.line(f"p0 = u64({MULTIPLIERS[0]}) * c0", f"p1 = u64({MULTIPLIERS[1]}) * c2")
            text.line("c0 = (p1 >> half) ^ c1 ^ k0", "c1 = p1 & low_word")
            text.line("c2 = (p0 >> half) ^ c3 ^ k1", "c3 = p0 & low_word")
            text.line(f"k0 = (k0 + u64({WEYL[0]})) & low_word", f"k1 = (k1 + u64({WEYL[1]})) & low_word")
        if wide:
            text.line("result[p] = c2 | (c3 << half) if position & u64(1) else c0 | (c1 << half)")
        else:
            text.line("lane = position & u64(3)", "word = c0")
            for lane in (1, 2, 3):
                with text.block(f"if lane == u64({lane}):"):
                    text.line(f"word = c{lane}")
            text.line("result[p] = u32(word)")
    return (text.finish(result.size),)


RANDOM_BITS: Final[dict[str, DeviceLowering]] = {"random_bits": lower_random_bits}
