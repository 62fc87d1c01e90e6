"""Static arguments that can change: what they hold counts, not which object they are."""

from __future__ import annotations

from typing import Any

import pytest

import graphc as gc


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: [1, 2], lambda value: value.append(3)),
        (lambda: {1, 2}, lambda value: value.add(3)),
        (lambda: {"a": 1, "b": 2}, lambda value: value.update(c=3)),
        (lambda: ([1], [2]), lambda value: value[0].extend([4, 5])),
        (lambda: bytearray(b"ab"), lambda value: value.extend(b"c")),
    ],
    ids=["list", "set", "dict", "nested", "bytearray"],
)
def test_a_container_that_changed_is_another_argument(make: Any, change: Any) -> None:
    def count(value: Any) -> int:
        return sum(map(len, value)) if isinstance(value, tuple) else len(value)

    f = gc.jit(lambda x, value: x * count(value), static_argnames=("value",))
    value = make()
    for _ in range(3):
        assert f(gc.ones(2), value).tolist() == [count(value)] * 2
    assert f(gc.ones(2), make()).tolist() == [count(value)] * 2
    assert f.trace_count == 1  # equal contents are one trace
    change(value)
    assert f(gc.ones(2), value).tolist() == [count(value)] * 2
    assert f.trace_count == 2


def test_an_element_counts_by_its_type_too() -> None:
    f = gc.jit(lambda x, value: x * (2 if isinstance(value[0], bool) else 3), static_argnames=("value",))
    assert f(gc.ones(1), [1]).item() == 3
    assert f(gc.ones(1), [True]).item() == 2
