"""Kernels: what a caller is promised, and what comes from the disk instead of being compiled."""

import dataclasses
import linecache
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.backends.numba_cpu import adapter, fingerprint, kernels, loader
from graphc.backends.numba_cpu.kernels import CompiledKernel, ModuleNames, compile_kernel
from graphc.backends.numba_cpu.scalar_namespace import namespace
from graphc.errors import BackendError
from graphc.runtime import disk_cache as disk
from graphc.runtime.cache_folder import CacheWarning
from graphc.runtime.disk_cache import CacheStatistics, cache_statistics

DOUBLE = "def double(x, out, n):\n    for i in range(n):\n        out[i] = x[i] + x[i]\n"
SIGNATURE = ("f32*", "f32*", "i64")
NAMES = ModuleNames("kernel_names")


def double_kernel(source: str = DOUBLE) -> CompiledKernel:
    return compile_kernel(source, "double", SIGNATURE, filename="<double>", namespace={"np": np})


def test_a_kernel_computes_and_reports_success() -> None:
    kernel = double_kernel()
    x, out = np.arange(100, dtype=np.float32), np.zeros(100, np.float32)
    assert kernel(x.ctypes.data, out.ctypes.data, 100) == 0
    np.testing.assert_array_equal(out, x + x)
    out[:] = 0
    assert kernel.call(x.ctypes.data, out.ctypes.data, 50) == 0
    assert out[49] == 98 and out[50] == 0


