"""Rows of windows that lie side by side, such as pooling has, as LLVM IR: many windows at a time.

LLVM's own vectorizer does little for them: the rows are short (14, 7), so that the loop of a whole vector is never entered
and all is done by the one for the rest. Here vectors are halved until one fits into the row, and the last one overlaps the one
before, which writes the same values twice. An element of every window is a column: vectors of neighbours are taken apart into
columns, and put together again, by shuffles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from graphc.backends.numba_cpu.gemm.host import HOST
from graphc.backends.numba_cpu.gemm.microkernel import FLOATS, I32, I64, load_vector, store_vector

NUMBERS: Final = {"f32": types.float32, "f64": types.float64}
Emit = Callable[["_Windows", Any], None]


class _Windows:
    """Emits what is done to ``lanes`` windows, each ``height`` rows of ``width`` elements, from window ``t`` of a row on."""

    def __init__(self, builder: Any, short: str, shape: tuple[int, int], lanes: int) -> None:
        self.builder, self.short, self.lanes = builder, short, lanes
        self.height, self.width = shape
        self.element, self.itemsize = FLOATS[short]
        self.vector = ir.VectorType(self.element, lanes)

    def columns(self, x: Any, pitch: Any, t: Any) -> list[Any]:
        """The elements of the windows, in the order of the window; one vector holds one element of all of them."""
        return [self._column(row, c) for row in self._rows(x, pitch, t) for c in range(self.width)]

    def _rows(self, x: Any, pitch: Any, t: Any) -> list[Any]:
        wide = ir.VectorType(self.element, self.lanes * self.width)
        return [load_vector(self.builder, place, wide, self.itemsize) for place in self._places(x, pitch, t)]

    def _places(self, x: Any, pitch: Any, t: Any) -> list[Any]:
        first = self.builder.gep(x, [self.builder.mul(t, ir.Constant(I64, self.width))])
        return [self.builder.gep(first, [self.builder.mul(pitch, ir.Constant(I64, r))]) for r in range(self.height)]

    def _column(self, row: Any, column: int) -> Any:
        lanes = range(column, self.lanes * self.width, self.width)
        return self._shuffled(row, ir.Constant(row.type, ir.Undefined), lanes)

    def _shuffled(self, x: Any, y: Any, lanes: Sequence[int]) -> Any:
        return self.builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))

    def put(self, columns: Sequence[Any], result: Any, pitch: Any, t: Any) -> None:
        """Store elements, given as :meth:`columns` gives them, where those were loaded from in another array."""
        for row, place in enumerate(self._places(result, pitch, t)):
            mine = columns[row * self.width : (row + 1) * self.width]
            joined = mine[0]
            for number, column in enumerate(mine[1:], 1):
                count = number * self.lanes
                wide = self._shuffled(column, ir.Constant(column.type, ir.Undefined), [i % self.lanes for i in range(count)])
                joined = self._shuffled(joined, wide, range(count + self.lanes))
            order = [c * self.lanes + lane for lane in range(self.lanes) for c in range(self.width)]
            store_vector(self.builder, self._shuffled(joined, joined, order), place, self.itemsize)

    def at(self, pointer: Any, t: Any) -> Any:
        return self.builder.gep(pointer, [t])

    def extreme(self, columns: Sequence[Any], operation: str) -> Any:
        """The maximum or minimum of each window by IEEE 754-2019: NaN wins, and -0 is below 0."""
        symbol = f"llvm.{operation}imum.v{self.lanes}{self.short}"
        known = self.builder.module.globals.get(symbol)
        if known is None:
            known = ir.Function(self.builder.module, ir.FunctionType(self.vector, [self.vector] * 2), symbol)
        best = columns[0]
        for column in columns[1:]:
            best = self.builder.call(known, [best, column])
        return best

    def winners(self, columns: Sequence[Any], operation: str) -> list[Any]:
        """For each element of the window: whether it is the first extreme one, or the first NaN."""
        builder = self.builder
        order = ">" if operation == "max" else "<"
        numbers = ir.VectorType(I32, self.lanes)

        def all_lanes(number: int) -> Any:
            return ir.Constant(numbers, [number] * self.lanes)

        best, found = columns[0], all_lanes(0)
        for number, column in enumerate(columns[1:], 1):
            is_number = builder.fcmp_ordered("ord", best, best)
            is_better = builder.and_(is_number, builder.fcmp_unordered(order, column, best))
            best = builder.select(is_better, column, best)
            found = builder.select(is_better, all_lanes(number), found)
        return [builder.icmp_signed("==", found, all_lanes(number)) for number in range(len(columns))]


def _over_row(builder: Any, count: Any, short: str, shape: tuple[int, int], emit: Emit) -> None:
    """``emit`` for all ``count`` windows of a row, in vectors of the greatest power of two that is not above it."""
    function = builder.function
    lanes = HOST.lanes(short)
    end = function.append_basic_block("end")
    zero = ir.Constant(I64, 0)
    while lanes:
        step = ir.Constant(I64, lanes)
        loop, smaller = function.append_basic_block(f"by_{lanes}"), function.append_basic_block("smaller")
        last = builder.sub(count, step)
        before = builder.block
        builder.cbranch(builder.icmp_signed(">=", last, zero), loop, smaller)
        builder.position_at_end(loop)
        place = builder.phi(I64)
        place.add_incoming(zero, before)
        is_over = builder.icmp_signed(">", place, last)
        emit(_Windows(builder, short, shape, lanes), builder.select(is_over, last, place))
        following = builder.add(place, step)
        place.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, end)
        builder.position_at_end(smaller)
        lanes //= 2
    builder.branch(end)
    builder.position_at_end(end)


def _function(builder: Any, name: str, arguments: Sequence[Any], emit_body: Callable[[Any, Any], None]) -> None:
    """Call the function ``name`` of the module, which ``emit_body`` defines if it is not there yet."""
    known = builder.module.globals.get(name)
    if known is None:
        signature = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
        known = ir.Function(builder.module, signature, name)
        known.linkage = "internal"
        known.attributes.add("nounwind")
        for argument in known.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        inner = ir.IRBuilder(known.append_basic_block("entry"))
        emit_body(inner, known.args)
        inner.ret_void()
    builder.call(known, arguments)


def _literals(*values: Any) -> list[int] | None:
    return [v.literal_value for v in values] if all(isinstance(v, types.IntegerLiteral) for v in values) else None


def _extreme(short: str, operation: str) -> Any:
    """``window_max_f32(height, width, x, pitch, result, count)``: the maxima of a row of ``count`` windows.

    Their rows are ``pitch`` elements apart; ``height`` and ``width`` are literals.
    """
    pointer = cast(Any, types).CPointer(NUMBERS[short])

    def function(context: Any, height: Any, width: Any, x: Any, pitch: Any, result: Any, count: Any) -> Any:
        shape = _literals(height, width)
        if shape is None:
            return None

        def body(builder: Any, args: Any) -> None:
            x, pitch, result, count = args

            def emit(windows: _Windows, t: Any) -> None:
                best = windows.extreme(windows.columns(x, pitch, t), operation)
                store_vector(builder, best, windows.at(result, t), windows.itemsize)

            _over_row(builder, count, short, (shape[0], shape[1]), emit)

        def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            name = f"graphc_window_{operation}_{short}_{shape[0]}x{shape[1]}"
            _function(builder, name, args[2:], body)
            return target.get_dummy_value()

        return types.void(height, width, pointer, types.int64, pointer, types.int64), generate

    function.__name__ = function.__qualname__ = f"window_{operation}_{short}"
    return intrinsic(prefer_literal=True)(function)


def _select(short: str, operation: str) -> Any:
    """``window_select_max_f32(height, width, x, pitch, source, result, count)``: each of ``source`` goes to the place, in
    ``result``, of the maximum of its window in ``x``, and 0 to the others.
    """
    pointer = cast(Any, types).CPointer(NUMBERS[short])

    def function(context: Any, height: Any, width: Any, x: Any, pitch: Any, source: Any, result: Any, count: Any) -> Any:
        shape = _literals(height, width)
        if shape is None:
            return None

        def body(builder: Any, args: Any) -> None:
            x, pitch, source, result, count = args

            def emit(windows: _Windows, t: Any) -> None:
                wins = windows.winners(windows.columns(x, pitch, t), operation)
                value = load_vector(builder, windows.at(source, t), windows.vector, windows.itemsize)
                zero = ir.Constant(windows.vector, [0.0] * windows.lanes)
                windows.put([builder.select(win, value, zero) for win in wins], result, pitch, t)

            _over_row(builder, count, short, (shape[0], shape[1]), emit)

        def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            name = f"graphc_window_select_{operation}_{short}_{shape[0]}x{shape[1]}"
            _function(builder, name, args[2:], body)
            return target.get_dummy_value()

        return types.void(height, width, pointer, types.int64, pointer, pointer, types.int64), generate

    function.__name__ = function.__qualname__ = f"window_select_{operation}_{short}"
    return intrinsic(prefer_literal=True)(function)


WINDOW_FUNCTIONS: Final[dict[str, Any]] = {
    **{f"window_{operation}_{short}": _extreme(short, operation) for short in NUMBERS for operation in ("max", "min")},
    **{f"window_select_{operation}_{short}": _select(short, operation) for short in NUMBERS for operation in ("max", "min")},
}
"""``window_max_f32`` and ``window_select_max_f32``, and the same for min and f64."""
