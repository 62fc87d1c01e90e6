"""Pipelines: order, options, verification, the trace."""

import json
import time
from dataclasses import dataclass
from typing import ClassVar

import pytest

import graphc.ops  # noqa: F401 - fills the registry
from graphc.dtypes import float32
from graphc.errors import ArgumentError, VerifyError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.passes.base import Pass
from graphc.passes.canonicalize import Canonicalize, DropStopGradient
from graphc.passes.inline import Inline
from graphc.passes.pipeline import PIPELINES, Pipeline, pipeline
from graphc.passes.trace import PassTrace
from graphc.rewrite.driver import Record
from tests.conftest import Golden


def example() -> Graph:
    b = Builder("inner", location=Location("inner.py", 1, 1))
    x = b.parameter(TensorType(float32, (3, 4)), "x")
    inner = b.finish([b.stop_gradient(b.mul(x, b.full_like(x, 1.0)))])
    b = Builder("main", location=Location("main.py", 2, 5))
    x = b.parameter(TensorType(float32, (3, 4)), "x")
    (y,) = b.emit("call", x, graph=inner)
    return b.finish([b.transpose(b.transpose(b.sub(y, b.full_like(y, 2.0)), permutation=(1, 0)), permutation=(1, 0))])


@dataclass(frozen=True)
class Break(Pass):
    """Gives a node a type that its op does not infer."""

    name: ClassVar[str] = "break"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        (output,) = graph.outputs
        node = output.node
        wrong = Node(node.op, node.inputs, node.attributes, (TensorType(float32, (9,)),), node.location)
        return graph.replace(outputs=wrong.results)


def test_every_target_inlines_first_and_ends_verified() -> None:
    for target in PIPELINES:
        passes = pipeline(target).passes
        assert not passes or isinstance(passes[0], Inline)
        pipeline(target).run(example(), verify=True)


def test_stop_gradient_goes_before_the_rules_run() -> None:
    kinds = [type(p) for p in pipeline("cpu").passes]
    assert kinds.index(DropStopGradient) < kinds.index(Canonicalize)


def test_fast_math_reaches_the_passes_that_know_it() -> None:
    assert Canonicalize(fast_math=True) in pipeline("cpu", fast_math=True).passes
    assert Canonicalize(fast_math=False) in pipeline("cpu").passes


def test_unknown_target() -> None:
    with pytest.raises(ArgumentError, match="there is no pipeline for 'tpu'") as caught:
        pipeline("tpu")
    assert caught.value.hint == "targets: cpu, cuda, reference"


def test_verify_names_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Pipeline("test", (Inline(), Break()))
    with pytest.raises(VerifyError, match="after break"):
        broken.run(example(), verify=True)
    monkeypatch.delenv("GRAPHC_VERIFY", raising=False)
    broken.run(example())
    monkeypatch.setenv("GRAPHC_VERIFY", "0")
    broken.run(example())
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    with pytest.raises(VerifyError, match="after break"):
        broken.run(example())


def test_trace(golden: Golden) -> None:
    trace = PassTrace()
    pipeline("cpu").run(example(), trace=trace, verify=True)
    golden(
        "golden/trace.txt",
        "\n\n".join(
            (
                trace.render(seconds=False),
                trace.render(seconds=False, firings=True),
                trace.to_json(seconds=False),
            )
        ),
    )


def test_trace_counts_seconds_and_nodes() -> None:
    trace = PassTrace()
    start = time.perf_counter()
    graph = pipeline("cpu").run(example(), trace=trace)
    assert 0 < sum(r.seconds for r in trace.records) <= time.perf_counter() - start
    assert trace.records[0].before == len(example().nodes())
    assert trace.records[-1].after == len(graph.nodes())
    assert [r["seconds"] for r in json.loads(trace.to_json())] == [r.seconds for r in trace.records]
    assert str(trace).splitlines()[0].split() == ["pass", "nodes", "seconds"]


def test_a_hundred_thousand_nodes() -> None:
    b = Builder("long", location=Location("long.py", 1, 1))
    x = b.parameter(TensorType(float32, (3,)), "x")
    value = x
    for _ in range(50_000):
        value = b.add(b.sin(value), x)
    graph = b.finish([value])
    assert len(pipeline("cpu").run(graph).nodes()) == 100_001


def test_calls_nested_deeply() -> None:
    b = Builder("f0", location=Location("f.py", 1, 1))
    x = b.parameter(TensorType(float32, (3,)), "x")
    graph = b.finish([b.sin(x)])
    for depth in range(1, 3000):
        b = Builder(f"f{depth}", location=Location("f.py", 1, 1))
        x = b.parameter(TensorType(float32, (3,)), "x")
        graph = b.finish([b.emit("call", x, graph=graph)[0]])
    assert len(Inline().run(graph).nodes()) == 2
