"""``graphc doctor``: what graphc runs on, and whether a kernel compiles and gives the right numbers."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Mapping
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from graphc.cli.cache import summary
from graphc.cli.cuda_report import cuda_report, device_rows
from graphc.cli.render import add_output_options, to_json_text, write_result
from graphc.compile import compile_graph
from graphc.errors import GraphcError
from graphc.ir.parser import parse
from graphc.runtime.cache_folder import SWITCH, cache_settings, can_write, check_folder
from graphc.runtime.disk_cache import DiskCache
from graphc.runtime.targets import TARGETS
from graphc.version import __version__

_DESCRIPTION: Final = """\
Report what graphc runs on: versions, processor, threads, NumPy's BLAS, cache and CUDA; and compile a small kernel and
compare it with the reference. Exits with 1 where that fails. Put the output into a bug report."""

_PACKAGES: Final = ("numpy", "numba", "llvmlite", "ml_dtypes", "rich", "tbb", "numba-cuda")
#: Features that decide how fast kernels are; all are in the JSON form.
_FEATURES: Final = ("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bf16", "avx512fp16", "amx-bf16")
_ARM_FEATURES: Final = ("neon", "fullfp16", "bf16", "sve", "sve2")

_KERNEL: Final = """\
graph @softmax(%x: f32[n, m]) -> (f32[n, m]) {
  %0: f32[n] = reduce_max(%x) {axes = (1)}
  %1: f32[n, m] = broadcast_in_dim(%0) {shape = (n, m), dims = (0)}
  %2: f32[n, m] = sub(%x, %1)
  %3: f32[n, m] = exp(%2)
  %4: f32[n] = reduce_sum(%3) {axes = (1)}
  %5: f32[n, m] = broadcast_in_dim(%4) {shape = (n, m), dims = (0)}
  %6: f32[n, m] = div(%3, %5)
  return %6
}"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``graphc doctor``."""
    parser.description = _DESCRIPTION
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_output_options(parser, formats=False, color=False)


def run(arguments: argparse.Namespace) -> int:
    """Run ``graphc doctor``."""
    report = collect()
    write_result(to_json_text(report) if arguments.json else as_text(report), arguments.output)
    return 0 if report["check"]["passed"] else 1


def collect() -> dict[str, Any]:
    """Everything that is reported, as JSON data."""
    return {
        "versions": {"graphc": __version__, "python": platform.python_version(), **_versions()},
        "platform": {"system": platform.platform(), "executable": sys.executable},
        "processor": _processor(),
        "threads": _threads(),
        "blas": _blas(),
        "cache": _cache(),
        "targets": list(TARGETS),
        "cuda": cuda_report(),
        "check": _check(),
    }


def as_text(report: Mapping[str, Any]) -> str:
    """The report for people."""
    versions, processor, cuda, check = (report[key] for key in ("versions", "processor", "cuda", "check"))
    rows = [(name, version or "not installed") for name, version in versions.items()]
    rows.append(("system", report["platform"]["system"]))
    rows.append(("processor", f"{processor['brand']} ({processor['llvm_name']})"))
    rows.append(("features", " ".join(f for f in (*_FEATURES, *_ARM_FEATURES) if f in processor["features"]) or "none"))
    threads = report["threads"]
    limits = "".join(f", {name}={value}" for name, value in threads["environment"].items())
    rows.append(("threads", f"{threads['usable']} usable of {threads['processors']}{limits}"))
    rows += [("blas", _blas_line(library)) for library in report["blas"]]
    rows.append(("cache", report["cache"]["summary"]))
    rows.append(("targets", ", ".join(report["targets"])))
    rows.append(("cuda", cuda["summary"] + (f"\n  fix: {cuda['hint']}" if cuda["hint"] else "")))
    rows += device_rows(cuda)
    rows.append(("check", check["summary"]))
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name.ljust(width)}  {text}\n" for name, text in rows)


def _blas_line(library: Mapping[str, Any]) -> str:
    threads = f", {library['threads']} threads" if library["threads"] else ""
    return f"{library['name']} {library['version']}{threads}"


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _processor() -> dict[str, Any]:
    from llvmlite import binding

    features = sorted(name for name, present in binding.get_host_cpu_features().items() if present)
    return {
        "brand": _brand(),
        "architecture": platform.machine(),
        "llvm_name": binding.get_host_cpu_name(),
        "features": features,
    }


def _brand() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


def _threads() -> dict[str, Any]:
    processors = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else processors
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "processors": processors,
        "usable": usable,
        "environment": {name: os.environ[name] for name in names if name in os.environ},
    }


def _blas() -> list[dict[str, Any]]:
    """The BLAS that NumPy multiplies with: as threadpoolctl finds it, else as NumPy was built."""
    if find_spec("threadpoolctl") is not None:
        np.ones((2, 2)) @ np.ones((2, 2))
        found = [
            {"name": each["internal_api"], "version": each["version"] or "?", "threads": each["num_threads"]}
            for each in import_module("threadpoolctl").threadpool_info()
            if each["user_api"] == "blas"
        ]
        if found:
            return found
    config: Any = np.show_config(mode="dicts")
    built = config.get("Build Dependencies", {}).get("blas", {})
    return [{"name": built.get("name", "unknown"), "version": built.get("version", "?"), "threads": None}]


def _cache() -> dict[str, Any]:
    """Where compiled kernels are kept, and how many there are."""
    try:
        settings = cache_settings()
    except GraphcError as error:
        return {"enabled": False, "folder": None, "kernels": 0, "bytes": 0, "limit": 0, "summary": f"not used: {error.message}"}
    count = size = 0
    reason = "there is no folder for it" if settings.folder is None else check_folder(settings.folder)
    if settings.folder is not None and reason is None:
        cache = DiskCache(settings.folder, settings.limit)
        count, size = cache.size()
        text = summary(cache) + ("" if can_write(settings.folder) else ", read-only")
    else:
        text = f"{settings.folder or 'none'}: not used: {reason}"
    return {
        "enabled": settings.enabled and reason is None,
        "folder": None if settings.folder is None else str(settings.folder),
        "kernels": count,
        "bytes": size,
        "limit": settings.limit,
        "summary": text if settings.enabled else f"off ({SWITCH}); {text}",
    }


def _check() -> dict[str, Any]:
    """A softmax on the CPU against the reference: a fused kernel with two reductions and an exponential.

    It is compiled here and now: a kernel from the disk would say nothing about the compiler.
    """
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "off"
    try:
        return _compare()
    finally:
        os.environ.pop(SWITCH)
        if before is not None:
            os.environ[SWITCH] = before


def _compare() -> dict[str, Any]:
    x = np.linspace(-8, 8, 15, dtype=np.float32).reshape(3, 5)
    try:
        graph = parse(_KERNEL)
        (got,) = compile_graph(graph, "cpu")(x)
        (want,) = compile_graph(graph, "reference")(x)
    except Exception as error:  # whatever is wrong with the installation is what is to be reported
        return {"passed": False, "error": None, "summary": f"failed: {type(error).__name__}: {error}"}
    error_found = float(np.max(np.abs(got - want) / want))
    passed = error_found < 1e-6
    summary = "a kernel was compiled and agrees with the reference"
    if not passed:
        summary = f"failed: the compiled kernel differs from the reference by {error_found:.3g}"
    return {"passed": passed, "error": error_found, "summary": summary}
