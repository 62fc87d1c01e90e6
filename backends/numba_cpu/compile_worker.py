"""The process that compiles kernels for another one: requests come in as lines of JSON, what it makes goes to the disk."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Final, TextIO

from graphc.errors import GraphcError

from .kernels import ModuleNames, compile_kernel

MOST_IDLE: Final = 60.0  # seconds after which nobody seems to need it


def main(requests: TextIO = sys.stdin, answers: TextIO = sys.stdout) -> None:
    """Answer each request with a line, 1 or 0, until there are no more."""
    while line := _next_line(requests):
        source, name, signature, filename, fast_math, module = json.loads(line)
        try:
            compile_kernel(source, name, signature, filename=filename, fast_math=fast_math, namespace=ModuleNames(module))
            done = 1
        except GraphcError:  # who asked will meet it too, and say it
            done = 0
        answers.write(f"{done}\n")
        answers.flush()


def _next_line(requests: TextIO) -> str:
    timer = threading.Timer(MOST_IDLE, os._exit, [0])
    timer.daemon = True
    timer.start()
    try:
        return requests.readline()
    finally:
        timer.cancel()
