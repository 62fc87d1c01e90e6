"""What a compilation reports of itself."""

import threading

import numpy as np

from graphc.compile import compile_graph
from graphc.dtypes import float32
from graphc.ir.builder import Builder
from graphc.ir.types import TensorType
from graphc.runtime.compile_log import CompileLog, logging_into, note_kernel, phase


def test_phases_add_up_and_nest() -> None:
    log = CompileLog()
    with logging_into(log):
        for _ in range(2):
            with phase("outer"), phase("inner"):
                pass
    assert list(log.phases) == ["inner", "outer"]
    assert log.phases["outer"] >= log.phases["inner"] >= 0


def test_without_a_log_nothing_is_kept() -> None:
    log = CompileLog()
    with logging_into(log):
        pass
    with phase("late"):
        note_kernel("k", "compiled", 0.0)
    assert log == CompileLog()


def test_a_log_is_of_its_thread() -> None:
    log = CompileLog()
    with logging_into(log):
        thread = threading.Thread(target=lambda: note_kernel("k", "compiled", 0.0))
        thread.start()
        thread.join()
    assert log.kernels == []


def test_a_compilation_says_where_its_kernels_came_from() -> None:
    b = Builder("g")
    x = b.parameter(TensorType(float32, (3,)), "x")
    graph = b.finish([b.mul(x, b.full_like(x, 7.25))])
    logs = [CompileLog(), CompileLog()]
    for log in logs:
        with logging_into(log):
            executable = compile_graph(graph)
        np.testing.assert_array_equal(executable(np.ones(3, np.float32))[0], np.full(3, 7.25))
        assert list(log.phases) == ["passes", "plan", "kernels"]
    (first,), (second,) = (log.kernels for log in logs)
    assert first.name == second.name == "map_mul"
    assert first.origin in ("compiled", "disk", "memory")
    assert second.origin == "memory"
