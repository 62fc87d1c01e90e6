"""The graph as plain data."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import graphc.ops  # noqa: F401  (fills the registry)
from graphc.ir import Builder, parse, to_json
from tests.ir import texts


@pytest.mark.parametrize("name", ["loss", "nested", "sorted", "constants"])
def test_the_data(name: str, golden: Callable[[str | Path, str], None]) -> None:
    graph = parse(texts.ALL[name], filename=f"{name}.gir")
    golden(f"golden/{name}.json", json.dumps(to_json(graph), indent=1, allow_nan=False, ensure_ascii=False))


def test_locations_on_request() -> None:
    node = to_json(parse(texts.SORTED, filename="a.gir"), locations=True)["nodes"][0]
    assert node["location"] == {"file": "a.gir", "line": 2, "column": 3}
    assert "location" not in to_json(parse(texts.SORTED))["nodes"][0]


def test_large_arrays_are_given_by_their_bytes() -> None:
    b = Builder()
    array = np.arange(100, dtype=np.float32)
    data = to_json(b.finish([b.constant(array)]))["nodes"][0]["attributes"]["value"]["array"]
    assert (data["dtype"], data["shape"]) == ("f32", [100])
    assert np.array_equal(np.frombuffer(base64.b64decode(data["base64"]), np.float32), array)
