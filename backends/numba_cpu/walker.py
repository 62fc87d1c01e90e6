"""The native loop that runs a tape: from one kernel to the next without Python in between.

Layouts are those of :mod:`graphc.runtime.tape`. A range that is worth it is divided into pieces, which TBB's threads take
(or Python's, where there is no TBB); each piece has a status of its own, and the first piece that fails is the one reported,
so errors are the same for any number of threads.
"""

from __future__ import annotations

import functools
import os
from typing import Final

from graphc.runtime.tape import (
    ONE_THREAD,
    PROCESS,
    SEGMENT_BYTES,
    STATUS_WORDS,
    ArrayLayout,
    Failure,
    Field,
    Operation,
    Shared,
    Task,
    Walk,
    Word,
)

from . import python_threads, tbb
from .entry import builtin_walk
from .kernels import ModuleNames, compile_kernel

NAMESPACE: Final = ModuleNames("walker_names")

PIECES_PER_THREAD: Final = 4  # so that a thread which is held up delays the others by little

SOURCE: Final = f"""
def run_pieces(arguments, counts, task):
    task[{Task.STARTED:d}] = 1
    for piece in range(arguments[0], arguments[0] + counts[0]):
        low = piece * task[{Task.CHUNK:d}]
        high = min(low + task[{Task.CHUNK:d}], task[{Task.EXTENT:d}])
        status = pointer_i64(task[{Task.STATUS:d}] + 8 * {STATUS_WORDS} * piece)
        failure = call_kernel(
            task[{Task.KERNEL:d}], pointer_i64(task[{Task.OPERANDS:d}]), pointer_i64(task[{Task.SIZES:d}]),
            low, high, status,
        )
        if failure != 0:
            status[0] = {Failure.KERNEL:d}
            status[1] = failure


@noalias
def matches(guard_address, count, ndarray, table, arrays):
    guard = pointer_i64(guard_address)
    for place in range(count):
        array = pointer_i64(arrays + 8 * place)[0]
        if pointer_i64(array + {ArrayLayout.TYPE})[0] != ndarray:
            return -1
        if pointer_i64(array + {ArrayLayout.DTYPE})[0] != guard[1]:
            return -1
        needed = {ArrayLayout.CONTIGUOUS_AND_ALIGNED}
        if pointer_i32(array + {ArrayLayout.FLAGS})[0] & needed != needed:
            return -1
        ndim = guard[2]
        if pointer_i32(array + {ArrayLayout.NDIM})[0] != ndim:
            return -1
        sizes = pointer_i64(pointer_i64(array + {ArrayLayout.SIZES})[0])
        for axis in range(ndim):
            if sizes[axis] != guard[3 + axis]:
                return -1
        table[guard[0]] = pointer_i64(array + {ArrayLayout.DATA})[0]
        guard_address += 8 * (3 + ndim)
        guard = pointer_i64(guard_address)
    return guard_address


@noalias
def copy_bytes(target, source, count):
    for i in range(count):
        target[i] = source[i]


@noalias
def selected(address, size, is_signed):
    data = pointer_u8(address)
    value = 0
    for i in range(size):
        value |= (data[i] & 255) << (8 * i)
    if is_signed != 0:
        shift = 64 - 8 * size
        return (value << shift) >> shift
    if value < 0:
        return {(1 << 63) - 1}
    return value


@noalias
def control(block, table, status, entry, begin):
    kind = entry[{Field.KERNEL:d}]
    rest = {Field.COUNT:d}
    if kind == {Operation.CHECK:d}:
        if pointer_u8(table[entry[rest]])[0] != 0:
            return begin
        status[0] = {Failure.CHECK:d}
        block[{Word.FAILED:d}] = entry[{Field.NUMBER:d}]
        return 0
    if kind == {Operation.COPY:d}:
        source = table[entry[rest]]
        target = table[entry[rest + 1]]
        if source != target:
            copy_bytes(pointer_u8(target), pointer_u8(source), entry[{Field.SIZES:d}])
        return begin
    if kind == {Operation.GOTO:d}:
        return begin + entry[{Field.EXTENT:d}]
    if kind == {Operation.ALONE:d}:
        if pointer_i64(block[{Word.PROCESS:d}])[{Shared.THREADS:d}] == 1:
            return begin + entry[{Field.EXTENT:d}]
        return begin
    if kind == {Operation.CHOOSE:d}:
        index = selected(table[entry[rest]], entry[{Field.SIZES:d}], entry[{Field.PIECES:d}])
        index = min(max(index, 0), entry[{Field.BUFFERS:d}] - 2)
        return begin + entry[rest + 1 + index]
    if kind == {Operation.BEGIN:d}:
        table[entry[rest]] = 0
        for i in range(entry[{Field.SIZES:d}]):
            place = rest + 1 + 3 * i
            table[entry[place]] = table[entry[place + 1]] + entry[place + 2]
        if entry[{Field.EXTENT:d}] == 0:
            return begin + entry[{Field.ALIGN:d}]
        return begin
    if kind == {Operation.END:d}:
        steps = table[entry[rest]] + 1
        table[entry[rest]] = steps
        swaps = rest + 3
        moves = swaps + 2 * entry[{Field.SIZES:d}]
        advances = moves + 2 * entry[{Field.PIECES:d}]
        for i in range(entry[{Field.PIECES:d}]):
            table[entry[moves + 2 * i]] = table[entry[moves + 2 * i + 1]]
        for i in range(entry[{Field.SIZES:d}]):
            one = entry[swaps + 2 * i]
            other = entry[swaps + 2 * i + 1]
            address = table[one]
            table[one] = table[other]
            table[other] = address
        for i in range(entry[rest + 2]):
            table[entry[advances + 2 * i]] += entry[advances + 2 * i + 1]
        if steps == entry[{Field.EXTENT:d}]:
            return begin
        begin += entry[{Field.ALIGN:d}]
        block[{Word.BUDGET:d}] -= entry[rest + 1]
        if block[{Word.BUDGET:d}] >= 0:
            return begin
        block[{Word.BUDGET:d}] = {SEGMENT_BYTES}
        block[{Word.RESUME:d}] = begin
        status[0] = {Failure.PAUSE:d}
        return 0
    block[{Word.RESUME:d}] = begin
    block[{Word.FAILED:d}] = entry[{Field.NUMBER:d}]
    status[0] = {Failure.LIBRARY:d}
    return 0


def walk(block_address, begin, end, arrays):
    block = pointer_i64(block_address)
    table = pointer_i64(block[{Word.TABLE:d}])
    status = pointer_i64(block[{Word.STATUS:d}])
    process = pointer_i64(block[{Word.PROCESS:d}])
    if arrays != 0:
        arrays += {ArrayLayout.ITEMS}
        if block[{Word.SETTINGS:d}] != 0 and block[{Word.SETTINGS:d}] != process[{Shared.SETTINGS:d}]:
            status[0] = {Failure.MISMATCH:d}
            return
        ndarray = process[{Shared.NDARRAY:d}]
        rest = matches(block[{Word.GUARD:d}], block[{Word.INPUTS:d}], ndarray, table, arrays)
        if rest == -1:
            status[0] = {Failure.MISMATCH:d}
            return
        arrays += 8 * block[{Word.INPUTS:d}]
        slots = pointer_i64(rest)
        for place in range(block[{Word.RESULTS:d}]):
            table[slots[place]] = pointer_i64(pointer_i64(arrays + 8 * place)[0] + {ArrayLayout.DATA})[0]
    operands = pointer_i64(block[{Word.OPERANDS:d}])
    threads = process[{Shared.THREADS:d}]
    parallel = process[{Shared.PARALLEL_FOR:d}]
    while begin < end:
        entry = pointer_i64(begin)
        count = entry[{Field.BUFFERS:d}]
        begin += 8 * ({Field.COUNT:d} + count)
        kernel = entry[{Field.KERNEL:d}]
        if kernel < {Operation.COUNT:d}:
            begin = control(block, table, status, entry, begin)
            if begin == 0:
                return
            continue
        for place in range(count):
            operands[place] = table[entry[{Field.COUNT:d} + place]]
        extent = entry[{Field.EXTENT:d}]
        sizes = entry[{Field.SIZES:d}]
        pieces = min(entry[{Field.PIECES:d}], threads * {PIECES_PER_THREAD})
        if threads == 1 or pieces <= 1 or parallel == 0:
            failure = call_kernel(kernel, operands, pointer_i64(sizes), 0, extent, status)
            if failure != 0:
                status[0] = {Failure.KERNEL:d}
                status[1] = failure
            pieces = 1
        else:
            align = entry[{Field.ALIGN:d}]
            chunk = (extent + pieces - 1) // pieces
            chunk = (chunk + align - 1) // align * align
            pieces = (extent + chunk - 1) // chunk
            task = pointer_i64(block_address + 8 * {Word.TASK:d})
            task[{Task.KERNEL:d}] = kernel
            task[{Task.SIZES:d}] = sizes
            task[{Task.EXTENT:d}] = extent
            task[{Task.CHUNK:d}] = chunk
            task[{Task.OPERANDS:d}] = block[{Word.OPERANDS:d}]
            task[{Task.STATUS:d}] = block[{Word.STATUS:d}]
            task[{Task.FUNCTION:d}] = process[{Shared.PIECES:d}]
            bounds = pointer_i64(block_address + 8 * {Word.RANGE:d})
            bounds[0] = 0
            bounds[1] = pieces
            bounds[2] = 1
            process[{Shared.USED:d}] = 1
            task[{Task.STARTED:d}] = 0
            task[{Task.INTERRUPTED:d}] = 0
            call_parallel_for(parallel, bounds, task, threads)
            if task[{Task.STARTED:d}] == 0:  # an interrupt came before the loop
                call_pieces(process[{Shared.PIECES:d}], bounds, pointer_i64(block_address + 8 * ({Word.RANGE:d} + 1)), task)
            if task[{Task.INTERRUPTED:d}] != 0:
                status[0] = {Failure.INTERRUPTED:d}
                block[{Word.FAILED:d}] = entry[{Field.NUMBER:d}]
                return
        for piece in range(pieces):
            if status[piece * {STATUS_WORDS}] != 0:
                for word in range({STATUS_WORDS}):
                    status[word] = status[piece * {STATUS_WORDS} + word]
                block[{Word.FAILED:d}] = entry[{Field.NUMBER:d}]
                return


def run_branches(operands, edges, low, high, status):
    for branch in range(low, high):
        address = operands[0] + branch * edges[0]
        block = pointer_i64(address)
        block[{Word.BUDGET:d}] = {1 << 62}
        process = pointer_i64(block[{Word.PROCESS:d}])
        call_walk(process[{Shared.WALK:d}], address, edges[1 + 2 * branch], edges[2 + 2 * branch], 0)
        own = pointer_i64(block[{Word.STATUS:d}])
        if own[0] != 0:
            for word in range({STATUS_WORDS}):
                status[word] = own[word]
                own[word] = 0
"""


