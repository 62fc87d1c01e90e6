"""A list of launches, run again and again: as one graph of the driver's where that is possible, else one after the other.

A graph costs one call for all of its launches. It holds the addresses that it was made with, and the caching allocator gives
the same ones to a program that runs again. Where some differ, those launches that use them are updated.
"""

from __future__ import annotations

import weakref
from typing import Any, Final

from graphc.errors import DeviceError

from .arguments import Arguments
from .driver import BLOCKING, Driver, OutOfDeviceMemory
from .machine import Machine, switch

GRAPHS: Final = "GRAPHC_CUDA_GRAPHS"
#: How many graphs are kept for one list, for different addresses: two, as buffers commonly take turns.
MOST_GRAPHS: Final = 2


class _Kept:
    """A graph, and the addresses that it has."""

    def __init__(self, driver: Driver, graph: Any, addresses: tuple[int, ...]) -> None:
        self.graph, self.addresses = graph, addresses
        weakref.finalize(self, driver.discard_graph, graph).atexit = False


class Replay:
    """``reason``: why launches are not kept as a graph; None where they are, from the second run on."""

    def __init__(self, machine: Machine, arguments: Arguments) -> None:
        self._machine, self._arguments = machine, arguments
        self._kept: list[_Kept] = []  # the one used last comes last
        self._runs = 0
        self.reason = self._why_not()

    def _why_not(self) -> str | None:
        if not switch(GRAPHS, default=True):
            return f"{GRAPHS}=0"
        if self._machine.is_blocking:
            return f"{BLOCKING}=1 waits for each kernel"
        if len(self._arguments.work) < 2:
            return "there are fewer than two launches"
        return self._machine.driver.without_graphs

    def run(self, addresses: tuple[int, ...]) -> None:
        """Do it all, with the bases at these addresses. The machine's lock is held, and the device entered."""
        self._runs += 1
        kept = self._graph(addresses) if self.reason is None and self._runs > 1 else None
        if kept is not None:
            self._machine.driver.launch_graph(kept.graph)
            return
        self._arguments.place(addresses)
        for number, launch in enumerate(self._arguments.work):
            self._machine.run(self._arguments.part(number), launch)

    def _graph(self, addresses: tuple[int, ...]) -> _Kept | None:
        """The graph for these addresses; None where launching is as good or all that can be done."""
        for kept in self._kept:
            if kept.addresses == addresses:
                self._kept.remove(kept)
                self._kept.append(kept)
                return kept
        if len(self._kept) < MOST_GRAPHS:
            return self._make(addresses)
        kept = self._kept[0]
        changed = {base for base, (old, new) in enumerate(zip(kept.addresses, addresses, strict=True)) if old != new}
        parts = [number for number, uses in enumerate(self._arguments.uses) if uses & changed]
        if 2 * len(parts) > len(self._arguments.uses):
            return None
        self._arguments.place(addresses)
        for number in parts:
            self._machine.driver.update_graph(kept.graph, number, self._arguments.part(number))
        kept.addresses = addresses
        self._kept.append(self._kept.pop(0))
        return kept

    def _make(self, addresses: tuple[int, ...]) -> _Kept | None:
        self._arguments.place(addresses)
        parts = [self._arguments.part(number) for number in range(len(self._arguments.work))]
        driver = self._machine.driver
        try:
            graph = driver.make_graph(parts)
        except DeviceError as error:
            self.reason = f"the driver made no graph: {error.message}"
            return None
        except OutOfDeviceMemory:
            self.reason = "the driver has no memory for a graph"
            return None
        kept = _Kept(driver, graph, addresses)
        self._kept.append(kept)
        return kept
