"""The register tile of a matrix product, and the vector transposition that packing uses, as LLVM IR.

A tile of the result, ``rows`` × ``vectors`` vector registers, stays in registers while the loop over the contracted
axis reads one column of A and one row of B a step and makes ``rows * vectors`` multiply-adds of them. How large the tile
may be is up to the instruction set: see :class:`.geometry.Geometry`. Nothing here knows Numba: the emitters take an llvmlite
builder, so that tests can compile for processors other than the one they run on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import llvmlite.ir as ir

from graphc.backends.numba_cpu.gemm.geometry import Geometry

I32: Final = ir.IntType(32)
I64: Final = ir.IntType(64)
CACHE_LINE: Final = 64
FLOATS: Final[Mapping[str, tuple[Any, int]]] = {"f32": (ir.FloatType(), 4), "f64": (ir.DoubleType(), 8)}


def multiply_function(module: Any, geometry: Geometry, short: str, adjacent: bool) -> Any:
    """The function of ``module`` that multiplies tiles of any height and width; it is defined if it is not there yet.

    Its arguments are (height, width, a, a_step, b, b_step, k, c, c_step, adds): i64, and pointers to elements. The
    product of ``height`` rows of A with ``width`` vectors of columns of B is summed over k steps. A's element is
    ``a[step * a_step + i]`` if the rows are ``adjacent``, else ``a[i * a_step + step]``. B's row for one step
    starts at ``b + step * b_step``, and C's row i at ``c + i * c_step``; both are read and written as whole vectors. The
    product is added to C where ``adds`` is not 0, else it replaces it.

    ``height`` must be one of the geometry's (short, unless adjacent) heights, and ``width`` at most its vectors.
    """
    name = f"graphc_multiply_{'' if adjacent else 'rows_'}{short}"
    known = module.globals.get(name)
    if known is not None:
        return known
    pointer = FLOATS[short][0].as_pointer()
    parameters = [I64, I64, pointer, I64, pointer, I64, I64, pointer, I64, I64]
    function, builder, end = _tile_function(module, name, parameters, (2, 4, 7))
    height, width, *rest = function.args
    vectors = ir.Constant(I64, geometry.vectors + 1)
    choice = builder.switch(builder.add(builder.mul(height, vectors), width), end)
    for rows in geometry.heights if adjacent else geometry.short_heights:
        for columns in range(1, geometry.vectors + 1):
            block = function.append_basic_block(f"tile_{rows}x{columns}")
            choice.add_case(ir.Constant(I64, rows * (geometry.vectors + 1) + columns), block)
            builder.position_at_end(block)
            _emit_tile(builder, geometry, short, (rows, columns), adjacent, rest)
            builder.branch(end)
    builder.position_at_end(end)
    builder.ret_void()
    return function


def places_function(module: Any, geometry: Geometry, short: str, apart: int = 1) -> Any:
    """As `multiply_function`, of a matrix A that is read through a table: element (i, step) is ``a[table[step] + i * apart]``.

    Its arguments are (height, width, a, table, b, b_step, k, c, c_step, adds). ``height`` may be any up to the geometry's
    rows: the rows of A end where those of an image do, so that one tile has to hold what is left.
    """
    name = f"graphc_multiply_places{apart}_{short}"
    known = module.globals.get(name)
    if known is not None:
        return known
    pointer = FLOATS[short][0].as_pointer()
    parameters = [I64, I64, pointer, I64.as_pointer(), pointer, I64, I64, pointer, I64, I64]
    function, builder, end = _tile_function(module, name, parameters, (2, 3, 4, 7))
    height, width, a, table, b, b_step, k, c, c_step, adds = function.args
    vectors = ir.Constant(I64, geometry.vectors + 1)
    choice = builder.switch(builder.add(builder.mul(height, vectors), width), end)
    for rows in range(1, geometry.rows + 1):
        for columns in range(1, geometry.vectors + 1):
            block = function.append_basic_block(f"tile_{rows}x{columns}")
            choice.add_case(ir.Constant(I64, rows * (geometry.vectors + 1) + columns), block)
            builder.position_at_end(block)
            tile = _Tile(builder, geometry, short, rows, columns)

            def step(state: Sequence[Any], tile: _Tile = tile) -> list[Any]:
                products, places, row = state[:-2], state[-2], state[-1]
                column = builder.gep(a, [builder.load(places)])
                products = tile.multiply_add(products, tile.adjacent_places(column, apart), tile.vectors_at(row))
                return [*products, builder.gep(places, [ir.Constant(I64, 1)]), builder.gep(row, [b_step])]

            state = _repeat(builder, k, [*tile.zeros(), table, b], step)
            tile.store(c, c_step, state[:-2], adds)
            builder.branch(end)
    builder.position_at_end(end)
    builder.ret_void()
    return function


def _tile_function(module: Any, name: str, parameters: Sequence[Any], apart: Sequence[int]) -> tuple[Any, Any, Any]:
    """A function without a body, whose arguments at ``apart`` share no memory; a builder at its entry, and its last block."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), parameters), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    for position in apart:
        function.args[position].add_attribute("noalias")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    return function, builder, function.append_basic_block("end")


