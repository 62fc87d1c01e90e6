"""What an object file wants from outside, for the formats of all platforms: LLVM writes them, whatever this machine is."""

import llvmlite.binding as llvm
import pytest

from graphc.backends.numba_cpu.object_file import undefined_symbols

TEXT = """
declare double @pow(double, double)
declare float @a_function_with_a_long_name(float)
declare double @never_called(double)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal double @inner(double %x) noinline {
  %y = call double @pow(double %x, double 2.0)
  ret double %y
}

define double @kernel(double %x, float %z, ptr %p, ptr %q, i64 %n) {
  %y = call double @inner(double %x)
  %r = frem double %y, %x
  %w = call float @a_function_with_a_long_name(float %z)
  call void @llvm.memcpy.p0.p0.i64(ptr %p, ptr %q, i64 %n, i1 false)
  %v = fpext float %w to double
  %s = fadd double %r, %v
  ret double %s
}
"""
TRIPLES = (
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "arm64-apple-darwin",
    "x86_64-pc-windows-msvc",
)


def compiled(triple: str, text: str = TEXT) -> bytes:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this LLVM does not compile for {triple}")
    module = llvm.parse_assembly(text)
    module.triple = triple
    code: bytes = target.create_target_machine(jit=False, reloc="default").emit_object(module)
    return code


@pytest.mark.parametrize("triple", TRIPLES)
def test_undefined_symbols(triple: str) -> None:
    found = undefined_symbols(compiled(triple))
    assert found - {"_fltused"} == {"pow", "fmod", "memcpy", "a_function_with_a_long_name"}


@pytest.mark.parametrize("triple", TRIPLES)
def test_an_object_without_any(triple: str) -> None:
    assert undefined_symbols(compiled(triple, "define i64 @one() {\n  ret i64 1\n}\n")) == frozenset()


@pytest.mark.parametrize("triple", TRIPLES)
def test_a_part_of_an_object_is_no_object(triple: str) -> None:
    code = compiled(triple)
    for length in (0, 4, 40, 100, len(code) // 2):
        with pytest.raises(ValueError, match=r"cut off|not an object"):
            undefined_symbols(code[:length])
