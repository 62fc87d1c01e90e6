"""The adapter: what it relies on in Numba, and what it promises to its callers."""

import ctypes
import functools
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import compiler, types
from numba.core.codegen import JITCodeLibrary

from graphc.backends.numba_cpu import adapter
from graphc.backends.numba_cpu.adapter import NumbaCode, compile_native, linked, noalias, numba_type
from graphc.backends.numba_cpu.pointers import POINTERS
from graphc.errors import BackendError

DOUBLE = "def double(x, out, n):\n    for i in range(n):\n        out[i] = x[i] + x[i]\n"
SIGNATURE = ("f32*", "f32*", "i64")


@functools.cache
def double_code() -> NumbaCode:
    return compile_native(DOUBLE, "double", SIGNATURE, "<double>", False, {"np": np})


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
    define = re.search(r"^define .*double.*$", double_code().llvm(), flags=re.MULTILINE)
    assert define is not None
    assert define.group().count("noalias") >= 2


def test_no_python_wrappers_are_made() -> None:
    assert "Py_" not in double_code().llvm()
    assert "cpython" not in double_code().llvm()


def test_get_pointer_to_function_gives_the_code() -> None:
    assert callable(JITCodeLibrary.get_pointer_to_function)
    assert double_code().address() != 0


def test_get_asm_str_gives_assembly() -> None:
    assert double_code().symbol in double_code().asm()


def test_has_dynamic_globals_tells_code_with_addresses_in_it() -> None:
    assert double_code().is_movable()
    address = np.zeros(2**20)  # so large that the code holds its address
    text = "def first(x):\n    x[0] = table[0]\n"
    code = compile_native(text, "first", ("f64*",), "<first>", False, {"table": address})
    assert not code.is_movable()


def test_addresses_in_functions_that_are_linked_in_are_told_too() -> None:
    table = np.zeros(2**20)
    scope: dict[str, Any] = {"table": table}
    exec("def inner(i):\n    return table[i]\n", scope)
    text = "def first(x):\n    x[0] = inner(0)\n"
    code = compile_native(text, "first", ("f64*",), "<first>", False, {"inner": linked(scope["inner"])})
    assert not code.is_movable()


def test_linked_functions_are_part_of_the_kernel_and_have_no_machine_code_of_their_own() -> None:
    @linked
    def add(x: Any, y: Any) -> Any:
        return x + y

    scope: dict[str, Any] = {"add": add}
    exec("def twice(x):\n    return add(x, x)\n", scope)
    twice = linked(scope["twice"])
    text = "def quadruple(x):\n    x[0] = add(twice(x[0]), twice(x[0]))\n"
    code = compile_native(text, "quadruple", ("f64*",), "<quadruple>", False, {"add": add, "twice": twice})
    slot, x = ctypes.c_int64(), (ctypes.c_double * 1)(2.5)
    call = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 3)(code.address())
    assert call(ctypes.addressof(slot), ctypes.addressof(slot), ctypes.addressof(x)) == 0
    assert x[0] == 10.0
    for dispatcher in (add, twice):
        (overload,) = dispatcher.overloads.values()
        assert isinstance(overload.library, adapter._LinkedLibrary)
        assert not overload.library._codegen._engine.is_symbol_defined(overload.fndesc.llvm_func_name)


def test_get_compiled_object_gives_an_object_file_that_llvmlite_alone_can_run() -> None:
    code = double_code()
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
    command = [sys.executable, "-c", textwrap.dedent(script), code.symbol]
    done = subprocess.run(command, input=code.object_code(), capture_output=True, check=True)
    assert done.stdout.decode().split("\n")[:2] == ["0", "[2.0, 4.0, 6.0] False"]


def test_a_numba_without_the_internals_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(JITCodeLibrary, "get_pointer_to_function")
    with pytest.raises(
        BackendError, match=r"lacks JITCodeLibrary\.get_pointer_to_function.*pip install 'numba>=0\.68'"
    ):
        adapter.check_numba()


# What is promised.


def test_types_without_a_machine_type_are_stored_as_integers() -> None:
    assert numba_type("bool") == types.uint8
    assert numba_type("f16") == numba_type("bf16") == types.uint16
    assert numba_type("bf16*") == numba_type("u16*")


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
        code = compile_native(text, "double_at", ("i64*", "i64"), f"<{name}>", False, names)
        return "!noalias" in code.llvm()

    assert promises("noalias", noalias)
    assert not promises("njit", numba.njit)
