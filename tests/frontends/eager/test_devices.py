"""Devices by name, and what of them a machine without GPU shows: names, moves to where a tensor is, errors."""

import os
import subprocess
import sys

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DeviceError
from graphc.frontends.placement import device


def test_a_device_is_its_name() -> None:
    cpu = gc.device("cpu")
    assert (cpu, cpu.type, cpu.index, str(cpu)) == ("cpu", "cpu", None, "cpu")
    gpu = gc.device("cuda")
    assert (gpu, gpu.type, gpu.index) == ("cuda:0", "cuda", 0)
    assert gc.device(gpu) == gpu
    with pytest.raises(DeviceError, match="there is no device 'tpu'"):
        gc.device("tpu")


@pytest.mark.cpu
def test_tensors_are_on_the_cpu_where_nothing_else_is_said() -> None:
    for x in (gc.tensor([1.0]), gc.zeros(2), gc.arange(3), gc.random.normal((2,)), gc.from_numpy(np.ones(2)), gc.tensor(1) + 1):
        assert x.device == "cpu"
        assert isinstance(x.device, device)
        assert not x.is_cuda
    assert gc.get_default_device() == "cpu"


@pytest.mark.cpu
def test_moves_to_where_it_is_are_none() -> None:
    x = gc.tensor([1.0])
    assert x.to("cpu") is x.cpu() is x.to(x.device) is x
    with gc.device("cpu"):
        assert gc.ones(1).device == "cpu"
    assert gc.zeros_like(x, device="cpu").device == "cpu"
    with pytest.raises(DeviceError, match="there is no device 'gpu'"):
        x.to("gpu")


@pytest.mark.cpu
def test_the_line_that_made_a_tensor() -> None:
    made = gc.tensor([1.0])
    assert made.origin is not None
    assert made.origin.source_line.strip() == "made = gc.tensor([1.0])"
    assert (made + 1).origin is None
    w = gc.ones(1).requires_grad_()
    product = w * made
    assert product.origin is not None
    assert product.origin.source_line.strip() == "product = w * made"


def test_lines_of_all_results_are_kept_where_that_is_asked_for() -> None:
    code = "import graphc as gc\nx = gc.ones(2)\ny = x + 1\nassert y.origin.line == 3, y.origin"
    environment = {**os.environ, "GRAPHC_TENSOR_ORIGINS": "1"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.parametrize("function", [gc.zeros, gc.ones, gc.empty])
def test_a_device_is_checked_before_anything_is_made(function: object) -> None:
    assert callable(function)
    with pytest.raises(DeviceError, match="there is no device 'tpu'"):
        function(2, device="tpu")


def test_devices_load_nothing_before_they_are_used() -> None:
    code = "import sys, graphc as gc; gc.cuda; gc.device('cuda'); x = gc.ones(2) + 1; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.cpu
def test_cpu_memory_is_exchanged_by_dlpack() -> None:
    x = gc.tensor([[0, 1, 2], [3, 4, 5]])
    there = np.from_dlpack(x)
    there[0, 0] = 7
    assert x[0, 0].item() == 7
    back = gc.from_dlpack(there[:, ::2])
    back[1, 1] = 9
    assert there[1, 2] == 9
    assert gc.from_dlpack(x, copy=True).numpy()[0, 0] == 7
    torch = pytest.importorskip("torch")
    shared = torch.from_dlpack(x)
    shared[0, 1] = 5
    assert x[0, 1].item() == 5
    assert gc.from_dlpack(torch.ones(2)).dtype is gc.float32


def test_what_is_no_array_of_another_library() -> None:
    with pytest.raises(gc.errors.ArgumentError, match="from_dlpack takes an object with __dlpack__, not list"):
        gc.from_dlpack([1, 2])
