"""What an example of a rewrite rule is: a graph on which the rule fires, written as a function of a builder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc.ops  # noqa: F401 - fills the registry
from graphc.dtypes import DType
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.spec import parse_type
from graphc.ir.types import TensorType
from graphc.locations import Location

Body = Callable[..., Value]


@dataclass(frozen=True)
class Example:
    """`body(b, *parameters)` gives the output; `types` are the parameters' types, separated by semicolons.

    `sizes`: the values of symbolic sizes for the numeric check. `ulps`: units in the last place by which the result
    may differ although the rule is exact.
    """

    rule: str
    types: str
    body: Body
    sizes: tuple[tuple[str, int], ...] = ()
    ulps: int = 0

    def graph(self) -> Graph:
        """The graph, named after the rule; parameters are called x, y, z, u."""
        b = Builder(self.rule, location=Location("example.py", 1, 1))
        types = [parse_type(t) for t in self.types.split(";") if t.strip()]
        parameters = [b.parameter(t, name) for t, name in zip(types, "xyzu", strict=False)]
        return b.finish([self.body(b, *parameters)])


def special_values(dtype: DType) -> list[Any]:
    """Values at which identities break: zeros of both signs, infinities, NaN, the ends of the range."""
    if dtype.is_bool:
        return [False, True]
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        return [0, 1, 2, 3, info.max, info.min, info.max - 1, info.min // 2]
    return [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, 0.5, -2.5, 1.5]


def random_array(rng: np.random.Generator, type_: TensorType, sizes: dict[str, int], *, benign: bool) -> np.ndarray:
    """Numbers of `type_`: well inside the domain of every function if `benign`, special ones mixed in otherwise."""
    shape = tuple(d if isinstance(d, int) else sizes[str(d)] for d in type_.shape)
    dtype = type_.dtype
    if dtype.is_bool:
        return rng.integers(0, 2, shape).astype(bool)
    if benign:
        return (rng.random(shape) * 2 + 0.5 if dtype.is_floating else rng.integers(1, 9, shape)).astype(dtype.numpy)
    with np.errstate(all="ignore"):
        choices = np.asarray(special_values(dtype), dtype=np.float64 if dtype.is_floating else dtype.numpy)
        plain = rng.standard_normal(shape) * 3 if dtype.is_floating else rng.integers(0, 100, shape)
        return np.where(
            rng.random(shape) < 0.6, rng.choice(choices, shape).astype(dtype.numpy), plain.astype(dtype.numpy)
        )
