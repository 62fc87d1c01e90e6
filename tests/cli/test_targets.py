"""What TARGET may be, what `--input` may say, and the errors of both."""

import os
import sys
from pathlib import Path

import pytest

from graphc.cli.inputs import parse_inputs
from graphc.errors import ArgumentError, ParseError
from graphc.frontends.spec import spec
from tests.cli.conftest import Cli
from tests.conftest import Golden


def test_a_jitted_function_with_nested_and_keyword_inputs(cli: Cli, golden: Golden) -> None:
    words = ("--input", '{"w": f32[3], b: f32[]}', "--input", "0.5", "--input", "shift=2.0")
    result = cli("dump", "model.py:scaled", *words)
    assert result.code == 0, result.err
    golden("golden/jitted.txt", result.out)


def test_a_file_is_imported_not_run_and_prints_to_standard_error(cli: Cli) -> None:
    result = cli("dump", "model.py:loss", "--input", "f32[2, 4]", "--input", "f32[4, 2]")
    assert result.code == 0
    assert result.err == "the model is loaded\n"
    assert "loaded" not in result.out


def test_a_file_leaves_no_trace(cli: Cli, folder: Path) -> None:
    before = (dict(sys.modules), list(sys.path), list(sys.argv))
    assert cli("dump", "model.py:loss", "--input", "f32[2, 4]", "--input", "f32[4, 2]").code == 0
    assert cli("dump", "script.py").code == 0
    assert ("model" in sys.modules, list(sys.path), list(sys.argv)) == (False, *before[1:])
    assert sys.modules["__main__"] is before[0]["__main__"]
    assert not (folder / "__pycache__").exists()


def test_a_file_imports_its_neighbours(cli: Cli, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "neighbour.py").write_text("factor = 2.0\n", encoding="utf-8")
    text = "import neighbour\n\ndef f(x):\n    return x * neighbour.factor\n"
    (folder / "sub" / "main.py").write_text(text, encoding="utf-8")
    try:
        result = cli("dump", os.path.join("sub", "main.py") + ":f", "--input", "f32[2]")
    finally:
        sys.modules.pop("neighbour", None)
    assert result.code == 0, result.err


def test_a_script_is_recorded_with_its_arguments(cli: Cli, golden: Golden) -> None:
    result = cli("dump", "script.py", "--", "--epochs", "1")
    assert result.code == 0, result.err
    assert result.err == "arguments: ['--epochs', '1']\n"
    golden("golden/script.txt", result.out)


def test_a_function_that_returns_a_graph(cli: Cli, folder: Path) -> None:
    text = "import graphc as gc\n\ndef loaded() -> 'gc.Graph':\n    return gc.parse_file('loss.gir')\n\ng = loaded()\n"
    (folder / "graphs.py").write_text("import graphc.ops\n" + text, encoding="utf-8")
    expected = cli("dump", "loss.gir").out
    assert cli("dump", "graphs.py:loaded").out == expected
    assert cli("dump", "graphs.py:g").out == expected


def test_static_graphs(cli: Cli) -> None:
    result = cli("dump", "static.py:train")
    assert result.code == 0, result.err
    assert result.out.startswith("graph @graph(%x: f32[x_0, 3], %w: f32[3]) -> (f32[3], f32[3]) {\n  alias 1 -> %w\n")
    by_variable = cli("dump", "static.py:graph", "--fetch", "loss", "--fetch", "x")
    assert by_variable.code == 0, by_variable.err
    assert ") -> (f32[], f32[x_0, 3]) {" in by_variable.out
    by_name = cli("dump", "static.py:graph", "--fetch", "reduce_sum:0", "--fetch", "x")
    assert by_name.out == by_variable.out
    gradients = cli("dump", "static.py:gradients")
    assert ") -> (f32[3], f32[x_0, 3]) {" in gradients.out
    assert cli("dump", "static.py:graph", "--fetch", "gradients").out == gradients.out


