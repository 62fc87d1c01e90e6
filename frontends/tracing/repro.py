"""``gc.make_repro``: a call of a traced function as a file that runs by itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphc.errors import FileError
from graphc.frontends.debug.script import script_of
from graphc.frontends.tracing.jit import BoundJit, JitFunction, jit


def make_repro(function: Callable[..., Any], *args: Any, path: str | os.PathLike[str] = "repro.py", **kwargs: Any) -> Path:
    """Write the call ``function(*args, **kwargs)`` to ``path`` as a Python file for a bug report, and give its path.

    The file holds the traced graph, the contents of all arrays that it reads (captured tensors included) and the versions of
    what ran it, and needs nothing but graphc. It compares every level of optimization with the reference, says which pass
    or kernel gives other results, and exits with 1 if one does. ``function`` is traced, not run; it may be made by
    ``gc.jit`` or be an ordinary function. Raises FileError where the file cannot be written.

    >>> gc.make_repro(f, x)
    PosixPath('repro.py')
    """
    traced = function if isinstance(function, (JitFunction, BoundJit)) else jit(function)
    graph, arrays = traced.traced_call(*args, **kwargs)
    target = Path(path)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(script_of(graph, arrays), encoding="utf-8")
        unfinished.replace(target)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise FileError(f"cannot write {target}: {error.strerror or error}") from None
    return target
