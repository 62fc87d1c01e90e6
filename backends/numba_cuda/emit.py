"""A kernel of the IR as readable Python text for numba-cuda.

How threads are arranged depends on the kernel's structure alone, never on sizes:

* a **map**: one thread for each point, or for a vector of points (see :mod:`.emit_map`);
* a reduction by **groups**: a block has one point of the kept loops, or several side by side where memory runs along them,
  and its threads go over the reduced loops; their partial results are combined through warp shuffles, or through shared
  memory, which the simulator knows too. All stages of a row kernel are done by the block of their row;
* a reduction in **pieces**, of everything or across memory (unless that is known to be short): a first kernel makes a partial
  result for each piece of so many elements, and a second combines those. Pieces depend on the size only, so results repeat
  however many blocks are launched.

Sums of floats go through short runs in the dtype, which are totalled in float64, as on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from graphc.backends.numba_cpu.emit_scalar import combine, identity, literal, load, store, takes
from graphc.backends.numba_cpu.emit_text import affine_text
from graphc.dtypes import DType, float64, int64
from graphc.ir.types import TensorType
from graphc.loops.kernel import Kernel, Reduction

from .body import ScalarBody, extent_of, extent_text, new_text, unravel
from .emit_map import emit_map
from .geometry import Geometry
from .source import DeviceSource, DeviceText, stored

_WARP: Final = 32
_FULL_MASK: Final = "0xffffffff"

_Numbered: TypeAlias = "Sequence[tuple[int, Reduction]]"
"""Reductions, each with the number that its accumulators have in the text."""


def emit(kernel: Kernel, geometry: Geometry, *, annotate: bool = False) -> tuple[DeviceSource, ...]:
    """The kernel's text: one function, or two for a reduction in pieces. ``annotate`` adds the user's lines."""
    if not kernel.reductions and not any(loop.reduced for loop in kernel.loops):
        return (emit_map(kernel, geometry, annotate),)
    if not kernel.kept and any(loop.reduced for loop in kernel.loops):
        return _Split(kernel, geometry, 1, annotate).emit()
    columns = geometry.columns if len(kernel.stages) == 1 and _runs_along_columns(kernel) else 1
    if columns > 1:
        count = extent_of(kernel, [i for i, loop in enumerate(kernel.loops) if loop.reduced])
        if not isinstance(count, int) or count > piece_of(geometry, columns):
            return _Split(kernel, geometry, columns, annotate).emit()
    return (_Groups(kernel, geometry, columns, annotate).emit(),)


def _runs_along_columns(kernel: Kernel) -> bool:
    """Whether more loads of the body run without gaps along the last kept loop than along any reduced one."""
    counts = [0] * len(kernel.loops)
    for instruction in kernel.only.body:
        if instruction.kind == "load":
            for loop, coefficient in instruction.detail[1].terms:
                counts[loop] += coefficient == 1
    reduced = [counts[i] for i, loop in enumerate(kernel.loops) if loop.reduced]
    return bool(reduced) and counts[kernel.kept[-1]] > max(reduced)


# Reductions.


def _is_chunked(reduction: Reduction) -> bool:
    return reduction.op == "sum" and reduction.dtype.is_floating


def _kept_dtype(reduction: Reduction) -> DType:
    """In what a partial result is kept: sums of floats in float64."""
    return float64 if _is_chunked(reduction) else reduction.dtype.compute


class _Accumulators:
    """The text that starts, feeds, combines and finishes the accumulators of some reductions."""

    def __init__(self, text: DeviceText, reductions: _Numbered, columns: int) -> None:
        self.text, self.reductions, self.columns = text, reductions, columns
        self.geometry = text.geometry
        self.lanes = self.geometry.threads // columns

    def start(self) -> None:
        for number, reduction in self.reductions:
            self.text.line(f"acc{number} = {identity(reduction.op, _kept_dtype(reduction))}")
            if reduction.position is not None:
                self.text.line(f"at{number} = {literal(0, int64)}")

    @property
    def is_chunked(self) -> bool:
        return any(_is_chunked(reduction) for _, reduction in self.reductions)

    def loop(self, first: str, last: str, body: ScalarBody, head: Sequence[str], stores: Sequence[str]) -> None:
        """Feed what ``body`` makes for each ``r`` from ``first`` to ``last``, ``lanes`` apart."""
        text, lanes = self.text, self.lanes
        if not self.is_chunked:
            with text.block(f"for r in range({first}, {last}, {lanes}):"):
                text.line(*head, *body.lines, *stores)
                self._feed(body)
            return
        span = lanes * self.geometry.run
        with text.block(f"for chunk in range({first}, {last}, {span}):"):
            for number, reduction in self.reductions:
                if _is_chunked(reduction):
                    text.line(f"part{number} = {literal(0.0, reduction.dtype)}")
            with text.block(f"for r in range(chunk, min(chunk + {span}, {last}), {lanes}):"):
                text.line(*head, *body.lines, *stores)
                self._feed(body)
            for number, reduction in self.reductions:
                if _is_chunked(reduction):
                    text.line(f"acc{number} += f64(part{number})")

    def _feed(self, body: ScalarBody) -> None:
        for number, reduction in self.reductions:
            value = body.names[reduction.value]
            if _is_chunked(reduction):
                self.text.line(f"part{number} = part{number} + {value}")
            elif reduction.position is not None:
                self.text.line(f"new = {takes(reduction.op, value, f'acc{number}', reduction.dtype)}")
                self.text.line(f"acc{number} = {value} if new else acc{number}")
                self.text.line(f"at{number} = i64({affine_text(reduction.position)}) if new else at{number}")
            else:
                self.text.line(f"acc{number} = {combine(reduction.op, f'acc{number}', value, reduction.dtype)}")

    def combine_block(self) -> None:
        """Make the accumulators of all threads of one column what they are together."""
        if self.columns == 1 and self.geometry.shuffles:
            self._by_shuffles()
        else:
            self._through_shared_memory()

    def merge(self, number: int, reduction: Reduction, other: str, other_at: str) -> None:
        """Combine the accumulator with another partial result."""
        text, accumulator, dtype = self.text, f"acc{number}", _kept_dtype(reduction)
        if reduction.position is None:
            text.line(f"{accumulator} = {combine(reduction.op, accumulator, other, dtype)}")
            return
        text.line(
            f"after = {takes(reduction.op, accumulator, other, dtype)}",
            f"new = ({takes(reduction.op, other, accumulator, dtype)}) | ((not after) & ({other_at} < at{number}))",
            f"{accumulator} = {other} if new else {accumulator}",
            f"at{number} = {other_at} if new else at{number}",
        )

    def _slots(self, count: int) -> None:
        for number, reduction in self.reductions:
            self.text.shared(f"shared{number}", count, stored(_kept_dtype(reduction)))
            if reduction.position is not None:
                self.text.shared(f"places{number}", count, "i64")

    def _put(self, index: str) -> None:
        for number, reduction in self.reductions:
            self.text.line(store(f"shared{number}", index, f"acc{number}", _kept_dtype(reduction)))
            if reduction.position is not None:
                self.text.line(f"places{number}[{index}] = at{number}")

    def _get(self, index: str) -> None:
        for number, reduction in self.reductions:
            self.text.line(f"acc{number} = {load(f'shared{number}', index, _kept_dtype(reduction))}")
            if reduction.position is not None:
                self.text.line(f"at{number} = places{number}[{index}]")

    def _through_shared_memory(self) -> None:
        """A tree: the upper half of the threads is combined into the lower half, until one lane is left."""
        text = self.text
        self._slots(self.geometry.threads)
        self._put("t")
        text.line("cuda.syncthreads()")
        width = self.geometry.threads // 2
        while width >= self.columns:
            with text.block(f"if t < {width}:"):
                for number, reduction in self.reductions:
                    text.line(f"other{number} = {load(f'shared{number}', f't + {width}', _kept_dtype(reduction))}")
                    self.merge(number, reduction, f"other{number}", f"places{number}[t + {width}]")
                self._put("t")
            text.line("cuda.syncthreads()")
            width //= 2
        self._get("column" if self.columns > 1 else "0")
        text.line("cuda.syncthreads()")

    def _by_shuffles(self) -> None:
        """Each warp by itself, then every warp what all warps have left in shared memory."""
        text, warps = self.text, self.geometry.threads // _WARP
        self._slots(warps)
        self._exchange(_WARP)
        with text.block(f"if t % {_WARP} == 0:"):
            self._put(f"t // {_WARP}")
        text.line("cuda.syncthreads()")
        self._get(f"t % {warps}")
        self._exchange(warps)
        text.line("cuda.syncthreads()")

    def _exchange(self, lanes: int) -> None:
        while lanes > 1:
            lanes //= 2
            for number, reduction in self.reductions:
                dtype = _kept_dtype(reduction)
                carried = _carried(dtype)
                sent = f"acc{number}" if carried == dtype.short else f"{carried}(acc{number})"
                other = f"cuda.shfl_xor_sync({_FULL_MASK}, {sent}, {lanes})"
                if carried != dtype.short:
                    other = f"{other} != 0" if dtype.is_bool else f"{dtype.short}({other})"
                self.text.line(f"other{number} = {other}")
                if reduction.position is not None:
                    self.text.line(f"other_at = cuda.shfl_xor_sync({_FULL_MASK}, at{number}, {lanes})")
                self.merge(number, reduction, f"other{number}", "other_at")

    def finish(self) -> list[str]:
        """Round the sums to their dtype; the names of the results."""
        names: list[str] = []
        for number, reduction in self.reductions:
            name = f"acc{number}" if reduction.position is None else f"at{number}"
            if _is_chunked(reduction) and reduction.dtype is not float64:
                name = f"total{number}"
                self.text.line(f"{name} = {reduction.dtype.short}(acc{number})")
            names.append(name)
        return names


def _carried(dtype: DType) -> str:
    """The type that a value of ``dtype`` has in a shuffle, which knows 32 and 64 bits only."""
    if dtype.is_floating or dtype.short in ("i32", "i64"):
        return dtype.short
    return "i64" if dtype.bits == 64 or dtype.short == "u32" else "i32"


class _Groups:
    """Blocks of threads, each for one point of the kept loops, or ``columns`` of them."""

    def __init__(self, kernel: Kernel, geometry: Geometry, columns: int, annotate: bool) -> None:
        self.kernel, self.geometry, self.columns, self.annotate = kernel, geometry, columns, annotate
        self.kept = list(kernel.kept)
        self.reduced = [i for i, loop in enumerate(kernel.loops) if loop.reduced]

    def emit(self) -> DeviceSource:
        kernel, columns = self.kernel, self.columns
        row = extent_of(kernel, self.kept) * extent_of(kernel, self.reduced)
        scratch = [TensorType(dtype, (row,)) for dtype in kernel.rows]
        text, buffers = new_text(kernel, kernel.name, self.geometry, scratch)
        buffers += [f"tmp{number}" for number in range(len(kernel.rows))]
        text.line("t = cuda.threadIdx.x")
        if columns > 1:
            text.line(f"column = t % {columns}", f"lane = t // {columns}")
        text.line(f"count = {extent_text(kernel, self.reduced)}")
        loop = f"for group in range(cuda.blockIdx.x, (extent + {columns - 1}) // {columns}, cuda.gridDim.x):"
        with text.block(loop if columns > 1 else "for p in range(cuda.blockIdx.x, extent, cuda.gridDim.x):"):
            if columns > 1:
                # Threads beyond the end do what the last point's do, but store nothing.
                text.line(f"p = min(group * {columns} + column, extent - 1)", f"inside = group * {columns} + column < extent")
            if kernel.rows:
                text.line("row = p * count")
            unravel(text, kernel, self.kept, "p")
            self._stages(text, buffers)
        return text.finish(extent_of(kernel, self.kept), columns, scratch)

    def _stages(self, text: DeviceText, buffers: Sequence[str]) -> None:
        kernel = self.kernel
        asked = {i.detail for stage in kernel.stages for i in stage.body + stage.epilogue if i.kind == "row"}
        rows: dict[tuple[int, int], str] = {}
        lane = "lane" if self.columns > 1 else "t"
        head = DeviceText("", self.geometry)
        unravel(head, kernel, self.reduced, "r")
        unraveled = [line.strip() for line in head.lines] if self.reduced else []
        first = 0
        for number, stage in enumerate(kernel.stages):
            mark = f"{number}_" if len(kernel.stages) > 1 else ""
            if mark:
                text.line(f"# stage {number}")
            reductions = list(enumerate(stage.reductions, first))
            first += len(reductions)
            body = ScalarBody(
                stage.body, stage.body_stores, f"v{mark}", buffers, self.annotate,
                needed=[r.value for r in stage.reductions], rows=rows,
            )  # fmt: skip
            accumulators = _Accumulators(text, reductions, self.columns)
            accumulators.start()
            if reductions or stage.body_stores:
                stores = body.stores
                if stores and self.columns > 1:
                    stores = ["if inside:", *(f"    {line}" for line in stores)]
                accumulators.loop(lane, "count", body, unraveled, stores)
            if reductions:
                accumulators.combine_block()
            epilogue = ScalarBody(
                stage.epilogue, stage.epilogue_stores, f"w{mark}", buffers, self.annotate,
                needed=[i for at, i in asked if at == number], reduced=accumulators.finish(), rows=rows,
            )  # fmt: skip
            rows.update(((number, i), name) for i, name in enumerate(epilogue.names))
            text.line(*epilogue.lines)
            if epilogue.stores:
                with text.block(f"if {lane} == 0{' and inside' if self.columns > 1 else ''}:"):
                    text.line(*epilogue.stores)
            is_seen = bool(epilogue.stores) or (bool(stage.body_stores) and not reductions)
            if number < len(kernel.stages) - 1 and is_seen:
                text.line("cuda.syncthreads()")


class _Split:
    """A reduction in pieces: a block for each piece of the reduced points, of one kept point or of ``columns`` side by side;
    then a kernel that combines the pieces."""

    def __init__(self, kernel: Kernel, geometry: Geometry, columns: int, annotate: bool) -> None:
        self.kernel, self.geometry, self.columns, self.annotate = kernel, geometry, columns, annotate
        self.kept = list(kernel.kept)
        self.reduced = [i for i, loop in enumerate(kernel.loops) if loop.reduced]
        self.piece = piece_of(geometry, columns)
        self.points = extent_of(kernel, self.kept)
        self.pieces = (extent_of(kernel, self.reduced) + (self.piece - 1)) // self.piece
        self.reductions = list(enumerate(kernel.only.reductions))
        self.scratch: list[TensorType] = []
        self.slots: list[tuple[str, str]] = []
        for _, reduction in self.reductions:
            value, where = f"tmp{len(self.scratch)}", ""
            self.scratch.append(TensorType(_kept_dtype(reduction), (self.pieces * self.points,)))
            if reduction.position is not None:
                where = f"tmp{len(self.scratch)}"
                self.scratch.append(TensorType(int64, (self.pieces * self.points,)))
            self.slots.append((value, where))

    def emit(self) -> tuple[DeviceSource, DeviceSource]:
        return self._partials(), self._combination()

    def _partials(self) -> DeviceSource:
        kernel, columns, piece = self.kernel, self.columns, self.piece
        text, buffers = new_text(kernel, kernel.name, self.geometry, self.scratch)
        stage = kernel.only
        accumulators = _Accumulators(text, self.reductions, columns)
        body = ScalarBody(
            stage.body, stage.body_stores, "v", buffers, self.annotate, needed=[r.value for r in stage.reductions]
        )  # fmt: skip
        head = DeviceText("", self.geometry)
        unravel(head, kernel, self.reduced, "r")
        lane, stores, at = "t", body.stores, "piece"
        text.line("t = cuda.threadIdx.x", f"count = {extent_text(kernel, self.reduced)}")
        if columns > 1:
            lane, at = "lane", "piece * points + p"
            stores = ["if inside:", *(f"    {line}" for line in stores)] if stores else []
            text.line(f"column = t % {columns}", f"lane = t // {columns}", f"points = {extent_text(kernel, self.kept)}")
            text.line(f"across = (points + {columns - 1}) // {columns}")
        with text.blocks("piece" if columns == 1 else "block"):
            if columns > 1:
                text.line("piece = block // across", f"first = block % across * {columns}")
                text.line("p = min(first + column, points - 1)", "inside = first + column < points")
                unravel(text, kernel, self.kept, "p")
            accumulators.start()
            last = f"min((piece + 1) * {piece}, count)"
            accumulators.loop(f"piece * {piece} + {lane}", last, body, [line.strip() for line in head.lines], stores)
            accumulators.combine_block()
            with text.block(f"if {lane} == 0{' and inside' if columns > 1 else ''}:"):
                for (number, reduction), (value, where) in zip(self.reductions, self.slots, strict=True):
                    text.line(store(value, at, f"acc{number}", _kept_dtype(reduction)))
                    if where:
                        text.line(f"{where}[{at}] = at{number}")
        across = (self.points + (columns - 1)) // columns
        return text.finish(self.pieces * across, 1, self.scratch)

    def _combination(self) -> DeviceSource:
        """One block for the pieces of the only point, or a thread for those of each."""
        kernel = self.kernel
        text, buffers = new_text(kernel, f"{kernel.name}_total", self.geometry, self.scratch)
        text.size("pieces", self.pieces)
        accumulators = _Accumulators(text, self.reductions, 1)
        if self.kept:
            text.line(f"points = {extent_text(kernel, self.kept)}")
            with text.points("p"):
                unravel(text, kernel, self.kept, "p")
                accumulators.start()
                self._merge_pieces(text, accumulators, "range(pieces)", "r * points + p")
                epilogue = self._epilogue(accumulators, buffers)
                text.line(*epilogue.lines, *epilogue.stores)
            return text.finish(self.points, scratch=self.scratch)
        text.line("t = cuda.threadIdx.x")
        accumulators.start()
        self._merge_pieces(text, accumulators, f"range(t, pieces, {self.geometry.threads})", "r")
        accumulators.combine_block()
        epilogue = self._epilogue(accumulators, buffers)
        with text.block("if t == 0:"):
            text.line(*epilogue.lines, *(epilogue.stores or ["pass"]))
        return text.finish(1, 1, self.scratch)

    def _merge_pieces(self, text: DeviceText, accumulators: _Accumulators, pieces: str, at: str) -> None:
        with text.block(f"for r in {pieces}:"):
            for (number, reduction), (value, where) in zip(self.reductions, self.slots, strict=True):
                text.line(f"other{number} = {load(value, at, _kept_dtype(reduction))}")
                accumulators.merge(number, reduction, f"other{number}", f"{where}[{at}]")

    def _epilogue(self, accumulators: _Accumulators, buffers: Sequence[str]) -> ScalarBody:
        stage = self.kernel.only
        return ScalarBody(
            stage.epilogue, stage.epilogue_stores, "w", buffers, self.annotate, reduced=accumulators.finish()
        )  # fmt: skip


def piece_of(geometry: Geometry, columns: int) -> int:
    """How many reduced points a block of ``columns`` columns goes over at once, each thread over one run."""
    return geometry.threads // columns * geometry.run
