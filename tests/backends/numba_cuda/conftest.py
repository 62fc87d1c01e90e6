"""Which tests of the CUDA backend can run: with or without its packages, and in which of numba-cuda's two modes."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

IS_INSTALLED = find_spec("numba_cuda") is not None
SIMULATES = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "1"
NEEDS_NOTHING = frozenset({"test_requirements.py"})


class SkippedModule(pytest.Module):
    """A module that is not imported, because the backend refuses to be."""

    def collect(self) -> Iterator[pytest.Item]:
        pytest.skip("numba-cuda is not installed: pip install 'graphc[cuda]'", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    if IS_INSTALLED or module_path.parent != Path(__file__).parent or module_path.name in NEEDS_NOTHING:
        return None
    module: pytest.Module = SkippedModule.from_parent(parent, path=module_path)
    return module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("simulator") and not SIMULATES:
            item.add_marker(pytest.mark.skip(reason="needs NUMBA_ENABLE_CUDASIM=1: make test-cuda-sim"))
        if item.get_closest_marker("ptx") and SIMULATES:
            item.add_marker(pytest.mark.skip(reason="compiles, which numba-cuda does not do in its simulator"))
