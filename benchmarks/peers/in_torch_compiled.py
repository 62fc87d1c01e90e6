"""The workloads through ``torch.compile``."""

from __future__ import annotations

import torch

from .in_torch import Call, Torch, threads, version
from .workloads import Inputs

__all__ = ["CALLS", "threads", "version"]


class _Compiled(Torch):
    def small_call(self, i: Inputs) -> Call:
        x = torch.from_numpy(i["x"])
        compiled = self.wrap(lambda x: x * 2 + 1)
        return lambda: compiled(x).numpy


CALLS = _Compiled(torch.compile)
