"""Every invariant that the verifier holds, broken once; the messages are a golden file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc.ops  # noqa: F401  (fills the registry)
from graphc.errors import VerifyError
from graphc.ir import Builder, Graph, Guard, Node, Value, get_primitive, parse, parse_type, symbol, verify
from graphc.locations import Location
from tests.ir import texts

LINE = Location("model.py", 7, 3)


def parameter(type_: str, name: str = "x") -> Value:
    return Value(Node(get_primitive("parameter"), (), {}, (parse_type(type_),), LINE, name), 0)


def apply(op: str, *operands: Value, types: tuple[str, ...] = ("f32[3]",), **attributes: Any) -> Node:
    return Node(get_primitive(op), operands, attributes, tuple(map(parse_type, types)), LINE)


def constant(array: np.ndarray, type_: str) -> Node:
    return apply("constant", types=(type_,), value=array)


def frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


x, y = parameter("f32[3]", "x"), parameter("f32[3]", "y")
p = parameter("bool[]", "p")
rows = parameter("f32[n, 3]", "rows")
neg = apply("neg", x)
neg_value = Value(neg, 0)
check = apply("check", p, types=(), message="first")
late = apply("check", p, types=(), message="late")


def cyclic() -> Graph:
    node = apply("neg", x)
    object.__setattr__(node, "inputs", (Value(node, 0),))
    return Graph([x], [Value(node, 0)])


def nested(inner: Graph) -> Graph:
    return Graph([x], [Value(apply("call", x, graph=inner), 0)])


def shared_relation(relation: str) -> Graph:
    return Graph([rows], [], guards=[Guard(relation, symbol("n"), 4, LINE)])


BROKEN: dict[str, Callable[[], Graph]] = {
    "parameter is computed": lambda: Graph([neg_value], []),
    "parameter declared twice": lambda: Graph([x, x], []),
    "parameter with two types": lambda: Graph([Value(apply("parameter", types=("f32[]", "f32[]")), 0)], []),
    "parameter that is not declared": lambda: Graph([y], [neg_value]),
    "parameter without a name that is not declared": lambda: Graph([], [parameter("f32[3]", "")]),
    "operand that does not exist": lambda: Graph([x], [Value(apply("neg", Value(neg, 1)), 0)]),
    "output that does not exist": lambda: Graph([x], [Value(neg, 2)]),
    "cycle": cyclic,
    "missing attribute": lambda: Graph([x], [Value(apply("top_k", x, types=("f32[3]", "i64[3]")), 0)]),
    "unknown attribute": lambda: Graph([x], [Value(apply("neg", x, k=3), 0)]),
    "attribute is a list": lambda: Graph([x], [Value(apply("reshape", x, shape=[3]), 0)]),
    "wrong type": lambda: Graph([x], [Value(apply("neg", x, types=("f32[4]",)), 0)]),
    "wrong number of results": lambda: Graph([x], [Value(apply("neg", x, types=("f32[3]", "f32[3]")), 0)]),
    "operands that the op does not take": lambda: Graph([x, p], [Value(apply("add", x, p), 0)]),
    "attribute that the op does not take": lambda: Graph([], [Value(apply("constant", value=3), 0)]),
    "constant that can be written": lambda: Graph([], [Value(constant(np.ones(3, np.float32), "f32[3]"), 0)]),
    "constant of another type": lambda: Graph([], [Value(constant(frozen(np.ones(3)), "f32[3]"), 0)]),
    "size that no parameter has": lambda: Graph(
        [], [Value(apply("dimension", types=("i64[]",), dim=symbol("n") + 1), 0)]
    ),
    "effect that is none": lambda: Graph([x], [], effects=[neg]),
    "effect listed twice": lambda: Graph([p], [], effects=[check, check]),
    "guard with an unknown relation": lambda: shared_relation(">"),
    "guard with an unknown size": lambda: Graph([rows], [], guards=[Guard("==", symbol("n"), symbol("m"), LINE)]),
    "alias of an output that does not exist": lambda: Graph([x], [], aliases={0: 0}),
    "alias of a parameter that does not exist": lambda: Graph([x], [neg_value], aliases={0: 1}),
    "alias of another type": lambda: Graph([x, p], [neg_value], aliases={0: 1}),
    "parameter aliased twice": lambda: Graph([x], [neg_value, neg_value], aliases={0: 0, 1: 0}),
    "nested graph is broken": lambda: nested(Graph([x], [Value(neg, 2)], name="inner")),
    "nested graph reads an outer value": lambda: nested(Graph([y], [neg_value], name="inner")),
}


def test_every_message(golden: Callable[[str | Path, str], None]) -> None:
    parts: list[str] = []
    for title, make in BROKEN.items():
        with pytest.raises(VerifyError) as caught:
            verify(make())
        parts.append(f"=== {title}\n{caught.value}\n")
    golden("golden/verify_errors.txt", "\n".join(parts))


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An effect with a result, which no op of graphc is."""
    from graphc.ir import Primitive, primitive

    class Tick(Primitive):
        name = "tick_for_tests"
        effect = True

        def infer(self, inputs: Any, /) -> Any:  # type: ignore[override]
            return inputs

    monkeypatch.setitem(primitive._REGISTRY, "tick_for_tests", Tick())
    return get_primitive("tick_for_tests")


def test_effects_must_be_listed_in_an_order_that_their_operands_allow(tick: Any) -> None:
    first = Node(tick, (x,), {}, (x.type,), LINE)
    second = Node(tick, (Value(first, 0),), {}, (x.type,), LINE)
    verify(Graph([x], [Value(second, 0)], effects=[first, second]))
    with pytest.raises(VerifyError, match="tick_for_tests is listed after tick_for_tests, which needs its result"):
        verify(Graph([x], [Value(second, 0)], effects=[second, first]))
    with pytest.raises(VerifyError, match="tick_for_tests is used, but not listed among the effects"):
        verify(Graph([x], [Value(second, 0)], effects=[first]))


def test_an_effect_with_results_has_a_text_form(tick: Any) -> None:
    text = "graph @g(%x: f32[3]) -> (f32[3]) {\n  effect %0: f32[3] = tick_for_tests(%x)\n  return %0\n}"
    assert str(parse(text)) == text


def test_the_pass_is_named() -> None:
    with pytest.raises(VerifyError, match=r"^graph @main after fold: output 0 is result 2"):
        verify(Graph([x], [Value(neg, 2)]), when="after fold")


def test_the_error_is_at_the_users_line() -> None:
    with pytest.raises(VerifyError) as caught:
        verify(BROKEN["wrong type"]())
    assert caught.value.location == LINE


@pytest.mark.parametrize("name", texts.ALL)
def test_a_good_graph_passes(name: str) -> None:
    verify(parse(texts.ALL[name]))


def test_what_is_built_passes() -> None:
    b = Builder()
    a = b.parameter(parse_type("f32[n, 3]"), "a")
    verify(b.finish([b.mul(a, b.full_like(a, 2.0))], aliases={0: 0}))


def test_a_call_of_a_graph_with_effects_may_be_listed_as_an_effect() -> None:
    inner = Graph([p], [p], effects=[check])
    node = apply("call", p, types=("bool[]",), graph=inner)
    verify(Graph([p], [Value(node, 0)], effects=[node]))
    verify(Graph([p], [Value(node, 0)], effects=[late, node]))
