"""Structural ops on a GPU: generators of kernel text, by the name of the primitive that they lower."""

from __future__ import annotations

from typing import Final

from graphc.backends.numba_cuda.source import DeviceLowering
from graphc.backends.numba_cuda.structural.contraction import CONTRACTION, lower_dot_general
from graphc.backends.numba_cuda.structural.convolution import CONVOLUTION, lower_conv_general
from graphc.backends.numba_cuda.structural.cumulative import CUMULATIVE
from graphc.backends.numba_cuda.structural.indexing import INDEXING
from graphc.backends.numba_cuda.structural.movement import MOVEMENT
from graphc.backends.numba_cuda.structural.random_bits import RANDOM_BITS
from graphc.backends.numba_cuda.structural.scatter import SCATTER
from graphc.backends.numba_cuda.structural.sorting import SORTING
from graphc.backends.numba_cuda.structural.window import WINDOW

LOWERINGS: Final[dict[str, DeviceLowering]] = {
    **CONTRACTION,
    **CONVOLUTION,
    **MOVEMENT,
    **INDEXING,
    **SCATTER,
    **SORTING,
    **CUMULATIVE,
    **WINDOW,
    **RANDOM_BITS,
}

#: The lowerings of products, which may have an epilogue as their last argument.
PRODUCTS: Final = {"dot_general": lower_dot_general, "conv_general": lower_conv_general}
