"""A device over a fake driver, which runs kernels in the simulator when somebody waits."""

import sys
from typing import Any

import pytest

from graphc.backends.numba_cuda import executable as executables
from graphc.backends.numba_cuda.geometry import SIMULATOR
from graphc.backends.numba_cuda.machine import Machine
from graphc.backends.numba_cuda.simulator import SimulatedDriver

from .fake_driver import FakeApi, FakeDriver, Launched, call_of

devices: Any = sys.modules["graphc.backends.numba_cuda.device"]  # the package has a function of that name


class LateDriver(FakeDriver):
    """Runs kernels in the simulator, later."""

    def __init__(self, api: FakeApi) -> None:
        self.simulator = SimulatedDriver()
        api.run = self.simulate
        super().__init__(api)
        self.architecture = None

    def simulate(self, launched: Launched) -> None:
        self.simulator.launch(call_of(launched))


def use(monkeypatch: pytest.MonkeyPatch, api: FakeApi) -> FakeApi:
    machine = Machine(LateDriver(api), SIMULATOR)
    monkeypatch.setattr(executables, "present_machine", lambda: machine)
    monkeypatch.setattr(devices, "present_machine", lambda: machine)
    monkeypatch.setattr(devices, "_devices", {})
    monkeypatch.setattr("graphc.runtime.devices._found", {})
    return api
