"""All that depends on numba-cuda and NVIDIA's wheels: compile a function to PTX and a cubin, look into it, run it.

Nothing here needs a GPU or a driver. numba-cuda makes PTX (through libnvvm), nvJitLink makes a cubin of it, and nvdisasm shows
that; all three are wheels from PyPI (``pip install 'graphc[cuda]'``). Under ``NUMBA_ENABLE_CUDASIM=1``
numba-cuda runs kernels in the interpreter, one thread of Python for each thread of the device.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from graphc.errors import BackendError
from graphc.locations import UNKNOWN

# Untyped: the two modes of numba-cuda are different modules under one name.
cuda: Any = import_module("numba.cuda")
types: Any = import_module("numba").types
config: Any = import_module("numba").config

_SWITCH: Final = 1e-4

IS_SIMULATOR: Final[bool] = bool(config.ENABLE_CUDASIM)
"""Whether numba-cuda runs kernels in the interpreter."""


def device_function(function: Callable[..., Any]) -> Any:
    """``function`` for use inside kernels, inlined into them."""
    return cuda.jit(device=True, forceinline=True)(function)


def on_types(name: str, forms: Mapping[Any, Callable[..., Any]]) -> Any:
    """A function for use inside kernels that is the one of ``forms`` for the type of its first operand.

    The other operands have that type too.
    """
    def stub(*operands: Any) -> Any:
        raise RuntimeError(f"{name} is for kernels")

    stub.__name__ = stub.__qualname__ = name
    overload: Any = import_module("numba.cuda.extending").overload
    count = next(iter(forms.values())).__code__.co_argcount
    if count == 1:

        @overload(stub)  # type: ignore[untyped-decorator]
        def of_one(x: Any) -> Any:
            return forms.get(x)

    elif count == 2:

        @overload(stub)  # type: ignore[untyped-decorator]
        def of_two(x: Any, y: Any) -> Any:
            return forms.get(x)

    else:

        @overload(stub)  # type: ignore[untyped-decorator]
        def of_three(x: Any, y: Any, z: Any) -> Any:
            return forms.get(x)

    return stub


def kernel_type(short: str, *, is_array: bool = False) -> Any:
    """The type of a kernel's parameter: a pointer to elements of ``short`` ("f32"), or a 1-D array, which atomics need."""
    element = element_type(short)
    return types.Array(element, 1, "C") if is_array else types.CPointer(element)


def element_type(short: str) -> Any:
    kinds = {"i": "int", "u": "uint", "f": "float"}
    return getattr(types, f"{kinds[short[0]]}{short[1:]}")


def compile_to_ptx(
    function: Callable[..., Any],
    name: str,
    signature: Sequence[Any],
    capability: tuple[int, int],
    threads: int,
    resident: int = 1,
) -> str:
    """The PTX of ``function`` as a kernel ``name`` of blocks of ``threads`` threads, for a compute capability.

    ``resident``: so many of its blocks should fit on a multiprocessor.
    """
    with _compiling, _assumed_device(capability):
        made, _ = cuda.compile_ptx(function, tuple(signature), cc=capability, launch_bounds=(threads, resident))
    text = str(made)
    entry = re.search(r"\.entry\s+([\w$]+)", text)
    assert entry is not None, "numba-cuda made PTX without an entry"
    return text.replace(entry[1], name)


@dataclass(frozen=True)
class Usage:
    """What ptxas says that a kernel uses: registers, bytes of spills and of the stack a thread, shared bytes a block."""

    registers: int
    spills: int
    stack: int
    shared: int


