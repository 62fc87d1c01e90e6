"""The exception tree and how errors read."""

import pickle
import re

import pytest

from graphc import errors
from graphc.errors import GraphcError, ShapeError
from graphc.locations import UNKNOWN, Location

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, GraphcError)]


def test_an_error_says_what_where_and_what_to_do() -> None:
    error = ShapeError("sizes 3 and 4 differ", hint="pad the second")
    assert str(error).splitlines()[0] == "sizes 3 and 4 differ"
    assert re.search(r"\n  at .*test_errors\.py:\d+, in test_an_error_says", str(error))
    assert 'error = ShapeError("sizes 3 and 4 differ", hint="pad the second")' in str(error)
    assert str(error).endswith("\n  fix: pad the second\n  code: GC101 (graphc explain GC101)")
    assert error.message == "sizes 3 and 4 differ"


def test_an_error_without_hint_and_location_is_its_message() -> None:
    assert str(ShapeError("message", location=UNKNOWN)) == "message\n  code: GC101 (graphc explain GC101)"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_every_error_survives_pickling(cls: type[GraphcError]) -> None:
    error = cls("message", hint="hint", location=Location("model.py", 3, 4, "f"))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (again.message, again.hint, again.location) == ("message", "hint", error.location)
    assert str(again) == str(error)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_the_tree_in_the_documentation_is_the_tree(cls: type[GraphcError]) -> None:
    """Each class is in the module's docstring, with the builtin exceptions that it derives from."""
    assert cls.__doc__
    assert errors.__doc__
    line = re.search(rf"^[ │├└─]*{cls.__name__}\b(?: \(([^)]*)\))?", errors.__doc__, re.MULTILINE)
    assert line is not None, f"{cls.__name__} is not in the docstring"
    builtins = {base.__name__ for base in cls.__bases__ if not issubclass(base, GraphcError)} - {"Exception"}
    assert set((line.group(1) or "").split(", ")) - {""} == builtins


def test_errors_are_caught_as_the_builtin_ones() -> None:
    for cls, builtin in [
        (errors.ShapeError, ValueError),
        (errors.DTypeError, TypeError),
        (errors.AxisError, IndexError),
        (errors.OutOfBoundsError, IndexError),
        (errors.FileError, OSError),
        (errors.CheckError, AssertionError),
        (errors.ConcretizationError, TypeError),
    ]:
        with pytest.raises(builtin):
            raise cls("message")
