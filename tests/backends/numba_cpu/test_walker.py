"""The native loop and where its threads come from."""

import subprocess
import sys

import numpy as np

from graphc.backends.numba_cpu import tbb
from graphc.backends.numba_cpu.walker import walk
from graphc.runtime.tape import PROCESS, ArrayLayout, Shared


def test_arrays_are_laid_out_as_native_code_reads_them() -> None:
    """What :class:`ArrayLayout` says, read through plain memory."""
    import ctypes

    def word(address: int) -> int:
        return ctypes.c_int64.from_address(address).value

    def half(address: int) -> int:
        return ctypes.c_int32.from_address(address).value

    array = np.zeros((3, 5, 7), np.float64)
    start = id(array)
    assert word(start + ArrayLayout.TYPE) == id(np.ndarray) == PROCESS[Shared.NDARRAY]
    assert word(start + ArrayLayout.DATA) == array.ctypes.data
    assert half(start + ArrayLayout.NDIM) == 3
    assert [word(word(start + ArrayLayout.SIZES) + 8 * axis) for axis in range(3)] == [3, 5, 7]
    assert word(start + ArrayLayout.DTYPE) == id(array.dtype)
    both = ArrayLayout.CONTIGUOUS_AND_ALIGNED
    assert half(start + ArrayLayout.FLAGS) & both == both
    assert half(id(array.T[1:]) + ArrayLayout.FLAGS) & both != both or array.T[1:].flags.c_contiguous
    items = (array, None)
    assert [word(id(items) + ArrayLayout.ITEMS + 8 * i) for i in range(2)] == [id(array), id(None)]


def test_the_loop_is_compiled_once() -> None:
    assert walk() is walk()
    assert PROCESS[Shared.PIECES]


def test_the_wheel_of_tbb_says_the_same_as_the_place_it_is_found_in() -> None:
    found, listed = tbb._library_file(), tbb._listed_library_file()
    assert (found is None) == (listed is None)
    if found is not None and listed is not None:
        assert found.samefile(listed)


def test_tbb_is_found_without_importing_numba() -> None:
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('tbb_alone', {tbb.__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(module.parallel_for_address() != 0, 'numba' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert done.stdout.split() == [str(tbb.parallel_for_address() != 0), "False"]
