"""The exception tree and how errors read."""

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import graphc as gc
from graphc import errors
from graphc.errors import Cause, GraphcError, ShapeError
from graphc.locations import UNKNOWN, Location
from graphc.operands import Operand

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
    causes = [cause for cause in vars(cls).values() if isinstance(cause, Cause)]
    error = cls(
        "message",
        hint="hint",
        location=Location("model.py", 3, 4, "f"),
        cause=causes[0] if causes else None,
        operands=[Operand("x: float32, shape (2,)", Location("model.py", 1))],
    )
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (again.message, again.hint, again.location) == ("message", "hint", error.location)
    assert (again.code, again.cause, again.operands) == (error.code, error.cause, error.operands)
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
        (errors.SizeDivisionError, ZeroDivisionError),
    ]:
        with pytest.raises(builtin):
            raise cls("message")


SOURCES = Path(errors.__file__).resolve().parent
NAMES = {cls.__name__: cls for cls in CLASSES}


def _made() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the source that makes an error, and where it is."""
    for folder in (SOURCES, SOURCES.parent / "frontends", SOURCES.parent / "backends"):
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
                    yield f"{path.relative_to(SOURCES.parent)}:{node.lineno}", node


def test_every_cause_is_raised_and_belongs_to_the_class_that_is_raised() -> None:
    used: set[str] = set()
    for path in [p for d in ("graphc", "frontends", "backends") for p in (SOURCES.parent / d).rglob("*.py")]:
        used |= set(re.findall(r"\b([A-Z]\w+Error\.[A-Z_]+)\b", path.read_text(encoding="utf-8")))
    for where, call in _made():
        for keyword in call.keywords:
            if keyword.arg == "cause" and isinstance(keyword.value, ast.Attribute):
                owner = keyword.value.value
                assert isinstance(owner, ast.Name), where
                assert isinstance(call.func, ast.Name), where
                if owner.id not in NAMES:
                    continue  # a cause that an object carries
                assert issubclass(NAMES[call.func.id], NAMES[owner.id]), f"{where}: the cause is of another class"
                assert isinstance(vars(NAMES[owner.id])[keyword.value.attr], Cause), where
    declared = {f"{cls.__name__}.{n}" for cls in CLASSES for n, c in vars(cls).items() if isinstance(c, Cause)}
    assert declared == used


def test_no_error_is_raised_without_a_class_of_its_own() -> None:
    """What users meet is a GraphcError. The exceptions to that, all of them known: what is abstract, attributes that are not
    there, as Python has it, what graphc catches itself, and mistakes in rules and primitives, which are found on import."""
    for path in [p for d in ("graphc", "frontends", "backends") for p in sorted((SOURCES.parent / d).rglob("*.py"))]:
        name = path.relative_to(SOURCES.parent).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                kind = made.id if isinstance(made, ast.Name) else ""
                if kind in {"ValueError", "TypeError", "KeyError", "IndexError", "RuntimeError", "AssertionError"}:
                    assert (name, kind) in ALLOWED, f"{name}:{node.lineno} raises a bare {kind}"


ALLOWED = {
    ("graphc/testing.py", "AssertionError"),  # what a test's assertions raise
    ("graphc/runtime/disk_cache.py", "ValueError"),  # a broken entry, which is dropped
    ("backends/numba_cpu/object_file.py", "ValueError"),
    ("graphc/ir/primitive.py", "TypeError"),  # a mistake in a primitive, a rule or a twin, found on import
    ("graphc/ops/core.py", "TypeError"),
    ("graphc/rewrite/pattern.py", "TypeError"),
    ("backends/numba_cpu/twins.py", "ValueError"),
    ("backends/numba_cuda/adapter.py", "RuntimeError"),  # a name that only kernels can use
    ("frontends/dispatch.py", "TypeError"),  # abstract
    ("frontends/eager/context.py", "AssertionError"),  # eager sizes are never guarded
}


def _operands(error: GraphcError) -> list[str]:
    return [operand.render(error.location).replace(__file__, "FILE") for operand in error.operands]


def test_an_error_shows_the_operands_and_where_they_were_made() -> None:
    x = gc.ones((2, 3)).requires_grad_()
    w = gc.ones((4, 5))
    h = x * 2
    with pytest.raises(ShapeError) as caught:
        h @ w
    first = test_an_error_shows_the_operands_and_where_they_were_made.__code__.co_firstlineno
    assert _operands(caught.value) == [
        f"h: float32, shape (2, 3), made at FILE:{first + 3}",
        f"w: float32, shape (4, 5), assigned at FILE:{first + 2}",
    ]
    assert f"\n  operand h: float32, shape (2, 3), made at {__file__}:{first + 3}\n" in str(caught.value)


def test_operands_in_nested_arguments_are_shown_by_their_keys() -> None:
    batch = {"image": gc.ones((2, 3)), "more": [gc.ones(4), {"label": gc.ones(5)}]}
    with pytest.raises(GraphcError) as caught:
        gc.vmap(lambda tree: tree["image"])(batch)
    shown = [text.split(",")[0] + text[text.index(", shape") :].split(", assigned")[0] for text in _operands(caught.value)]
    assert shown == [
        "argument 1['image']: float32, shape (2, 3)",
        "argument 1['more'][0]: float32, shape (4,)",
        "argument 1['more'][1]['label']: float32, shape (5,)",
    ]


def test_a_traced_operand_shows_the_line_of_its_op() -> None:
    @gc.jit
    def f(a, b):
        c = a * 2
        return gc.concat([c, gc.exp(b)])

    first = f.__wrapped__.__code__.co_firstlineno
    with pytest.raises(ShapeError) as caught:
        f(gc.ones((2, 3)), gc.ones(4))
    assert _operands(caught.value) == [f"c: float32, shape (2, 3), made at FILE:{first + 2}", "2: float32, shape (4,)"]


@pytest.mark.parametrize("target", ["cpu", "reference"])
def test_an_error_of_a_run_shows_what_its_line_reads(target: str) -> None:
    @gc.jit
    def f(x, i):
        y = x * 2
        j = i + 1
        return gc.exp(y[j])

    first = f.__wrapped__.__code__.co_firstlineno
    graph = f.graph(gc.spec("f32[3]"), gc.spec("i64[2]"))
    run = gc.compile_graph(graph, target=target)
    with pytest.raises(errors.OutOfBoundsError, match="size 3") as caught:
        run(gc.ones(3).numpy(), gc.tensor([1, 5]).numpy())
    assert caught.value.location.line == first + 4
    lines = {operand.location.line for operand in caught.value.operands if operand.location is not None}
    assert {first + 2, first + 3} <= lines
    assert "mul(…): float32, shape (3,)" in str(caught.value)


def test_operands_are_few_and_none_is_shown_twice() -> None:
    many = [gc.ones(2)] * 3 + [gc.ones(3) for _ in range(9)]
    with pytest.raises(ShapeError) as caught:
        gc.stack(many)
    assert len(caught.value.operands) == 7
    assert caught.value.operands[-1].text == "and 4 more"


def test_a_variable_that_is_assigned_twice_has_no_known_line() -> None:
    x = gc.ones(2)
    x = gc.ones(x.shape[0] + 1)
    with pytest.raises(ShapeError) as caught:
        gc.ones(2) + x
    assert _operands(caught.value) == ["1: float32, shape (2,)", "x: float32, shape (3,)"]
