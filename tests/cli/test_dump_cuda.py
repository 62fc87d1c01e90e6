"""``graphc dump`` for CUDA: code for a GPU that is not here."""

import json
import os

import pytest

from tests.cli.conftest import Cli

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'graphc[cuda]'")
compiles = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="the simulator makes no code")


def dump(cli: Cli, *options: str) -> str:
    result = cli("dump", "loss.gir", "--target", "cuda:sm_90", *options)
    assert (result.code, result.err) == (0, ""), result.err
    return result.out


def test_the_source_of_the_kernels(cli: Cli) -> None:
    assert "for piece in range(cuda.blockIdx.x, extent, cuda.gridDim.x):" in dump(cli, "--stage", "source")


@compiles
def test_ptx_and_machine_code(cli: Cli) -> None:
    assert ".target sm_90" in dump(cli, "--stage", "ptx")
    assert "EXIT" in dump(cli, "--stage", "sass")


@compiles
def test_resources(cli: Cli) -> None:
    data = json.loads(dump(cli, "--stage", "resources", "--format", "json"))
    assert (data["stage"], data["target"]) == ("resources", "cuda:sm_90")
    for kernel in data["kernels"]:
        assert kernel["text"].startswith(f"kernel {kernel['name']} on sm_90\n")
        assert "spilled bytes        0" in kernel["text"]


def test_stages_that_it_has_not(cli: Cli) -> None:
    result = cli("dump", "loss.gir", "--target", "cuda:sm_90", "--stage", "asm")
    assert result.code != 0
    assert "the target cuda:sm_90 has no stage 'asm'" in result.err
    assert "its stages: traced, optimized, gradient, kernels, source, ptx, sass, resources" in result.err


def test_an_architecture_that_there_is_not(cli: Cli) -> None:
    result = cli("dump", "loss.gir", "--target", "cuda:sm_12", "--stage", "ptx")
    assert result.code != 0
    assert "there is no CUDA architecture 'sm_12' that graphc compiles for" in result.err
    assert "fix: use one of cuda:sm_75" in result.err
