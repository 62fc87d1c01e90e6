"""The form in which native code reads a program: 64-bit words, whose layout is written down here and nowhere else.

A *tape* holds, one after the other, the instructions of one program for one set of sizes. A *block* is what one call
works with: where its tape lies, the addresses of its buffers, and room for what goes wrong. Python fills both; the
native loop of a backend (:data:`Walk`) reads them.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

#: ``walk(block, begin, end, arrays)``: check the arrays, run the instructions between two addresses, and give the first
#: word of the block's status, which says what went wrong. Releases the GIL unless the block is BRIEF.
#:
#: ``arrays``, unless None, is a tuple: first the inputs, then the results that the call made. Each input is compared with
#: the guard; where one is anything but a C-contiguous, aligned ndarray of the very dtype and shape, or the settings of the
#: process are others, the call has :attr:`Failure.MISMATCH` and nothing has run.
Walk = Callable[[int, int, int, tuple[Any, ...] | None], int]

MOST_PIECES: Final = 64
STATUS_WORDS: Final = 4  # for each piece of a parallel range
#: How many bytes pass through kernels before Python may look for Ctrl-C: about a tenth of a second. As long take about as many
#: operations of matrix products.
SEGMENT_BYTES: Final = 1 << 30


class Word(enum.IntEnum):
    """The words of a block. Addresses, but for the counts."""

    TABLE = 0  # of the address of each buffer
    OPERANDS = 1  # room for the addresses that one kernel is called with
    STATUS = 2  # MOST_PIECES × STATUS_WORDS words, all 0 but while a call fails
    FAILED = 3  # which instruction set the status
    GUARD = 4
    INPUTS = 5  # how many
    RESULTS = 6  # how many
    PROCESS = 7  # of PROCESS
    BRIEF = 8  # whether the work is so little that the GIL is kept
    TASK = 9  # room for what the pieces of a parallel range share: see Task
    RANGE = 18  # room for the arguments of a parallel loop
    RESUME = 21  # where to go on after a pause
    BUDGET = 22  # how many bytes may pass through loops before the next pause
    SETTINGS = 23  # those of PROCESS that the tape was made for; 0: it is the same for all
    COUNT = 24


class Task(enum.IntEnum):
    """What the pieces of a parallel range share."""

    KERNEL = 0
    SIZES = 1
    EXTENT = 2
    CHUNK = 3
    OPERANDS = 4
    STATUS = 5
    FUNCTION = 6  # what is called with a range of pieces
    STARTED = 7  # whether it was
    INTERRUPTED = 8  # whether a signal's handler raised meanwhile, what INTERRUPTS has under the address of the task


class Field(enum.IntEnum):
    """The words of an instruction, before the numbers of its buffers."""

    KERNEL = 0  # address; or an Operation, and then the other fields are as that says
    SIZES = 1
    EXTENT = 2
    PIECES = 3  # the most pieces that the range is worth
    ALIGN = 4  # pieces begin at multiples of it
    NUMBER = 5  # of the program's instruction
    BUFFERS = 6  # how many
    COUNT = 7


class Operation(enum.IntEnum):
    """What an instruction does that calls no kernel. Distances are in bytes, from the next instruction.

    The words after the fields are: CHECK: a bool. COPY: source, target (SIZES: bytes). CHOOSE: the selector, then distances
    (SIZES: its bytes; PIECES: whether it has a sign). GOTO: none (EXTENT: distance). BEGIN: the counter, then for each pointer
    a register, a buffer and an offset (SIZES: how many; EXTENT: steps, or -1; ALIGN: distance of the exit). END: the counter,
    the cost of a step, the number of advances; then pairs that swap (SIZES: how many), that move (PIECES: how many), and of a
    register and its stride (EXTENT: steps, or -1; ALIGN: distance of the start). STOP: none. ALONE: none (EXTENT: distance,
    for a call that may use one thread only).
    """

    CHECK = 0
    COPY = 1
    CHOOSE = 2
    GOTO = 3
    BEGIN = 4
    END = 5
    STOP = 6
    ALONE = 7
    COUNT = 8  # no kernel lies at an address so low


class Failure(enum.IntEnum):
    """The first word of the status."""

    NONE = 0
    INDEX = 1  # then the index, the axis and the axis's size
    CHECK = 2
    KERNEL = 3  # then what the kernel returned
    MISMATCH = 4
    PAUSE = 5  # nothing is wrong: Python may look for Ctrl-C, and goes on at RESUME
    LIBRARY = 6  # nothing is wrong: Python calls the function of the instruction FAILED, and goes on at RESUME
    INTERRUPTED = 7


class Shared(enum.IntEnum):
    """The words that all blocks of a process share."""

    THREADS = 0  # how many a call may use
    PARALLEL_FOR = 1  # the function that divides a range among threads; 0: there is none
    PIECES = 2  # the function that runs some pieces
    USED = 3  # whether PARALLEL_FOR was ever called
    NDARRAY = 4  # address of the type
    DETERMINISTIC = 5  # whether results repeat bit for bit
    SETTINGS = 6  # what a tape may depend on, as one number: see set_shared
    CHANGES = 7  # how often that was set
    WALK = 8  # the native loop, for the branches of a fork
    COUNT = 9


PROCESS: Final = (ctypes.c_int64 * Shared.COUNT)()
PROCESS[Shared.NDARRAY] = id(np.ndarray)
#: The same for a branch of a fork, which has one thread.
ONE_THREAD: Final = (ctypes.c_int64 * Shared.COUNT)()
ONE_THREAD[Shared.THREADS] = 1


def set_shared(word: Shared, value: int) -> None:
    """Set THREADS or DETERMINISTIC, and SETTINGS with it: a tape made for other settings is a MISMATCH from then on."""
    PROCESS[word] = value
    PROCESS[Shared.SETTINGS] = 2 * PROCESS[Shared.THREADS] + PROCESS[Shared.DETERMINISTIC]
    PROCESS[Shared.CHANGES] += 1


#: What was raised while Python divided a range among threads (see :attr:`Task.INTERRUPTED`).
INTERRUPTS: Final[dict[int, BaseException]] = {}


class ArrayLayout:
    """Where the words of an ndarray and of a tuple lie, in bytes from their address (``id``).

    NumPy has promised this layout (`PyArrayObject_fields`) to compiled modules for ever; the length of what Python puts
    before it is the size of a bare object.
    """

    _HEAD: Final = object.__basicsize__
    TYPE: Final = _HEAD - 8
    DATA: Final = _HEAD
    NDIM: Final = _HEAD + 8  # 32 bits
    SIZES: Final = _HEAD + 16
    DTYPE: Final = _HEAD + 40
    FLAGS: Final = _HEAD + 48  # 32 bits
    CONTIGUOUS_AND_ALIGNED: Final = 0x0101
    ITEMS: Final = tuple.__basicsize__


def guard_words(slots: Sequence[int], shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype[Any]]) -> list[int]:
    """What the inputs of a call are compared with: for each its buffer, dtype, rank and sizes."""
    words: list[int] = []
    for slot, shape, dtype in zip(slots, shapes, dtypes, strict=True):
        words += [slot, id(dtype), len(shape), *shape]
    return words
