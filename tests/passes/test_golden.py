"""Each pass on a graph in text form: the exact graph out, and what it recorded."""

import pytest

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.printer import print_graph
from graphc.ir.verifier import verify
from graphc.passes.registry import parse_pipeline
from graphc.rewrite.driver import Firing
from tests.conftest import Golden

INNER = """graph @inner(%a: f32[k], %b: f32[k]) -> (f32[k], f32[k]) {
      guard 2 <= k
      %0: f32[k] = mul(%a, %b)   loc("inner.py":2:1)
      %1: bool[k] = is_finite(%0)   loc("inner.py":3:1)
      %2: bool[] = reduce_all(%1) {axes = (0)}   loc("inner.py":3:1)
      effect check(%2) {message = "finite"}   loc("inner.py":3:1)
      %3: f32[k] = stop_gradient(%0)   loc("inner.py":4:1)
      return %3, %a
    }"""

QUIET = """graph @quiet(%a: f32[k], %b: f32[k], %c: f32[m]) -> (f32[k], f32[m]) {
      %0: f32[k] = mul(%a, %b)
      %1: f32[m] = exp(%c)
      return %0, %1
    }"""

CASES = {
    "fold": (
        "fold",
        """graph @fold(%x: f32[n], %i: i64[]) -> (f32[n], f32[2], f32[3], i64[]) {
  %0: f32[] = constant() {value = dense<f32[]: 2.0>}
  %1: f32[n] = broadcast_in_dim(%0) {shape = (n), dims = ()}
  %2: f32[n] = sqrt(%1)
  %3: f32[n] = add(%x, %2)
  %4: f32[2] = constant() {value = dense<f32[2]: [1.0, 4.0]>}
  %5: f32[2] = sqrt(%4)
  %6: f32[2] = broadcast_in_dim(%0) {shape = (2), dims = ()}
  %7: f32[2] = mul(%5, %6)
  %8: i64[] = constant() {value = dense<i64[]: 7>}
  %9: f32[3] = constant() {value = dense<f32[3]: [1.0, 2.0, 3.0]>}
  %10: f32[] = gather(%9, %8) {axes = (0)}
  %11: f32[3] = broadcast_in_dim(%10) {shape = (3), dims = ()}
  %12: i64[] = add(%i, %8)
  return %3, %7, %11, %12
}""",
    ),
    "cse": (
        "cse",
        """graph @cse(%x: f32[4], %p: bool[]) -> (f32[4], f32[4]) {
  %0: f32[4] = exp(%x)   loc("a.py":1:1)
  %1: f32[4] = exp(%x)   loc("a.py":2:1)
  %2: f32[4] = add(%0, %1)   loc("a.py":3:1)
  %3: f32[4] = add(%1, %0)   loc("a.py":4:1)
  effect check(%p) {message = "one"}   loc("a.py":5:1)
  effect check(%p) {message = "one"}   loc("a.py":6:1)
  %4: f32[4] = reshape(%2) {shape = (4)}   loc("a.py":7:1)
  %5: f32[4] = reshape(%3) {shape = (4)}   loc("a.py":8:1)
  return %4, %5
}""",
    ),
    "dce": (
        "dce",
        f"""graph @dce(%x: f32[n], %y: f32[m], %p: bool[], %u: f32[3]) -> (f32[n]) {{
  guard n == m
  guard 1 <= 3
  guard n <= n
  %0: bool[] = constant() {{value = dense<bool[]: true>}}
  effect check(%0) {{message = "always"}}
  effect check(%p) {{message = "sometimes"}}
  %1: f32[m] = exp(%y)
  %2: f32[n], %3: f32[m] = call(%x, %x, %1) {{graph = {QUIET}}}
  return %2
}}""",
    ),
    "inline": (
        "inline",
        f"""graph @inline(%x: f32[2*n], %p: bool[]) -> (f32[2*n]) {{
  guard n != 5
  effect check(%p) {{message = "before"}}   loc("outer.py":1:1)
  %0: f32[2*n], %1: f32[2*n] = call(%x, %x) {{graph = {INNER}}}   loc("outer.py":2:1)
  %2: f32[2*n] = add(%0, %1)   loc("outer.py":3:1)
  %3: bool[2*n] = is_nan(%2)   loc("outer.py":4:1)
  %4: bool[] = reduce_any(%3) {{axes = (0)}}   loc("outer.py":4:1)
  effect check(%4) {{message = "after"}}   loc("outer.py":4:1)
  return %2
}}""",
    ),
    "drop_stop_gradient": (
        "drop-stop-gradient",
        """graph @marks(%x: f32[4]) -> (f32[4]) {
  %0: f32[4] = stop_gradient(%x)
  %1: f32[4] = stop_gradient(%0)
  %2: f32[4] = mul(%1, %x)
  return %2
}""",
    ),
    "canonicalize_softmax_gradient": (
        "canonicalize",
        """graph @softmax(%x: f32[batch, 10]) -> (f32[batch, 10]) {
  %0: f32[batch] = reduce_max(%x) {axes = (1)}
  %1: f32[batch, 1] = broadcast_in_dim(%0) {shape = (batch, 1), dims = (0)}
  %2: f32[batch, 10] = broadcast_in_dim(%1) {shape = (batch, 10), dims = (0, 1)}
  %3: f32[batch, 10] = sub(%x, %2)
  %4: f32[batch, 10] = exp(%3)
  %5: f32[batch] = reduce_sum(%4) {axes = (1)}
  %6: f32[batch, 1] = reshape(%5) {shape = (batch, 1)}
  %7: f32[] = constant() {value = dense<f32[]: 1.0>}
  %8: f32[batch, 1] = broadcast_in_dim(%7) {shape = (batch, 1), dims = ()}
  %9: f32[batch, 1] = div(%8, %6)
  %10: f32[batch, 10] = broadcast_in_dim(%9) {shape = (batch, 10), dims = (0, 1)}
  %11: f32[batch, 10] = mul(%4, %10)
  %12: f32[batch, 10] = broadcast_in_dim(%7) {shape = (batch, 10), dims = ()}
  %13: f32[batch, 10] = mul(%12, %11)
  %14: f32[10, batch] = transpose(%13) {permutation = (1, 0)}
  %15: f32[batch, 10] = transpose(%14) {permutation = (1, 0)}
  return %15
}""",
    ),
    "canonicalize_linear": (
        "canonicalize{fast_math=true}",
        """graph @linear(%x: f32[n, 784], %w: f32[784, 10], %ct: f32[n, 10]) -> (f32[784, 10], f32[n, 784], f32[10]) {
  %0: f32[784, n] = transpose(%x) {permutation = (1, 0)}
  %1: f32[784, 10] = dot_general(%0, %ct) {contract = ((1), (0)), batch = ((), ())}
  %2: f32[10, 784] = transpose(%w) {permutation = (1, 0)}
  %3: f32[n, 784] = dot_general(%ct, %2) {contract = ((1), (0)), batch = ((), ())}
  %4: f32[10, n] = transpose(%ct) {permutation = (1, 0)}
  %5: f32[10] = reduce_sum(%4) {axes = (1)}
  %6: f32[] = constant() {value = dense<f32[]: 0.0>}
  %7: f32[10] = broadcast_in_dim(%6) {shape = (10), dims = ()}
  %8: f32[10] = add(%7, %5)
  return %1, %3, %8
}""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_exact_graph(name: str, golden: Golden) -> None:
    pipeline, text = CASES[name]
    (each,) = parse_pipeline(pipeline)
    before = parse(text)
    verify(before)
    firings: list[Firing] = []
    after = each.run(before, firings.append)
    verify(after, when=f"after {pipeline}")
    shown = print_graph(before, locations=True), print_graph(after, locations=True)
    fired = "\n".join(f"// {f.rule} on {f.op}" for f in firings)
    golden(f"golden/pass_{name}.gir", f"{shown[0]}\n// {pipeline}\n{fired}\n{shown[1]}")
    again = each.run(after)
    assert print_graph(again) == print_graph(after), "a pass run twice does what it does once"


@pytest.mark.parametrize("name", CASES)
def test_a_pass_works_on_the_graphs_that_nodes_hold(name: str) -> None:
    pipeline, text = CASES[name]
    (each,) = parse_pipeline(pipeline)
    if each.name == "inline":
        return
    inner = parse(text)
    held = _held_twice(inner)
    after = each.run(held)
    verify(after)
    (call,) = [n for n in after.nodes() if n.op.name == "call"]
    outer_call = call.attributes["graph"]
    (inner_call,) = [n for n in outer_call.nodes() if n.op.name == "call"]
    assert print_graph(inner_call.attributes["graph"]) == print_graph(each.run(inner))


def _held_twice(graph: Graph) -> Graph:
    for name in ("middle", "outer"):
        b = Builder(name)
        parameters = [b.parameter(t, f"p{i}") for i, t in enumerate(graph.parameter_types)]
        graph = b.finish(b.emit("call", *parameters, graph=graph))
    return graph


def test_passes_say_their_contract() -> None:
    for each in parse_pipeline("inline,drop-stop-gradient,canonicalize,fold,cse,dce"):
        assert len(type(each).__doc__ or "") > 60
