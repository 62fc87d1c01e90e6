"""random_bits: the published known answers of Philox4x32-10, and how the stream is read."""

import numpy as np
import pytest

from graphc.dtypes import uint32, uint64
from graphc.ops.random import philox4x32
from tests.ops.evaluation import apply

# Known-answer tests of the Random123 distribution (kat_vectors, philox4x32 10): counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def bits(key: int, counter: int, shape: tuple[int, ...], dtype: object) -> np.ndarray:
    result: np.ndarray = apply("random_bits", np.uint64(key), np.uint64(counter), shape=shape, dtype=dtype)
    return result


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]) -> None:
    c0, c1, c2, c3 = (np.array([c], dtype=np.uint64) for c in counter)
    assert tuple(int(w[0]) for w in philox4x32((c0, c1, c2, c3), key)) == words


def test_words_of_a_block_come_in_order() -> None:
    assert bits(0, 0, (4,), uint32).tolist() == list(KNOWN[0][2])
    assert bits(0, 0, (2,), uint64).tolist() == [0xE169C58D6627E8D5, 0x9B00DBD8BC57AC4C]


@pytest.mark.parametrize("dtype", [uint32, uint64])
def test_counter_is_a_position_in_the_stream(dtype: object) -> None:
    stream = bits(7, 0, (40,), dtype)
    for start in (1, 2, 3, 5):
        np.testing.assert_array_equal(bits(7, start, (3, 5), dtype), stream[start : start + 15].reshape(3, 5))


def test_key_halves_are_both_used() -> None:
    streams = {bits(key, 0, (2,), uint64).tobytes() for key in (0, 1, 2**32, 2**32 + 1, 2**63)}
    assert len(streams) == 5


@pytest.mark.parametrize("dtype", [uint32, uint64])
def test_positions_wrap(dtype: object) -> None:
    ends = bits(3, 2**64 - 2, (4,), dtype)
    np.testing.assert_array_equal(ends[2:], bits(3, 0, (2,), dtype))
    assert len(set(ends.tolist())) == 4


def test_a_block_counter_above_32_bits_uses_its_upper_word() -> None:
    position = 4 * (5 * 2**32 + 9)
    words = philox4x32(tuple(np.array([c], dtype=np.uint64) for c in (9, 5, 0, 0)), (1, 2))  # type: ignore[arg-type]
    assert bits(1 + (2 << 32), position, (4,), uint32).tolist() == [int(w[0]) for w in words]


def test_bits_are_balanced() -> None:
    ones = np.unpackbits(bits(11, 0, (20_000,), uint32).view(np.uint8)).mean()
    assert abs(ones - 0.5) < 4 * 0.5 / np.sqrt(640_000)
