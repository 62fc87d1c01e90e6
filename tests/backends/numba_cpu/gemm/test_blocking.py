"""Block sizes from cache sizes."""

import pytest

from graphc.backends.numba_cpu.gemm.blocking import ASSUMED, MOST_STACK, blocking, cache_sizes
from graphc.backends.numba_cpu.gemm.geometry import AVX2, AVX512, GENERIC, NEON


def describe(folder, index, **values):
    place = folder / f"index{index}"
    place.mkdir()
    for name, value in values.items():
        (place / name).write_text(f"{value}\n")


def test_cache_sizes_are_read_where_linux_says_them(tmp_path):
    describe(tmp_path, 0, level=1, type="Data", size="48K")
    describe(tmp_path, 1, level=1, type="Instruction", size="32K")
    describe(tmp_path, 2, level=2, type="Unified", size="2048K")
    assert cache_sizes(tmp_path) == {1: 48 << 10, 2: 2 << 20}


def test_unknown_caches_are_assumed(tmp_path):
    assert cache_sizes(tmp_path / "nowhere") == ASSUMED
    describe(tmp_path, 0, level=1, type="Data", size="large")
    describe(tmp_path, 1, level=2)
    assert cache_sizes(tmp_path) == ASSUMED


@pytest.mark.parametrize("second", [256 << 10, 512 << 10, 1 << 20, 4 << 20])
@pytest.mark.parametrize("first", [16 << 10, 32 << 10, 128 << 10])
@pytest.mark.parametrize("geometry", [AVX512, AVX2, NEON, GENERIC], ids=lambda g: g.name)
@pytest.mark.parametrize("short, itemsize", [("f32", 4), ("f64", 8)])
def test_blocks_are_whole_tiles_and_fit(geometry, short, itemsize, first, second):
    rows, columns = geometry.tile(short)
    blocks = blocking(geometry, short, {1: first, 2: second})
    assert blocks.rows % rows == 0 and blocks.columns % columns == 0
    assert blocks.rows >= rows and blocks.depth >= 64
    assert blocks.rows * blocks.depth * itemsize <= max(MOST_STACK + (16 << 10), rows * blocks.depth * itemsize)
