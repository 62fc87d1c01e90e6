"""The processor that kernels are compiled for is the one that Numba compiles for."""

import os
import subprocess
import sys

import llvmlite.binding as llvm
import pytest
from numba.core.registry import cpu_target

from graphc.backends.numba_cpu import host

VARIABLES = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX")


def test_name_and_features_are_numbas() -> None:
    codegen = cpu_target.target_context.codegen()
    assert host.cpu_name() == codegen._get_host_cpu_name()
    assert host.cpu_features() == codegen._tm_features


@pytest.mark.parametrize(
    "variables",
    [
        {"NUMBA_CPU_NAME": "generic"},
        {"NUMBA_CPU_NAME": "haswell"},
        {"NUMBA_CPU_NAME": "ivybridge"},
        {"NUMBA_CPU_NAME": "ivybridge", "NUMBA_ENABLE_AVX": "1"},
        {"NUMBA_CPU_FEATURES": "+sse2,-avx"},
        {"NUMBA_CPU_FEATURES": ""},
        {"NUMBA_ENABLE_AVX": "0"},
    ],
    ids=str,
)
def test_settings_of_numba_are_heeded(variables: dict[str, str]) -> None:
    code = (
        "from graphc.backends.numba_cpu import host\n"
        "from numba.core.registry import cpu_target\n"
        "codegen = cpu_target.target_context.codegen()\n"
        "assert host.cpu_name() == codegen._get_host_cpu_name()\n"
        "assert host.cpu_features() == codegen._tm_features\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **variables}, check=True, timeout=60)


@pytest.mark.skipif(any(name in os.environ for name in VARIABLES), reason="the environment chooses a processor")
def test_single_features() -> None:
    assert not host.has_feature("no-such-feature")
    assert host.has_feature("avx2") == llvm.get_host_cpu_features().get("avx2", False)
