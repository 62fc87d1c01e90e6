"""Scalar code of a kernel: instructions in single-assignment form, recorded by running ``scalar`` rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphc.dtypes import DType, bool_, float32, int64
from graphc.ir.dims import Dim
from graphc.locations import UNKNOWN, Location
from graphc.loops.affine import Affine


@dataclass(frozen=True, slots=True)
class Ref:
    """The result of instruction ``id``: a scalar of ``dtype`` (never a 16-bit float: those are widened to float32)."""

    id: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Instruction:
    """``kind`` with ``operands`` gives a scalar of ``dtype``; ``detail`` is what ``kind`` needs beyond operands.

    The kinds and their details: constant (the value); load (buffer, Affine, dtype in memory); index (Affine); size (a
    kernel size); convert, select, invert (none); binary and compare (the operator); math (the function); round (the
    16-bit dtype that the value is rounded to); reduced (the position in ``Stage.reductions``); row (a stage and an
    instruction of its epilogue: what that made for the same row).
    """

    kind: str
    dtype: DType
    operands: tuple[int, ...] = ()
    detail: Any = None
    location: Location = UNKNOWN

    def __str__(self) -> str:
        operands = ", ".join(f"%{o}" for o in self.operands)
        if self.kind in ("binary", "compare"):
            return f"%{self.operands[0]} {self.detail} %{self.operands[1]}"
        if self.kind == "load":
            buffer, position, _ = self.detail
            return f"load b{buffer}[{position}]"
        if self.kind == "math":
            return f"{self.detail}({operands})"
        if self.kind in ("convert", "select", "invert"):
            return f"{self.kind}({operands})"
        if self.kind == "round":
            return f"round_to_{self.detail.short}({operands})"
        if self.kind == "row":
            return f"stage {self.detail[0]}'s %{self.detail[1]}"
        return f"{self.kind} {self.detail}"


class Recorder:
    """A :class:`~graphc.ir.primitive.ScalarHandler` that writes down instructions, each different one once.

    ``location`` is the user's line that new instructions come from.
    """

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.location: Location = UNKNOWN
        self._known: dict[tuple[Any, ...], Ref] = {}

    def emit(self, kind: str, dtype: DType, operands: tuple[Ref, ...] = (), detail: Any = None) -> Ref:
        """The result of an instruction, which is new unless the very same one was recorded before."""
        ids = tuple([o.id for o in operands])
        # repr tells 0.0 from -0.0 and finds NaN equal to itself.
        key = (kind, dtype.name, ids, repr(detail) if kind == "constant" else detail)
        ref = self._known.get(key)
        if ref is None:
            ref = self._known[key] = Ref(len(self.instructions), dtype)
            self.instructions.append(Instruction(kind, dtype, ids, detail, self.location))
        return ref

    def constant(self, value: bool | int | float, dtype: DType) -> Ref:
        if dtype.is_bool:
            return self.emit("constant", dtype, (), bool(value))
        if dtype.is_integer:
            return self.emit("constant", dtype, (), int(value))
        return self.emit("constant", dtype.compute, (), float(value))

    def convert(self, x: Ref, dtype: DType) -> Ref:
        if x.dtype is not dtype.compute:
            x = self.emit("convert", dtype.compute, (x,))
        return self.rounded(x, dtype)

    def rounded(self, x: Ref, dtype: DType) -> Ref:
        """``x`` rounded to ``dtype`` where that is a 16-bit float; ``x`` itself for any other."""
        if dtype.compute is dtype:
            return x
        return x if self._is_rounded(x.id, dtype) else self.emit("round", float32, (x,), dtype)

    def _is_rounded(self, number: int, dtype: DType) -> bool:
        made = self.instructions[number]
        # A select gives one of its arms as it is; nests of them are not looked into.
        sources = [self.instructions[i] for i in made.operands[1:]] if made.kind == "select" else [made]
        return all(
            (m.kind == "round" and m.detail is dtype) or (m.kind == "load" and m.detail[2] is dtype) for m in sources
        )

    def binary(self, op: str, x: Ref, y: Ref) -> Ref:
        return self.emit("binary", x.dtype, (x, y), op)

    def compare(self, op: str, x: Ref, y: Ref) -> Ref:
        return self.emit("compare", bool_, (x, y), op)

    def select(self, predicate: Ref, on_true: Ref, on_false: Ref) -> Ref:
        if on_true == on_false:
            return on_true
        return self.emit("select", on_true.dtype, (predicate, on_true, on_false))

    def invert(self, x: Ref) -> Ref:
        return self.emit("invert", x.dtype, (x,))

    def math(self, function: str, *operands: Ref) -> Ref:
        dtype = bool_ if function in ("is_nan", "is_finite") else operands[0].dtype
        return self.emit("math", dtype, operands, function)

    def load(self, buffer: int, position: Affine, dtype: DType) -> Ref:
        """The element of ``buffer`` at ``position``; the dtype in memory is kept in the instruction."""
        return self.emit("load", dtype.compute, (), (buffer, position, dtype))

    def index(self, position: Affine) -> Ref:
        """An affine function of the loop indices, as an int64."""
        return self.emit("index", int64, (), position)

    def size(self, dim: Dim) -> Ref:
        """A size of the kernel, as an int64."""
        return self.emit("size", int64, (), dim)
