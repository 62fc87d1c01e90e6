"""The builtin function around the native loop."""

import ctypes
import sys
import threading
from typing import Any

import numpy as np
import pytest

from graphc.backends.numba_cpu.walker import walk
from graphc.compile import compile_graph
from graphc.dtypes import float32
from graphc.ir.builder import Builder
from graphc.ir.types import TensorType
from graphc.runtime.executable import Executable
from graphc.runtime.tape import MOST_PIECES, PROCESS, STATUS_WORDS, Failure, Word, guard_words


class Block:
    """A block for one float32 input of shape (2,) and no instruction."""

    def __init__(self) -> None:
        words = guard_words([0], [(2,)], [np.dtype(np.float32)])
        self.guard = (ctypes.c_int64 * len(words))(*words)
        self.status = (ctypes.c_int64 * (MOST_PIECES * STATUS_WORDS))()
        self.table = (ctypes.c_int64 * 1)()
        self.words = (ctypes.c_int64 * Word.COUNT)()
        self.words[Word.TABLE] = ctypes.addressof(self.table)
        self.words[Word.STATUS] = ctypes.addressof(self.status)
        self.words[Word.GUARD] = ctypes.addressof(self.guard)
        self.words[Word.INPUTS] = 1
        self.words[Word.PROCESS] = ctypes.addressof(PROCESS)
        self.address = ctypes.addressof(self.words)


@pytest.mark.parametrize("brief", [0, 1])
def test_it_gives_the_status_and_fills_the_table(brief: int) -> None:
    block = Block()
    block.words[Word.BRIEF] = brief
    x = np.ones(2, np.float32)
    assert walk()(block.address, 0, 0, (x,)) == Failure.NONE
    assert block.table[0] == x.ctypes.data
    assert walk()(block.address, 0, 0, None) == Failure.NONE
    assert walk()(block.address, 0, 0, (x.astype(np.float64),)) == Failure.MISMATCH
    assert block.status[0] == Failure.MISMATCH


def test_wrong_calls_are_refused() -> None:
    function: Any = walk()
    with pytest.raises(TypeError):
        function(1, 2, 3)
    with pytest.raises(TypeError):
        function(1, 2, 3, None, 5)


def test_no_references_are_kept() -> None:
    block = Block()
    arrays = (np.ones(2, np.float32),)
    before = sys.getrefcount(arrays), sys.getrefcount(arrays[0]), sys.getrefcount(block.address)
    for _ in range(100):
        walk()(block.address, 0, 0, arrays)
    assert (sys.getrefcount(arrays), sys.getrefcount(arrays[0]), sys.getrefcount(block.address)) == before


def _executable(n: int) -> Executable:
    b = Builder("g")
    x = b.parameter(TensorType(float32, (n,)), "x")
    for _ in range(4):
        x = b.cumulative_sum(b.exp(x), axis=0, reverse=False)
    executable = compile_graph(b.finish([x]))
    assert isinstance(executable, Executable)
    return executable


def _lets_others_run(executable: Executable, n: int) -> bool:
    """Whether another thread gets to run while ``executable`` does."""
    x = np.zeros(n, np.float32)
    executable(x)
    gate, ran, saved = threading.Lock(), [], sys.getswitchinterval()

    def follow() -> None:
        with gate:
            ran.append(True)

    gate.acquire()
    thread = threading.Thread(target=follow)
    thread.start()
    try:
        sys.setswitchinterval(1000)  # from here on a thread runs only where another one lets it
        gate.release()
        for _ in range(1000):
            executable(x)
            if ran:
                break
        return bool(ran)
    finally:
        sys.setswitchinterval(saved)
        thread.join()


def test_only_brief_work_keeps_the_gil() -> None:
    assert not _lets_others_run(_executable(4), 4)
    assert _lets_others_run(_executable(30_000), 30_000)
