"""random_bits against its `evaluate`, and the known answers of Philox4x32-10."""

import numpy as np
import pytest

from graphc.dtypes import uint32, uint64

from .running import judge, run


@pytest.mark.parametrize("dtype", [uint32, uint64], ids=str)
@pytest.mark.parametrize("counter", [0, 1, 3, 2**33 + 2, 2**64 - 3])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (7, 5), (64,)])
def test_against_evaluate(dtype, counter, shape):
    operands = (np.uint64(0x1234_5678_9ABC_DEF0), np.uint64(counter))
    judge("random_bits", operands, {"shape": shape, "dtype": dtype}, pieces=(1, 2, 5))


def test_known_answer():
    # Random123's kat_vectors: counter 0, key 0.
    (words,), _ = run("random_bits", (np.uint64(0), np.uint64(0)), {"shape": (4,), "dtype": uint32})
    assert [hex(w) for w in words.tolist()] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