def _emit_tile(builder: Any, geometry: Geometry, short: str, shape: tuple[int, int], adjacent: bool, args: Any) -> None:
    a, a_step, b, b_step, k, c, c_step, adds = args
    tile = _Tile(builder, geometry, short, *shape)
    sums = tile.zeros()
    starts = [a] if adjacent else tile.row_starts(a, a_step)
    if shape[0] == geometry.rows:
        tile.prefetch(c, c_step)

    def step(state: Sequence[Any]) -> list[Any]:
        products, pointers, row = state[: len(sums)], state[len(sums) : -1], state[-1]
        places = tile.adjacent_places(pointers[0]) if adjacent else tile.row_places(pointers, a_step)
        products = tile.multiply_add(products, places, tile.vectors_at(row))
        advance = a_step if adjacent else ir.Constant(I64, 1)
        return [*products, *(builder.gep(p, [advance]) for p in pointers), builder.gep(row, [b_step])]

    state = _repeat(builder, k, [*sums, *starts, b], step)
    tile.store(c, c_step, state[: len(sums)], adds)


def _repeat(builder: Any, count: Any, state: Sequence[Any], step: Callable[[Sequence[Any]], list[Any]]) -> list[Any]:
    """Run ``step`` ``count`` times on ``state``; the values it leaves."""
    before, loop, after = builder.block, builder.append_basic_block("k"), builder.append_basic_block("k_end")
    zero = ir.Constant(I64, 0)
    builder.cbranch(builder.icmp_signed(">", count, zero), loop, after)
    builder.position_at_end(loop)
    number = builder.phi(I64)
    phis = [builder.phi(value.type) for value in state]
    number.add_incoming(zero, before)
    for phi, value in zip(phis, state, strict=True):
        phi.add_incoming(value, before)
    values = step(phis)
    following = builder.add(number, ir.Constant(I64, 1))
    number.add_incoming(following, loop)
    for phi, value in zip(phis, values, strict=True):
        phi.add_incoming(value, loop)
    again = builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    again.set_metadata("llvm.loop", _not_unrolled(builder.module))
    builder.position_at_end(after)
    ends = [builder.phi(value.type) for value in state]
    for end, first, last in zip(ends, state, values, strict=True):
        end.add_incoming(first, before)
        end.add_incoming(last, loop)
    return ends


def _not_unrolled(module: Any) -> Any:
    """Metadata of one loop: its tile is work enough for a round, and unrolled ones take long to compile."""
    disable = module.add_metadata(["llvm.loop.unroll.disable"])
    loop = module.add_metadata([f"loop {len(module.metadata)}"])
    loop.operands = (loop, disable)  # a loop's metadata is told from another's by naming itself
    return loop