def test_standard_input(cli: Cli, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with (folder / "loss.gir").open(encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert cli("dump", "-").out == cli("dump", "loss.gir").out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_file_gir", ["none.gir"]),
        ("no_such_file_py", ["none.py:f"]),
        ("no_such_script", ["none.py"]),
        ("unknown_kind", ["loss.txt"]),
        ("no_function_named", ["model.py:"]),
        ("unknown_function", ["model.py:los"]),
        ("unlike_any_function", ["model.py:zzz"]),
        ("not_a_function", ["model.py:number"]),
        ("too_few_inputs", ["model.py:loss", "--input", "f32[3]"]),
        ("no_inputs", ["model.py:loss"]),
        ("unknown_keyword", ["model.py:loss", "--input", "f32[3]", "--input", "v=f32[3]"]),
        ("bad_spec", ["model.py:loss", "--input", "f32[3", "--input", "f32[3]"]),
        ("unknown_dtype", ["model.py:loss", "--input", "float33[3]", "--input", "f32[3]"]),
        ("input_for_a_file", ["loss.gir", "--input", "f32[3]"]),
        ("fetch_for_a_file", ["loss.gir", "--fetch", "y"]),
        ("fetch_for_a_function", ["model.py:loss", "--fetch", "y"]),
        ("whole_static_graph", ["static.py:graph"]),
        ("unknown_fetch", ["static.py:graph", "--fetch", "los"]),
        ("input_for_a_static_graph", ["static.py:loss", "--input", "f32[3]"]),
        ("shapes", ["model.py:wrong_shapes", "--input", "f32[3]", "--input", "f32[4]"]),
        ("exception", ["model.py:fails", "--input", "f32[3]"]),
        ("integer_gradient", ["model.py:counts", "--input", "i64[]", "--stage", "gradient"]),
        ("unknown_wrt", ["loss.gir", "--stage", "gradient", "--wrt", "v"]),
        ("wrt_without_gradient", ["loss.gir", "--wrt", "w"]),
        ("trace_of_traced", ["loss.gir", "--trace-passes"]),
        ("dot_of_code", ["loss.gir", "--stage", "source", "--format", "dot"]),
        ("unwritable", ["loss.gir", "-o", "nowhere/out.gir"]),
        ("malformed", ["malformed.gir"]),
        ("mistyped", ["mistyped.gir"]),
        ("not_utf8", ["binary.gir"]),
        ("syntax", ["syntax.py:f"]),
        ("exits", ["exits.py"]),
        ("raises", ["raises.py"]),
    ],
)
def test_errors(cli: Cli, golden: Golden, folder: Path, name: str, words: list[str]) -> None:
    files = {
        "malformed.gir": "graph @f(%x: f32[3]) -> (f32[3]) {\n  %0: f32[3] = exq(%x)\n  return %0\n}\n",
        "mistyped.gir": "graph @f(%x: f32[3]) -> (f32[4]) {\n  %0: f32[4] = exp(%x)\n  return %0\n}\n",
        "syntax.py": "def f(x):\n    return x +\n",
        "exits.py": "import sys\nsys.exit(3)\n",
        "raises.py": "def inner():\n    return 1 / 0\n\n\ninner()\n",
    }
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    (folder / "binary.gir").write_bytes(b"graph \xff")
    result = cli("dump", *words)
    assert result.code == 2
    assert result.out == ""
    shown = result.err.replace("the model is loaded\n", "")
    if name in ("raises", "exception"):  # which lines of a traceback Python underlines changes with its version
        shown = "".join(line for line in shown.splitlines(keepends=True) if line.strip(" ~^\n"))
    golden(f"golden/errors/{name}.txt", shown)


# The specs of inputs.


def test_inputs_are_types_values_and_structures() -> None:
    texts = ["f32[n, 3]", "[f32[2], (i64[], 3)]", '{"a": 1.5, b: {}}', "-2", "true", "none", '"mean"', "()", "(f32[],)"]
    positional, keywords = parse_inputs([*texts, "name = false"])
    expected = [spec("f32[n, 3]"), [spec("f32[2]"), (spec("i64[]"), 3)], {"a": 1.5, "b": {}}, -2, True, None, "mean"]
    assert positional == [*expected, (), (spec("f32[]"),)]
    assert keywords == {"name": False}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a type"),
        ("[f32[3]", "expected ']', the text ends"),
        ("(f32[3])]", "expected the end of the text"),
        ("{3: f32[3]}", "expected a key"),
        ('{"a" f32[3]}', "expected ':'"),
        ("3=f32[2]", "expected the name of an argument"),
        ("f32", r"expected '\['"),
        ("[" * 100, "nested more than"),
    ],
)
def test_malformed_inputs(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_inputs([text])


def test_names_come_last_and_once() -> None:
    with pytest.raises(ArgumentError, match="has no name, but follows one that has"):
        parse_inputs(["a=1", "2"])
    with pytest.raises(ArgumentError, match="a=… is given twice"):
        parse_inputs(["a=1", "a=2"])


def test_a_target_that_there_is_not_is_refused_with_those_that_there_are(cli: Cli) -> None:
    result = cli("dump", "loss.gir", "--target", "tpu")
    assert result.code == 2
    assert "there is no target 'tpu' (known targets: cpu, reference, cuda)" in result.err
    assert cli("run", "loss.gir", "--target", "tpu").code == 2
