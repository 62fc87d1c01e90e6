"""What runs kernels: memory, copies and launches on a device through NVIDIA's driver, or in the simulator."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NoReturn

import numpy as np

from graphc.errors import ArgumentError, DeviceError
from graphc.locations import UNKNOWN

from .adapter import IS_SIMULATOR
from .arguments import STATUS_WORDS, Arguments, Launch, Place
from .driver import BLOCKING, Call, DeviceCopy, Driver, NvidiaDriver
from .geometry import DEVICE, SIMULATOR, Geometry
from .kernels import DeviceKernel
from .memory import Block, CachingAllocator, MemoryStatistics
from .occupancy import Architecture
from .simulator import SimulatedDriver
from .transfer import Download, Staging


class Memory:
    """Memory of a device, which comes back when it is collected: work that was asked for before may still use it."""

    __slots__ = ("__weakref__", "_allocator", "_block", "address", "nbytes")

    def __init__(self, allocator: CachingAllocator, block: Block, nbytes: int) -> None:
        self._allocator, self._block, self.address, self.nbytes = allocator, block, block.address, nbytes

    def __del__(self) -> None:
        self._allocator.free(self._block)


@dataclass(frozen=True, eq=False)
class Flag:
    """Words in which kernels say what failed; ``fail`` raises that."""

    memory: Memory
    fail: Callable[[int, int, int, int], NoReturn]


#: So many runs at most may have something to report that nobody has looked at.
MOST_FLAGS: Final = 256
#: The arguments of so many single launches are kept for the next like them.
MOST_PREPARED: Final = 256


@dataclass(frozen=True)
class Wanted:
    """An array to be copied from ``address`` of the device."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Machine:
    """One device: its memory, and what runs there, all in the order of one stream.

    Nothing waits but :meth:`download` and :meth:`synchronize`; these raise what failed in the work before, too. Any thread may
    use it; ``lock`` is held while work is asked for, and not while it is waited for.
    """

    def __init__(self, driver: Driver, geometry: Geometry = DEVICE) -> None:
        self.driver, self.geometry = driver, geometry
        self.lock = threading.RLock()
        self.allocator = CachingAllocator(driver)
        self.staging = Staging(driver)
        self.is_blocking = switch(BLOCKING)
        self._pending: list[Flag] = []
        self._prepared: OrderedDict[Any, Arguments] = OrderedDict()  # of single launches

    @property
    def architecture(self) -> Architecture | None:
        return self.driver.architecture

    @property
    def hardware(self) -> str:
        """What the manufacturer calls it."""
        return self.driver.name

    @property
    def stream(self) -> int:
        return self.driver.stream

    def allocate(self, nbytes: int, planned: str = "") -> Memory:
        """Memory with any contents. Raises OutOfMemoryError, which says what it was ``planned`` for."""
        return Memory(self.allocator, self.allocator.allocate(nbytes, planned), nbytes)

    def upload(self, array: np.ndarray, planned: str = "") -> Memory:
        """Memory with the contents of ``array``, which may be changed at once; ``planned`` as for :meth:`allocate`."""
        memory = self.allocate(array.nbytes, planned)
        with self.lock:
            self.driver.enter()
            self.staging.upload(memory.address, np.ascontiguousarray(array))
        return memory

    def download(self, memory: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A new array with the contents of ``memory``; raises what failed in the work before."""
        (array,) = self.download_all([Wanted(memory.address, shape, np.dtype(dtype))])
        return array

    def download_all(self, wanted: Sequence[Wanted], flags: Sequence[Flag] = ()) -> list[np.ndarray]:
        """New arrays with what is ``wanted``, waiting once. Raises what ``flags`` say, and what failed in work before."""
        arrays = [np.empty(each.shape, each.dtype) for each in wanted]
        copies = [Download(each.address, array) for each, array in zip(wanted, arrays, strict=True)]
        self.driver.enter()
        self._wait(copies, flags)
        return arrays

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy bytes on the device."""
        with self.lock:
            self.driver.enter()
            self.run(DeviceCopy(target, source, nbytes))

    def synchronize(self) -> None:
        """Wait until everything is done; raises what failed in it."""
        self.driver.synchronize()
        if self._pending:
            self._wait([], ())

    def wait_for(self, stream: int) -> None:
        """Wait until the work on another library's stream is done."""
        self.driver.wait_for(stream)

    def launch(self, kernel: DeviceKernel, buffers: Sequence[Any], numbers: Sequence[int], status: Any) -> None:
        """Run ``kernel`` once: ``numbers`` are its sizes, its extent and, where it checks, the number of its instruction."""
        key = (kernel, tuple([buffer.nbytes for buffer in buffers]), tuple(numbers))
        with self.lock:
            self.driver.enter()
            arguments = self._prepared.get(key)
            if arguments is None:
                arguments = self._prepared[key] = self._prepare(*key)
                if len(self._prepared) > MOST_PREPARED:
                    self._prepared.popitem(last=False)
            arguments.place((0 if status is None else status.address, *[buffer.address for buffer in buffers]))
            self.run(arguments.part(0))

    def _prepare(self, kernel: DeviceKernel, sizes: tuple[int, ...], numbers: tuple[int, ...]) -> Arguments:
        """The arguments of one launch, with a base for the words of failures and one for each buffer."""
        places, count = tuple([Place(base) for base in range(1, len(sizes) + 1)]), len(kernel.sizes) + 1
        launch = Launch(kernel, places, sizes, numbers[:count], numbers[-1])
        return Arguments(self.driver, self.geometry, [launch], 0)

    def run(self, part: Call | DeviceCopy, launch: Any = None) -> None:
        """Do what is prepared, with the lock held and the device entered. ``launch``: what it is, for an error."""
        if isinstance(part, DeviceCopy):
            if part.nbytes:
                self.driver.copy(part)
            return
        if not self.is_blocking:
            self.driver.launch(part)
            return
        try:
            self.driver.launch(part)
            self.driver.synchronize()
        except DeviceError as error:
            location = launch.location if isinstance(launch, Launch) else UNKNOWN
            what = f"the kernel {part.kernel.name} failed: {error.message.partition(', about')[0]}"
            hint = f"compute-sanitizer python … shows the access; its text: graphc dump --stage source, {part.kernel.name}"
            raise DeviceError(what, hint=hint, location=location) from error

    # Failures of kernels

    def flag(self, fail: Callable[[int, int, int, int], NoReturn]) -> Flag:
        """Words for the kernels of a run to report in, all 0; ``fail`` is called with what they say."""
        flag = Flag(self.allocate(8 * STATUS_WORDS), fail)
        self.driver.enter()
        self.driver.clear(flag.memory.address, 8 * STATUS_WORDS)
        return flag

    def watch(self, flag: Flag) -> None:
        """Look at ``flag``, in which what was launched may report, when something is waited for next."""
        with self.lock:
            if flag not in self._pending:
                self._pending.append(flag)
            many = len(self._pending) >= MOST_FLAGS
        if many:
            self._wait([], ())

    def is_watched(self, flag: Flag) -> bool:
        """Whether nobody has looked at ``flag`` since :meth:`watch`."""
        return flag in self._pending

    def _wait(self, copies: Sequence[Download], flags: Sequence[Flag]) -> None:
        with self.lock:
            watched, self._pending = [*self._pending, *flags], []
        words = [np.zeros(STATUS_WORDS, np.int64) for _ in watched]
        found = [Download(flag.memory.address, each) for flag, each in zip(watched, words, strict=True)]
        self.staging.download([*copies, *found])
        for flag, each in zip(watched, words, strict=True):
            if each[0]:
                flag.fail(*(int(word) for word in each))

    # Memory

    def statistics(self) -> MemoryStatistics:
        return self.allocator.statistics()

    def reset_peaks(self) -> None:
        self.allocator.reset_peaks()

    def empty_cache(self) -> int:
        """Give memory that nobody uses back, of the device and pinned; how many bytes of the device that were."""
        self.staging.release()
        return self.allocator.empty_cache()


def switch(name: str, default: bool = False) -> bool:
    """What an environment variable says, 0 or 1. Raises ArgumentError for anything else.

    >>> switch("GRAPHC_CUDA_GRAPHS", default=True)
    True
    """
    chosen = os.environ.get(name, str(int(default)))
    if chosen not in ("0", "1"):
        raise ArgumentError(f"{name} is {chosen!r}", hint="set it to 0 or 1", location=UNKNOWN)
    return chosen == "1"


@cache
def present_machine() -> Machine:
    """The simulator where ``NUMBA_ENABLE_CUDASIM=1``, else the first GPU. Raises DeviceError where there is neither."""
    if IS_SIMULATOR:
        return Machine(SimulatedDriver(), SIMULATOR)
    return Machine(NvidiaDriver(usable_driver()))


def usable_driver() -> Any:
    """The driver's API. Raises DeviceError for no driver, and for one that is older than the machine code made here."""
    from cuda.bindings import driver, nvjitlink

    try:
        error, version = driver.cuDriverGetVersion()
    except RuntimeError:  # its library is not there
        error, version = 1, 0
    found = 0 if int(error) else version
    check_driver(found, nvjitlink.version()[0] if found else 0)
    return driver


def check_driver(version: int, toolkit: int) -> None:
    """Raise DeviceError unless a driver of ``version`` (12080 for CUDA 12.8, 0 for none) loads what ``toolkit`` (13) makes."""
    if version == 0:
        raise DeviceError(
            "there is no NVIDIA driver here, so kernels can be compiled but not run",
            hint="for code: the target cuda:sm_90; for results: set NUMBA_ENABLE_CUDASIM=1, or install a driver",
            location=UNKNOWN,
        )
    if version // 1000 < toolkit:
        raise DeviceError(
            f"the NVIDIA driver is for CUDA {version // 1000}.{version % 1000 // 10}, and the installed toolkit makes code for "
            f"CUDA {toolkit}",
            hint=f"update the driver, or pip install 'numba-cuda[cu{version // 1000}]'",
            location=UNKNOWN,
        )
