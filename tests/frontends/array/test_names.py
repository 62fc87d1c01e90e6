"""The table of public array functions: complete, documented, and cheap to import."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import graphc.frontends.array as gnp
from graphc.frontends.array import names
from graphc.frontends.array.names import PUBLIC

# Functions that modules offer each other, and what is a method or operator instead.
INTERNAL = {
    "activations": {"masked_softmax"},
    "convolution": {"batched", "per_axis"},
    "creation": {"contains_array"},
    "elementwise": {"largest_finite"},
    "exchange": {"from_cuda_array", "is_foreign"},
    "indexing": {"getitem", "setitem", "update"},
    "movement": {"as_shape", "bind_take", "slice_axis"},
    "reduction": {"degrees_of_freedom", "reduce_over", "root_of_sum", "size_as_number"},
}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(gnp, name)
    assert value is getattr(import_module(PUBLIC[name]), name)
    if callable(value):
        assert value.__doc__


@pytest.mark.parametrize("module", sorted(set(PUBLIC.values())))
def test_every_function_is_listed(module: str) -> None:
    source = ast.parse(Path(str(import_module(module).__file__)).read_text(encoding="utf-8"))
    defined = {n.name for n in source.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")}
    listed = {name for name, home in PUBLIC.items() if home == module}
    assert defined - listed == INTERNAL.get(module.rpartition(".")[2], set())


def test_the_table_loads_nothing_heavy() -> None:
    code = f"import sys, {names.__name__}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'fft'"):
        gnp.fft  # noqa: B018
