"""Whatever the text, the parser gives a graph or raises a GraphcError."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import graphc.ops  # noqa: F401  (fills the registry)
from graphc.errors import GraphcError, ParseError
from graphc.ir import parse, parse_dim, parse_type, print_graph, structurally_equal, verify
from graphc.ir.lexer import Cursor
from tests.ir import texts

SEEDS = list(texts.ALL.values())
TOKENS = [
    *sorted({token for text in SEEDS for token in Cursor(text).tokens if token}),
    "-", "+", "*", "//", "%", "<=", "nan", "none", "1e999", "loc", '"', "\\", "#", "opaque", "9" * 50, "²", "٣", "\x00",
]  # fmt: skip


def check(text: str) -> None:
    try:
        graph = parse(text)
    except ParseError as error:
        assert error.location.filename == "<gir>"
        assert error.location.line >= 1
        str(error)
        return
    assert structurally_equal(parse(print_graph(graph)), graph)


@st.composite
def token_mutations(draw: st.DrawFn) -> str:
    tokens = Cursor(draw(st.sampled_from(SEEDS))).tokens[:-1]
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(tokens) - 1))
        action = draw(st.sampled_from(["replace", "delete", "insert", "swap", "cut"]))
        if action == "replace":
            tokens[place] = draw(st.sampled_from(TOKENS))
        elif action == "insert":
            tokens.insert(place, draw(st.sampled_from(TOKENS)))
        elif action == "swap":
            other = draw(st.integers(0, len(tokens) - 1))
            tokens[place], tokens[other] = tokens[other], tokens[place]
        elif action == "delete" and len(tokens) > 1:
            del tokens[place]
        elif action == "cut":
            del tokens[place + 1 :]
    return " ".join(tokens)


@st.composite
def character_mutations(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(SEEDS))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 12)))
    return text[:start] + draw(st.text(max_size=6)) + text[end:]


@given(token_mutations())
def test_a_text_with_changed_tokens(text: str) -> None:
    check(text)


@given(character_mutations())
def test_a_text_with_changed_characters(text: str) -> None:
    check(text)


@given(st.text(max_size=60))
@example("")
@example('graph @"\\ud800"() -> () { return }')
@example("graph @a() -> () { return } extra")
def test_any_text(text: str) -> None:
    check(text)


@given(
    st.lists(st.sampled_from(["n", "m", "2", "0", "(", ")", "+", "-", "*", "//", "%", "min", "max", ",", "[", "f32"]))
)
def test_any_size_and_type(tokens: list[str]) -> None:
    for text in ("".join(tokens), " ".join(tokens)):
        for read in (parse_dim, parse_type):
            try:
                value = read(text)
            except ParseError:
                continue
            assert read(str(value)) == value


@pytest.mark.parametrize(
    "dim",
    [
        "(" * 500 + "n" + ")" * 500,
        "n" + "//m" * 500,
        "min(" * 500,
        "-" * 100_000 + "n",
        "*".join(["(a+b+c+d+e+f+g)"] * 60),
        "*".join(["99999999999999999999"] * 400),
        "+".join(f"n{i}" for i in range(1000)),
        "9" * 10_000,
        "1" * 5000 + "x",
    ],
)
def test_what_nests_or_grows_too_far_is_an_error_of_the_text(dim: str) -> None:
    text = f"graph @g(%x: f32[n]) -> (i64[]) {{ %0: i64[] = dimension() {{dim = {dim}}} return %0 }}"
    with suppress(GraphcError):
        verify(parse(text))
    try:
        parse_dim(dim)
    except ParseError as error:
        assert len(str(error)) < 1000


def test_tuples_and_graphs_may_not_nest_without_bound() -> None:
    deep_tuple = "graph @g(%x: f32[2]) -> () { %0: f32[2] = reshape(%x) {shape = " + "(" * 5000
    with pytest.raises(ParseError, match="nested more than 64 deep"):
        parse(deep_tuple)
    deep_graph = "graph @g(%x: f32[2]) -> (f32[2]) { %0: f32[2] = call(%x) {graph = " * 500
    with pytest.raises(ParseError, match="nested more than 64 deep"):
        parse(deep_graph)
