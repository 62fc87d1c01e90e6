"""What the CUDA backend needs, and what is said where it is missing. Runs without any of it."""

import importlib.util
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from graphc.errors import BackendError
from graphc.runtime.targets import load_backend, split_target

FILE = Path(__file__).resolve().parents[3] / "backends" / "numba_cuda" / "requirements.py"


@pytest.fixture
def requirements() -> ModuleType:
    """The module by itself: its package refuses to be imported where something is missing."""
    spec = importlib.util.spec_from_file_location("requirements_alone", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("there", "what"),
    [
        ({"cuda.core", "cuda.bindings"}, "numba-cuda, which makes PTX of kernels"),
        ({"numba_cuda", "cuda.bindings"}, "cuda-core, which links PTX to machine code"),
        ({"numba_cuda", "cuda.core"}, "cuda-bindings, which talks to the driver"),
    ],
)
def test_what_is_missing_is_named_with_the_command(
    requirements: ModuleType, monkeypatch: pytest.MonkeyPatch, there: set[str], what: str
) -> None:
    monkeypatch.setattr(requirements, "is_there", there.__contains__)
    with pytest.raises(BackendError, match="the target cuda needs") as caught:
        requirements.require_packages()
    assert caught.value.message == f"the target cuda needs {what}, and it is not installed"
    assert caught.value.hint == "pip install 'graphc[cuda]'"


def test_nothing_is_missing_where_all_are_there(requirements: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "is_there", lambda module: True)
    assert requirements.missing() is None
    requirements.require_packages()


def test_a_module_of_a_package_that_is_not_there_is_not_there(requirements: ModuleType) -> None:
    assert requirements.is_there("json.decoder")
    assert not requirements.is_there("no_such_package_of_ours.core")


@pytest.mark.skipif(find_spec("numba_cuda") is not None, reason="numba-cuda is installed")
def test_the_target_says_so_when_it_is_asked_for() -> None:
    with pytest.raises(BackendError, match="numba-cuda"):
        load_backend("cuda")
    assert "graphc.backends.numba_cuda" not in sys.modules


def test_targets_have_a_name_and_a_machine() -> None:
    assert split_target("cpu") == ("cpu", "")
    assert split_target("cuda:sm_90") == ("cuda", "sm_90")
    with pytest.raises(BackendError, match="there is no target 'tpu:v4'"):
        split_target("tpu:v4")


def test_only_cuda_compiles_for_another_machine() -> None:
    with pytest.raises(BackendError, match="the target reference compiles for the present machine only, not for 'sm_90'"):
        load_backend("reference:sm_90")
