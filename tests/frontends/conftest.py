"""With ``--device cuda`` the tests of the front ends run on a GPU, or in numba-cuda's simulator: arrays are made there.

What they compute is compared with NumPy, so that here, and only here, ``numpy()`` and ``np.asarray()`` of a tensor on a device
give its elements: a copy, or in the simulator, whose memory is this process's, the memory itself. And each op is waited for,
so that indices out of range are found where the tests expect it. Tests of what only the CPU has are marked ``cpu``.
"""

import ctypes
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.frontends.eager.tensor import Tensor


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--device") == "cpu":
        return
    os.environ["GRAPHC_CUDA_BLOCKING"] = "1"
    for item in items:
        if item.get_closest_marker("cpu") is not None:
            item.add_marker(pytest.mark.skip(reason="is about the CPU"))


@pytest.fixture(autouse=True)
def on_the_chosen_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Arrays are made where ``--device`` says, and NumPy can look at them."""
    name: str = request.config.getoption("--device")
    if name == "cpu":
        yield
        return
    of_device = type(gc.zeros(1, device=name))

    def numpy(self: Tensor) -> Any:
        self._check_export("numpy()")
        array: Any = self._array
        if "simulator" not in gc.cuda.get_device_name():
            return array.numpy()
        memory: Any = (ctypes.c_uint8 * array.memory.nbytes).from_address(array.device.address(array.memory))
        memory.owner = array
        offset, strides = array.layout.offset * array.dtype.itemsize, [s * array.dtype.itemsize for s in array.layout.strides]
        return np.ndarray(array.shape, array.dtype, memory, offset if array.size else 0, strides)

    def as_array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    monkeypatch.setattr(of_device, "numpy", numpy)
    monkeypatch.setattr(of_device, "__array__", as_array)
    with gc.device(name):
        yield
