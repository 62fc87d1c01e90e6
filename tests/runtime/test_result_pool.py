"""Arrays come back to the pool when nobody can see them any more, and never before."""

import gc as garbage
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.dtypes import bfloat16
from graphc.runtime.result_pool import SMALLEST, ResultPool

SHAPE = (SMALLEST // 4, 1)
F32 = np.dtype(np.float32)


def take(pool: ResultPool, shape: tuple[int, ...] = SHAPE, dtype: np.dtype[Any] = F32) -> np.ndarray:
    return pool.take(shape, dtype, dtype.itemsize * int(np.prod(shape)))


def test_memory_is_used_again_when_the_array_is_dropped() -> None:
    pool = ResultPool()
    first = take(pool)
    address = first.ctypes.data
    assert first.shape == SHAPE
    assert first.dtype == F32
    assert first.flags.owndata
    assert first.flags.writeable
    del first
    second = take(pool)
    assert second.ctypes.data == address
    third = take(pool)
    assert third.ctypes.data != address
    assert not np.shares_memory(second, third)


class Interface:
    """Somebody else's object over the same memory, as ``__array_interface__`` allows."""

    def __init__(self, array: np.ndarray) -> None:
        self.kept = array
        self.__array_interface__ = array.__array_interface__


def _cycle(array: np.ndarray) -> list[Any]:
    cycle: list[Any] = [array]
    cycle.append(cycle)
    return cycle


VIEWS: dict[str, Callable[[np.ndarray], Any]] = {
    "the array": lambda a: a,
    "slice": lambda a: a[10:20],
    "view of a view": lambda a: a[5:].reshape(-1)[3:].view(np.int32)[::2],
    "transposed": lambda a: a.T,
    "memoryview": memoryview,
    "cast memoryview": lambda a: memoryview(a).cast("B"),
    "part of a memoryview": lambda a: memoryview(a)[4:8],
    "frombuffer": lambda a: np.frombuffer(a, np.float32),
    "dlpack": np.from_dlpack,
    "dlpack capsule": lambda a: a.__dlpack__(),
    "dlpack of a slice": lambda a: np.from_dlpack(a[3:]),
    "iterator": lambda a: a.flat,
    "element": lambda a: a[7],
    "interface": lambda a: np.asarray(Interface(a)),
    "ctypes": np.ctypeslib.as_ctypes,
    "in a cycle": _cycle,
    "weak": weakref.ref,
    "bound method": lambda a: a.sum,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_memory_that_somebody_sees_is_not_used_again(view: Callable[[np.ndarray], Any]) -> None:
    pool = ResultPool()
    array = take(pool)
    address = array.ctypes.data
    array[...] = 3
    seen = view(array)
    if isinstance(seen, weakref.ref):
        assert seen() is array
    del array
    assert take(pool).ctypes.data != address
    del seen
    garbage.collect()
    assert address in {take(pool).ctypes.data for _ in range(2)}


def test_an_array_that_was_changed_into_another_is_forgotten() -> None:
    pool = ResultPool()

    def lock(a: np.ndarray) -> None:
        a.flags.writeable = False

    def reshape(a: np.ndarray) -> None:
        with pytest.warns(DeprecationWarning) if np.lib.NumpyVersion(np.__version__) >= "2.5.0" else _nothing():
            a.shape = SHAPE[::-1]

    for change in (lock, reshape):
        array = take(pool)
        change(array)
        before = pool.tracked_bytes
        del array
        fresh = take(pool)
        assert fresh.flags.writeable
        assert fresh.shape == SHAPE
        assert pool.tracked_bytes == before


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


def test_small_and_huge_arrays_are_left_to_the_allocator() -> None:
    pool = ResultPool(limit=4 * SMALLEST)
    kept = [take(pool, (4,)), take(pool, (0, 5)), take(pool, ()), take(pool, (SMALLEST * 2,))]
    assert [array.shape for array in kept] == [(4,), (0, 5), (), (SMALLEST * 2,)]
    assert pool.tracked_bytes == 0


def test_dtypes_and_shapes_are_kept_apart() -> None:
    pool = ResultPool()
    for dtype in (F32, np.dtype(np.int32), bfloat16.numpy, np.dtype(np.float64)):
        for shape in (SHAPE, (SHAPE[0],), (2, *SHAPE)):
            array = take(pool, shape, dtype)
            assert (array.dtype, array.shape) == (dtype, shape)


def test_what_is_kept_is_bounded_over_many_shapes_and_many_arrays_in_use() -> None:
    pool = ResultPool(limit=10 * SMALLEST)
    for extra in range(200):
        take(pool, (SHAPE[0] + extra,))
        assert pool.tracked_bytes <= pool.limit
    held = [take(pool) for _ in range(50)]
    assert pool.tracked_bytes <= pool.limit
    assert len({array.ctypes.data for array in held}) == 50
    pool.clear()
    assert pool.tracked_bytes == 0


def test_threads_never_get_the_same_array() -> None:
    pool, failures = ResultPool(), []

    def work(number: int) -> None:
        for _ in range(200):
            array = take(pool)
            array[::512] = number
            if not np.all(array[::512] == number):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert pool.tracked_bytes <= 20 * SMALLEST
