"""The difference of two graphs as text, in which names do not count.

Many values are numbered, so that one more node changes every later line. So lines are first matched by what they
compute, and what is left by what they say without names; then each of the latter pairs is compared under the renaming
found so far.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from graphc.ir.graph import Graph
from graphc.ir.printer import print_graph

_CONTEXT: Final = 3
#: Where two runs have more lines or more pairs of alike lines than this, they are one hunk.
_MOST_LINES: Final = 20_000
_MOST_PAIRS: Final = 4_000_000
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_VALUE: Final = re.compile(r"(?<![\w)])(%[\w.]+)(:?)")  # with a colon where it is declared
_GRAPH: Final = re.compile(r'\bgraph @(?:[\w.]+|"(?:[^"\\\n]|\\.)*")\(')


class _Line(NamedTuple):
    """A line of a graph's text.

    ``said``: the text without what values and graphs are called. ``computed``: a number that stands for ``said`` and,
    for each value read, what it is. ``results`` are declared by the line, ``parameters`` by the graph that it opens.
    """

    text: str
    said: str
    computed: int
    results: tuple[str, ...]
    parameters: tuple[str, ...]
    reads: tuple[str, ...]
    closes: bool
    opens: bool


class _Scopes:
    """Something about each value, by name; every graph has names of its own."""

    def __init__(self) -> None:
        self.stack: list[dict[str, object]] = [{}]

    def of_line(self, line: _Line) -> dict[str, object]:
        """The scope that ``line`` is in; one that it closes is left."""
        if line.closes and len(self.stack) > 1:
            self.stack.pop()
        return self.stack[-1]


Interned = dict[object, int]


def _read_lines(text: str, known: Interned) -> list[_Line]:
    scopes = _Scopes()
    lines: list[_Line] = []
    for each in text.splitlines():
        line = _read_line(each)
        scope = scopes.of_line(line)
        key = (line.said, tuple(scope.get(name) for name in line.reads))
        computed = known.setdefault(key, len(known))
        lines.append(line._replace(computed=computed))
        scope.update({name: (computed, i) for i, name in enumerate(line.results)})
        if line.opens:
            depth = len(scopes.stack)
            scopes.stack.append({name: ("parameter", depth, i) for i, name in enumerate(line.parameters)})
    return lines


def _read_line(text: str) -> _Line:
    plain = _STRING.sub('""', text)
    values = list(_VALUE.finditer(plain))
    header = _GRAPH.search(plain)
    end = len(plain) if header is None else header.end()
    return _Line(
        text,
        _VALUE.sub(r"%\2", _GRAPH.sub("graph @(", text)),
        0,
        tuple(m[1] for m in values if m[2] and m.start() < end),
        tuple(m[1] for m in values if m[2] and m.start() >= end),
        tuple(m[1] for m in values if not m[2]),
        text.lstrip().startswith("}"),
        header is not None,
    )


def explain_diff(a: Graph, b: Graph, name_a: str, name_b: str) -> list[str]:
    """A unified diff from the text of ``a`` to that of ``b``, names not counting; empty if they are alike."""
    return diff_texts(print_graph(a), print_graph(b), name_a, name_b)


def diff_texts(a: str, b: str, name_a: str, name_b: str) -> list[str]:
    """The same for texts, of graphs or not."""
    known: Interned = {}
    edits = list(_edits(_read_lines(a, known), _read_lines(b, known)))
    if all(kind == " " for kind, _ in edits):
        return []
    return [f"--- {name_a}", f"+++ {name_b}", *_hunks(edits)]


Lines = Sequence[_Line]
Run = tuple[bool, Lines, Lines]
Edit = tuple[str, str]  # one of " -+", and the line


def _edits(a: Lines, b: Lines) -> Iterator[Edit]:
    renaming = _Scopes()
    for alike, part_a, part_b in _matched(a, b):
        if not alike:
            yield from (("-", line.text) for line in part_a)
            yield from (("+", line.text) for line in part_b)
            continue
        for one, other in zip(part_a, part_b, strict=True):
            scope = renaming.of_line(one)
            same = one.computed == other.computed
            same = same or [scope.get(name, name) for name in one.reads] == list(other.reads)
            scope.update(zip(one.results, other.results, strict=False))
            if one.opens:
                renaming.stack.append(dict(zip(one.parameters, other.parameters, strict=False)))
            if same:
                yield " ", other.text
            else:
                yield "-", one.text
                yield "+", other.text


def _matched(a: Lines, b: Lines) -> Iterator[Run]:
    """Runs of lines in order, alike or not: by what is computed, then by what is said."""
    for alike, part_a, part_b in _runs(a, b, [line.computed for line in a], [line.computed for line in b]):
        if alike:
            yield True, part_a, part_b
        else:
            yield from _runs(part_a, part_b, [line.said for line in part_a], [line.said for line in part_b])


def _runs(a: Lines, b: Lines, keys_a: Sequence[object], keys_b: Sequence[object]) -> Iterator[Run]:
    start, limit = 0, min(len(a), len(b))
    while start < limit and keys_a[start] == keys_b[start]:
        start += 1
    end = 0
    while end < limit - start and keys_a[-1 - end] == keys_b[-1 - end]:
        end += 1
    stop_a, stop_b = len(a) - end, len(b) - end
    yield True, a[:start], b[:start]
    middle_a, middle_b = keys_a[start:stop_a], keys_b[start:stop_b]
    if _is_too_long(middle_a, middle_b):
        yield False, a[start:stop_a], b[start:stop_b]
    else:
        matcher = difflib.SequenceMatcher(None, middle_a, middle_b, autojunk=False)
        for tag, i, j, k, m in matcher.get_opcodes():
            yield tag == "equal", a[start + i : start + j], b[start + k : start + m]
    yield True, a[stop_a:], b[stop_b:]


def _is_too_long(keys_a: Sequence[object], keys_b: Sequence[object]) -> bool:
    if max(len(keys_a), len(keys_b)) > _MOST_LINES:
        return True
    count_b = Counter(keys_b)
    return sum(count * count_b[key] for key, count in Counter(keys_a).items()) > _MOST_PAIRS


def _hunks(edits: Sequence[Edit]) -> Iterator[str]:
    changed = [i for i, (kind, _) in enumerate(edits) if kind != " "]
    position = line_a = line_b = 0
    group = 0
    while group < len(changed):
        first = last = changed[group]
        while group < len(changed) and changed[group] - last <= 2 * _CONTEXT:
            last = changed[group]
            group += 1
        start, stop = max(0, first - _CONTEXT), min(len(edits), last + _CONTEXT + 1)
        line_a += _count(edits[position:start], "+")
        line_b += _count(edits[position:start], "-")
        hunk = edits[start:stop]
        length_a, length_b = _count(hunk, "+"), _count(hunk, "-")
        yield f"@@ -{line_a + (length_a > 0)},{length_a} +{line_b + (length_b > 0)},{length_b} @@"
        for kind, text in hunk:
            yield kind + text
        line_a, line_b, position = line_a + length_a, line_b + length_b, stop


def _count(edits: Sequence[Edit], other: str) -> int:
    """How many lines are on one side: all but those of kind ``other``."""
    return sum(kind != other for kind, _ in edits)
