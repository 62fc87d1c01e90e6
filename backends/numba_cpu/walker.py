"""The native loop that runs a tape: from one kernel to the next without Python in between.

Layouts are those of :mod:`graphc.runtime.tape`. A range that is worth it is divided into pieces, which TBB's threads take;
each piece has a status of its own, and the first piece that fails is the one reported, so errors are the same for any
number of threads.
"""

from __future__ import annotations

import functools
import os
from typing import Any, Final

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from graphc.runtime.tape import PROCESS, STATUS_WORDS, ArrayLayout, Failure, Field, Shared, Task, Walk, Word

from .adapter import compile_kernel, noalias, numba_type
from .entry import builtin_walk
from .pointers import POINTERS
from .tbb import parallel_for_address

_WORDS: Final[Any] = numba_type("i64*")
_i32, _i64 = ir.IntType(32), ir.IntType(64)
_i64_pointer = _i64.as_pointer()

PIECES_PER_THREAD: Final = 4  # so that a thread which is held up delays the others by little

SOURCE: Final = f"""
def run_pieces(arguments, counts, task):
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


def walk(block_address, begin, end, arrays):
    block = pointer_i64(block_address)
    table = pointer_i64(block[{Word.TABLE:d}])
    status = pointer_i64(block[{Word.STATUS:d}])
    process = pointer_i64(block[{Word.PROCESS:d}])
    if arrays != 0:
        arrays += {ArrayLayout.ITEMS}
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
        if kernel == 0:
            if pointer_u8(table[entry[{Field.COUNT:d}]])[0] == 0:
                status[0] = {Failure.CHECK:d}
                block[{Word.FAILED:d}] = entry[{Field.NUMBER:d}]
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
            call_parallel_for(parallel, bounds, task, threads)
        for piece in range(pieces):
            if status[piece * {STATUS_WORDS}] != 0:
                for word in range({STATUS_WORDS}):
                    status[word] = status[piece * {STATUS_WORDS} + word]
                block[{Word.FAILED:d}] = entry[{Field.NUMBER:d}]
                return
"""


def _call_native(builder: Any, address: Any, result: Any, operands: list[Any]) -> Any:
    function = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(builder.inttoptr(address, function.as_pointer()), operands)


def _call_kernel(builder: Any, address: Any, arguments: list[Any]) -> Any:
    """Call a function of :func:`compile_kernel`: the slots of its result and its exception come first."""
    with builder.goto_entry_block():
        slots = builder.alloca(_i64_pointer, size=2)
    return _call_native(builder, address, _i32, [slots, builder.gep(slots, [_i32(1)]), *arguments])


def call_kernel_type(context: Any, kernel: Any, operands: Any, sizes: Any, low: Any, high: Any, status: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sext(_call_kernel(builder, arguments[0], list(arguments[1:])), _i64)

    return types.int64(types.int64, _WORDS, _WORDS, types.int64, types.int64, _WORDS), generate


def call_parallel_for_type(context: Any, function: Any, bounds: Any, task: Any, threads: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function, bounds, task, threads = arguments
        start, count, step = (builder.gep(bounds, [_i32(place)]) for place in range(3))
        callback = builder.bitcast(_callback(builder.module), _i64_pointer)
        threads = builder.trunc(threads, _i32)
        operands = [callback, start, count, step, task, _i64(0), _i64(1), threads]
        _call_native(builder, function, ir.VoidType(), operands)
        return target.get_dummy_value()

    return types.void(types.int64, _WORDS, _WORDS, types.int64), generate


def _callback(module: Any) -> Any:
    """A C function that calls ``task[FUNCTION](arguments, counts, task)``, for TBB to call."""
    name = "graphc_pieces"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_i64_pointer] * 4), name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    arguments, counts, _, task = function.args
    address = builder.load(builder.gep(task, [_i32(int(Task.FUNCTION))]))
    _call_kernel(builder, address, [arguments, counts, task])
    builder.ret_void()
    return function


_NAMESPACE: Final[dict[str, object]] = {
    **{name: POINTERS[name] for name in ("pointer_i64", "pointer_i32", "pointer_u8")},
    "noalias": noalias,
    "call_kernel": intrinsic(call_kernel_type),
    "call_parallel_for": intrinsic(call_parallel_for_type),
}


@functools.cache
def walk() -> Walk:
    """The loop, compiled when a process first needs it."""
    pieces = compile_kernel(SOURCE, "run_pieces", ("i64*", "i64*", "i64*"), filename="<graphc tape>", namespace=_NAMESPACE)
    loop = compile_kernel(SOURCE, "walk", ("i64", "i64", "i64", "i64"), filename="<graphc tape>", namespace=_NAMESPACE)
    PROCESS[Shared.PIECES] = pieces.address
    PROCESS[Shared.PARALLEL_FOR] = parallel_for_address()
    return builtin_walk(loop.address)


def _compute_alone() -> None:
    """In a forked child the threads of TBB are gone; where it had any, its state is of no use."""
    if PROCESS[Shared.USED]:
        PROCESS[Shared.PARALLEL_FOR] = 0


os.register_at_fork(after_in_child=_compute_alone)
