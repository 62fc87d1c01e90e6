"""Graph → executable on the CPU: plan, emit, compile with Numba, put together a program."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final

from graphc.errors import ArgumentError
from graphc.ir.graph import Graph
from graphc.loops.source import KernelSource, Lowering
from graphc.runtime.executable import Executable
from graphc.runtime.program import NativeKernel

from .assembly import Assembly
from .gemm.convolution import lower_conv_general
from .gemm.lowering import lower_dot_general
from .kernels import ModuleNames, compile_kernel
from .library import BLAS, LIBRARY
from .structural import LOWERINGS as STRUCTURAL

SIGNATURE: Final = ("i64*", "i64*", "i64", "i64", "i64*")

NAMESPACE: Final = ModuleNames("kernel_names")
"""What the text of a kernel may name."""

LOWERINGS: Final[dict[str, Lowering]] = {
    **STRUCTURAL,
    "dot_general": lower_dot_general,
    "conv_general": lower_conv_general,
}
"""Primitive name → lowering, of every op that is not elementwise."""


def compile(graph: Graph, *, fast_math: bool = False, blas: bool | None = None) -> Executable:
    """An executable of ``graph``. Kernels with the same text are compiled once, and kept on disk.

    ``blas``: matrix products run through NumPy, and so on the BLAS that it was built with, instead of kernels of our own.
    None leaves it to the variable GRAPHC_MATMUL, ``own`` (the default) or ``blas``. Our kernels are as fast as OpenBLAS, and
    small products take half as long, as the tape does not stop for them; they take a second or two to compile, once, where
    there is a cache on disk.

    Raises BackendError for an op that this backend has no lowering for.
    """
    if blas is None:
        blas = _blas_is_chosen()
    library = {**LIBRARY, **BLAS} if blas else LIBRARY
    make = partial(native_kernel, fast_math=fast_math)
    return Executable(graph, Assembly(make, LOWERINGS, library).program(graph))


def _blas_is_chosen() -> bool:
    chosen = os.environ.get("GRAPHC_MATMUL", "own")
    if chosen not in ("blas", "own"):
        raise ArgumentError(f"GRAPHC_MATMUL is {chosen!r}", hint="set it to blas or own")
    return chosen == "blas"


def native_kernel(source: KernelSource, *, fast_math: bool = False, shown: str | None = None) -> NativeKernel:
    """Compile one kernel. ``shown`` is the text that dumps show, with comments that the compiled one lacks."""
    compiled = compile_kernel(
        source.source,
        source.name,
        SIGNATURE,
        filename=f"<graphc kernel {source.name}>",
        fast_math=fast_math,
        namespace=NAMESPACE,
    )
    texts: dict[str, Callable[[], str]] = {
        "source": lambda: shown or source.source,
        "llvm": compiled.llvm,
        "asm": compiled.asm,
    }
    return NativeKernel(
        source.name, compiled.call, compiled.address, source.sizes, source.extent, lambda stage: texts[stage]()
    )