def test_a_kernel_is_frozen_and_knows_its_text() -> None:
    kernel = double_kernel()
    assert (kernel.name, kernel.source, kernel.signature) == ("double", DOUBLE, SIGNATURE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        kernel.address = 0  # type: ignore[misc]


def test_the_same_kernel_is_compiled_once() -> None:
    assert double_kernel() is double_kernel()
    other = compile_kernel(DOUBLE, "double", ("f64*", "f64*", "i64"), filename="<double>", namespace={})
    relaxed = compile_kernel(DOUBLE, "double", SIGNATURE, filename="<double>", fast_math=True, namespace={})
    assert len({double_kernel().address, other.address, relaxed.address}) == 3


def test_threads_that_ask_for_one_kernel_get_one() -> None:
    source = DOUBLE + "# from many threads\n"
    with ThreadPoolExecutor(8) as pool:
        kernels = list(pool.map(lambda _: double_kernel(source), range(16)))
    assert len({id(kernel) for kernel in kernels}) == 1


def test_threads_may_compile_different_kernels_at_once() -> None:
    sources = [DOUBLE + f"# {k}\n" for k in range(6)]
    with ThreadPoolExecutor(6) as pool:
        kernels = list(pool.map(double_kernel, sources))
    assert [kernel.source for kernel in kernels] == sources


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_during_a_compilation_can_compile() -> None:
    script = """
        import os, threading
        from graphc.backends.numba_cpu.kernels import compile_kernel

        def kernel(k):
            source = f"def f(x):\\n    x[0] = {k}\\n"
            return compile_kernel(source, "f", ("i64*",), filename="<f>", namespace={})

        thread = threading.Thread(target=lambda: [kernel(k) for k in range(20)])
        thread.start()
        for round in range(3):
            child = os.fork()
            if child == 0:
                kernel(1000 + round)
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        thread.join()
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)]
    subprocess.run(command, check=True, timeout=60)


def test_a_running_kernel_releases_the_gil() -> None:
    spin = "def spin(flag, n):\n    for i in range(n):\n        flag[1] = flag[1] * 7 + i\n    flag[0] = 1\n"
    kernel = compile_kernel(spin, "spin", ("i64*", "i64"), filename="<spin>", namespace={})
    flag = np.zeros(2, np.int64)
    thread = threading.Thread(target=kernel.call, args=(flag.ctypes.data, 300_000_000))
    thread.start()
    # Were the GIL held, this thread would wake only after the kernel's end.
    time.sleep(0.02)
    assert flag[0] == 0
    thread.join()
    assert flag[0] == 1


def test_the_source_is_found_by_its_filename() -> None:
    double_kernel()
    assert linecache.getline("<double>", 2) == "    for i in range(n):\n"


def test_external_symbols_are_named() -> None:
    assert double_kernel().external_symbols() == frozenset()
    source = "def power(x):\n    x[0] = pow_f64(x[0], x[1])\n"
    kernel = compile_kernel(source, "power", ("f64*",), filename="<power>", namespace=namespace())
    assert kernel.external_symbols() == {"pow"}


def test_default_arithmetic_keeps_rounding_and_nan() -> None:
    source = "def k(x, out):\n    out[0] = (x[0] + 1e8) - 1e8\n    out[1] = 1.0 if x[1] != x[1] else 0.0\n"
    x, out = np.array([1e-9, np.nan]), np.zeros(2)
    for fast_math in (False, True):
        kernel = compile_kernel(
            source, "k", ("f64*", "f64*"), filename="<k>", fast_math=fast_math, namespace={"np": np}
        )
        kernel(x.ctypes.data, out.ctypes.data)
        assert out.tolist() == [1e-9 if fast_math else 0.0, 1.0]


def test_division_by_zero_follows_ieee() -> None:
    source = "def k(x):\n    x[0] = x[0] / x[1]\n"
    kernel = compile_kernel(source, "k", ("f64*",), filename="<k>", namespace={})
    x = np.array([1.0, 0.0])
    assert kernel(x.ctypes.data) == 0
    assert x[0] == np.inf


SCALARS = ("f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")


@pytest.mark.parametrize("entry", SCALARS)
def test_arguments_of_every_type_arrive(entry: str) -> None:
    source = "def k(out, value):\n    out[0] = value\n"
    kernel = compile_kernel(source, "k", (f"{entry}*", entry), filename="<k>", namespace={})
    dtype = np.dtype(entry[0] + str(int(entry[1:]) // 8))
    value = 2.5 if entry[0] == "f" else (-3 if entry[0] == "i" else np.iinfo(dtype).max)
    out = np.zeros(1, dtype)
    kernel(out.ctypes.data, int(value) if entry[0] != "f" else value)
    assert out[0] == value
def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(BackendError, match=r"unknown kernel argument type 'f8\*'; known are f32, f64"):
        compile_kernel(DOUBLE, "double", ("f8*",), filename="<double>", namespace={})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def k(x)\n", "the generated source of kernel 'k' is not valid Python"),
        ("x = 1\n", "the generated source in <bad> defines no function 'k'"),
        ("def k(x):\n    x[0] = absent(1)\n", r"numba cannot compile kernel 'k' for \(f64\*\)"),
    ],
)
def test_source_that_cannot_be_compiled(source: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        compile_kernel(source, "k", ("f64*",), filename="<bad>", namespace={})


# What comes from the disk.


class Sandbox:
    """A folder for the cache of this test, and counts of what is compiled."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.compiled: list[str] = []
        compile_native = adapter.compile_native

        def counted(source: str, name: str, *arguments: Any) -> Any:
            self.compiled.append(name)
            return compile_native(source, name, *arguments)

        monkeypatch.setattr(adapter, "compile_native", counted)
        monkeypatch.setenv("GRAPHC_CACHE_DIR", str(folder))
        self.forget()

    def forget(self) -> None:
        """As if this process had just started."""
        self.monkeypatch.setattr(kernels._process, "kernels", {})
        self.monkeypatch.setattr(disk._process, "counts", {})
        self.monkeypatch.setattr(disk._process, "caches", {})
        self.compiled.clear()

    def files(self) -> list[Path]:
        return sorted((self.folder / "kernels").glob("*.kernel"))


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    yield Sandbox(tmp_path / "cache", monkeypatch)


def kept(source: str = DOUBLE, *, fast_math: bool = False, signature: tuple[str, ...] = SIGNATURE) -> CompiledKernel:
    return compile_kernel(source, "double", signature, filename="<kept>", fast_math=fast_math, namespace=NAMES)


def doubles(kernel: CompiledKernel) -> bool:
    x, out = np.arange(100, dtype=np.float32), np.zeros(100, np.float32)
    return kernel(x.ctypes.data, out.ctypes.data, 100) == 0 and bool(np.array_equal(out, x + x))


def test_a_kernel_on_disk_is_not_compiled(sandbox: Sandbox) -> None:
    assert doubles(kept())
    assert sandbox.compiled == ["double"]
    assert cache_statistics() == CacheStatistics(misses=1, stores=1)
    assert doubles(kept())  # in this process's table
    assert cache_statistics() == CacheStatistics(misses=1, stores=1)
    sandbox.forget()
    assert doubles(kept())
    assert sandbox.compiled == []
    assert cache_statistics() == CacheStatistics(hits=1)


def test_the_stages_of_a_kernel_on_disk_are_compiled_when_they_are_looked_at(sandbox: Sandbox) -> None:
    kept()
    sandbox.forget()
    kernel = kept()
    assert "define" in kernel.llvm() and "double" in kernel.llvm()
    assert "double" in kernel.asm()
    assert sandbox.compiled == ["double"]


@pytest.mark.parametrize(
    "other",
    [
        {"source": DOUBLE + "# another text\n"},
        {"fast_math": True},
        {"signature": ("f64*", "f64*", "i64")},
    ],
    ids=["text", "flags", "signature"],
)
def test_another_kernel_is_a_miss(sandbox: Sandbox, other: dict[str, Any]) -> None:
    kept()
    sandbox.forget()
    kept(**other)
    assert cache_statistics() == CacheStatistics(misses=1, stores=1)
    assert len(sandbox.files()) == 2


@pytest.mark.parametrize(
    "what",
    ["graphc", "sources", "numba", "llvmlite", "numpy", "python", "triple", "processor", "features", "variables", "settings"],
)
def test_a_kernel_made_elsewhere_or_by_another_version_is_a_miss(sandbox: Sandbox, what: str) -> None:
    kept()
    sandbox.forget()
    environment = fingerprint.environment()
    assert environment is not None and what in environment
    other = fingerprint.digest(f"{name}={value}" for name, value in {**environment, what: "other"}.items())
    sandbox.monkeypatch.setattr(fingerprint, "environment_digest", lambda: other)
    assert doubles(kept())
    assert sandbox.compiled == ["double"]
    assert len(sandbox.files()) == 2


def test_what_a_mapping_means_is_not_kept(sandbox: Sandbox) -> None:
    double_kernel()
    assert sandbox.compiled == ["double"]
    assert (cache_statistics(), sandbox.files()) == (CacheStatistics(), [])


def test_nothing_is_kept_where_the_cache_is_off(sandbox: Sandbox) -> None:
    sandbox.monkeypatch.setenv("GRAPHC_CACHE", "off")
    assert doubles(kept())
    assert (cache_statistics(), sandbox.files()) == (CacheStatistics(), [])


def test_nothing_is_kept_where_no_key_would_be_right(sandbox: Sandbox) -> None:
    sandbox.monkeypatch.setattr(fingerprint, "environment_digest", lambda: None)
    assert doubles(kept())
    assert (cache_statistics(), sandbox.files()) == (CacheStatistics(), [])


def test_kernels_that_call_the_c_library_are_kept(sandbox: Sandbox) -> None:
    text = "def power(x, n):\n    for i in range(n):\n        x[i] = pow_f64(fmod_f64(x[i], 7.0), 3.0)\n"
    for _ in range(2):
        sandbox.forget()
        kernel = compile_kernel(text, "power", ("f64*", "i64"), filename="<power>", namespace=NAMES)
        x = np.array([2.0, 10.0, -9.5])
        assert kernel(x.ctypes.data, 3) == 0
        np.testing.assert_array_equal(x, [8.0, 27.0, -15.625])
    assert cache_statistics() == CacheStatistics(hits=1)


def test_kernels_that_call_anything_else_are_compiled_each_time(sandbox: Sandbox) -> None:
    sandbox.monkeypatch.setattr(loader, "KNOWN_SYMBOLS", frozenset({"memcpy"}))
    loader._known_address.cache_clear()
    text = "def power(x):\n    x[0] = pow_f64(x[0], 3.0)\n"
    for _ in range(2):
        sandbox.forget()
        kernel = compile_kernel(text, "power", ("f64*",), filename="<power>", namespace=NAMES)
        x = np.array([2.0])
        assert kernel(x.ctypes.data) == 0
        assert (x[0], sandbox.compiled, sandbox.files()) == (8.0, ["power"], [])
    loader._known_address.cache_clear()


def test_code_with_an_address_in_it_is_not_kept(sandbox: Sandbox) -> None:
    sandbox.monkeypatch.setattr(adapter.NumbaCode, "is_movable", lambda self: False)
    assert doubles(kept())
    assert sandbox.files() == []


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "of another version", "not an object", "without its symbol"])
def test_a_damaged_kernel_is_compiled_and_replaced(sandbox: Sandbox, damage: str) -> None:
    kept()
    (file,) = sandbox.files()
    whole, key = file.read_bytes(), file.stem
    entry = disk.unpack(key, whole)
    file.write_bytes(
        {
            "empty": b"",
            "cut": whole[: len(whole) // 2],
            "changed": whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:],
            "of another version": whole.replace(b"kernel 1", b"kernel 0", 1),
            "not an object": disk.pack(key, disk.Entry(entry.fields, b"MZ")),
            "without its symbol": disk.pack(key, disk.Entry({**entry.fields, "symbol": "absent"}, entry.payload)),
        }[damage]
    )
    sandbox.forget()
    assert doubles(kept())
    assert sandbox.compiled == ["double"]
    sandbox.forget()
    assert doubles(kept())
    assert sandbox.compiled == []


