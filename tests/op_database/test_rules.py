"""Over every primitive: it has a record, its rules agree with each other, its text form parses, its errors help."""

from typing import Any

import numpy as np
import pytest

from graphc.dtypes import DType
from graphc.errors import GraphcError
from graphc.ir.builder import Builder, complete_attributes
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.primitive import get_primitive, primitives
from graphc.ir.printer import print_graph
from graphc.ir.structure import first_difference
from graphc.ir.verifier import verify
from tests.op_database.cases import cases, samples
from tests.op_db import NOT_APPLIED, RECORDS
from tests.op_record import ErrorSample, OpRecord, Sample, type_of

ERRORS = [
    pytest.param(record, error, id=f"{record.name}-{number}")
    for record in RECORDS.values()
    for number, error in enumerate(record.error_samples())
]
# Any operands of any types go (constant and random values have none to refuse).
CANNOT_FAIL = frozenset({"constant", "stop_gradient"})


def test_every_primitive_has_a_record() -> None:
    assert set(RECORDS) == set(primitives()) - NOT_APPLIED


@pytest.mark.parametrize("record", RECORDS.values(), ids=str)
def test_samples_cover_the_corners(record: OpRecord) -> None:
    found = samples(record, record.dtypes[0])
    assert found
    if get_primitive(record.name).elementwise:
        arrays = [s.arrays[0] for s in found]
        assert any(a.ndim == 0 for a in arrays), "no scalar"
        assert any(a.size == 0 for a in arrays), "nothing empty"
        assert any(a.size > 1 and not a.flags.c_contiguous for a in arrays), "nothing strided"
        assert any(a.size % 2 for a in arrays), "no odd size"
    if record.name not in CANNOT_FAIL:
        assert list(record.error_samples()), "no error samples"


def graph_of(record: OpRecord, sample: Sample) -> Graph:
    b = Builder(record.name)
    operands = [b.parameter(t, f"x{i}") for i, t in enumerate(sample.types)]
    return b.finish(b.emit(record.name, *operands, **sample.attributes))


@pytest.mark.parametrize(("record", "dtype"), cases(full=True))
def test_infer_agrees_with_evaluate(record: OpRecord, dtype: DType) -> None:
    op = get_primitive(record.name)
    for sample in samples(record, dtype):
        attributes = complete_attributes(op, sample.attributes)
        before = [a.copy() for a in sample.arrays]
        value = op.evaluate(*sample.arrays, **attributes)
        results = value if isinstance(value, tuple) else (value,)
        assert all(isinstance(r, np.ndarray) for r in results), sample
        assert tuple(type_of(r) for r in results) == op.infer(sample.types, **attributes), sample
        for operand, old in zip(sample.arrays, before, strict=True):
            assert operand.tobytes() == old.tobytes(), f"{sample} changed its operand"


@pytest.mark.parametrize(("record", "dtype"), cases(full=True))
def test_text_form_gives_the_graph_back(record: OpRecord, dtype: DType) -> None:
    for sample in samples(record, dtype):
        graph = graph_of(record, sample)
        verify(graph)
        text = print_graph(graph)
        again = parse(text)
        verify(again)
        assert first_difference(graph, again) is None, text
        assert print_graph(again) == text


@pytest.mark.parametrize(("record", "error"), ERRORS)
def test_errors_name_the_op_the_types_and_the_line(record: OpRecord, error: ErrorSample) -> None:
    b = Builder(record.name)
    operands = [b.parameter(t) for t in error.types]
    with pytest.raises(error.error, match=error.match) as caught:
        apply_here(b, record.name, operands, error.attributes)
    raised = caught.value
    assert isinstance(raised, GraphcError)
    assert raised.location.filename == __file__
    line = apply_here.__code__.co_firstlineno + 1
    assert raised.location.line == line
    assert __file__.rsplit("/", 1)[-1] in str(raised)


def apply_here(b: Builder, name: str, operands: list[Any], attributes: Any) -> Any:
    return b.emit(name, *operands, **attributes)
