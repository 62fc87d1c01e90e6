"""What every test can use: golden files, the hypothesis profiles, a cache of kernels, the skipping of tests for GPUs."""

import ctypes
import difflib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ci", max_examples=200, derandomize=True, deadline=None)
settings.register_profile("full", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("GRAPHC_HYPOTHESIS_PROFILE", "ci"))

Golden = Callable[[str | Path, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files with what the tests got")
    parser.addoption("--device", default="cpu", help="where the tests of the front ends make arrays: cpu or cuda")


def pytest_configure(config: pytest.Config) -> None:
    """Kernels are kept in a folder of this run, which its workers share: never in the user's."""
    if hasattr(config, "workerinput"):  # a worker, which has the variable from the process that started it
        return
    folder = tempfile.mkdtemp(prefix="graphc-tests-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["GRAPHC_CACHE_DIR"] = folder
    os.environ["GRAPHC_COMPILE_PROCESSES"] = "0"  # the tests of that ask for some
    for name in ("GRAPHC_CACHE", "GRAPHC_CACHE_SIZE"):
        os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_items = [item for item in items if item.get_closest_marker("gpu") is not None]
    if gpu_items and not _has_cuda_device():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _has_cuda_device() -> bool:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(path, text)` compares text with a file; the path is relative to the test's own folder.

    With `--update-golden` the file is written instead. Every text ends in exactly one newline in its file.
    """
    folder = request.path.parent
    update: bool = request.config.getoption("--update-golden")

    def check(path: str | Path, text: str) -> None:
        file = folder / path
        got = text.rstrip("\n") + "\n"
        if update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(got, encoding="utf-8")
            return
        if not file.exists():
            pytest.fail(f"there is no golden file {file}: run this test with --update-golden and read what it writes")
        want = file.read_text(encoding="utf-8")
        if got != want:
            diff = difflib.unified_diff(want.splitlines(), got.splitlines(), str(path), "this run", lineterm="")
            pytest.fail("\n".join([*diff, "", "if the new text is right: --update-golden"]), pytrace=False)

    return check
