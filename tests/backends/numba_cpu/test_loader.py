"""Loading object code: addresses, what may be called, and objects that cannot be loaded."""

import ctypes

import llvmlite.binding as llvm
import pytest

from graphc.backends.numba_cpu import loader
from graphc.backends.numba_cpu.loader import KNOWN_SYMBOLS, LoadError, load_object
from graphc.backends.numba_cpu.object_file import undefined_symbols

NOTHING: frozenset[str] = frozenset()


def compiled(text: str) -> bytes:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)
    code: bytes = machine.emit_object(llvm.parse_assembly(text))
    return code


def constant(number: int, symbol: str = "f") -> bytes:
    return compiled(
        f"define linkonce_odr i64 @inner() noinline {{\n  ret i64 {number}\n}}\n"
        f"define i64 @{symbol}() {{\n  %x = call i64 @inner()\n  ret i64 %x\n}}\n"
    )


def test_objects_with_the_same_symbols_are_told_apart() -> None:
    addresses = [load_object(constant(number), "f", NOTHING) for number in range(5)]
    assert [ctypes.CFUNCTYPE(ctypes.c_int64)(address)() for address in addresses] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("symbol", sorted(KNOWN_SYMBOLS - {"roundeven", "roundevenf"}))
def test_this_process_has_what_kernels_may_call(symbol: str) -> None:
    assert loader._known_address(symbol)


def test_the_c_library_is_called() -> None:
    code = compiled(
        "declare double @pow(double, double)\n"
        "define double @f(double %x) {\n  %y = call double @pow(double %x, double 3.0)\n  ret double %y\n}\n"
    )
    call = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(load_object(code, "f", undefined_symbols(code)))
    assert call(2.0) == 8.0


def test_other_functions_may_not_be_called() -> None:
    code = compiled("declare i64 @getpid()\ndefine i64 @f() {\n  %x = call i64 @getpid()\n  ret i64 %x\n}\n")
    with pytest.raises(LoadError, match="getpid is not among the functions that a kernel may call"):
        load_object(code, "f", undefined_symbols(code))


@pytest.mark.parametrize(
    ("code", "symbol"),
    [(constant(1)[:200], "f"), (b"no object", "f"), (b"", "f"), (constant(1), "g")],
    ids=["cut", "other", "empty", "absent"],
)
def test_what_cannot_be_loaded(code: bytes, symbol: str) -> None:
    with pytest.raises(LoadError, match=f"{symbol} cannot be loaded"):
        load_object(code, symbol, NOTHING)
    assert load_object(constant(7), "f", NOTHING)