def test_a_folder_that_cannot_be_written_fails_no_program(sandbox: Sandbox) -> None:
    sandbox.folder.write_text("a file is in the way")
    with pytest.warns(CacheWarning) as warned:
        assert doubles(kept())
        assert doubles(kept(DOUBLE + "# another\n"))
    assert len(warned) == 1
    assert sandbox.compiled == ["double", "double"]


def test_threads_that_ask_for_one_kernel_on_disk_load_it_once(sandbox: Sandbox) -> None:
    kept()
    sandbox.forget()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kept(), range(16)))
    assert len({id(kernel) for kernel in found}) == 1
    assert cache_statistics() == CacheStatistics(hits=1)


# Other processes.

PROGRAM = """
    import sys
    import graphc as gc
    from graphc.runtime.disk_cache import cache_statistics

    @gc.jit
    def f(x, w):
        y = gc.softmax(gc.tanh(x) * 2 + w, axis=1)
        return y.sum(axis=0), gc.sort(y, axis=1), y ** 2.5, gc.mod(x, w)

    results = f(gc.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]]), gc.tensor([0.5, 1.0, 1.5]))
    print([r.tolist() for r in results])
    statistics = cache_statistics()
    print(statistics.hits, statistics.misses, statistics.stores, "numba" in sys.modules)
"""


