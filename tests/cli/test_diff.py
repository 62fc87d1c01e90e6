"""`graphc diff`: exit codes, reports, and diffs that show nothing but what differs."""

import json
import random
from pathlib import Path

import pytest

from graphc.cli.comparison import diff_texts
from tests.cli.conftest import LOSS, Cli
from tests.conftest import Golden

INPUTS = ("--input", "f32[n, 4]", "--input", "f32[4, 2]")


def test_equal_but_for_names(cli: Cli, folder: Path) -> None:
    renamed = LOSS.replace("%y", "%product").replace("@loss", "@other").replace("n, 3", "rows, 3")
    (folder / "renamed.gir").write_text(renamed, encoding="utf-8")
    result = cli("diff", "loss.gir", "renamed.gir")
    assert result.code == 0, result.out
    assert result.out.startswith("equal: 9 nodes, sha256 ")


def test_a_difference(cli: Cli, folder: Path, golden: Golden) -> None:
    (folder / "sine.gir").write_text(LOSS.replace("exp(", "sin("), encoding="utf-8")
    result = cli("diff", "loss.gir", "sine.gir")
    assert result.code == 1
    golden("golden/diff.txt", result.out)
    colored = cli("diff", "loss.gir", "sine.gir", "--color", "always").out
    assert "\x1b[31m-  %e: f32[n, 3] = exp(%z)\x1b[0m" in colored
    assert "\x1b[32m+  %e: f32[n, 3] = sin(%z)\x1b[0m" in colored


def test_two_stages(cli: Cli, golden: Golden) -> None:
    result = cli("diff", "loss.gir", "--stages", "traced", "gradient")
    assert result.code == 1
    golden("golden/diff_stages.txt", result.out)
    assert cli("diff", "loss.gir", "--stages", "optimized", "optimized").code == 0


def test_functions_with_inputs_of_their_own(cli: Cli) -> None:
    same = ("--input-b", "f32[m, 4]", "--input-b", "f32[4, 2]")
    assert cli("diff", "model.py:loss", "model.py:loss", *INPUTS, *same).code == 0
    other = ("--input-b", "f32[m, 5]", "--input-b", "f32[5, 2]")
    result = cli("diff", "model.py:loss", "model.py:loss", *INPUTS, *other)
    assert result.code == 1
    assert "first difference: the first graph has parameter %x: f32[n, 4]\n" in result.out


def test_a_file_and_a_function(cli: Cli) -> None:
    assert cli("dump", "model.py:loss", *INPUTS, "-o", "traced.gir").code == 0
    assert cli("diff", "traced.gir", "model.py:loss", *INPUTS).code == 0
    assert cli("diff", "model.py:loss", "traced.gir", *INPUTS).code == 0
    assert "--input is for functions" in cli("diff", "traced.gir", "loss.gir", *INPUTS).err


def test_code_is_compared_as_text(cli: Cli, folder: Path) -> None:
    (folder / "sine.gir").write_text(LOSS.replace("exp(", "sin("), encoding="utf-8")
    assert cli("diff", "loss.gir", "loss.gir", "--stage", "source") == (0, "equal\n", "")
    result = cli("diff", "loss.gir", "sine.gir", "--stage", "source")
    assert result.code == 1
    assert "sin_f32" in result.out
    mixed = cli("diff", "loss.gir", "--stages", "traced", "source")
    assert mixed.code == 2
    assert "a graph cannot be compared with code" in mixed.err


def test_json(cli: Cli) -> None:
    equal = json.loads(cli("diff", "loss.gir", "loss.gir", "--json").out)
    assert (equal["equal"], equal["first_difference"], equal["diff"]) == (True, None, [])
    assert equal["a"] == {**equal["b"], "name": equal["a"]["name"]}
    different = cli("diff", "loss.gir", "--stages", "traced", "optimized", "--json")
    data = json.loads(different.out)
    assert different.code == 1
    assert (data["equal"], data["a"]["nodes"], data["b"]["nodes"]) == (False, 9, 6)
    assert data["a"]["name"] == "loss.gir (traced)"
    assert data["diff"][0] == "--- loss.gir (traced)"