@functools.cache
def walk() -> Walk:
    """The loop, compiled when a process first needs it."""
    pieces = compile_kernel(SOURCE, "run_pieces", ("i64*", "i64*", "i64*"), filename="<graphc tape>", namespace=NAMESPACE)
    loop = compile_kernel(SOURCE, "walk", ("i64", "i64", "i64", "i64"), filename="<graphc tape>", namespace=NAMESPACE)
    ONE_THREAD[Shared.WALK] = loop.address
    PROCESS[Shared.PIECES] = pieces.address
    PROCESS[Shared.PARALLEL_FOR] = tbb.parallel_for_address() or python_threads.parallel_for_address()
    return builtin_walk(loop.address)


@functools.cache
def branch_runner() -> int:
    """The address of a kernel that runs the branches of a fork, each on the block that it has in the first buffer."""
    signature = ("i64*", "i64*", "i64", "i64", "i64*")
    return compile_kernel(SOURCE, "run_branches", signature, filename="<graphc tape>", namespace=NAMESPACE).address


def _compute_alone() -> None:
    """In a forked child the threads of TBB are gone; where it had any, its state is of no use."""
    if PROCESS[Shared.USED]:
        PROCESS[Shared.PARALLEL_FOR] = 0


os.register_at_fork(after_in_child=_compute_alone)
