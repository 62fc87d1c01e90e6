"""Primitives that run graphs which they hold."""

import pytest

from graphc.ops.core import WithRegions


def test_a_class_without_runs_is_refused():
    with pytest.raises(TypeError, match="primitive Lacking lacks runs"):

        class Lacking(WithRegions):
            """One that does not say what it runs."""

            name = "lacking"
