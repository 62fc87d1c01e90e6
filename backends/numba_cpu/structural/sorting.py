"""sort and argsort by a stable merge sort, top_k by a heap. NaN is greater than every number, -0.0 equals 0.0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element, KernelText
from graphc.dtypes import int64
from graphc.ir.dims import product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource, Lowering

RUN: Final = 16
"""Runs of this many elements are sorted by insertion before the merging starts."""


def _before(element: Element, a: str, b: str, descending: bool) -> str:
    """The condition that ``a`` must come before ``b``; false where they tie."""
    if not element.held.is_floating:
        return f"{a} > {b}" if descending else f"{a} < {b}"
    if descending:
        return f"{a} > {b} or ({a} != {a} and {b} == {b})"
    return f"{a} < {b} or ({b} != {b} and {a} == {a})"


class _MergeSort:
    """The text that sorts a row of keys, and the positions that go with them where ``positions`` is set."""

    def __init__(self, text: KernelText, element: Element, descending: bool, positions: bool) -> None:
        self.text, self.element, self.descending, self.positions = text, element, descending, positions

    def move(self, target: str, source: str, to: str, at: str) -> None:
        """Copy the entry ``at`` of the table ``source`` to ``to`` of ``target``."""
        self.text.line(f"{target}[{to}] = {source}[{at}]")
        if self.positions:
            self.text.line(f"{target}_positions[{to}] = {source}_positions[{at}]")

    def insertion(self) -> None:
        """Sort each run of `RUN` entries of ``a``."""
        text = self.text
        with text.block(f"for start in range(0, n, {RUN}):", f"for j in range(start + 1, min(start + {RUN}, n)):"):
            text.line("key = a[j]")
            if self.positions:
                text.line("position = a_positions[j]")
            text.line("k = j")
            with text.block(f"while k > start and ({_before(self.element, 'key', 'a[k - 1]', self.descending)}):"):
                self.move("a", "a", "k", "k - 1")
                text.line("k -= 1")
            text.line("a[k] = key")
            if self.positions:
                text.line("a_positions[k] = position")

    def merging(self) -> None:
        """Merge neighbouring runs of ``a`` into ``b``, exchange the two, and so on until one run is left."""
        text = self.text
        text.line(f"width = {RUN}")
        with text.block("while width < n:"):
            with text.block("for start in range(0, n, 2 * width):"):
                text.line("middle = min(start + width, n)", "stop = min(start + 2 * width, n)")
                text.line("left = start", "right = middle")
                with text.block("for to in range(start, stop):"):
                    before = _before(self.element, "a[right]", "a[left]", self.descending)
                    with text.block(f"if left < middle and (right >= stop or not ({before})):"):
                        self.move("b", "a", "to", "left")
                        text.line("left += 1")
                    with text.block("else:"):
                        self.move("b", "a", "to", "right")
                        text.line("right += 1")
            text.line("a, b = b, a")
            if self.positions:
                text.line("a_positions, b_positions = b_positions, a_positions")
            text.line("width = 2 * width")


def _lower_sort(attributes: Mapping[str, Any], x: TensorType, positions: bool) -> KernelSource:
    axis: int = attributes["axis"]
    descending: bool = attributes["descending"]
    element = Element(x.dtype)
    name = "argsort" if positions else "sort"
    text = KernelText(name, f"Sort {x.dtype}, {'descending' if descending else 'ascending'}.")
    text.buffer("x", 0, x.dtype)
    text.buffer("result", 1, int64 if positions else x.dtype)
    text.buffer("scratch_a", 2, element.held)
    text.buffer("scratch_b", 3, element.held)
    if positions:
        text.buffer("scratch_a_positions", 4, int64)
        text.buffer("scratch_b_positions", 5, int64)
    text.size("n", x.shape[axis])
    text.size("inner", product(x.shape[axis + 1 :]))
    sort = _MergeSort(text, element, descending, positions)
    with text.block("for row in range(lo, hi):"):
        text.line("base = row // inner * (n * inner) + row % inner")
        for table in ("a", "b"):
            text.line(f"{table} = offset_pointer(scratch_{table}, row * n)")
            if positions:
                text.line(f"{table}_positions = offset_pointer(scratch_{table}_positions, row * n)")
        with text.block("for j in range(n):"):
            text.line(f"a[j] = {element.load('x', 'base + j * inner')}")
            if positions:
                text.line("a_positions[j] = j")
        sort.insertion()
        sort.merging()
        with text.block("for j in range(n):"):
            if positions:
                text.line("result[base + j * inner] = a_positions[j]")
            else:
                text.line(element.store("result", "base + j * inner", "a[j]"))
    keys = TensorType(element.held, x.shape)
    order = TensorType(int64, x.shape)
    scratch = (keys, keys, order, order) if positions else (keys, keys)
    return text.finish(product(d for a, d in enumerate(x.shape) if a != axis), scratch)


def lower_sort(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> KernelSource:
    """``sort``: a merge sort of every row along the axis, in parallel over rows. For float32, ascending::

        def sort(buffers, sizes, lo, hi, status):
            x = pointer_f32(buffers[0])
            result = pointer_f32(buffers[1])
            scratch_a = pointer_f32(buffers[2])
            scratch_b = pointer_f32(buffers[3])
            n = sizes[0]
            inner = sizes[1]
            for row in range(lo, hi):
                base = row // inner * (n * inner) + row % inner
                a = offset_pointer(scratch_a, row * n)
                b = offset_pointer(scratch_b, row * n)
                for j in range(n):
                    a[j] = x[base + j * inner]
                for start in range(0, n, 16):
                    for j in range(start + 1, min(start + 16, n)):
                        key = a[j]
                        k = j
                        while k > start and (key < a[k - 1] or (a[k - 1] != a[k - 1] and key == key)):
                            a[k] = a[k - 1]
                            k -= 1
                        a[k] = key
                width = 16
                while width < n:
                    for start in range(0, n, 2 * width):
                        middle = min(start + width, n)
                        stop = min(start + 2 * width, n)
                        left = start
                        right = middle
                        for to in range(start, stop):
                            if left < middle and (right >= stop or not (a[right] < a[left] or (...))):
                                b[to] = a[left]
                                left += 1
                            else:
                                b[to] = a[right]
                                right += 1
                    a, b = b, a
                    width = 2 * width
                for j in range(n):
                    result[base + j * inner] = a[j]

    ``descending`` turns the comparisons round; elements that tie stay in order either way.
    """
    return _lower_sort(attributes, operand_types[0], positions=False)


def lower_argsort(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> KernelSource:
    """``argsort``: as `lower_sort`, with a table of positions that moves along with each table of keys::

        b[to] = a[left]
        b_positions[to] = a_positions[left]

    The result is the last table of positions.
    """
    return _lower_sort(attributes, operand_types[0], positions=True)


def lower_top_k(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> KernelSource:
    """``top_k``, in parallel over rows: the results' own rows hold a heap of the k best so far, the worst at its root.

    For float32::

        @noalias
        def sift(v, p, root, count):
            while 2 * root + 1 < count:
                worst = 2 * root + 1
                other = worst + 1
                if other < count:
                    x = v[other]
                    y = v[worst]
                    after = y > x or (y != y and x == x)
                    tie = not after and not (x > y or (x != x and y == y))
                    after = after or (tie and p[other] > p[worst])
                    if after:
                        worst = other
                ...
                if not after:
                    break
                v[root], v[worst] = v[worst], v[root]
                p[root], p[worst] = p[worst], p[root]
                root = worst


        def top_k(buffers, sizes, lo, hi, status):
            x = pointer_f32(buffers[0])
            values = pointer_f32(buffers[1])
            positions = pointer_i64(buffers[2])
            n = sizes[0]
            k = sizes[1]
            ...
            for row in range(lo, hi):
                v = offset_pointer(values, row * k)
                p = offset_pointer(positions, row * k)
                for j in range(k):
                    v[j] = x[row * n + j]
                    p[j] = j
                for root in range(k // 2 - 1, -1, -1):
                    sift(v, p, root, k)
                for j in range(k, n):
                    candidate = x[row * n + j]
                    worst = v[0]
                    if candidate > worst or (candidate != candidate and worst == worst):
                        v[0] = x[row * n + j]
                        p[0] = j
                        sift(v, p, 0, k)
                for last in range(k - 1, 0, -1):
                    v[0], v[last] = v[last], v[0]
                    p[0], p[last] = p[last], p[0]
                    sift(v, p, 0, last)

    Of elements that tie the one at the higher position counts as worse.
    """
    (x,) = operand_types
    element = Element(x.dtype)
    text = KernelText("top_k", f"The greatest elements of rows of {x.dtype}.")
    text.buffer("x", 0, x.dtype)
    text.buffer("values", 1, x.dtype)
    text.buffer("positions", 2, int64)
    text.size("n", x.shape[-1])
    text.size("k", attributes["k"])
    text.helper(_sift(element))
    with text.block("if k > n:"):
        text.report("k - 1", x.ndim - 1, "n")
        text.line("return")
    with text.block("if k > 0:", "for row in range(lo, hi):"):
        text.line("v = offset_pointer(values, row * k)", "p = offset_pointer(positions, row * k)")
        with text.block("for j in range(k):"):
            text.line("v[j] = x[row * n + j]", "p[j] = j")
        with text.block("for root in range(k // 2 - 1, -1, -1):"):
            text.line("sift(v, p, root, k)")
        with text.block("for j in range(k, n):"):
            text.line(f"candidate = {element.load('x', 'row * n + j')}", f"worst = {element.load('v', '0')}")
            with text.block(f"if {_before(element, 'candidate', 'worst', True)}:"):
                text.line("v[0] = x[row * n + j]", "p[0] = j", "sift(v, p, 0, k)")
        with text.block("for last in range(k - 1, 0, -1):"):
            text.line("v[0], v[last] = v[last], v[0]", "p[0], p[last] = p[last], p[0]", "sift(v, p, 0, last)")
    return text.finish(product(x.shape[:-1]))


def _sift(element: Element) -> str:
    """The text of ``sift``, which lets the entry at ``root`` sink to its place in a heap of ``count`` entries."""

    def comes_after(a: str, b: str) -> list[str]:
        x, y = element.load("v", a), element.load("v", b)
        return [
            f"x = {x}",
            f"y = {y}",
            f"after = {_before(element, 'y', 'x', True)}",
            f"tie = not after and not ({_before(element, 'x', 'y', True)})",
            f"after = after or (tie and p[{a}] > p[{b}])",
        ]

    lines = [
        "while 2 * root + 1 < count:",
        "    worst = 2 * root + 1",
        "    other = worst + 1",
        "    if other < count:",
    ]
    lines += [f"        {line}" for line in comes_after("other", "worst")]
    lines += ["        if after:", "            worst = other"]
    lines += [f"    {line}" for line in comes_after("worst", "root")]
    lines += ["    if not after:", "        break"]
    lines += [
        "    v[root], v[worst] = v[worst], v[root]",
        "    p[root], p[worst] = p[worst], p[root]",
        "    root = worst",
    ]
    return "\n".join(["@noalias", "def sift(v, p, root, count):", *(f"    {line}" for line in lines)])


SORTING: Final[dict[str, Lowering]] = {"sort": lower_sort, "argsort": lower_argsort, "top_k": lower_top_k}