class _Tile:
    """Emits the pieces of one tile. Accumulators are in row-major order."""

    #: Rows that share a start, so that x86 addresses them by base, base + step and base + 2 * step: there are
    #: fewer registers for pointers than rows.
    SHARED = 3

    def __init__(self, builder: Any, geometry: Geometry, short: str, height: int, width: int) -> None:
        self.builder, self.geometry, self.height, self.width = builder, geometry, height, width
        self.element, self.itemsize = FLOATS[short]
        self.short, self.lanes = short, geometry.lanes(short)
        self.vector = ir.VectorType(self.element, self.lanes)

    def zeros(self) -> list[Any]:
        return [ir.Constant(self.vector, [0.0] * self.lanes)] * (self.height * self.width)

    def load(self, pointer: Any) -> Any:
        return load_vector(self.builder, pointer, self.vector, self.itemsize)

    def vectors_at(self, row: Any) -> list[Any]:
        return [self.load(self.builder.gep(row, [ir.Constant(I64, j * self.lanes)])) for j in range(self.width)]

    def prefetch(self, c: Any, c_step: Any) -> None:
        """Ask for the tile of C, which is needed after the loop: its rows are far apart."""
        builder = self.builder
        byte = ir.IntType(8).as_pointer()
        symbol = "llvm.prefetch.p0"
        known = builder.module.globals.get(symbol)
        if known is None:
            known = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32]), symbol)
        line = max(1, CACHE_LINE // self.itemsize)
        for i in range(self.height):
            row = builder.gep(c, [builder.mul(c_step, ir.Constant(I64, i))])
            for j in range(0, self.width * self.lanes, line):
                place = builder.bitcast(builder.gep(row, [ir.Constant(I64, j)]), byte)
                builder.call(known, [place, ir.Constant(I32, 1), ir.Constant(I32, 3), ir.Constant(I32, 1)])

    def row_starts(self, a: Any, a_step: Any) -> list[Any]:
        rows = range(0, self.height, self.SHARED)
        return [self.builder.gep(a, [self.builder.mul(a_step, ir.Constant(I64, i))]) for i in rows]

    def adjacent_places(self, column: Any, apart: int = 1) -> Iterator[Any]:
        for i in range(self.height):
            yield self.builder.gep(column, [ir.Constant(I64, i * apart)])

    def row_places(self, starts: Sequence[Any], a_step: Any) -> Iterator[Any]:
        for i in range(self.height):
            offset = self.builder.mul(a_step, ir.Constant(I64, i % self.SHARED))
            yield self.builder.gep(starts[i // self.SHARED], [offset])

    def multiply_add(self, sums: Sequence[Any], column: Iterator[Any], row: Sequence[Any]) -> list[Any]:
        results = []
        for i, place in enumerate(column):
            spread = self.spread(self.builder.load(place))
            for j, vector in enumerate(row):
                results.append(self.fma(spread, vector, sums[i * self.width + j]))
        return results

    def spread(self, element: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, element, ir.Constant(I32, 0))
        lanes = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        if not self.geometry.has_fma:
            return self.builder.fadd(self.builder.fmul(x, y), z)
        symbol = f"llvm.fma.v{self.lanes}{self.short}"
        known = self.builder.module.globals.get(symbol)
        if known is None:
            known = ir.Function(self.builder.module, ir.FunctionType(self.vector, [self.vector] * 3), symbol)
        return self.builder.call(known, [x, y, z])

    def store(self, c: Any, c_step: Any, sums: Sequence[Any], adds: Any) -> None:
        builder = self.builder
        targets = []
        for number in range(len(sums)):
            i, j = divmod(number, self.width)
            offset = builder.add(builder.mul(c_step, ir.Constant(I64, i)), ir.Constant(I64, j * self.lanes))
            targets.append(builder.gep(c, [offset]))
        before, add, end = builder.block, builder.append_basic_block("add"), builder.append_basic_block("store")
        builder.cbranch(builder.icmp_signed("!=", adds, ir.Constant(I64, 0)), add, end)
        builder.position_at_end(add)
        totals = [builder.fadd(self.load(target), value) for target, value in zip(targets, sums, strict=True)]
        builder.branch(end)
        builder.position_at_end(end)
        chosen = []
        for value, total in zip(sums, totals, strict=True):
            stored = builder.phi(self.vector)
            stored.add_incoming(value, before)
            stored.add_incoming(total, add)
            chosen.append(stored)
        for stored, target in zip(chosen, targets, strict=True):
            store_vector(builder, stored, target, self.itemsize)


def load_vector(builder: Any, pointer: Any, vector: Any, align: int) -> Any:
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=align)


def store_vector(builder: Any, value: Any, pointer: Any, align: int) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=align)


def emit_copy(builder: Any, geometry: Geometry, short: str, args: Any) -> None:
    """Copy elements, at most as many as a vector holds. ``args`` are (target, source, count).

    A whole vector is read; only the first ``count`` elements are written.
    """
    target, source, count = args
    element, itemsize = FLOATS[short]
    lanes = geometry.lanes(short)
    vector, bits, numbers = (ir.VectorType(t, lanes) for t in (element, ir.IntType(1), I32))
    symbol = f"llvm.masked.store.v{lanes}{short}.p0"
    known = builder.module.globals.get(symbol)
    if known is None:
        signature = ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), I32, bits])
        known = ir.Function(builder.module, signature, symbol)
    undefined = ir.Constant(numbers, ir.Undefined)
    first = builder.insert_element(undefined, builder.trunc(count, I32), ir.Constant(I32, 0))
    counts = builder.shuffle_vector(first, undefined, ir.Constant(numbers, [0] * lanes))
    mask = builder.icmp_signed("<", ir.Constant(numbers, list(range(lanes))), counts)
    value = load_vector(builder, source, vector, itemsize)
    builder.call(known, [value, builder.bitcast(target, vector.as_pointer()), ir.Constant(I32, itemsize), mask])


