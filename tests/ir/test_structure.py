"""Structural equality: what counts and what does not."""

import subprocess
import sys

import numpy as np
import pytest

import graphc.ops  # noqa: F401  (fills the registry)
from graphc.errors import ArgumentError
from graphc.ir import (
    Builder,
    Graph,
    Node,
    Value,
    first_difference,
    parse,
    parse_type,
    structural_hash,
    structurally_equal,
)
from tests.ir import texts

BASE = """
graph @g(%x: f32[n, m], %y: f32[n, m], %p: bool[]) -> (f32[n, m], f32[n, m]) {
  guard n <= 2*m
  alias 0 -> %x
  effect check(%p) {message = "a"}
  %0: f32[n, m] = sub(%x, %y)
  %1: f32[] = constant() {value = dense<f32[]: 2.0>}
  %2: f32[n, m] = broadcast_in_dim(%1) {shape = (n, m), dims = ()}
  %3: f32[n, m] = mul(%0, %2)
  %4: f32[n, m] = call(%3) {graph = graph @f(%z: f32[n, m]) -> (f32[n, m]) {
    %0: f32[n, m] = neg(%z)
    return %0
  }}
  return %3, %4
}"""

SAME = {
    "names of values": ("%3", "%product"),
    "names of parameters": ("%x", "%input"),
    "name of the graph": ("@g", "@other"),
    "name of a nested graph": ("@f", "@other"),
    "names of sizes": ("m", "zz"),
    "names of sizes, in another order of the alphabet": ("n", "zz"),
    "unused lines": ("  return %3", "  %9: f32[n, m] = exp(%x)\n  return %3"),
}
DIFFERENT = {
    "op": ("sub(", "add("),
    "order of operands": ("sub(%x, %y)", "sub(%y, %x)"),
    "attribute": ('message = "a"', 'message = "b"'),
    "value of a constant": ("2.0", "-2.0"),
    "output": ("return %3, %4", "return %4, %4"),
    "order of outputs": ("return %3, %4", "return %4, %3"),
    "alias": ("alias 0 -> %x", "alias 0 -> %y"),
    "no alias": ("  alias 0 -> %x\n", ""),
    "guard": ("guard n <=", "guard n <"),
    "other size in a guard": ("guard n <= 2*m", "guard m <= 2*n"),
    "no guard": ("  guard n <= 2*m\n", ""),
    "type": ("f32[", "f64["),
    "two sizes that are one": ("m", "n"),
    "effect": ('  effect check(%p) {message = "a"}\n', ""),
    "nested graph": ("neg(%z)", "exp(%z)"),
    "parameter": (", %p: bool[]", ", %p: bool[], %q: bool[]"),
}


def changed(change: tuple[str, str]) -> Graph:
    old, new = change
    text = BASE
    if old in ("n", "m"):  # a size, not a letter
        for before, after in (("[n, ", "[?n, "), ("m]", "?m]"), ("(n, m)", "(?n, ?m)"), ("n <= 2*m", "?n <= 2*?m")):
            text = text.replace(before, after)
        text = text.replace(f"?{old}", new).replace("?", "")
    else:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_count(name: str) -> None:
    graph, other = parse(BASE), changed(SAME[name])
    assert structural_hash(graph) == structural_hash(other)
    assert structurally_equal(graph, other)
    assert first_difference(graph, other) is None


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_counts(name: str) -> None:
    graph, other = parse(BASE), changed(DIFFERENT[name])
    assert structural_hash(graph) != structural_hash(other)
    assert not structurally_equal(graph, other)
    difference = first_difference(graph, other)
    assert difference
    assert first_difference(other, graph)


def test_all_that_differ_also_differ_from_each_other() -> None:
    hashes = [structural_hash(changed(change)) for change in DIFFERENT.values()]
    assert len(set(hashes)) == len(hashes)


def test_the_difference_is_told_with_both_lines() -> None:
    assert first_difference(parse(BASE), changed(DIFFERENT["op"])) == (
        "the first graph has node %0: f32[n, m] = sub(%x, %y)\nthe second graph has node %0: f32[n, m] = add(%x, %y)"
    )
    assert first_difference(parse(BASE), changed(DIFFERENT["nested graph"])) == (
        "in the graph 'graph' of call: the first graph has node %0: f32[n, m] = neg(%z)\n"
        "the second graph has node %0: f32[n, m] = exp(%z)"
    )
    assert first_difference(parse(BASE), changed(DIFFERENT["no alias"])) == "only the first graph has alias 0 -> %x"
    assert first_difference(parse(BASE), changed(DIFFERENT["guard"])) == (
        "the first graph has guard n <= 2*m\nthe second graph has guard n < 2*m"
    )
    assert first_difference(parse(BASE), changed(DIFFERENT["alias"])) == (
        "the first graph has alias 0 -> %x\nthe second graph has alias 0 -> %y"
    )


def test_a_value_computed_twice_is_not_a_value_used_twice() -> None:
    once = "graph @g(%x: f32[]) -> (f32[]) { %0: f32[] = exp(%x) %1: f32[] = add(%0, %0) return %1 }"
    twice = (
        "graph @g(%x: f32[]) -> (f32[]) { %0: f32[] = exp(%x) %9: f32[] = exp(%x) %1: f32[] = add(%0, %9) return %1 }"
    )
    assert not structurally_equal(parse(once), parse(twice))


def test_numbers_of_different_kinds_differ() -> None:
    b = Builder()
    x = b.parameter(parse_type("f32[]"))

    def carrying(value: object) -> Graph:
        return Graph([x], [Value(Node(x.node.op, (x,), {"value": value}, (x.type,)), 0)])

    values = [1, True, 1.0, "1", (1,), None, 0.0, -0.0, 0, False, float("nan"), float("inf"), ((1,),), "none", "true"]
    hashes = [structural_hash(carrying(value)) for value in values]
    assert len(set(hashes)) == len(values)
    assert structurally_equal(carrying(float("nan")), carrying(float("nan")))


def test_constants_count_by_their_bytes_dtype_and_shape() -> None:
    def holding(array: np.ndarray) -> str:
        b = Builder()
        return structural_hash(b.finish([b.constant(array)]))

    zero = np.zeros(4, np.float32)
    assert holding(zero) == holding(zero.copy())
    assert holding(np.asfortranarray(np.arange(6.0).reshape(2, 3))) == holding(np.arange(6.0).reshape(2, 3))
    others = [zero.reshape(2, 2), zero.view(np.int32), -zero, zero.astype(np.float64)[:2]]
    assert len({holding(a) for a in [zero, *others]}) == 5


def test_a_size_that_is_shared_with_a_nested_graph_counts() -> None:
    text = texts.NESTED
    shared = text.replace("k", "n")
    assert structurally_equal(parse(text), parse(text.replace("k", "j")))
    assert not structurally_equal(parse(text), parse(shared))


def test_an_attribute_without_structure_is_an_error() -> None:
    b = Builder()
    x = b.parameter(parse_type("f32[]"))
    graph = Graph([x], [Value(Node(x.node.op, (x,), {"function": print}, (x.type,)), 0)])
    with pytest.raises(ArgumentError, match="attribute of type builtin_function_or_method, which cannot be compared"):
        structural_hash(graph)


def test_the_hash_is_the_same_in_another_process() -> None:
    code = "import sys, graphc.ops; from graphc.ir import *; print(structural_hash(parse(sys.argv[1])))"
    result = subprocess.run([sys.executable, "-c", code, BASE], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == structural_hash(parse(BASE))