def test_quiet(cli: Cli) -> None:
    assert cli("diff", "loss.gir", "loss.gir", "-q") == (0, "", "")
    assert cli("diff", "loss.gir", "--stages", "traced", "optimized", "-q") == (1, "", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss.gir"], "what is it to be compared with?"),
        (["loss.gir", "none.gir"], "cannot read none.gir"),
        (["loss.gir", "loss.gir", "--stage", "optimised"], "invalid choice: 'optimised'"),
        (["loss.gir", "--stages", "traced"], "expected 2 arguments"),
    ],
)
def test_errors(cli: Cli, words: list[str], message: str) -> None:
    result = cli("diff", *words)
    assert result.code == 2
    assert message in result.err


# The texts of graphs, line by line.


def chain(operations: list[str]) -> str:
    lines = ["graph @f(%x: f32[3]) -> (f32[3]) {"]
    for number, op in enumerate(operations):
        operand = f"%{number - 1}" if number else "%x"
        lines.append(f"  %{number}: f32[3] = {op}({operand})")
    return "\n".join([*lines, f"  return %{len(operations) - 1}", "}"])


def changes(a: str, b: str) -> list[str]:
    return [line for line in diff_texts(a, b, "a", "b")[2:] if line[:1] in "+-"]


def test_one_more_node_is_one_more_line() -> None:
    before = ["exp", "log", "sin", "cos", "tan", "exp", "sin"]
    assert changes(chain(before), chain(["exp", "sqrt", *before[1:]])) == ["+  %1: f32[3] = sqrt(%0)", *rewired(2, 1)]


def rewired(new: int, old: int) -> list[str]:
    """The reader of the new node reads something else now, which is shown."""
    return [f"-  %{old}: f32[3] = log(%{old - 1})", f"+  %{new}: f32[3] = log(%{new - 1})"]


def test_swapped_operands_are_seen_whatever_they_are_called() -> None:
    text = "graph @f(%a: f32[], %b: f32[]) -> (f32[]) {{\n  %{0}: f32[] = sub({1})\n  return %{0}\n}}"
    assert changes(text.format("0", "%a, %b"), text.format("r", "%a, %b")) == []
    assert changes(text.format("0", "%a, %b"), text.format("0", "%b, %a")) == [
        "-  %0: f32[] = sub(%a, %b)",
        "+  %0: f32[] = sub(%b, %a)",
    ]


def test_nested_graphs_have_names_of_their_own() -> None:
    text = (
        "graph @f(%x: f32[], %y: f32[]) -> (f32[]) {{\n"
        "  %0: f32[] = call(%x) {{graph = graph @g(%{0}: f32[]) -> (f32[]) {{\n"
        "    %0: f32[] = exp(%{0})\n    return %0\n  }}}}\n"
        "  %1: f32[] = add(%0, %{1})\n  return %1\n}}"
    )
    assert changes(text.format("x", "y"), text.format("z", "y")) == []
    assert changes(text.format("x", "y"), text.format("x", "x")) == [
        "-  %1: f32[] = add(%0, %y)",
        "+  %1: f32[] = add(%0, %x)",
    ]


def test_remainders_and_strings_are_not_values() -> None:
    text = 'graph @f(%x: f32[n%2]) -> () {{\n  effect check(%x) {{message = "{}"}}\n  return\n}}'
    assert changes(text.format("a %x"), text.format("a %x")) == []
    assert len(changes(text.format("100 of %x"), text.format("99 of %x"))) == 2


def test_hunks_can_be_applied() -> None:
    """A diff applied to the first text gives the second, names apart: here texts whose names do not move."""
    generator = random.Random(7)
    for _ in range(30):
        a = [f"line {generator.randrange(12)}" for _ in range(generator.randrange(40))]
        b = [line for line in a if generator.random() < 0.8]
        for _ in range(generator.randrange(5)):
            b.insert(generator.randrange(len(b) + 1), f"new {generator.randrange(5)}")
        assert apply(a, diff_texts("\n".join(a), "\n".join(b), "a", "b")) == b


def apply(a: list[str], diff: list[str]) -> list[str]:
    result: list[str] = []
    position = 0
    for line in diff[2:]:
        if line.startswith("@@"):
            start, length = (int(number) for number in line.split()[1].removeprefix("-").split(","))
            start -= length > 0
            result += a[position:start]
            position = start
        elif line.startswith("+"):
            result.append(line[1:])
        else:
            assert a[position] == line[1:]
            result += [] if line.startswith("-") else [line[1:]]
            position += 1
    return result + a[position:]


def test_long_texts_are_compared_in_time() -> None:
    same = ["exp"] * 30_000
    found = diff_texts(chain(same), chain([*same[:15_000], "log", *same[15_000:]]), "a", "b")
    assert "+  %15000: f32[3] = log(%14999)" in found
