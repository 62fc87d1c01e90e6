"""The plan of temporaries, and the blocks that calls check out."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.runtime.arena import ALIGNMENT, MAX_FREE, ArenaPool, Lifetime, plan_arena

LIFETIMES = st.lists(
    st.builds(
        lambda size, first, length: Lifetime(size, first, first + length),
        st.integers(0, 500),
        st.integers(0, 12),
        st.integers(0, 5),
    ),
    max_size=20,
)


@given(LIFETIMES)
def test_buffers_in_use_together_do_not_overlap(lifetimes: list[Lifetime]) -> None:
    plan = plan_arena(lifetimes)
    for i, (a, start) in enumerate(zip(lifetimes, plan.offsets, strict=True)):
        assert start % ALIGNMENT == 0
        assert start + a.size <= plan.size or a.size == 0
        for b, other in list(zip(lifetimes, plan.offsets, strict=True))[i + 1 :]:
            together = a.first <= b.last and b.first <= a.last
            apart = start + a.size <= other or other + b.size <= start
            assert apart or not together or not a.size or not b.size


@given(LIFETIMES)
def test_a_plan_is_no_larger_than_without_reuse_and_no_smaller_than_what_is_in_use(lifetimes: list[Lifetime]) -> None:
    rounded = [-(-item.size // ALIGNMENT) * ALIGNMENT for item in lifetimes]
    size = plan_arena(lifetimes).size
    assert size <= sum(rounded)
    for moment in range(20):
        used = [n for item, n in zip(lifetimes, rounded, strict=True) if item.first <= moment <= item.last]
        assert sum(used) <= size


def test_a_chain_of_any_length_needs_two_buffers() -> None:
    plan = plan_arena([Lifetime(1000, i, i + 1) for i in range(100)])
    assert plan.size == 2 * 1024
    assert set(plan.offsets) == {0, 1024}


def test_the_tightest_gap_is_taken() -> None:
    plan = plan_arena([
        Lifetime(256, 0, 1), Lifetime(64, 0, 9), Lifetime(64, 0, 1), Lifetime(64, 0, 9), Lifetime(64, 2, 3),
        Lifetime(256, 2, 3),
    ])  # fmt: skip
    assert plan.offsets == (0, 256, 320, 384, 320, 0)
    assert plan.size == 448


def test_gaps_grow_together() -> None:
    plan = plan_arena([Lifetime(64, 0, 0), Lifetime(64, 0, 1), Lifetime(64, 0, 0), Lifetime(64, 0, 5), Lifetime(192, 2, 5)])
    assert plan.offsets[-1] == 0
    assert plan.size == 256


def test_nothing_needs_nothing() -> None:
    assert plan_arena([]) == ((), 0)
    assert plan_arena([Lifetime(0, 0, 3), Lifetime(0, 0, 3)]) == ((0, 0), 0)


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_blocks_are_aligned(size: int) -> None:
    arena = ArenaPool().check_out(size)
    assert arena.address % ALIGNMENT == 0
    assert arena.memory.ctypes.data == arena.address
    assert arena.memory.size == size
    arena.memory[:] = 1


def test_a_block_serves_the_calls_after_it_and_grows_with_them() -> None:
    pool = ArenaPool()
    small = pool.check_out(100)
    pool.check_in(small)
    assert pool.check_out(50) is small
    pool.check_in(small)
    large = pool.check_out(200)
    assert large is not small
    pool.check_in(large)
    assert pool.idle_bytes == 200
    assert pool.check_out(10) is large


def test_calls_at_once_get_different_blocks_and_few_are_kept() -> None:
    pool = ArenaPool()
    arenas = [pool.check_out(64) for _ in range(2 * MAX_FREE)]
    assert len({arena.address for arena in arenas}) == len(arenas)
    for arena in arenas:
        pool.check_in(arena)
    assert pool.idle_bytes == 64 * MAX_FREE


def test_threads_never_share_a_block() -> None:
    pool, failures = ArenaPool(), []

    def work(number: int) -> None:
        for _ in range(300):
            arena = pool.check_out(4096)
            arena.memory[:] = number
            if not np.all(arena.memory == number):
                failures.append(number)
            pool.check_in(arena)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
