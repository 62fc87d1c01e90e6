"""A kernel from its text to PTX, a cubin and what that uses; each is made when it is first asked for."""

from __future__ import annotations

import linecache
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from graphc.ir.dims import Dim

from .adapter import Usage, compile_to_ptx, disassemble, element_type, kernel_type, link
from .code_cache import code_key, load_code, store_code
from .device_functions import kernel_names
from .occupancy import Architecture, occupancy
from .source import DeviceSource


@dataclass(frozen=True, eq=False)
class DeviceKernel:
    """One kernel for one architecture, or for the simulator where that is None. ``moved``: how many bytes it reads and
    writes at least; ``shown``: its text with the user's lines."""

    source: DeviceSource
    architecture: Architecture | None
    moved: Dim = 0
    shown: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def sizes(self) -> tuple[Dim, ...]:
        return self.source.sizes

    @property
    def extent(self) -> Dim:
        return self.source.extent

    @property
    def function(self) -> Callable[..., Any]:
        """The Python function that the text defines."""
        return _function(self.source.name, self.source.source)

    @cached_property
    def code(self) -> Code:
        """What was made of the text, once for each text and architecture."""
        assert self.architecture is not None, "the simulator makes no code"
        return _code(self.source, self.architecture)

    def text(self, stage: str) -> str:
        """Its "source", "ptx", "sass" or "resources"."""
        if stage == "source":
            return self.shown or self.source.source
        if stage == "ptx":
            return self.code.ptx
        if stage == "sass":
            return disassemble(self.code.cubin)
        return self.resources()

    def resources(self) -> str:
        """What the kernel uses, as text."""
        assert self.architecture is not None, "the simulator makes no code"
        usage, threads = self.code.usage, self.source.threads
        share, limit = occupancy(self.architecture, threads, usage.registers, usage.shared)
        return "\n".join(
            [
                f"kernel {self.name} on {self.architecture.name}",
                f"  threads a block      {threads}",
                f"  registers a thread   {usage.registers}",
                f"  spilled bytes        {usage.spills}",
                f"  stack bytes          {usage.stack}",
                f"  shared bytes a block {usage.shared}",
                f"  occupancy            {share:.0%}, limited by {limit}",
                f"  bytes moved          {self.moved}",
            ]
        )


@dataclass(frozen=True)
class Code:
    """PTX, a cubin and what it uses."""

    ptx: str = field(repr=False)
    cubin: bytes = field(repr=False)
    usage: Usage


_functions: dict[tuple[str, str], Callable[..., Any]] = {}
_codes: dict[tuple[str, int, str], Code] = {}
_making = threading.Lock()


def _function(name: str, source: str) -> Callable[..., Any]:
    key = (name, source)
    with _making:
        found = _functions.get(key)
        if found is None:
            filename = f"<graphc cuda kernel {name}>"
            linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
            scope = dict(kernel_names())
            exec(compile(source, filename, "exec"), scope)
            found = _functions[key] = scope[name]
    return found


def signature(source: DeviceSource) -> list[Any]:
    """The types of the kernel's parameters."""
    types = [kernel_type(p.short, is_array=p.is_array) for p in source.parameters]
    types += [element_type("i64")] * (len(source.sizes) + 1)
    if source.checks:
        types += [kernel_type("i64", is_array=True), element_type("i64")]
    return types


def _code(source: DeviceSource, architecture: Architecture) -> Code:
    key = (source.source, source.threads, architecture.name)
    found = _codes.get(key)
    if found is None:
        found = _codes.setdefault(key, _from_disk(source, architecture))
    return found


def _from_disk(source: DeviceSource, architecture: Architecture) -> Code:
    """The code of the kernel from the disk, else compiled and then kept there."""
    key = code_key(source, architecture.name)
    kept = load_code(key) if key is not None else None
    if kept is not None:
        return Code(*kept)
    function = _function(source.name, source.source)
    ptx = compile_to_ptx(function, source.name, signature(source), architecture.capability, source.threads, source.resident)
    cubin, usage = link(ptx, architecture.name)
    if key is not None:
        store_code(key, source, architecture.name, ptx, cubin, usage)
    return Code(ptx, cubin, usage)
