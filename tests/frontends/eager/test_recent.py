"""What is kept of what came last."""

from __future__ import annotations

import os

import pytest

from graphc.frontends.eager.recent import Recent


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    kept: Recent[str, int] = Recent(2)
    kept.keep("a", 1)
    kept.keep("b", 2)
    assert kept.recall("a") == 1
    kept.keep("c", 3)
    assert kept.recall("b") is None
    assert list(kept.items()) == [("a", 1), ("c", 3)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_has_a_lock_that_nobody_holds() -> None:
    kept: Recent[str, int] = Recent()
    kept.keep("a", 1)
    with kept._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if kept.recall("a") == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
