"""Printer and parser together: what is printed reads back, and what is read prints as it was."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import graphc.ops  # noqa: F401  (fills the registry)
from graphc.dtypes import ALL, as_dtype, bfloat16, bool_, float16, float32, float64, int64
from graphc.errors import FileError, ParseError
from graphc.ir import (
    Builder,
    Graph,
    Node,
    Primitive,
    TensorType,
    Value,
    get_primitive,
    parse,
    parse_file,
    parse_type,
    print_graph,
    structurally_equal,
    symbol,
    verify,
)
from graphc.ir.dims import dim_max, dim_min
from graphc.ir.printer import format_attribute
from graphc.locations import UNKNOWN, Location
from tests.ir import texts


class Carry(Primitive):
    """Gives its operand; carries any attribute. Made for these tests, so it is not in the registry on its own."""

    name = "carry_for_tests"
    attributes = ("value",)

    def infer(self, inputs, /, *, value):
        return inputs


@pytest.fixture(autouse=True)
def carry(monkeypatch: pytest.MonkeyPatch) -> Primitive:
    from graphc.ir import primitive

    op = Carry()
    monkeypatch.setitem(primitive._REGISTRY, op.name, op)
    return op


def carrying(value: object) -> Graph:
    node = Node(get_primitive("parameter"), (), {}, (parse_type("f32[n, m]"),), UNKNOWN, "x")
    x = Value(node, 0)
    carried = Node(get_primitive("carry_for_tests"), (x,), {"value": value}, (x.type,))
    return Graph([x], [Value(carried, 0)])


def read_back(value: object) -> object:
    graph = carrying(value)
    again = parse(print_graph(graph))
    verify(again)
    assert structurally_equal(again, graph)
    return again.outputs[0].node.attributes["value"]


@pytest.mark.parametrize("name", texts.ALL)
def test_a_text_in_the_printers_style_prints_as_it_was(name: str) -> None:
    graph = parse(texts.ALL[name])
    verify(graph)
    assert print_graph(graph) == texts.ALL[name]
    assert str(graph) == texts.ALL[name]


n, m = symbol("n"), symbol("m")


@pytest.mark.parametrize(
    "value",
    [
        0, -7, 2**63, True, False, None,
        0.0, -0.0, 1.5, -1e-300, 1e16, float("inf"), float("-inf"),
        "", 'quo"te', "line\nbreak\ttab", "back\\slash", "größe …", "\u2028\x7f\x00", "\ud800", "%x # no comment",
        *ALL,
        (), (1,), (1, 2), ((1, (2,)), ()), (True, None, "x", float32, 1.5, -3),
        n, 2 * n + 1, (n + 1) // 2, -n, -(n // 2), (n // 2) * (m // 2), n % 2, (n + 1) % m, dim_min(n, 4),
        dim_max(n, m + 1),
        (n,), (n // 2,), ((n + 1) // 2, -n), (n % m, 3), ((n // 2) * m,),
    ],
    ids=repr,
)  # fmt: skip
def test_every_kind_of_attribute_reads_back(value: object) -> None:
    got = read_back(value)
    assert got == value
    assert type(got) is type(value)
    if isinstance(value, float):
        assert np.signbit(got) == np.signbit(value)


def test_a_nan_reads_back() -> None:
    assert np.isnan(read_back(float("nan")))


def test_a_graph_reads_back() -> None:
    inner = parse(texts.LOSS)
    got = read_back((inner, 1))
    assert isinstance(got, tuple)
    assert structurally_equal(got[0], inner)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from(ALL))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7))
    count = int(np.prod(shape)) * dtype.itemsize
    data = draw(st.binary(min_size=count, max_size=count))
    if dtype is bool_:
        data = bytes(byte & 1 for byte in data)
    return np.frombuffer(data, dtype=dtype.numpy).reshape(shape)


@given(arrays())
def test_arrays_read_back_bit_for_bit(array: np.ndarray) -> None:
    b = Builder()
    graph = b.finish([b.constant(array)])
    again = parse(print_graph(graph)).outputs[0].node.attributes["value"]
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()
    assert not again.flags.writeable


@given(st.sampled_from([float16, bfloat16, float32, float64]), st.binary(min_size=8, max_size=8))
def test_floats_read_back_bit_for_bit(dtype: object, data: bytes) -> None:
    value = np.frombuffer(data[: as_dtype(dtype).itemsize], dtype=as_dtype(dtype).numpy)
    text = format_attribute(value)
    graph = parse(f"graph @g() -> ({as_dtype(dtype).short}[1]) {{ %0: {as_dtype(dtype).short}[1] = constant() "
                  f"{{value = {text}}} return %0 }}")  # fmt: skip
    assert graph.outputs[0].node.attributes["value"].tobytes() == value.tobytes()


def test_a_small_array_is_spelled_out_in_its_own_precision() -> None:
    assert format_attribute(np.array([0.1, 1 / 3, 1e-5], np.float32)) == "dense<f32[3]: [0.1, 0.33333334, 1e-05]>"
    assert format_attribute(np.array(True)) == "dense<bool[]: true>"
    assert format_attribute(np.array([[1], [2]])) == "dense<i64[2, 1]: [[1], [2]]>"


def test_a_large_array_and_a_strange_nan_are_given_by_their_bytes() -> None:
    assert format_attribute(np.zeros(33, np.int8)) == 'dense<i8[33]: base64 "' + "A" * 44 + '">'
    strange = np.array([0x7FC00001], np.uint32).view(np.float32)
    assert format_attribute(strange) == 'dense<f32[1]: base64 "AQDAfw==">'


def test_an_attribute_without_a_text_form_prints_but_does_not_read_back() -> None:
    text = print_graph(carrying(1 + 2j))
    assert '{value = opaque<"(1+2j)">}' in text
    assert format_attribute(np.array([None])).startswith("opaque<")
    with pytest.raises(ParseError, match="this attribute has no text form"):
        parse(text)


def parameter(name: str) -> Value:
    return Value(Node(get_primitive("parameter"), (), {}, (TensorType(float32),), UNKNOWN, name), 0)


def test_names_are_made_plain_and_unique() -> None:
    parameters = [parameter(name) for name in ("x", "x", "x_1", "", "layer 1/w", "0", "größe", "a.b", "x")]
    text = print_graph(Graph(parameters, []))
    names = [part.split(":")[0] for part in text.split("(", 1)[1].split(")")[0].split(", ")]
    assert names == ["%x", "%x_1", "%x_1_1", "%0", "%layer_1_w", "%_0", "%größe", "%a.b", "%x_2"]
    assert print_graph(parse(text)) == text


def test_nodes_with_names_keep_them() -> None:
    b = Builder()
    x = b.parameter(TensorType(float32, (4,)), "x")
    values, indices = b.emit("top_k", x, k=2, name="best")
    graph = b.finish([values, indices])
    assert "%best: f32[2], %best_1: i64[2] = top_k(%x) {k = 2}" in print_graph(graph)
    assert parse(print_graph(graph)).outputs[0].node.name == "best"


def test_without_names_graphs_that_differ_in_them_print_alike() -> None:
    one = parse("graph @a(%x: f32[2]) -> (f32[2]) { %y: f32[2] = neg(%x) return %y }")
    other = parse("graph @b(%p: f32[2]) -> (f32[2]) { %0: f32[2] = neg(%p) return %0 }")
    assert print_graph(one) != print_graph(other)
    assert print_graph(one, names=False) == print_graph(other, names=False)


def test_a_name_of_a_graph_may_be_any_text() -> None:
    for name in ("main", "a.b", "two words", 'quo"te', "", "<lambda>", "größe"):
        graph = Graph([], [], name=name)
        assert parse(print_graph(graph)).name == name


def test_locations_are_printed_on_request_and_read_back() -> None:
    b = Builder(location=Location('dir/my "file".py', 12, 5))
    x = b.parameter(TensorType(float32, (n,)), "x")
    b.guard("<=", n, 4)
    graph = b.finish([b.neg(x)])
    text = print_graph(graph, locations=True)
    assert '%0: f32[n] = neg(%x)   loc("dir/my \\"file\\".py":12:5)' in text
    again = parse(text)
    assert print_graph(again, locations=True) == text
    assert again.outputs[0].node.location == Location('dir/my "file".py', 12, 5)
    assert again.guards[0].location.line == 12
    assert "loc(" not in print_graph(graph)


def test_a_node_without_a_location_is_placed_in_the_text() -> None:
    graph = parse(texts.LOSS, filename="loss.gir")
    assert graph.outputs[0].node.location == Location("loss.gir", 6, 3)
    assert graph.parameters[1].node.location == Location("loss.gir", 1, 30)
    assert graph.guards[1].location == Location("loss.gir", 3, 3)


def test_colours_add_nothing_but_escapes() -> None:
    import re

    for text in texts.ALL.values():
        coloured = print_graph(parse(text), color=True)
        assert "\x1b[1mgraph\x1b[0m" in coloured
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text


def test_comments_and_free_layout_are_understood() -> None:
    text = """
    # A comment, with "quotes" and a %value.
    graph @g(%x: f32[n],   # the input
             %y: f32[n]) -> (f32[n]) { guard n%2==0 guard n<9 alias 0->%x
      %0:f32[n]=add(%x,%y)return %0}
    """
    graph = parse(text)
    assert print_graph(graph).splitlines() == [
        "graph @g(%x: f32[n], %y: f32[n]) -> (f32[n]) {",
        "  guard n%2 == 0",
        "  guard n < 9",
        "  alias 0 -> %x",
        "  %0: f32[n] = add(%x, %y)",
        "  return %0",
        "}",
    ]


def test_a_chain_of_100_000_nodes_prints_and_reads_back() -> None:
    b = Builder(location=UNKNOWN)
    y = b.parameter(TensorType(int64, (3,)), "x")
    for _ in range(100_000):
        y = b.neg(y)
    graph = b.finish([y])
    again = parse(print_graph(graph))
    assert len(again.nodes()) == 100_001
    verify(again)
    assert structurally_equal(graph, again)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "loss.gir"
    path.write_text(texts.LOSS, encoding="utf-8")
    assert print_graph(parse_file(path)) == texts.LOSS
    with pytest.raises(FileError, match=r"cannot read .*missing\.gir: No such file"):
        parse_file(tmp_path / "missing.gir")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ParseError, match="is not UTF-8 text"):
        parse_file(path)
    path.write_text(texts.LOSS.replace("dot_general", "dot_genral"), encoding="utf-8")
    with pytest.raises(ParseError) as caught:
        parse_file(path)
    assert f"{path}:6\n" in str(caught.value)


def test_signalling_nans_are_printed_without_a_warning() -> None:
    bits = np.array([0x7F81, 0x3F80], np.uint16)
    b = Builder("f")
    text = print_graph(b.finish([b.constant(bits.view(bfloat16.numpy), bfloat16)]))
    (value,) = parse(text).outputs
    np.testing.assert_array_equal(value.node.attributes["value"].view(np.uint16), bits)
