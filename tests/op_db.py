"""The database of ops: a record for every primitive, by name. `tests/op_database` goes over it."""

from types import MappingProxyType

from tests import (
    op_db_contraction,
    op_db_control_flow,
    op_db_core,
    op_db_elementwise,
    op_db_indexing,
    op_db_movement,
    op_db_reduction,
)
from tests.op_record import OpRecord

FAMILIES = (
    op_db_core, op_db_elementwise, op_db_movement, op_db_reduction, op_db_indexing, op_db_contraction,
    op_db_control_flow,
)  # fmt: skip

# `parameter` is declared with its type and never applied, so there is nothing to sample.
NOT_APPLIED = frozenset({"parameter"})


def _merged() -> dict[str, OpRecord]:
    merged: dict[str, OpRecord] = {}
    for family in FAMILIES:
        for record in family.RECORDS:
            if record.name in merged:
                raise ValueError(f"{record.name} has two records")
            merged[record.name] = record
    return merged


RECORDS = MappingProxyType(_merged())
