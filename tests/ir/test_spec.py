"""Types and sizes as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.dtypes import ALL, float32
from graphc.errors import ParseError
from graphc.ir import TensorType, parse_dim, parse_type, symbol

dims = st.integers(0, 10**6) | st.builds(
    lambda name, factor, offset: symbol(name) * factor + offset,
    st.sampled_from(["n", "batch", "größe"]),
    st.integers(1, 5),
    st.integers(-3, 3),
)
types = st.builds(TensorType, st.sampled_from(ALL), st.lists(dims, max_size=5))


@given(types)
def test_a_type_reads_back(type_: TensorType) -> None:
    assert parse_type(str(type_)) == type_


@given(types)
def test_spaces_do_not_matter(type_: TensorType) -> None:
    text = str(type_).replace(",", " ,\n").replace("[", " [ ").replace("]", " ] ")
    assert parse_type(text) == type_


def test_long_dtype_names_are_understood() -> None:
    assert parse_type("float32[3]") == TensorType(float32, (3,))


@pytest.mark.parametrize(
    ("text", "message", "column", "hint"),
    [
        ("", "expected a type, such as f32[batch, 784], the text ends", 1, None),
        ("f3[2]", "'f3' is not a dtype", 1, "did you mean f32?"),
        ("quux[2]", "'quux' is not a dtype", 1, "use one of bool, u8"),
        ("f32", "expected '[', the text ends", 4, "a scalar is f32[]"),
        ("f32[2", "expected ',' or ']', the text ends", 6, "separated by commas"),
        ("f32[2 3]", "expected ',' or ']', found '3'", 7, "separated by commas"),
        ("f32[2,]", "expected a size", 7, None),
        ("f32[-1]", "a size cannot be negative: -1", 5, None),
        ("f32[2x]", "'2x' is not an integer", 5, None),
        ("f32[1.5]", "'1.5' is not an integer", 5, None),
        ("f32[?]", "'?' is not a size", 5, "give an unknown size a name, such as n"),
        ("f32[min]", "'min' cannot name a size", 5, "choose another name"),
        ("f32[i8]", "'i8' cannot name a size", 5, "choose another name"),
        ("f32[n//0]", "division of the size n by 0", 8, None),
        ("f32[n%0]", "the size n modulo 0", 7, None),
        ("f32[min(n)]", "expected ','", 10, "min takes two sizes"),
        ("f32[max(n, m, k)]", "expected ')'", 13, "max takes two sizes"),
        ("f32[(n]", "expected ')'", 7, None),
        ("f32[2] x", "expected the end of the text, found 'x'", 8, None),
        ("f32[2, 99999999999999999999999999]", "does not fit into 64 bits", 8, None),
        ("f32[n,\n  m k]", "expected ',' or ']', found 'k'", 5, "separated by commas"),
    ],
)
def test_a_malformed_type_is_explained(text: str, message: str, column: int, hint: str | None) -> None:
    with pytest.raises(ParseError) as caught:
        parse_type(text)
    error = caught.value
    assert message in error.message
    _, excerpt, caret = error.message.split("\n")
    assert excerpt == "    " + text.rpartition("\n")[2]
    assert caret == "    " + " " * (column - 1) + "^"
    assert error.location.filename == __file__
    if hint is None:
        assert error.hint is None
    else:
        assert error.hint is not None
        assert hint in error.hint


@pytest.mark.parametrize("name", ["f32", "bf16", "bool", "true", "false", "none", "inf", "nan", "min", "max"])
def test_words_with_a_meaning_cannot_name_sizes(name: str) -> None:
    with pytest.raises(ParseError, match=f"'{name}' cannot name a size: the word has a meaning of its own"):
        parse_dim(name)


def test_operators_have_the_precedence_of_python() -> None:
    n, m = symbol("n"), symbol("m")
    assert parse_dim("1 + 2 * n") == 1 + 2 * n
    assert parse_dim("-n // 2") == (-n) // 2
    assert parse_dim("-(n//2)") == -(n // 2)
    assert parse_dim("n - m - 1") == (n - m) - 1
    assert parse_dim("n // 2 // 3") == (n // 2) // 3
    assert parse_dim("n % 2 * m") == (n % 2) * m
    assert parse_dim("+-+-n") == n


def test_a_long_text_is_cut_around_the_place() -> None:
    with pytest.raises(ParseError) as caught:
        parse_type("f32[" + "1, " * 200 + "oops!" + ", 1" * 200 + "]")
    _, excerpt, caret = caught.value.message.split("\n")
    assert len(excerpt) < 140
    assert excerpt[caret.index("^")] == "!"
