"""A kernel of the IR as readable Python text for Numba.

A map over rows, with a broadcast operand that is read once a row::

    @noalias
    def exp_loop(in0, in1, out0, s0, s1, lo, hi):
        for i0 in range(lo, hi):
            p0 = s1*i0
            v1 = in1[i0]
            for i1 in range(s1):
                v0 = in0[p0 + i1]
                v2 = v0 - v1
                v3 = exp_f32(v2)
                out0[p0 + i1] = v3


    def exp(buffers, sizes, lo, hi, status):
        exp_loop(pointer_f32(buffers[0]), …, sizes[0], sizes[1], lo, hi)

How loops are arranged depends on the kernel's structure alone, never on sizes:

* a **map**: the outer loops are one parallel range, the last loop is inside;
* a **tiled** map, where an operand runs through memory along another loop than the last one (a transpose): both loops
  go in tiles, so that each cache line is used whole while it is near;
* a reduction whose last contiguous loop is reduced, by **rows**: the kept loops are the parallel range. Float sums go
  through chunks of 1024, which vectorize (``add_reassoc``), and are totalled in float64: the error stays below that
  of pairwise sums;
* a reduction whose last contiguous loop is kept, by **columns**: accumulators in memory for 512 columns at a time, so
  that the innermost loop runs over neighbours;
* a reduction of **everything**: a first kernel makes one partial result for each block (or each iteration of the
  outermost loop), a second combines them. Blocks depend on the size only, so results repeat however the work is split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeAlias

from graphc.dtypes import DType, float64, int64
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType
from graphc.loops.affine import Affine
from graphc.loops.kernel import Kernel, Reduction
from graphc.loops.source import KernelSource

from .emit_scalar import combine, combine_keys, has_key, identity, key, literal, load, store, takes
from .emit_text import Region, Text, affine_text, unravel

CHUNK: Final = 1024
COLUMNS: Final = 512
BLOCK: Final = 16384
#: A tile of a transposing map: rows of it (iterations of the other contiguous loop) and columns (of the last loop).
TILE_ROWS: Final = 32
TILE_COLUMNS: Final = 16


def emit(kernel: Kernel, *, annotate: bool = False) -> tuple[KernelSource, ...]:
    """The kernel's text: one function, or two for a reduction of everything. ``annotate`` adds the user's lines."""
    if not kernel.reductions:
        across = _loop_across(kernel)
        return (_emit_map(kernel, annotate) if across is None else _emit_tiled(kernel, across, annotate),)
    if not kernel.kept and any(loop.reduced for loop in kernel.loops):
        return _emit_full(kernel, annotate)
    if len(kernel.stages) > 1:
        return (_emit_rows(kernel, len(kernel.loops) - 1, annotate),)
    inner = _contiguous_loop(kernel)
    if inner is None or kernel.loops[inner].reduced:
        return (_emit_rows(kernel, inner, annotate),)
    return (_emit_columns(kernel, inner, annotate),)


def _contiguous_loop(kernel: Kernel) -> int | None:
    """The loop along which most loads of the body run through memory without gaps, the last one on ties."""
    unit_strides = [0] * len(kernel.loops)
    for instruction in kernel.only.body:
        if instruction.kind == "load":
            for loop, coefficient in instruction.detail[1].terms:
                unit_strides[loop] += coefficient == 1
    if all(not loop.reduced for loop in kernel.loops):
        return None
    kept = kernel.kept
    candidates = [i for i, loop in enumerate(kernel.loops) if loop.reduced or i == kept[-1]]
    return max(candidates, key=lambda i: (unit_strides[i], i))


def _loop_across(kernel: Kernel) -> int | None:
    """The loop along which an operand lies in memory without gaps while the last loop strides through it."""
    last = len(kernel.loops) - 1
    for instruction in kernel.only.body:
        if instruction.kind == "load":
            position = instruction.detail[1]
            if position.coefficient(last) not in (0, 1, -1):
                for loop, coefficient in position.terms:
                    if coefficient in (1, -1):
                        return int(loop)
    return None


def _extent(kernel: Kernel, loops: Sequence[int]) -> Dim:
    values = dict(kernel.sizes)
    return product(values[str(kernel.loops[i].extent)] for i in loops)


@contextmanager
def _parallel(text: Text, loops: Sequence[int]) -> Iterator[None]:
    if len(loops) == 1:
        with text.block(f"for i{loops[0]} in range(lo, hi):"):
            yield
        return
    with text.block("for p in range(lo, hi):"):
        unravel(text, loops, "p")
        yield


def _emit_map(kernel: Kernel, annotate: bool) -> KernelSource:
    text = Text(kernel, kernel.name, annotate)
    loops = list(range(len(kernel.loops)))
    parallel, inner = (loops[:-1], loops[-1:]) if len(loops) > 1 else (loops, [])
    depths = {**dict.fromkeys(parallel, 1), **dict.fromkeys(inner, 2)}
    body = Region(text, "v", kernel.only.body, kernel.only.body_stores, depths, reduced_depth=0 if loops else 1)
    body.write(0)
    with _parallel(text, parallel):
        body.write(1)
        for loop in inner:
            with text.block(f"for i{loop} in range({kernel.loops[loop].extent}):"):
                body.write(2)
    return text.finish(_extent(kernel, parallel))


def _emit_tiled(kernel: Kernel, across: int, annotate: bool) -> KernelSource:
    text = Text(kernel, kernel.name, annotate)
    last = len(kernel.loops) - 1
    others = [loop for loop in range(last) if loop != across]
    body = Region(
        text, "v", kernel.only.body, kernel.only.body_stores, {**dict.fromkeys(others, 1), across: 2, last: 3}, reduced_depth=1
    )
    body.write(0)
    rows, columns = kernel.loops[across].extent, kernel.loops[last].extent
    text.line(f"bands = ({rows} + {TILE_ROWS - 1}) // {TILE_ROWS}")
    with text.block("for p in range(lo, hi):"):
        text.line(f"first = p % bands * {TILE_ROWS}")
        if others:
            text.line("rest = p // bands")
            unravel(text, others, "rest")
        body.write(1)
        with text.block(f"for start in range(0, {columns}, {TILE_COLUMNS}):"):
            text.line(f"end = min(start + {TILE_COLUMNS}, {columns})")
            with text.block(f"for i{across} in range(first, min(first + {TILE_ROWS}, {rows})):"):
                body.write(2)
                with text.block(f"for i{last} in range(start, end):"):
                    body.write(3)
    bands = (_extent(kernel, [across]) + (TILE_ROWS - 1)) // TILE_ROWS
    return text.finish(_extent(kernel, others) * bands)


# Reductions.

_Numbered: TypeAlias = "Sequence[tuple[int, Reduction]]"
"""Reductions, each with the number that its accumulators have in the text."""


def _numbered(reductions: Sequence[Reduction], first: int = 0) -> _Numbered:
    return list(enumerate(reductions, first))


def _is_chunked(reduction: Reduction) -> bool:
    return reduction.op == "sum" and reduction.dtype.is_floating


def _stored_dtype(reduction: Reduction) -> DType:
    """In what a partial result is kept in memory: sums of floats in float64."""
    return float64 if _is_chunked(reduction) else reduction.dtype


def _start(text: Text, reductions: _Numbered) -> None:
    for number, reduction in reductions:
        start = identity(reduction.op, _stored_dtype(reduction))
        text.line(f"acc{number} = {key(reduction.op, start, reduction.dtype)}")
        if reduction.position is not None:
            text.line(f"at{number} = {literal(0, int64)}")


def _value_of(accumulator: str, reduction: Reduction) -> str:
    """What has been accumulated, as a value."""
    is_key = has_key(reduction.op, reduction.dtype)
    return f"key_value_{reduction.dtype.short}({accumulator})" if is_key else accumulator


def _step(text: Text, number: int, reduction: Reduction, value: str, position: str, *, chunked: bool) -> None:
    """One more value into the accumulators of ``reduction``, which are local variables."""
    if reduction.position is not None:
        text.line(f"take{number} = {takes(reduction.op, value, f'acc{number}', reduction.dtype)}")
        text.line(f"acc{number} = {value} if take{number} else acc{number}")
        text.line(f"at{number} = {position} if take{number} else at{number}")
    else:
        name = f"{'part' if chunked and _is_chunked(reduction) else 'acc'}{number}"
        text.line(f"{name} = {combine_keys(reduction.op, name, value, reduction.dtype)}")


def _reduce_loops(
    text: Text, body: Region, reductions: _Numbered, loops: Sequence[int], depth: int, inner_range: tuple[str, str]
) -> None:
    """The nest over the reduced ``loops``; ``depth`` is that of the first, ``inner_range`` the range of the last."""
    if not loops:
        body.write(depth)
        for number, reduction in reductions:
            _combine_one(text, body, number, reduction, chunked=False)
        return
    loop = loops[0]
    if len(loops) > 1:
        with text.block(f"for i{loop} in range({text.kernel.loops[loop].extent}):"):
            body.write(depth)
            _reduce_loops(text, body, reductions, loops[1:], depth + 1, inner_range)
        return
    first, last = inner_range
    if _is_search(text.kernel, loop):
        _search(text, body, loop, depth, inner_range)
        return
    if not any(_is_chunked(reduction) for _, reduction in reductions):
        with text.block(f"for i{loop} in range({first}, {last}):"):
            body.write(depth)
            for number, reduction in reductions:
                _combine_one(text, body, number, reduction, chunked=False)
        return
    with text.block(f"for chunk in range({first}, {last}, {CHUNK}):"):
        for number, reduction in reductions:
            if _is_chunked(reduction):
                text.line(f"part{number} = {literal(0.0, reduction.dtype)}")
        with text.block(f"for i{loop} in range(chunk, min(chunk + {CHUNK}, {last})):"):
            body.write(depth)
            for number, reduction in reductions:
                _combine_one(text, body, number, reduction, chunked=True)
        for number, reduction in reductions:
            if _is_chunked(reduction):
                text.line(f"acc{number} += f64(part{number})")


#: Instructions that give the same bits in a vectorized loop and in any other: no arithmetic that may be contracted.
_EXACT: Final = frozenset(["load", "constant", "size", "index", "convert", "round", "compare", "select", "invert"])
_EXACT_MATH: Final = frozenset(["abs", "maximum", "minimum"])


def _is_search(kernel: Kernel, loop: int) -> bool:
    """Whether the position of the best value can be looked up after the value is known."""
    if len(kernel.reductions) != 1 or len(kernel.stages) != 1 or kernel.only.body_stores:
        return False
    position = kernel.reductions[0].position
    return (
        position is not None
        and position.loop == loop
        and all(
            i.kind in _EXACT or (i.kind == "math" and i.detail in _EXACT_MATH) or not i.dtype.is_floating
            for i in kernel.only.body
        )
    )


def _search(text: Text, body: Region, loop: int, depth: int, inner_range: tuple[str, str]) -> None:
    """argmax and argmin in two loops: the best value, which vectorizes, then the first place that holds it."""
    (reduction,) = text.kernel.reductions
    first, last = inner_range
    value = body.value(reduction.value)
    op = reduction.op[3:]
    text.line(f"best = {key(op, 'acc0', reduction.dtype)}")
    with text.block(f"for i{loop} in range({first}, {last}):"):
        body.write(depth)
        text.line(f"best = {combine_keys(op, 'best', value, reduction.dtype)}")
    text.line(f"acc0 = {f'key_value_{reduction.dtype.short}(best)' if reduction.dtype.is_floating else 'best'}")
    found = f"{value} == acc0"
    if reduction.dtype.is_floating:
        found = f"({found}) | ({value} != {value})"
    with text.block(f"for i{loop} in range({first}, {last}):"):
        body.write(depth)
        with text.block(f"if {found}:"):
            text.line(f"at0 = i{loop}")
            text.line("break")


def _combine_one(text: Text, body: Region, number: int, reduction: Reduction, *, chunked: bool) -> None:
    position = affine_text(reduction.position) if reduction.position is not None else ""
    value = body.value(reduction.value)
    if _is_chunked(reduction) and not chunked:
        text.line(f"acc{number} += f64({value})")
    else:
        _step(text, number, reduction, value, position, chunked=chunked)


def _results(reductions: _Numbered) -> list[str]:
    """Names of the finished results, which the epilogue reads."""
    names: list[str] = []
    for number, reduction in reductions:
        if reduction.position is not None:
            names.append(f"at{number}")
        elif _is_chunked(reduction) and reduction.dtype is not float64:
            names.append(f"total{number}")
        elif has_key(reduction.op, reduction.dtype):
            names.append(f"{reduction.op}{number}")
        else:
            names.append(f"acc{number}")
    return names


def _finish_totals(text: Text, reductions: _Numbered) -> None:
    for number, reduction in reductions:
        if _is_chunked(reduction) and reduction.dtype is not float64:
            text.line(f"total{number} = {reduction.dtype.short}(acc{number})")
        elif has_key(reduction.op, reduction.dtype):
            text.line(f"{reduction.op}{number} = {_value_of(f'acc{number}', reduction)}")


def _body(text: Text, depths: dict[int, int], depth: int) -> Region:
    kernel = text.kernel
    needed = [r.value for r in kernel.reductions]
    return Region(text, "v", kernel.only.body, kernel.only.body_stores, depths, reduced_depth=depth, needed=needed)


def _emit_rows(kernel: Kernel, inner: int | None, annotate: bool) -> KernelSource:
    kept = list(kernel.kept)
    reduced = [i for i, loop in enumerate(kernel.loops) if loop.reduced and i != inner]
    reduced += [inner] if inner is not None and kernel.loops[inner].reduced else []
    scratch = [TensorType(dtype, (_extent(kernel, kept) * _extent(kernel, reduced),)) for dtype in kernel.rows]
    text = Text(kernel, kernel.name, annotate, scratch)
    for number in range(len(kernel.rows)):
        # A piece of the range keeps its rows, one after the other, where the first one has its place.
        row_size = " * ".join(["lo", *(str(kernel.loops[i].extent) for i in reduced)])
        text.line(f"row{number} = offset_pointer(tmp{number}, {row_size})")
    depths = {**dict.fromkeys(kept, 1), **{loop: 2 + n for n, loop in enumerate(reduced)}}
    inner_range = ("0", str(kernel.loops[reduced[-1]].extent) if reduced else "0")
    stages = _row_stages(text, kept, depths)
    for body, epilogue, _ in stages:
        body.write(0)
        epilogue.write(0)
    with _parallel(text, kept):
        for number, (body, epilogue, reductions) in enumerate(stages):
            if len(stages) > 1:
                text.line(f"# stage {number}")
            _start(text, reductions)
            if not reduced:
                _reduce_loops(text, body, reductions, [], 1, inner_range)
            elif reductions or kernel.stages[number].body_stores:
                body.write(1)
                _reduce_loops(text, body, reductions, reduced, 2, inner_range)
            _finish_totals(text, reductions)
            epilogue.write(1)
    return text.finish(_extent(kernel, kept))


def _row_stages(text: Text, kept: Sequence[int], depths: dict[int, int]) -> list[tuple[Region, Region, _Numbered]]:
    """Body, epilogue and reductions of each stage; a stage knows the names of what earlier ones made for the row."""
    stages: list[tuple[Region, Region, _Numbered]] = []
    kernel = text.kernel
    needed_rows = {
        i.detail for stage in kernel.stages for i in stage.body + stage.epilogue if i.kind == "row"
    }
    rows: dict[tuple[int, int], str] = {}
    bases: dict[Affine, str] | None = {} if len(kernel.stages) > 1 else None
    first = 0
    for number, stage in enumerate(kernel.stages):
        mark = f"{number}_" if len(kernel.stages) > 1 else ""
        reductions = _numbered(stage.reductions, first)
        first += len(reductions)
        body = Region(
            text, f"v{mark}", stage.body, stage.body_stores, depths, reduced_depth=1,
            needed=[r.value for r in stage.reductions], rows=rows, row_bases=bases,
        )  # fmt: skip
        epilogue = Region(
            text, f"w{mark}", stage.epilogue, stage.epilogue_stores, dict.fromkeys(kept, 1),
            reduced=_results(reductions), reduced_depth=1,
            needed=[i for at, i in needed_rows if at == number], rows=rows, row_bases=bases,
        )  # fmt: skip
        rows.update(((number, i), name) for i, name in enumerate(epilogue.names))
        stages.append((body, epilogue, reductions))
    return stages


def _emit_columns(kernel: Kernel, inner: int, annotate: bool) -> KernelSource:
    size = _extent(kernel, kernel.kept)
    scratch: list[TensorType] = []
    slots: list[tuple[str, str]] = []
    for reduction in kernel.reductions:
        value = f"tmp{len(scratch)}"
        scratch.append(TensorType(reduction.dtype, (size,)))
        where = ""
        if reduction.position is not None:
            where = f"tmp{len(scratch)}"
            scratch.append(TensorType(int64, (size,)))
        slots.append((value, where))
    text = Text(kernel, kernel.name, annotate, scratch)
    outer = [i for i in kernel.kept if i != inner]
    reduced = [i for i, loop in enumerate(kernel.loops) if loop.reduced]
    innermost = 2 + len(reduced)
    body = _body(text, {**dict.fromkeys(outer, 1), **{r: 2 + n for n, r in enumerate(reduced)}, inner: innermost}, 1)
    names = [f"total{n}" for n in range(len(slots))]
    epilogue = Region(
        text, "w", kernel.only.epilogue, kernel.only.epilogue_stores, {**dict.fromkeys(outer, 1), inner: 2},
        reduced=names, reduced_depth=2,
    )  # fmt: skip
    body.write(0)
    epilogue.write(0)
    extent = kernel.loops[inner].extent
    columns = f"for i{inner} in range(first, last):"
    text.line("start = lo")
    with text.block("while start < hi:"):
        text.line(f"first = start % {extent}")
        if outer:
            text.line(f"row = start // {extent}")
            if len(outer) == 1:
                text.line(f"i{outer[0]} = row")
            else:
                unravel(text, outer, "row")
        text.line(f"last = min(first + {COLUMNS}, {extent}, first + hi - start)")
        text.line("slot = start - first")
        body.write(1)
        epilogue.write(1)
        with text.block(columns):
            for reduction, (value, where) in zip(kernel.reductions, slots, strict=True):
                text.line(store(value, f"slot + i{inner}", identity(reduction.op, reduction.dtype), reduction.dtype))
                if where:
                    text.line(f"{where}[slot + i{inner}] = 0")
        _column_loops(text, body, reduced, 2, columns, inner, slots)
        with text.block(columns):
            for number, (reduction, (value, where)) in enumerate(zip(kernel.reductions, slots, strict=True)):
                name, dtype = (where, int64) if where else (value, reduction.dtype)
                text.line(f"total{number} = {load(name, f'slot + i{inner}', dtype)}")
            epilogue.write(2)
        text.line("start = slot + last")
    return text.finish(size)


def _column_loops(
    text: Text,
    body: Region,
    loops: Sequence[int],
    depth: int,
    columns: str,
    inner: int,
    slots: Sequence[tuple[str, str]],
) -> None:
    if loops:
        with text.block(f"for i{loops[0]} in range({text.kernel.loops[loops[0]].extent}):"):
            body.write(depth)
            _column_loops(text, body, loops[1:], depth + 1, columns, inner, slots)
        return
    with text.block(columns):
        body.write(depth)
        at = f"slot + i{inner}"
        for number, (reduction, (memory, where)) in enumerate(zip(text.kernel.reductions, slots, strict=True)):
            text.line(f"acc{number} = {load(memory, at, reduction.dtype)}")
            position = affine_text(reduction.position) if reduction.position is not None else ""
            if where:
                text.line(f"at{number} = {where}[{at}]")
            value = body.value(reduction.value)
            if where:
                _step(text, number, reduction, value, position, chunked=False)
            else:
                text.line(f"acc{number} = {combine(reduction.op, f'acc{number}', value, reduction.dtype)}")
            text.line(store(memory, at, f"acc{number}", reduction.dtype))
            if where:
                text.line(f"{where}[{at}] = at{number}")


def _emit_full(kernel: Kernel, annotate: bool) -> tuple[KernelSource, KernelSource]:
    loops = list(range(len(kernel.loops)))
    size = _extent(kernel, loops[:1])
    is_flat = len(loops) == 1
    blocks: Dim = (size + BLOCK - 1) // BLOCK if is_flat else size
    scratch: list[TensorType] = []
    for reduction in kernel.reductions:
        scratch.append(TensorType(_stored_dtype(reduction), (blocks,)))
        if reduction.position is not None:
            scratch.append(TensorType(int64, (blocks,)))
    return (
        _emit_partials(kernel, loops, blocks, scratch, annotate),
        _emit_combination(kernel, blocks, scratch, annotate),
    )


def _partial_slots(kernel: Kernel) -> list[tuple[str, str]]:
    slots: list[tuple[str, str]] = []
    count = 0
    for reduction in kernel.reductions:
        has_position = reduction.position is not None
        slots.append((f"tmp{count}", f"tmp{count + 1}" if has_position else ""))
        count += 1 + has_position
    return slots


def _emit_partials(
    kernel: Kernel, loops: Sequence[int], blocks: Dim, scratch: Sequence[TensorType], annotate: bool
) -> KernelSource:
    text = Text(kernel, kernel.name, annotate, scratch)
    is_flat = len(loops) == 1
    index = "block" if is_flat else "i0"
    depths = {0: 2} if is_flat else {loop: 1 + loop for loop in loops}
    body = _body(text, depths, 1)
    body.write(0)
    with text.block(f"for {index} in range(lo, hi):"):
        _start(text, _numbered(kernel.reductions))
        body.write(1)
        if is_flat:
            first = f"block * {BLOCK}"
            inner_range = (first, f"min({first} + {BLOCK}, {kernel.loops[0].extent})")
            _reduce_loops(text, body, _numbered(kernel.reductions), loops, 2, inner_range)
        else:
            inner_range = ("0", str(kernel.loops[-1].extent))
            _reduce_loops(text, body, _numbered(kernel.reductions), loops[1:], 2, inner_range)
        for number, (reduction, (memory, where)) in enumerate(
            zip(kernel.reductions, _partial_slots(kernel), strict=True)
        ):
            text.line(store(memory, index, _value_of(f"acc{number}", reduction), _stored_dtype(reduction)))
            if where:
                text.line(f"{where}[{index}] = at{number}")
    return text.finish(blocks)


def _emit_combination(kernel: Kernel, blocks: Dim, scratch: Sequence[TensorType], annotate: bool) -> KernelSource:
    counted = (*kernel.sizes, ("blocks", blocks))
    text = Text(_with_sizes(kernel, counted), f"{kernel.name}_total", annotate, scratch)
    epilogue = Region(
        text, "w", kernel.only.epilogue, kernel.only.epilogue_stores, {},
        reduced=_results(_numbered(kernel.reductions)), reduced_depth=1,
    )  # fmt: skip
    epilogue.write(0)
    with text.block("for _ in range(lo, hi):"):
        _start(text, _numbered(kernel.reductions))
        with text.block("for block in range(blocks):"):
            for number, (reduction, (memory, where)) in enumerate(
                zip(kernel.reductions, _partial_slots(kernel), strict=True)
            ):
                dtype = _stored_dtype(reduction)
                text.line(f"one{number} = {load(memory, 'block', dtype)}")
                if _is_chunked(reduction):
                    text.line(f"acc{number} += one{number}")
                else:
                    _step(text, number, reduction, f"one{number}", f"{where}[block]", chunked=False)
        _finish_totals(text, _numbered(kernel.reductions))
        epilogue.write(1)
    return text.finish(1)


def _with_sizes(kernel: Kernel, sizes: tuple[tuple[str, Dim], ...]) -> Kernel:
    return replace(kernel, sizes=sizes)
