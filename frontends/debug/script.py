"""A graph with its inputs as one Python file that runs by itself."""

from __future__ import annotations

import base64
import io
import platform
import textwrap
import zlib
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Final

import numpy as np

from graphc.ir.graph import Graph
from graphc.ir.printer import print_graph
from graphc.version import __version__

_SCRIPT: Final = '''\
"""{title}

Made by graphc {version} with {others}.
Compares every level of optimization with the reference: exits with 0 where all agree, 1 where results differ.
"""

import base64
import io
import sys
import zlib

import numpy as np

import graphc as gc
from graphc.frontends.debug.verification import verify_levels

GRAPH = r"""
{graph}
"""

# {described}
INPUTS = """
{inputs}
"""


def main() -> int:
    with np.load(io.BytesIO(zlib.decompress(base64.b85decode("".join(INPUTS.split()))))) as file:
        arrays = [file[f"arr_{{i}}"] for i in range(len(file.files))]
    arrays = [a.view(gc.bfloat16.numpy) if i in {bfloat16!r} else a for i, a in enumerate(arrays)]
    report = verify_levels(gc.parse(GRAPH), arrays)
    print(report)
    return 0 if report.agrees else 1


if __name__ == "__main__":
    sys.exit(main())
'''


def script_of(graph: Graph, arrays: Sequence[Any]) -> str:
    """The text of a Python file that holds ``graph`` and ``arrays``, runs it, and compares with the reference."""
    arrays = [np.asarray(array) for array in arrays]
    bfloat16 = [i for i, array in enumerate(arrays) if array.dtype.name == "bfloat16"]
    buffer = io.BytesIO()
    np.savez(buffer, *[array.view(np.uint16) if i in bfloat16 else array for i, array in enumerate(arrays)])
    encoded = base64.b85encode(zlib.compress(buffer.getvalue(), 9)).decode()
    others = [f"Python {platform.python_version()}"]
    others += [f"{name} {metadata.version(name)}" for name in ("numpy", "numba", "llvmlite")]
    types = ", ".join(map(str, graph.parameter_types)) or "none"
    return _SCRIPT.format(
        title=f"The graph {graph.name!r}, with the inputs of one call.",
        version=__version__,
        others=", ".join(others) + f" on {platform.machine()}",
        graph=print_graph(graph, locations=True),
        described=f"Inputs: {types}",
        inputs="\n".join(textwrap.wrap(encoded, 120)),
        bfloat16=bfloat16,
    )