def link(ptx: str, architecture: str) -> tuple[bytes, Usage]:
    """The machine code of ``ptx`` for an architecture such as ``sm_90``, a cubin, and what it uses. Needs no driver."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=LinkerOptions(arch=architecture, ptxas_options=["-v"]))
    cubin = linker.link("cubin")
    return bytes(cubin.code), usage_of(linker.get_info_log(), ptx)


def usage_of(log: str, ptx: str) -> Usage:
    """What a log of ``ptxas -v`` says about its only kernel. The linker's log omits shared memory, which the PTX declares."""

    def number(pattern: str) -> int:
        return sum(int(found) for found in re.findall(pattern, log))

    return Usage(
        registers=number(r"Used (\d+) registers"),
        spills=number(r"(\d+) bytes spill stores"),
        stack=number(r"(\d+) bytes stack frame"),
        shared=sum(int(size) for size in re.findall(r"\.shared\s.*\[(\d+)\];", ptx)),
    )


def disassemble(cubin: bytes) -> str:
    """The instructions of a cubin (SASS) as text, by the ``nvdisasm`` of its wheel or of the PATH.

    Raises BackendError where there is none.
    """
    program = find_program("nvdisasm")
    if program is None:
        raise BackendError(
            "nvdisasm was not found, so machine code cannot be shown", hint="pip install nvidia-cuda-nvdisasm", location=UNKNOWN
        )
    with tempfile.TemporaryDirectory(prefix="graphc-") as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        done = subprocess.run([str(program), "-c", str(file)], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise BackendError(f"nvdisasm failed: {done.stderr.strip()}", location=UNKNOWN)
    return done.stdout


def find_program(name: str) -> Path | None:
    """Where a program of the CUDA toolkit is: in NVIDIA's wheels, else on the PATH."""
    spec = find_spec("nvidia")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in folders:
        for file in sorted(Path(folder).glob(f"*/bin/{name}*")):
            if file.stem == name and file.is_file():
                return file
    found = shutil.which(name)
    return None if found is None else Path(found)


class SharedArrays(dict[Any, Any]):
    """What the simulator keeps the shared arrays of a block in, by the line that asks for one.

    Its threads look for the array and put one in where there is none: two of them at once would each have an array of its own
    (numba-cuda 0.30). So whoever finds none holds the lock until it has put one in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def get(self, key: Any, default: Any = None) -> Any:
        self._lock.acquire()
        found = super().get(key, default)
        if found is not None:
            self._lock.release()
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self._lock.release()


def _share_arrays_safely() -> None:
    shared: Any = import_module("numba.cuda.simulator.kernelapi").FakeCUDAShared
    begin = shared.__init__

    def begin_safely(self: Any, *arguments: Any) -> None:
        begin(self, *arguments)
        self._allocations = SharedArrays()

    shared.__init__ = begin_safely


if IS_SIMULATOR:
    _share_arrays_safely()


def simulate(function: Callable[..., Any], blocks: int, threads: int, arguments: Sequence[Any]) -> None:
    """Run a kernel in the interpreter: arrays are read and written, one thread of Python for each of the device's."""
    with _compiling, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers overflow as they do on a device, and NumPy would tell
        before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH)  # the simulator polls its threads, which wait for the interpreter meanwhile
        try:
            cuda.jit(function)[blocks, threads](*[_in_place(argument) for argument in arguments])
        finally:
            sys.setswitchinterval(before)


def _in_place(argument: Any) -> Any:
    """An array as memory of the device: the simulator would copy it, and write all of it back after the kernel."""
    if not isinstance(argument, np.ndarray):
        return argument
    return import_module("numba.cuda.simulator.cudadrv.devicearray").FakeCUDAArray(argument)


class _AssumedDevice:
    """What numba-cuda asks the current device for when it compiles a function that a kernel calls."""

    def __init__(self, capability: tuple[int, int]) -> None:
        self.compute_capability = capability


@contextmanager
def _assumed_device(capability: tuple[int, int]) -> Iterator[None]:
    """Let numba-cuda compile device functions for ``capability``: it has a parameter for kernels only, and would ask the
    driver, which need not be there."""
    module: Any = import_module("numba.cuda.dispatcher")
    before = module.get_current_device
    module.get_current_device = lambda: _AssumedDevice(capability)
    try:
        yield
    finally:
        module.get_current_device = before


_compiling: Final = threading.Lock()
