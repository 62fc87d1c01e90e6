"""random_bits: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC '11, https://doi.org/10.1145/2063384.2063405)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import KernelText
from graphc.dtypes import uint64
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource, Lowering
from graphc.ops.random import MULTIPLIERS, ROUNDS, WEYL


def _block(text: KernelText, number: str) -> None:
    """The four words ``c0`` … ``c3`` of the block ``number`` of the stream."""
    text.line(f"c0 = {number} & low_word", f"c1 = {number} >> half", "c2 = np.uint64(0)", "c3 = np.uint64(0)")
    text.line("k0 = key & low_word", "k1 = key >> half")
    with text.block(f"for _ in range({ROUNDS}):"):
        text.line(f"p0 = np.uint64({MULTIPLIERS[0]}) * c0", f"p1 = np.uint64({MULTIPLIERS[1]}) * c2")
        text.line("c0 = (p1 >> half) ^ c1 ^ k0", "c1 = p1 & low_word")
        text.line("c2 = (p0 >> half) ^ c3 ^ k1", "c3 = p0 & low_word")
        text.line(f"k0 = (k0 + np.uint64({WEYL[0]})) & low_word", f"k1 = (k1 + np.uint64({WEYL[1]})) & low_word")


def lower_random_bits(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> KernelSource:
    """``random_bits``, in parallel over elements: whole blocks, four (two) elements each, in a loop that vectorizes;
    elements before the first and after the last whole block one by one. For uint32::

        def random_bits(buffers, sizes, lo, hi, status):
            keys = pointer_u64(buffers[0])
            counters = pointer_u64(buffers[1])
            result = pointer_u32(buffers[2])
            key = keys[0]
            counter = counters[0]
            half = np.uint64(32)
            low_word = np.uint64(4294967295)
            last_block = np.uint64(4611686018427387903)
            begin = min(hi, lo + np.int64((np.uint64(0) - counter - np.uint64(lo)) & np.uint64(3)))
            blocks = (hi - begin) // 4
            first = (counter + np.uint64(begin)) >> np.uint64(2)
            for number in range(blocks):
                block = (first + np.uint64(number)) & last_block
                c0 = block & low_word
                ...
                for _ in range(10):
                    p0 = np.uint64(3528531795) * c0
                    ...
                to = begin + number * 4
                result[to] = np.uint32(c0)
                result[to + 1] = np.uint32(c1)
                result[to + 2] = np.uint32(c2)
                result[to + 3] = np.uint32(c3)
            head = begin - lo
            for edge in range(hi - lo - blocks * 4):
                to = lo + edge if edge < head else lo + edge + blocks * 4
                ...

    Positions in the stream wrap at 2**64.
    """
    (result,) = result_types
    wide = result.dtype is uint64
    per_block, shift = (2, 1) if wide else (4, 2)
    text = KernelText("random_bits", f"Random {result.dtype}: Philox4x32-10.")
    text.buffer("keys", 0, uint64)
    text.buffer("counters", 1, uint64)
    text.buffer("result", 2, result.dtype)
    text.line("key = keys[0]", "counter = counters[0]", "half = np.uint64(32)", f"low_word = np.uint64({2**32 - 1})")
    text.line(f"last_block = np.uint64({2 ** (64 - shift) - 1})")
    text.line(
        f"begin = min(hi, lo + np.int64((np.uint64(0) - counter - np.uint64(lo)) & np.uint64({per_block - 1})))",
        f"blocks = (hi - begin) // {per_block}",
        f"first = (counter + np.uint64(begin)) >> np.uint64({shift})",
    )
    with text.block("for number in range(blocks):"):
        text.line("block = (first + np.uint64(number)) & last_block")
        _block(text, "block")
        text.line(f"to = begin + number * {per_block}")
        if wide:
            text.line("result[to] = c0 | (c1 << half)", "result[to + 1] = c2 | (c3 << half)")
        else:
            text.line("result[to] = np.uint32(c0)")
            text.line(*(f"result[to + {lane}] = np.uint32(c{lane})" for lane in (1, 2, 3)))
    text.line("head = begin - lo")
    with text.block(f"for edge in range(hi - lo - blocks * {per_block}):"):
        text.line(f"to = lo + edge if edge < head else lo + edge + blocks * {per_block}")
        text.line("position = counter + np.uint64(to)", f"block = position >> np.uint64({shift})")
        _block(text, "block")
        if wide:
            text.line("result[to] = c2 | (c3 << half) if position & np.uint64(1) else c0 | (c1 << half)")
        else:
            text.line("lane = position & np.uint64(3)", "word = c0")
            for lane in (1, 2, 3):
                with text.block(f"if lane == np.uint64({lane}):"):
                    text.line(f"word = c{lane}")
            text.line("result[to] = np.uint32(word)")
    return text.finish(result.size)


RANDOM_BITS: Final[dict[str, Lowering]] = {"random_bits": lower_random_bits}
