"""The register tile compiled for processors other than this one: the inner loop is FMAs on whole registers, no spills."""

import re

import llvmlite.binding as llvm
import llvmlite.ir as ir
import pytest

from graphc.backends.numba_cpu.gemm.geometry import AVX2, AVX512, GENERIC, NEON, Geometry, geometry_for
from graphc.backends.numba_cpu.gemm.microkernel import emit_transpose, multiply_function, places_function

I64 = ir.IntType(64)
TARGETS = {
    "avx512": ("x86_64-unknown-linux-gnu", "+avx512f,+avx512vl,+avx512dq,+avx512bw,+fma,+avx2"),
    "avx2": ("x86_64-unknown-linux-gnu", "+avx2,+fma"),
    "neon": ("aarch64-unknown-linux-gnu", "+neon"),
    "generic": ("x86_64-unknown-linux-gnu", ""),
}
GEOMETRIES = {g.name: g for g in (AVX512, AVX2, NEON, GENERIC)}
# A multiply-add of whole registers, and a whole register going to or from the stack.
FMA = {
    "avx512": r"vfmadd\w+p[sd]\s.*%zmm\d+$",
    "avx2": r"vfmadd\w+p[sd]\s.*%ymm\d+$",
    "neon": r"fmla\s+v\d+\.(4s|2d), v\d+\.(4s|2d), v\d+\.",
}
SPILL = {
    "avx512": r"[xyz]mm\d+.*%rsp|%rsp.*[xyz]mm\d+",
    "avx2": r"[xyz]mm\d+.*%rsp|%rsp.*[xyz]mm\d+",
    "neon": r"(ldr|str|ldp|stp)\s+q\d+.*\[(sp|x29)",
}


def assembly(module: ir.Module, target: str) -> str:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple, features = TARGETS[target]
    module.triple = triple
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=3, features=features)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)
    return machine.emit_assembly(parsed)


def multiply_assembly(target: str, short: str, adjacent: bool) -> str:
    module = ir.Module()
    multiply_function(module, GEOMETRIES[target], short, adjacent).linkage = "external"
    return assembly(module, target)


def inner_loops(text: str) -> list[list[str]]:
    """The lines between each label and a conditional jump back to it."""
    lines = [line.strip() for line in text.splitlines()]
    labels = {found[1]: n for n, line in enumerate(lines) if (found := re.match(r"(\.LBB\w+):", line))}
    loops = []
    for n, line in enumerate(lines):
        jump = re.match(r"(?:j\w+|b\.\w+|cb\w+\s+\w+,|tb\w+ .*,)\s+(\.LBB\w+)", line)
        if jump and labels.get(jump[1], n) < n and not any(labels[jump[1]] < other < n for other in labels.values()):
            loops.append(lines[labels[jump[1]] : n + 1])
    return loops


@pytest.mark.parametrize("adjacent", [True, False])
@pytest.mark.parametrize("short", ["f32", "f64"])
@pytest.mark.parametrize("target", ["avx512", "avx2", "neon"])
def test_every_tile_is_a_loop_of_fmas_without_spills(target, short, adjacent):
    geometry = GEOMETRIES[target]
    loops = inner_loops(multiply_assembly(target, short, adjacent))
    heights = geometry.heights if adjacent else geometry.short_heights
    counts = []
    for loop in loops:
        counts.append(sum(bool(re.search(FMA[target], line)) for line in loop))
        spills = [line for line in loop if re.search(SPILL[target], line)]
        assert not spills, spills
    expected = [height * width for height in heights for width in range(1, geometry.vectors + 1)]
    assert sorted(counts) == sorted(expected)


@pytest.mark.parametrize("short", ["f32", "f64"])
@pytest.mark.parametrize("target", ["avx512", "avx2", "neon"])
@pytest.mark.parametrize("apart", [1, 2])
def test_tiles_of_every_height_read_through_a_table_without_spills(target, short, apart):
    geometry = GEOMETRIES[target]
    module = ir.Module()
    places_function(module, geometry, short, apart).linkage = "external"
    loops = inner_loops(assembly(module, target))
    for loop in loops:
        spills = [line for line in loop if re.search(SPILL[target], line)]
        assert not spills, spills
    counts = [sum(bool(re.search(FMA[target], line)) for line in loop) for loop in loops]
    expected = [height * width for height in range(1, geometry.rows + 1) for width in range(1, geometry.vectors + 1)]
    assert sorted(counts) == sorted(expected)


@pytest.mark.parametrize("target", ["avx512", "avx2", "neon", "generic"])
def test_no_tile_calls_a_function(target):
    """`llvm.fma` without the instruction would become a call of `fma` for every element."""
    text = multiply_assembly(target, "f32", True)
    assert not re.search(r"^\s*(call|callq|bl)\s", text, re.MULTILINE)


@pytest.mark.parametrize("short", ["f32", "f64"])
@pytest.mark.parametrize("target", list(TARGETS))
def test_a_transposition_stays_in_registers(target, short):
    geometry = GEOMETRIES[target]
    element = ir.FloatType() if short == "f32" else ir.DoubleType()
    module = ir.Module()
    pointer = element.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, I64, I64, pointer, I64])
    function = ir.Function(module, kind, "transpose")
    builder = ir.IRBuilder(function.append_basic_block())
    emit_transpose(builder, geometry, short, function.args)
    builder.ret_void()
    text = assembly(module, target)
    scalar = re.findall(r"\b(?:v?movss|v?movsd|vinsertps)\b.*\(", text)
    assert not scalar
    assert not re.search(r"^\s*(call|callq|bl)\s", text, re.MULTILINE)


@pytest.mark.parametrize(
    "machine, features, expected",
    [
        ("x86_64", {"avx512f", "avx2", "fma"}, AVX512),
        ("AMD64", {"avx2", "fma"}, AVX2),
        ("x86_64", {"avx2"}, GENERIC),
        ("x86_64", set(), GENERIC),
        ("aarch64", set(), NEON),
        ("arm64", set(), NEON),
        ("riscv64", set(), GENERIC),
    ],
)
def test_geometry_for(machine, features, expected):
    assert geometry_for(machine, features.__contains__) is expected


def test_a_tile_that_needs_more_registers_than_there_are_is_refused():
    with pytest.raises(AssertionError, match="spills"):
        Geometry("wide", vector_bytes=32, registers=16, rows=7, vectors=2)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_heights_add_up_to_any_number_of_rows(geometry):
    for heights in (geometry.heights, geometry.short_heights):
        assert heights == tuple(sorted(heights, reverse=True))
        for rows in range(1, 3 * geometry.rows):
            left = rows
            while left:
                left -= next(h for h in heights if h <= left)
