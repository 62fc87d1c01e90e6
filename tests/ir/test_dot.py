"""The graph as a drawing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import graphc.ops  # noqa: F401  (fills the registry)
from graphc.ir import parse, to_dot
from tests.ir import texts


@pytest.mark.parametrize("name", ["loss", "nested"])
def test_the_drawing(name: str, golden: Callable[[str | Path, str], None]) -> None:
    golden(f"golden/{name}.dot", to_dot(parse(texts.ALL[name])))


@pytest.mark.parametrize("text", texts.ALL.values(), ids=texts.ALL)
def test_every_edge_joins_boxes_that_exist(text: str) -> None:
    dot = to_dot(parse(text))
    boxes = re.findall(r"^ *(\w+) \[label", dot, re.MULTILINE)
    assert len(boxes) == len(set(boxes))
    for source, target in re.findall(r"^ *(\w+) -> (\w+)", dot, re.MULTILINE):
        assert source in boxes
        assert target in boxes
    assert dot.count("{") - dot.count("}") == len(re.findall(r'(?<!\\)"[^"\n]*\{[^}"\n]*"', dot))


def test_quotes_and_newlines_in_labels_are_escaped() -> None:
    dot = to_dot(parse(texts.LOSS))
    for line in dot.splitlines():
        assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) % 2 == 0