def emit_transpose(builder: Any, geometry: Geometry, short: str, args: Any) -> None:
    """Transpose a square block, as wide and as high as a vector has elements.

    ``args`` are (source, source_step, rows, target, target_step). Row i of the source is read at ``source + min(i, rows
    - 1) * source_step``, so only ``rows`` of them need exist. Rows of the target are whole vectors, written in
    ascending order: with a step smaller than a vector, each overwrites the end of the one before.
    """
    source, source_step, rows, target, target_step = args
    element, itemsize = FLOATS[short]
    lanes = geometry.lanes(short)
    vector = ir.VectorType(element, lanes)
    last = builder.sub(rows, ir.Constant(I64, 1))
    vectors = []
    for i in range(lanes):
        row = ir.Constant(I64, i)
        row = builder.select(builder.icmp_signed("<", row, last), row, last)
        pointer = builder.gep(source, [builder.mul(row, source_step)])
        vectors.append(load_vector(builder, pointer, vector, itemsize))
    distance = lanes // 2
    while distance:
        # Swap, in every block of 2 × distance, the upper right square with the lower left one.
        low = [lane if not lane & distance else lane - distance + lanes for lane in range(lanes)]
        high = [lane + distance if not lane & distance else lane + lanes for lane in range(lanes)]
        for i in range(lanes):
            if not i & distance:
                pair = vectors[i], vectors[i + distance]
                vectors[i], vectors[i + distance] = (
                    builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(I32, lanes), mask)) for mask in (low, high)
                )
        distance //= 2
    for i, value in enumerate(vectors):
        offset = builder.mul(target_step, ir.Constant(I64, i))
        store_vector(builder, value, builder.gep(target, [offset]), itemsize)
