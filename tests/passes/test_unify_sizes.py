"""Sizes that are equal get one name."""

from graphc.ir.dims import symbol
from graphc.ir.graph import Guard
from graphc.ir.parser import parse
from graphc.ir.verifier import verify
from graphc.passes.specialize import unify_sizes

TEXT = """
graph @f(%x: f32[n], %y: f32[m]) -> (f32[n]) {
  guard n == m
  guard 2 < m
  %0: f32[n] = reshape(%y) {shape = (n)}
  %1: f32[n] = add(%x, %0)
  return %1
}
"""


def test_types_attributes_and_guards_are_rewritten() -> None:
    graph = unify_sizes(parse(TEXT), {"m": symbol("n")})
    verify(graph)
    assert str(graph).splitlines() == [
        "graph @f(%x: f32[n], %y: f32[n]) -> (f32[n]) {",
        "  guard 2 < n",
        "  %0: f32[n] = reshape(%y) {shape = (n)}",
        "  %1: f32[n] = add(%x, %0)",
        "  return %1",
        "}",
    ]


def test_numbers_settle_guards() -> None:
    graph = unify_sizes(parse(TEXT), {"m": 4, "n": 4}, [Guard("<", symbol("n"), 9), Guard("!=", 2 * symbol("n"), 7)])
    verify(graph)
    assert graph.guards == ()
    assert [str(t) for t in graph.parameter_types] == ["f32[4]", "f32[4]"]


def test_guards_of_the_caller_are_added_once() -> None:
    graph = unify_sizes(parse(TEXT), {}, [Guard("<", 2, symbol("m")), Guard("<=", symbol("n"), 8)])
    assert [str(guard) for guard in graph.guards] == ["n == m", "2 < m", "n <= 8"]
