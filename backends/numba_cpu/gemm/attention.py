"""attention and attention_gradient, block by block: no matrix of scores is in memory.

The softmax of a row needs its maximum. While blocks of keys go by, the largest score so far is kept, and what was summed up
with a smaller one is scaled down (Milakov and Gimelshein, 2018; Dao et al., "FlashAttention", 2022). Forward, a block holds
keys by queries: keys are read where they lie, exponentials run along neighbouring queries, and the block is, as it is, the
left operand of the product with the values. Backward it holds queries by keys, of which the same is true for all five
products; only the keys and values of a block are packed, once for all queries.

With ``causal``, blocks that no query sees are left out, unless a NaN or infinity is there, which 0 times it would show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.gemm.host import HOST
from graphc.backends.numba_cpu.gemm.product import indented, nested
from graphc.backends.numba_cpu.structural.template import Element, KernelText
from graphc.ir.dims import Dim, dim_max, dim_min, product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource, Lowering

KEYS: Final = 64
"""Keys of a block."""
TASKS: Final = 8
"""Fewer matrices than this are divided by keys in the backward pass, each part with gradients of the queries of its own."""
SLACK: Final = 64
"""Elements after packed panels, for the ends of vectors."""

_ALL_FINITE: Final = '''@noalias
def all_finite(x, rows, step, columns):
    """Whether there is no NaN and no infinity in so many rows, `step` apart."""
    total = {zero}
    for i in range(rows):
        for c in range(columns):
            total = add_reassoc(total, x[i * step + c] * {zero})
    return total == {zero}'''

_ATTEND: Final = '''@noalias
def attend(scores, largest, fresh, shifts, sums, total, first, key, count, keys, columns):
    """Exponentiate a block of scores, and scale down what was summed up so far where a larger one came."""
    for q in range(count):
        fresh[q] = largest[q]
    for j in range(keys):
        for q in range(count):
{score}
            fresh[q] = fmaximum(fresh[q], scores[j * {queries} + q])
    for q in range(count):
        new, old = fresh[q], largest[q]
        largest[q] = new
        shifts[q] = {zero} if (new == {inf}) | (new == -{inf}) else new
        fresh[q] = {one} if new == old else exp_{held}(old - new)
        sums[q] = sums[q] * fresh[q]
    for q in range(count):
        factor = fresh[q]
        for c in range(columns):
            total[q * columns + c] = total[q * columns + c] * factor
        fresh[q] = {zero}
    for j in range(keys):
        for q in range(count):
            power = exp_{held}(scores[j * {queries} + q] - shifts[q])
            scores[j * {queries} + q] = power
            fresh[q] = fresh[q] + power
    for q in range(count):
        sums[q] = sums[q] + fresh[q]'''

_CAUSAL_SCORE: Final = '''            score = scores[j * {queries} + q]
            scores[j * {queries} + q] = score if key + j <= first + q else -{inf}'''

_FORWARD: Final = '''    scores = stack_{held}({score_room})
    state = stack_{held}({state_room})
    largest, fresh = state, offset_pointer(state, {queries})
    shifts, sums = offset_pointer(state, {queries} * 2), offset_pointer(state, {queries} * 3)
    for task in range(lo, hi):
        matrix = task // blocks
        first = (task - matrix * blocks) * {queries}
        count = min(l - first, {queries})
        q_rows = offset_pointer(q, (matrix * l + first) * ep)
        k_rows = offset_pointer(k, matrix * s * ep)
        v_rows = offset_pointer(v, matrix * s * vp)
        panels = offset_pointer(room, task * ({queries} * (e + vp) + {slack}))
        total = offset_pointer(panels, {queries} * e + {slack})
        seen = s
{skip}
        for j in range(0, count, {nr}):
            part = min(count - j, {nr})
            full = (part + {lanes_less}) // {lanes} * {lanes}
            pack_{held}(offset_pointer(q_rows, j * ep), ep, one, part, full, e, offset_pointer(panels, j * e), scores)
        for i in range(count):
            largest[i] = -{inf}
            sums[i] = {zero}
        for i in range(count * vp):
            total[i] = {zero}
        for key in range(0, seen, {keys}):
            keys = min(seen - key, {keys})
            for j in range(0, count, {nr}):
                width = (min(count - j, {nr}) + {lanes_less}) // {lanes}
                panel = offset_pointer(panels, j * e)
                i = np.int64(0)
                while i < keys:
                    height = short_tile_height(keys - i)
                    part_of_k = offset_pointer(k_rows, (key + i) * ep)
                    block = offset_pointer(scores, i * {queries} + j)
                    multiply_rows_{held}(height, width, part_of_k, ep, panel, width * {lanes}, e, block, queries, zero)
                    i += height
            attend(scores, largest, fresh, shifts, sums, total, first, key, count, keys, vp)
            for c in range(0, vp, {nr}):
                width = min(vp - c, {nr}) // {lanes}
                part_of_v = offset_pointer(v_rows, key * vp + c)
                i = np.int64(0)
                while i < count:
                    height = tile_height(count - i)
                    block = offset_pointer(total, i * vp + c)
                    multiply_{held}(height, width, offset_pointer(scores, i), queries, part_of_v, vp, keys, block, vp, one)
                    i += height
        for i in range(count):
            row = matrix * l + first + i
            divisor = {one} if sums[i] == {zero} else sums[i]
            lse[row] = shifts[i] + log_{held}(sums[i])
            for c in range(n):
                {store}'''

_SKIP: Final = '''seen = min(s, first + count)
if not all_finite(offset_pointer(v_rows, seen * vp), s - seen, vp, n):
    seen = s'''


class _Attention:
    """What both directions share: sizes, copies of operands with padded rows, and pieces of text."""

    def __init__(self, attributes: Mapping[str, Any], operands: Sequence[TensorType], results: int) -> None:
        self.causal: bool = attributes["causal"]
        q, k, v = operands[:3]
        self.element = Element(q.dtype)
        self.held = self.element.held.short
        self.lanes, self.nr = HOST.lanes(self.held), HOST.tile(self.held)[1]
        self.queries = 2 * self.nr
        self.matrices, self.l, self.s = product(q.shape[:-2]), q.shape[-2], k.shape[-2]
        self.e, self.n = q.shape[-1], v.shape[-1]
        self.ep, self.vp = self._padded(self.e), self._padded(self.n)
        self.blocks = (self.l + (self.queries - 1)) // self.queries
        self.operands, self.results = operands, results
        self.first_scratch = len(operands) + results
        self.scratch: list[TensorType] = []
        rows = {"q": (0, self.l, self.e, self.ep), "k": (1, self.s, self.e, self.ep), "v": (2, self.s, self.n, self.vp)}
        if len(operands) > 3:
            rows["ct"] = (3, self.l, self.n, self.vp)
        self.inputs = rows
        self.places: dict[str, int] = {}
        for name, (_, count, size, padded) in rows.items():
            is_copied: Dim = 1 if self.element.is_half else dim_min(1, padded - size)
            self.places[name] = self.add_scratch(is_copied * self.matrices * count * padded)

    def _padded(self, size: Dim) -> Dim:
        return (size + (self.lanes - 1)) // self.lanes * self.lanes

    def add_scratch(self, size: Dim) -> int:
        self.scratch.append(TensorType(self.element.held, (size,)))
        return self.first_scratch + len(self.scratch) - 1

    def copy_kernels(self) -> list[KernelSource]:
        """Kernels that copy operands whose rows are not whole vectors, or are 16-bit floats, to rows that are."""
        kernels = []
        for name, (position, count, size, padded) in self.inputs.items():
            is_copied: Dim = 1 if self.element.is_half else dim_min(1, padded - size)
            if is_copied == 0:
                continue
            text = KernelText("attention_rows", f"Copy rows of {self.element.dtype} to whole vectors.")
            text.buffer("x", position, self.element.dtype)
            text.buffer("target", self.places[name], self.element.held)
            text.size("size", size)
            text.size("padded", padded)
            with text.block("for row in range(lo, hi):"):
                with text.block("for c in range(size):"):
                    text.line(f"target[row * padded + c] = {self.element.load('x', 'row * size + c')}")
                with text.block("for c in range(size, padded):"):
                    text.line(f"target[row * padded + c] = {self.element.literal(0)}")
            kernels.append(text.finish(is_copied * self.matrices * count, tuple(self.scratch)))
        return kernels

    def begin(self, text: KernelText) -> None:
        """Sizes, and the operands or their copies."""
        sizes = {"l": self.l, "s": self.s, "e": self.e, "n": self.n, "ep": self.ep, "vp": self.vp}
        for name, size in sizes.items():
            text.size(name, size)
        for name, (position, *_) in self.inputs.items():
            text.buffer(name, self.places[name], self.element.held)
            if not self.element.is_half:
                text.buffer(f"{name}_given", position, self.element.dtype)
                is_padded = "n != vp" if name in ("v", "ct") else "e != ep"
                text.line(f"{name} = {name} if {is_padded} else {name}_given")
        text.line(f"zero, one, queries = np.int64(0), np.int64(1), np.int64({self.queries})")

    @property
    def names(self) -> dict[str, Any]:
        """What the templates may name."""
        return {
            "held": self.held,
            "zero": self.element.literal(0),
            "one": self.element.literal(1),
            "inf": self.element.literal("np.inf"),
            "queries": self.queries,
            "keys": KEYS,
            "nr": self.nr,
            "lanes": self.lanes,
            "lanes_less": self.lanes - 1,
            "slack": SLACK,
            "score_room": KEYS * self.queries + SLACK,
        }


def lower_attention(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> tuple[KernelSource, ...]:
    """``attention``, in parallel over blocks of queries."""
    a = _Attention(attributes, operand_types, results=2)
    room = a.add_scratch(a.matrices * a.blocks * (a.queries * (a.e + a.vp) + SLACK))
    text = KernelText("attention", f"Attend in {a.element.dtype}{', causally' if a.causal else ''}.")
    names = a.names
    text.helper(_ALL_FINITE.format(**names))
    text.helper(_ATTEND.format(score=_CAUSAL_SCORE.format(**names) if a.causal else "", **names))
    text.buffer("out", 3, a.element.dtype)
    text.buffer("lse", 4, a.element.held)
    text.buffer("room", room, a.element.held)
    a.begin(text)
    text.size("blocks", a.blocks)
    store = a.element.store("out", "row * n + c", "total[i * vp + c] / divisor")
    skip = indented(_SKIP.splitlines(), 2) if a.causal else ""
    text.line(*_lines(_FORWARD.format(skip=skip, store=store, state_room=4 * a.queries, **names)))
    return (*a.copy_kernels(), text.finish(a.matrices * a.blocks, tuple(a.scratch)))


def _lines(template: str) -> list[str]:
    """The lines of a template that is indented once, without that and without empty ones."""
    return [line.removeprefix("    ") for line in template.splitlines() if line.strip()]


_SLOPES: Final = '''@noalias
def slopes_of(weights, slopes, lse, delta, first, key, count, keys):
    """From a block of scores, and of cotangents of the softmax, to the softmax and the cotangents of the scores."""
    for i in range(count):
        shift, mean = {zero} if lse[i] == -{inf} else lse[i], delta[i]
        for j in range(keys):
            score, is_seen = weights[i * {keys} + j], {is_seen}
            weight = exp_{held}((score if is_seen else -{inf}) - shift)
            slope = weight * (slopes[i * {keys} + j] - mean)
            weights[i * {keys} + j] = weight
            slopes[i * {keys} + j] = slope if is_seen else {zero}'''

_BACKWARD: Final = '''    weights, slopes = stack_{held}({score_room}), stack_{held}({score_room})
    for task in range(lo, hi):
        matrix = task // parts
        start = (task - matrix * parts) * each
        q_rows, ct_rows = offset_pointer(q, matrix * l * ep), offset_pointer(ct, matrix * l * vp)
        k_rows, v_rows = offset_pointer(k, matrix * s * ep), offset_pointer(v, matrix * s * vp)
        dq_rows = offset_pointer(partial, task * l * ep)
        k_panels = offset_pointer(room, task * ({keys} * (e + n + ep + vp) + {slack} * 2))
        v_panels = offset_pointer(k_panels, {keys} * e + {slack})
        dk_rows = offset_pointer(v_panels, {keys} * n + {slack})
        dv_rows = offset_pointer(dk_rows, {keys} * ep)
        for i in range(l * ep):
            dq_rows[i] = {zero}
        skips = False
{skip}
        for key in range(start, min(s, start + each), {keys}):
            keys = min(s - key, {keys})
            for j in range(0, keys, {nr}):
                part = min(keys - j, {nr})
                full = (part + {lanes_less}) // {lanes} * {lanes}
                k_part, v_part = offset_pointer(k_rows, (key + j) * ep), offset_pointer(v_rows, (key + j) * vp)
                pack_{held}(k_part, ep, one, part, full, e, offset_pointer(k_panels, j * e), weights)
                pack_{held}(v_part, vp, one, part, full, n, offset_pointer(v_panels, j * n), weights)
            for i in range(keys * ep):
                dk_rows[i] = {zero}
            for i in range(keys * vp):
                dv_rows[i] = {zero}
            for first in range(key if skips else 0, l, {queries}):
                count = min(l - first, {queries})
                q_block, ct_block = offset_pointer(q_rows, first * ep), offset_pointer(ct_rows, first * vp)
                times_panels(weights, q_block, ep, k_panels, e, count, keys)
                times_panels(slopes, ct_block, vp, v_panels, n, count, keys)
                at = matrix * l + first
                slopes_of(weights, slopes, offset_pointer(lse, at), offset_pointer(delta, at), first, key, count, keys)
                add_across(dv_rows, weights, ct_block, vp, count, keys)
                add_across(dk_rows, slopes, q_block, ep, count, keys)
                add_along(offset_pointer(dq_rows, first * ep), slopes, offset_pointer(k_rows, key * ep), ep, count, keys)
            for i in range(keys):
                row = matrix * s + key + i
                for c in range(e):
                    {store_dk}
                for c in range(n):
                    {store_dv}'''

_TIMES_PANELS: Final = '''def times_panels(block, rows, step, panels, depth, count, keys):
    """Set a block to so many rows times packed columns."""
    for j in range(0, keys, {nr}):
        width = (min(keys - j, {nr}) + {lanes_less}) // {lanes}
        panel = offset_pointer(panels, j * depth)
        i = np.int64(0)
        while i < count:
            height = short_tile_height(count - i)
            part, to = offset_pointer(rows, i * step), offset_pointer(block, i * {keys} + j)
            multiply_rows_{held}(height, width, part, step, panel, width * {lanes}, depth, to, np.int64({keys}), np.int64(0))
            i += height'''

_ADD_ACROSS: Final = '''def add_across(sums, block, rows, step, count, keys):
    """Add the transpose of a block times rows."""
    for c in range(0, step, {nr}):
        width = min(step - c, {nr}) // {lanes}
        part = offset_pointer(rows, c)
        i = np.int64(0)
        while i < keys:
            height = tile_height(keys - i)
            column, to = offset_pointer(block, i), offset_pointer(sums, i * step + c)
            multiply_{held}(height, width, column, np.int64({keys}), part, step, count, to, step, np.int64(1))
            i += height'''

_ADD_ALONG: Final = '''def add_along(sums, block, rows, step, count, keys):
    """Add a block times rows."""
    for c in range(0, step, {nr}):
        width = min(step - c, {nr}) // {lanes}
        part = offset_pointer(rows, c)
        i = np.int64(0)
        while i < count:
            height = short_tile_height(count - i)
            row, to = offset_pointer(block, i * {keys}), offset_pointer(sums, i * step + c)
            multiply_rows_{held}(height, width, row, np.int64({keys}), part, step, keys, to, step, np.int64(1))
            i += height'''

_SKIPS: Final = '''skips = all_finite(q_rows, l, ep, e) and all_finite(k_rows, s, ep, e)
skips = skips and all_finite(v_rows, s, vp, n) and all_finite(ct_rows, l, vp, n)
skips = skips and all_finite(offset_pointer(lse, matrix * l), one, l, l)'''


def lower_attention_gradient(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> tuple[KernelSource, ...]:
    """``attention_gradient``, in parallel over matrices, and over parts of the keys where there are few matrices.

    Each part sums up gradients of the queries of its own, which a second kernel adds.
    """
    a = _Attention(attributes, operand_types, results=3)
    most = dim_max(1, TASKS // dim_max(1, a.matrices))
    parts = dim_max(1, dim_min(most, (a.s + (KEYS - 1)) // KEYS))
    each = (a.s + (parts * KEYS - 1)) // (parts * KEYS) * KEYS
    room = a.add_scratch(a.matrices * parts * (KEYS * (a.e + a.n + a.ep + a.vp) + 2 * SLACK))
    partial = a.add_scratch(a.matrices * parts * a.l * a.ep)
    names = a.names
    text = KernelText("attention_gradient", f"The gradients of attention in {a.element.dtype}.")
    text.helper(_ALL_FINITE.format(**names))
    text.helper("@noalias\n" + _TIMES_PANELS.format(**names))
    text.helper(_SLOPES.format(is_seen="key + j <= first + i" if a.causal else "True", **names))
    text.helper("@noalias\n" + _ADD_ACROSS.format(**names))
    text.helper("@noalias\n" + _ADD_ALONG.format(**names))
    for position, name in enumerate(("lse", "delta"), 4):
        text.buffer(name, position, a.element.held)
    text.buffer("dk", 7, a.element.dtype)
    text.buffer("dv", 8, a.element.dtype)
    text.buffer("room", room, a.element.held)
    text.buffer("partial", partial, a.element.held)
    a.begin(text)
    text.size("parts", parts)
    text.size("each", each)
    stores = {
        "store_dk": a.element.store("dk", "row * e + c", "dk_rows[i * ep + c]"),
        "store_dv": a.element.store("dv", "row * n + c", "dv_rows[i * vp + c]"),
    }
    skip = indented(_SKIPS.splitlines(), 2) if a.causal else ""
    text.line(*_lines(_BACKWARD.format(skip=skip, **stores, **names)))
    main = text.finish(a.matrices * parts, tuple(a.scratch))
    return (*a.copy_kernels(), main, _query_gradients(a, parts, partial))


def _query_gradients(a: _Attention, parts: Dim, partial: int) -> KernelSource:
    """Add up the gradients of the queries that the parts have, in parallel over queries."""
    text = KernelText("attention_queries", f"Add up gradients of queries in {a.element.dtype}.")
    text.buffer("dq", 6, a.element.dtype)
    text.buffer("partial", partial, a.element.held)
    for name, size in (("l", a.l), ("e", a.e), ("ep", a.ep), ("parts", parts)):
        text.size(name, size)
    with text.block("for row in range(lo, hi):"):
        text.line("matrix = row // l")
        text.line("rows = offset_pointer(partial, (matrix * parts * l + row - matrix * l) * ep)")
        with text.block("for c in range(e):"):
            text.line("total = rows[c]")
            text.line(*nested("for part in range(1, parts):", ["total = total + rows[part * l * ep + c]"]))
            text.line(a.element.store("dq", "row * e + c", "total"))
    return text.finish(a.matrices * a.l, tuple(a.scratch))


ATTENTION: Final[dict[str, Lowering]] = {
    "attention": lower_attention,
    "attention_gradient": lower_attention_gradient,
}
