"""The register tile of the processor that this process runs on."""

from __future__ import annotations

import platform
from typing import Final

from graphc.backends.numba_cpu.gemm.geometry import Geometry, geometry_for
from graphc.backends.numba_cpu.host import has_feature

HOST: Final[Geometry] = geometry_for(platform.machine(), has_feature)
