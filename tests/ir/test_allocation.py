"""The collector of cycles rests while large graphs are built, and is as it was afterwards."""

import gc
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

from graphc.ir.allocation import collection_paused
from graphc.ir.graph import Graph
from graphc.passes.base import Pass
from graphc.passes.pipeline import Pipeline
from graphc.rewrite.driver import Record


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_rests_and_goes_on() -> None:
    with collection_paused():
        assert not gc.isenabled()
        with collection_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_errors_end_the_rest() -> None:
    with pytest.raises(ValueError, match="x"), collection_paused():
        raise ValueError("x")
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    with collection_paused():
        pass
    assert not gc.isenabled()


def test_the_last_thread_wakes_it() -> None:
    inside, leave = threading.Event(), threading.Event()

    def rest() -> None:
        with collection_paused():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=rest)
    thread.start()
    assert inside.wait(30)
    with collection_paused():
        pass
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


class _Look(Pass):
    """Notes whether the collector runs."""

    name: ClassVar[str] = "look"
    seen: ClassVar[list[bool]] = []

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        self.seen.append(gc.isenabled())
        return graph


def test_pipelines_let_it_rest() -> None:
    Pipeline("looking", (_Look(),)).run(Graph([], []))
    assert _Look.seen == [False]
    assert gc.isenabled()
