"""Questions about sizes that the expressions leave open, put to whoever knows an example."""

import threading

import pytest

from graphc.errors import ShapeError
from graphc.ir.dims import (
    Dim,
    consulting,
    evaluate_dim,
    example_size,
    is_at_most,
    is_smaller,
    larger_size,
    same_size,
    same_sizes,
    settled,
    smaller_size,
    substitute,
    symbol,
)
from graphc.ops.core import RELATIONS

N, M = symbol("n"), symbol("m")


class Example:
    """Answers for n = 3, m = 5, and keeps what it was asked."""

    sizes = {"n": 3, "m": 5}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[str] = []

    def example(self, dim: Dim) -> int | None:
        return evaluate_dim(dim, self.sizes)

    def decide(self, relation: str, lhs: Dim, rhs: Dim) -> bool | None:
        self.asked.append(f"{lhs} {relation} {rhs}")
        return RELATIONS[relation](evaluate_dim(lhs, self.sizes), evaluate_dim(rhs, self.sizes))

    def fix(self, dim: Dim) -> int | None:
        self.asked.append(f"int({dim})")
        return evaluate_dim(dim, self.sizes)

    def settled(self, dim: Dim) -> Dim:
        return substitute(dim, {"m": N + 2})


def test_without_an_oracle_what_is_open_stays_open() -> None:
    assert same_size(N, N) is True
    assert same_size(3, 4) is False
    assert same_size(N, 3) is None
    assert not same_sizes((N, 3), (M, 3))
    assert is_smaller(N, N + 1) is True
    assert is_at_most(N + 1, N) is False
    assert is_smaller(N, 3) is is_at_most(N, 3) is None
    assert str(smaller_size(N, 3)) == "min(3, n)"
    assert str(larger_size(N, 3)) == "max(3, n)"
    assert example_size(4) == 4
    assert example_size(N) is None
    assert settled((N, 2)) == (N, 2)
    with pytest.raises(ShapeError, match="depends on sizes that are only known at run time"):
        _ = N < 3
    with pytest.raises(ShapeError, match="its value is not known"):
        int(N)


def test_an_oracle_answers_what_is_open_and_only_that() -> None:
    oracle = Example()
    with consulting(oracle):
        assert same_size(N, N) is True
        assert N + 1 > N
        assert oracle.asked == []
        assert same_size(N, 3) is True
        assert same_size(M, 3) is False
        assert same_sizes((N, M), (3, 5))
        assert is_smaller(N, M) is True
        assert smaller_size(N, 4) == N
        assert smaller_size(M, 4) == 4
        assert larger_size(0, N - 1) == N - 1
        assert N < 4
        assert not M <= 4
        assert int(2 * N) == 6
        assert example_size(N * M) == 15
        assert settled((N, M)) == (N, N + 2)
    assert oracle.asked == [
        "n == 3", "m == 3", "n == 3", "m == 5", "m <= n", "n <= 4", "m <= 4", "0 <= n-1", "n < 4", "m <= 4", "int(2*n)",
    ]  # fmt: skip


def test_an_oracle_is_consulted_in_its_thread_and_block() -> None:
    answers: list[bool | None] = []
    with consulting(Example()):
        thread = threading.Thread(target=lambda: answers.append(same_size(N, 3)))
        thread.start()
        thread.join()
    assert answers == [None]
    assert same_size(N, 3) is None