def in_process(folder: Path, program: str = PROGRAM, **variables: str) -> tuple[str, list[str]]:
    """What the program computes, and what it says of the cache."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env={**os.environ, "GRAPHC_CACHE_DIR": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    computed, said = done.stdout.splitlines()
    return computed, said.split()


def test_a_second_process_compiles_nothing_and_does_without_numba(tmp_path: Path) -> None:
    first, (hits, misses, stores, has_numba) = in_process(tmp_path)
    assert (hits, has_numba) == ("0", "True")
    assert misses == stores != "0"
    second, said = in_process(tmp_path)
    assert second == first
    assert said == [misses, "0", "0", "False"]


def test_another_setting_of_numbas_is_a_miss(tmp_path: Path) -> None:
    program = PROGRAM.replace("y.sum(axis=0), gc.sort(y, axis=1), y ** 2.5, gc.mod(x, w)", "y")
    in_process(tmp_path, program)
    _, (hits, misses, *_) = in_process(tmp_path, program, NUMBA_OPT="2")
    assert hits == "0" != misses
    _, said = in_process(tmp_path, program, NUMBA_NUM_THREADS="1")
    assert said == [misses, "0", "0", "False"]


def test_processes_that_compile_at_once(tmp_path: Path) -> None:
    """Four processes, each with one kernel of its own and some that all of them need."""
    program = PROGRAM.replace("gc.mod(x, w)", "x * w * NUMBER").replace("y.sum(axis=0), gc.sort(y, axis=1), y ** 2.5, ", "y, ")
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(in_process, tmp_path, program.replace("NUMBER", f"{number}.5")) for number in range(4)]
        computed = [run.result()[0] for run in runs]
    for number in range(4):
        again, (_, misses, _, has_numba) = in_process(tmp_path, program.replace("NUMBER", f"{number}.5"))
        assert (again, misses, has_numba) == (computed[number], "0", "False")
    cache = disk.DiskCache(tmp_path / "kernels", 1 << 20)
    assert [file.damage for file in cache.entries() if file.damage] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_children_forked_from_a_process_that_has_loaded_kernels(tmp_path: Path) -> None:
    """A child runs what its parent loaded, and loads and compiles on its own."""
    program = """
    import os, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    for number in range(3):
        child = os.fork()
        if child == 0:
            again = f(gc.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]]), gc.tensor([0.5, 1.0, 1.5]))
            assert [r.tolist() for r in again] == [r.tolist() for r in results]
            assert gc.jit(lambda x: gc.exp(x) + 0.25 * NUMBER)(gc.tensor([0.0])).tolist() == [1.0 + 0.25 * NUMBER]
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    """
    for _ in range(2):
        in_process(tmp_path, PROGRAM + program.replace("NUMBER", "number"))
