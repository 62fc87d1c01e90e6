"""A loop over a range on Python threads, for machines that TBB has no wheel for.

The native loop calls it as it would call TBB's. Kernels release the GIL, so pieces do run at the same time. That takes tens of
microseconds a range instead of a few; ranges that are worth dividing take longer.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Any, Final

from graphc.runtime.tape import INTERRUPTS, MOST_PIECES, Task

_WORD: Final = 8
_ADDRESS: Final = ctypes.c_void_p
_BODY: Final = ctypes.CFUNCTYPE(None, _ADDRESS, _ADDRESS, _ADDRESS, _ADDRESS)
_LOOP: Final = ctypes.CFUNCTYPE(
    None, _ADDRESS, _ADDRESS, _ADDRESS, _ADDRESS, _ADDRESS, ctypes.c_int64, ctypes.c_int64, ctypes.c_int32
)
#: Where each piece begins, and that it is one: what the body of the loop is called with.
_PIECES: Final = (ctypes.c_int64 * (MOST_PIECES + 1))(*range(MOST_PIECES), 1)


class _Pool:
    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """A forked child has none of the threads."""
        self.executor: ThreadPoolExecutor | None = None

    def submit(self, function: Callable[[], None]) -> Future[None] | None:
        if self.executor is None:
            self.executor = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="graphc")
        try:
            return self.executor.submit(function)
        except RuntimeError:  # the interpreter shuts down, or there can be no more threads
            return None


_pool: Final = _Pool()
os.register_at_fork(after_in_child=_pool.renew)


def _parallel_for(
    function: int, arguments: int, counts: int, steps: int, data: int, _inner: int, _dims: int, threads: int
) -> None:
    """``function(arguments, counts, steps, data)`` for each piece of [0, ``counts[0]``), on up to ``threads`` threads.

    The caller does pieces, too, until there are no more, so it waits only for what is being done: calls from several threads,
    or from a thread of the pool, cannot wait for each other.
    """
    helpers: list[Future[None]] | None = None
    rest: Iterator[int] | None = None
    count = 0
    begun: list[None] = []
    ended: list[None] = []
    while True:
        try:
            if rest is None:
                count = ctypes.c_int64.from_address(counts).value
                first = ctypes.addressof(_PIECES)
                rest = iter(range(first, first + _WORD * count, _WORD))
            work = functools.partial(_do_pieces, _BODY(function), rest, steps, data, begun, ended)
            if helpers is None:
                helpers = []
                for _ in range(min(threads, count) - 1):
                    helper = _pool.submit(work)
                    if helper is not None:
                        helpers.append(helper)
            work()
            for helper in helpers:
                if not helper.cancel():
                    helper.result()
            while len(ended) < len(begun):  # one that an interrupt kept from the list
                time.sleep(1e-4)
            break
        except BaseException as error:  # of a signal's handler; what is begun is done, then the call ends
            INTERRUPTS[data] = error
            ctypes.c_int64.from_address(data + _WORD * Task.INTERRUPTED).value = 1


def _do_pieces(
    body: Any, rest: Iterator[int], steps: int, data: int, begun: list[None], ended: list[None]
) -> None:
    """Take pieces while there are some. No bytecode runs between taking one and doing it, so no signal comes between."""
    begun.append(None)
    one = ctypes.addressof(_PIECES) + _WORD * MOST_PIECES
    try:
        deque(map(body, rest, repeat(one), repeat(steps), repeat(data)), maxlen=0)
    finally:
        ended.append(None)


@functools.cache
def parallel_for_address() -> int:
    """The address of a function like that of :func:`graphc.backends.numba_cpu.tbb.parallel_for_address`."""
    loop = _LOOP(_parallel_for)
    _kept.append(loop)
    address = ctypes.cast(loop, ctypes.c_void_p).value
    assert address is not None
    return address


_kept: Final[list[Any]] = []
