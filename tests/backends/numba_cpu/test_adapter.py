"""The adapter: what it relies on in Numba, and what it promises to its callers."""

import dataclasses
import inspect
import linecache
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from numba.core import compiler, types
from numba.core.codegen import JITCodeLibrary

from graphc.backends.numba_cpu import adapter
from graphc.backends.numba_cpu.adapter import CompiledKernel, compile_kernel, noalias, numba_type
from graphc.backends.numba_cpu.pointers import POINTERS
from graphc.backends.numba_cpu.scalar_namespace import namespace
from graphc.errors import BackendError

DOUBLE = "def double(x, out, n):\n    for i in range(n):\n        out[i] = x[i] + x[i]\n"
SIGNATURE = ("f32*", "f32*", "i64")


def double_kernel(source: str = DOUBLE) -> CompiledKernel:
    return compile_kernel(source, "double", SIGNATURE, filename="<double>", namespace={"np": np})


# What is relied on inside Numba, one test each.


def test_compile_extra_takes_these_arguments() -> None:
    names = list(inspect.signature(compiler.compile_extra).parameters)
    assert names[:7] == ["typingctx", "targetctx", "func", "args", "return_type", "flags", "locals"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nrt", False),
        ("no_cpython_wrapper", True),
        ("no_cfunc_wrapper", True),
        ("noalias", True),
        ("error_model", "numpy"),
    ],
)
def test_flags_have_the_fields_that_kernels_set(field: str, value: object) -> None:
    flags = adapter.make_flags(adapter.DEFAULT_FASTMATH)
    assert getattr(flags, field) == value


def test_flags_carry_the_fastmath_set() -> None:
    assert adapter.make_flags(adapter.DEFAULT_FASTMATH).fastmath.flags == {"contract"}


def test_noalias_reaches_the_parameters() -> None:
    define = re.search(r"^define .*double.*$", double_kernel().llvm(), flags=re.MULTILINE)
    assert define is not None
    assert define.group().count("noalias") >= 2


def test_no_python_wrappers_are_made() -> None:
    assert "Py_" not in double_kernel().llvm()
    assert "cpython" not in double_kernel().llvm()


def test_get_pointer_to_function_gives_the_code() -> None:
    assert callable(JITCodeLibrary.get_pointer_to_function)
    assert double_kernel().address != 0


def test_get_asm_str_gives_assembly() -> None:
    assert double_kernel().symbol in double_kernel().asm()


def test_serialize_using_object_code_gives_an_object_file_that_llvmlite_alone_can_run() -> None:
    kernel = double_kernel()
    script = """
        import ctypes, sys
        import llvmlite.binding as llvm
        llvm.initialize_native_target(); llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(sys.stdin.buffer.read())); engine.finalize_object()
        x, out, slot = (ctypes.c_float * 3)(1, 2, 3), (ctypes.c_float * 3)(), ctypes.c_int64()
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, ctypes.c_int64)
        call = kind(engine.get_function_address(sys.argv[1]))
        print(call(ctypes.addressof(slot), ctypes.addressof(slot), ctypes.addressof(x), ctypes.addressof(out), 3))
        print(list(out), "numba" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), kernel.symbol]
    done = subprocess.run(command, input=kernel.object_code(), capture_output=True, check=True)
    assert done.stdout.decode().split("\n")[:2] == ["0", "[2.0, 4.0, 6.0] False"]


def test_a_numba_without_the_internals_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(JITCodeLibrary, "get_pointer_to_function")
    with pytest.raises(
        BackendError, match=r"lacks JITCodeLibrary\.get_pointer_to_function.*pip install 'numba>=0\.68'"
    ):
        adapter.check_numba()


# What is promised.


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
        from graphc.backends.numba_cpu.adapter import compile_kernel

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


def test_types_without_a_machine_type_are_stored_as_integers() -> None:
    assert numba_type("bool") == types.uint8
    assert numba_type("f16") == numba_type("bf16") == types.uint16
    assert numba_type("bf16*") == numba_type("u16*")


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


def test_target_features() -> None:
    assert not adapter.target_has_feature("no-such-feature")
    if "NUMBA_CPU_NAME" not in os.environ:
        assert adapter.target_has_feature("avx2") == llvm.get_host_cpu_features().get("avx2", False)


def test_inner_functions_are_compiled_without_aliasing() -> None:
    source = (
        "@decorated\n"
        "def double_loop(x, out, n):\n"
        "    for i in range(n):\n"
        "        out[i] = x[i] + x[i]\n\n\n"
        "def double_at(buffers, n):\n"
        "    double_loop(pointer_f32(buffers[0]), pointer_f32(buffers[1]), n)\n"
    )

    def promises(name: str, decorator: Callable[..., object]) -> bool:
        names = {"decorated": decorator, **POINTERS}
        text = f"{source}# {name}\n"
        kernel = compile_kernel(text, "double_at", ("i64*", "i64"), filename=f"<{name}>", namespace=names)
        return "!noalias" in kernel.llvm()

    assert promises("noalias", noalias)
    assert not promises("njit", numba.njit)
