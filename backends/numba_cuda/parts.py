"""What a program does on a device, part by part."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.runtime.program import RunLibrary

from .arguments import Launch, Move, Place


@dataclass(frozen=True)
class Array:
    """A buffer as an array."""

    place: Place
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class HostCall:
    """A function on arrays in the host's memory, which waits for its operands."""

    library: RunLibrary
    operands: tuple[Array, ...]
    results: tuple[Array, ...]


@dataclass(frozen=True)
class Choice:
    """A scalar that decides what comes next, and that has to be waited for."""

    selector: Place
    dtype: np.dtype[Any]


Part = Launch | Move | HostCall | Choice

#: Parts in order. Whoever asks for more after a :class:`Choice` sends its value.
Walk = Generator[Part, "int | None", None]
