"""How blocks of threads are shaped: for a device, and for the simulator, where each thread costs a tenth of a millisecond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Tile:
    """The tile of a matrix product that one block makes: ``rows`` × ``columns`` of the result, ``depth`` steps at a time; a
    thread has ``high`` × ``wide`` of it in registers."""

    rows: int
    columns: int
    depth: int
    high: int
    wide: int

    @property
    def threads(self) -> int:
        return (self.rows // self.high) * (self.columns // self.wide)


@dataclass(frozen=True)
class Geometry:
    """``threads`` of a block, a power of two; ``columns``: kept points side by side that a block reduces over at once where
    memory runs along them; ``run``: elements that a thread adds up in float32 before the sum goes on in float64; ``blocks``:
    so many at most are launched, and each goes on to the next points. ``shuffles``: blocks are reduced by warp shuffles, else
    through shared memory. Tiles are for elements of 4 bytes, of 8 bytes, and for results that are known to be narrow.
    ``fill``: so many blocks keep a device busy; a product of fewer tiles is divided along its depth, into pieces of at least
    ``piece`` steps. ``deterministic``: nothing may depend on which thread comes first.
    """

    name: str
    threads: int
    columns: int
    run: int
    blocks: int
    shuffles: bool
    tile: Tile
    wide_tile: Tile
    narrow: Tile
    fill: int
    piece: int
    deterministic: bool = False

    def tile_for(self, itemsize: int) -> Tile:
        return self.wide_tile if itemsize > 4 else self.tile


DEVICE: Final = Geometry(
    "device", threads=256, columns=32, run=64, blocks=2048, shuffles=True,
    tile=Tile(128, 64, 8, 8, 4), wide_tile=Tile(64, 64, 8, 4, 4), narrow=Tile(32, 32, 16, 2, 2),
    fill=264, piece=256,
)  # fmt: skip
SIMULATOR: Final = Geometry(
    "simulator", threads=4, columns=2, run=2, blocks=2, shuffles=False,
    tile=Tile(4, 4, 2, 2, 2), wide_tile=Tile(4, 2, 2, 2, 1), narrow=Tile(4, 4, 2, 2, 2),
    fill=8, piece=10,
)  # fmt: skip
