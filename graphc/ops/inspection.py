"""Looking at values while they are computed.

Within :func:`inspecting`, every graph that this thread runs is run node by node, and the inspector is told of each node with
its operands and results. ``gc.check_numerics`` is one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphc.ir.primitive import Primitive
from graphc.locations import Location

#: Told of one op that ran: the primitive, its operands and results as NumPy arrays, and the user's line.
Inspector = Callable[[Primitive, Sequence[Any], Sequence[Any], Location], None]


class _State(threading.local):
    inspector: Inspector | None = None


state = _State()


@contextmanager
def inspecting(inspector: Inspector) -> Iterator[None]:
    """Within the block, ``inspector`` sees every op that runs in this thread; an inner block's takes its place."""
    before = state.inspector
    state.inspector = inspector
    try:
        yield
    finally:
        state.inspector = before
