"""A map as the text of a kernel: a thread for each point, or for a vector of points side by side.

Where memory runs along the last loop, a thread loads, computes and stores 16 bytes at a time, if it finds at run time that
buffers and rows begin at multiples of that; else, and for what is left at the end, one point::

    def add(in0, in1, out0, s0, extent):
        done = 0
        if is_aligned(in0, 16) and is_aligned(in1, 16) and is_aligned(out0, 16):
            done = extent - extent % 4
            for p in range(cuda.grid(1), extent // 4, cuda.gridsize(1)):
                i0 = p * 4
                a_0, a_1, a_2, a_3 = load_4(in0, i0)
                ...
                store_4(out0, i0, v2_0, v2_1, v2_2, v2_3)
        for p in range(done + cuda.grid(1), extent, cuda.gridsize(1)):
            ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphc.backends.numba_cpu.emit_scalar import from_memory, store, to_memory
from graphc.backends.numba_cpu.emit_text import affine_text
from graphc.dtypes import DType
from graphc.ir.dims import Dim
from graphc.loops.affine import Affine
from graphc.loops.kernel import Kernel, unrounded, used_instructions

from .body import SHORT, ScalarBody, extent_of, new_text, unravel
from .geometry import Geometry
from .source import DeviceSource, DeviceText

VECTOR_BYTES: Final = 16
"""What one instruction of a GPU reads or writes at most."""

#: Lanes at most, and how many instructions, and functions that are polynomials, the lanes of a body may have together: each
#: has a copy of the text.
_LANES: Final = 8
_INSTRUCTIONS: Final = 384
_POLYNOMIALS: Final = 8


def emit_map(kernel: Kernel, geometry: Geometry, annotate: bool) -> DeviceSource:
    """The text of a kernel without reductions."""
    text, buffers = new_text(kernel, kernel.name, geometry)
    loops = list(range(len(kernel.loops)))
    lanes = vector_lanes(kernel)
    if lanes > 1:
        _Vectors(kernel, text, buffers, lanes, annotate).write()
    body = ScalarBody(kernel.only.body, kernel.only.body_stores, "v", buffers, annotate)
    with text.points("p", "done" if lanes > 1 else ""):
        unravel(text, kernel, loops, "p")
        text.line(*body.lines, *body.stores)
    return text.finish(extent_of(kernel, loops), geometry.threads * lanes)


def vector_lanes(kernel: Kernel) -> int:
    """How many points a thread does at once: as many as the widest elements allow; 1 where memory does not run along the last
    loop, or the body is long."""
    stage, last = kernel.only, len(kernel.loops) - 1
    used = used_instructions(stage.body, [s.value for s in stage.body_stores])
    made = [instruction for number, instruction in enumerate(stage.body) if number in used]
    loads = [instruction.detail for instruction in made if instruction.kind == "load"]
    has_gaps = any(position.coefficient(last) not in (0, 1) for _, position, _ in loads)
    if last < 0 or has_gaps or any(s.position.coefficient(last) != 1 for s in stage.body_stores):
        return 1
    dtypes = [dtype for _, p, dtype in loads if p.coefficient(last) == 1] + [s.dtype for s in stage.body_stores]
    lanes = min(_LANES, VECTOR_BYTES // max(width(dtype) for dtype in dtypes))
    polynomials = sum(i.kind == "math" and i.detail not in SHORT for i in made)
    while lanes > 1 and (lanes * polynomials > _POLYNOMIALS or lanes * len(made) > _INSTRUCTIONS):
        lanes //= 2
    return lanes


def width(dtype: DType) -> int:
    """The bytes of an element."""
    return max(8, dtype.bits) // 8


class _Vectors:
    """The part of a map that does ``lanes`` points at a time."""

    def __init__(self, kernel: Kernel, text: DeviceText, buffers: Sequence[str], lanes: int, annotate: bool) -> None:
        self.kernel, self.text, self.buffers, self.lanes, self.annotate = kernel, text, buffers, lanes, annotate
        self.last = len(kernel.loops) - 1
        stage = kernel.only
        self.values = [unrounded(stage.body, s) for s in stage.body_stores]
        self.used = used_instructions(stage.body, self.values)
        self.moving: set[int] = set()
        for number, made in enumerate(stage.body):
            own = made.detail if made.kind == "index" else made.detail[1] if made.kind == "load" else Affine()
            if own.coefficient(self.last) != 0 or not self.moving.isdisjoint(made.operands):
                self.moving.add(number)
        self.vectors = [
            number
            for number in sorted(self.moving & self.used)
            if stage.body[number].kind == "load" and self._may_start(stage.body[number].detail[1])
        ]

    def write(self) -> None:
        text, kernel, lanes, stage = self.text, self.kernel, self.lanes, self.kernel.only
        text.line("done = 0")
        with text.block(f"if {' and '.join(self._conditions())}:"):
            text.line("done = extent" if len(kernel.loops) > 1 else f"done = extent - extent % {lanes}")
            with text.points("p", count=f"extent // {lanes}"):
                extents = [str(loop.extent) for loop in kernel.loops]
                extents[-1] = f"({extents[-1]} // {lanes})"
                text.unravel("p", extents, [f"i{i}" for i in range(self.last)] + [f"i{self.last}_{lanes}"])
                text.line(f"i{self.last} = i{self.last}_{lanes} * {lanes}")
                self._body()
                for s, value in zip(stage.body_stores, self.values, strict=True):
                    made = [to_memory(names[value], s.dtype) for names in self.names]
                    buffer = self.buffers[s.buffer]
                    if self._may_start(s.position):
                        text.line(f"store_{lanes}({buffer}, {affine_text(s.position)}, {', '.join(made)})")
                    else:
                        for lane, names in enumerate(self.names):
                            text.line(store(buffer, affine_text(s.position + Affine(lane)), names[value], s.dtype))

    def _body(self) -> None:
        """The lines of all lanes: what is the same for all, what is loaded for all, then the rest of each."""
        stage, text, lanes = self.kernel.only, self.text, self.lanes
        same = sorted(self.used - self.moving)
        shared = ScalarBody(stage.body, (), "v", self.buffers, self.annotate, needed=same)
        text.line(*shared.lines)
        loaded: list[dict[int, str]] = [{number: shared.names[number] for number in same} for _ in range(lanes)]
        for number in self.vectors:
            buffer, position, dtype = stage.body[number].detail
            elements = [f"e{number}_{lane}" for lane in range(lanes)]
            text.line(f"{', '.join(elements)} = load_{lanes}({self.buffers[buffer]}, {affine_text(position)})")
            for lane, element in enumerate(elements):
                value = from_memory(element, dtype)
                loaded[lane][number] = element if value == element else f"v{number}_{lane}"
                if value != element:
                    text.line(f"v{number}_{lane} = {value}")
        self.names: list[list[str]] = []
        for lane in range(lanes):
            body = ScalarBody(
                stage.body, (), "v", self.buffers, self.annotate,
                needed=self.values, given=loaded[lane], lane=(self.last, lane, f"_{lane}"),
            )  # fmt: skip
            text.line(*body.lines)
            self.names.append(body.names)

    def _may_start(self, position: Affine) -> bool:
        """Whether a vector can begin at ``position``: unless a constant in it says otherwise, if the sizes do so."""
        return all(not isinstance(part, int) or part % self.lanes == 0 for part in self._parts(position))

    def _parts(self, position: Affine) -> list[Dim]:
        return [position.offset, *(coefficient for loop, coefficient in position.terms if loop != self.last)]

    def _conditions(self) -> list[str]:
        """What must hold, for all threads alike: rows and buffers begin at multiples of a vector."""
        stage = self.kernel.only
        accesses = [stage.body[number].detail for number in self.vectors]
        accesses += [(s.buffer, s.position, s.dtype) for s in stage.body_stores if self._may_start(s.position)]
        multiples: list[Dim] = [self.kernel.loops[-1].extent] if len(self.kernel.loops) > 1 else []
        for _, position, _ in accesses:
            multiples += [part for part in self._parts(position) if not isinstance(part, int)]
        aligned = {buffer: width(dtype) * self.lanes for buffer, _, dtype in accesses}
        conditions = [f"{_factor(part)} % {self.lanes} == 0" for part in dict.fromkeys(multiples)]
        return conditions + [f"is_aligned({self.buffers[b]}, {nbytes})" for b, nbytes in aligned.items()] or ["True"]


def _factor(dim: Dim) -> str:
    text = str(dim)
    return text if text.isidentifier() else f"({text})"
