"""The CUDA backend: kernels compiled by numba-cuda for a GPU, or run by its simulator.

Importing it raises BackendError where its packages are not installed.
"""

from .requirements import require_packages

require_packages()

from .backend import compile, for_machine  # noqa: E402 - what they import may not be there
from .device import device, device_count  # noqa: E402

__all__ = ["compile", "device", "device_count", "for_machine"]
