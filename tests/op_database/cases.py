"""What the generic tests go over: (record, dtype) pairs, and one graph for all the samples of a pair.

A graph for many samples is compiled once, and kernels with the same text are shared, so checking compiled code costs a few
compilations a pair.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import graphc.ops  # noqa: F401 - fills the registry
from graphc.dtypes import DType
from graphc.ir.builder import Builder, complete_attributes
from graphc.ir.graph import Graph
from graphc.ir.primitive import get_primitive
from tests.op_db import RECORDS
from tests.op_record import OpRecord, Sample, assert_same, type_of

SEED = 7


def thin(record: OpRecord) -> tuple[DType, ...]:
    """One or two dtypes that stand for the others, a float and another, turning with the op's name so that all come up."""
    turn = zlib.crc32(record.name.encode())
    floats = [d for d in record.dtypes if d.is_floating]
    others = [d for d in record.dtypes if not d.is_floating]
    return tuple(group[turn % len(group)] for group in (floats, others) if group)


def cases(*, full: bool = False) -> list[Any]:
    """Parameters (record, dtype) for all records; those that `thin` leaves out are marked slow."""
    result = []
    for record in RECORDS.values():
        usual = record.dtypes if full else thin(record)
        for dtype in record.dtypes:
            marks = () if dtype in usual else (pytest.mark.slow,)
            result.append(pytest.param(record, dtype, id=f"{record.name}-{dtype.short}", marks=marks))
    return result


def samples(record: OpRecord, dtype: DType) -> list[Sample]:
    return list(record.samples(np.random.default_rng(SEED), dtype))


@dataclass(frozen=True)
class Batch:
    """All samples of one op and dtype as one program: (all operands in a row) → all results in a row."""

    record: OpRecord
    samples: tuple[Sample, ...]

    @property
    def arrays(self) -> list[np.ndarray]:
        return [np.asarray(a) for sample in self.samples for a in sample.arrays]

    def apply(self, bind: Callable[..., Sequence[Any]], operands: Sequence[Any]) -> list[Any]:
        """The results of all samples; `bind(name, *operands, **attributes)` applies the primitive to one of them."""
        results: list[Any] = []
        rest = iter(operands)
        for sample in self.samples:
            own = [next(rest) for _ in sample.arrays]
            results += bind(self.record.name, *own, **sample.attributes)
        return results

    def graph(self) -> Graph:
        b = Builder(self.record.name)
        operands = [b.parameter(t) for sample in self.samples for t in sample.types]
        return b.finish(self.apply(b.emit, operands))

    def expected(self) -> list[np.ndarray]:
        """What the primitive's own rule gives, sample by sample."""
        op = get_primitive(self.record.name)
        results: list[np.ndarray] = []
        for sample in self.samples:
            value = op.evaluate(*sample.arrays, **complete_attributes(op, sample.attributes))
            results += value if isinstance(value, tuple) else (value,)
        return results

    def compare(self, got: Sequence[Any], want: Sequence[np.ndarray], what: str) -> None:
        assert len(got) == len(want), what
        for one, other in zip(got, want, strict=True):
            array = np.asarray(other)
            tolerance = self.record.tolerance_for(type_of(array).dtype)
            assert_same(np.asarray(one), array, f"{self.record.name}: {what}", tolerance=tolerance)


def batch(record: OpRecord, dtype: DType) -> Batch:
    return Batch(record, tuple(samples(record, dtype)))
