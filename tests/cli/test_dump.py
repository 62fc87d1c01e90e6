"""`graphc dump`: every stage and format, and what the passes did."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from graphc.ir import parse, structurally_equal
from tests.cli.conftest import LOSS, Cli
from tests.conftest import Golden

INPUTS = ("--input", "f32[n, 4]", "--input", "f32[4, 2]")


def dump(cli: Cli, *words: str) -> str:
    result = cli("dump", *words)
    assert result.code == 0, result.err
    return result.out


@pytest.mark.parametrize("stage", ["traced", "optimized", "gradient", "kernels", "plan", "source"])
def test_stages_of_a_file(cli: Cli, golden: Golden, stage: str) -> None:
    golden(f"golden/loss_{stage}.txt", dump(cli, "loss.gir", "--stage", stage))


@pytest.mark.parametrize("stage", ["traced", "optimized", "gradient", "kernels", "plan", "source"])
def test_stages_of_a_function(cli: Cli, golden: Golden, stage: str) -> None:
    golden(f"golden/function_{stage}.txt", dump(cli, "model.py:loss", *INPUTS, "--stage", stage))


@pytest.mark.parametrize("format_", ["json", "dot"])
@pytest.mark.parametrize("stage", ["traced", "gradient"])
def test_formats_of_graphs(cli: Cli, golden: Golden, stage: str, format_: str) -> None:
    golden(f"golden/loss_{stage}.{format_}", dump(cli, "loss.gir", "--stage", stage, "--format", format_))


def test_kernels_as_json(cli: Cli) -> None:
    data = json.loads(dump(cli, "loss.gir", "--stage", "source", "--format", "json"))
    assert (data["stage"], data["target"]) == ("source", "cpu")
    text = dump(cli, "loss.gir", "--stage", "source")
    assert data["kernels"]
    for kernel in data["kernels"]:
        assert f"def {kernel['name']}(" in kernel["text"]
        assert kernel["text"].strip("\n") in text


def test_llvm_and_assembly(cli: Cli) -> None:
    assert re.search(r"^define .*reduce_mul_exp_sum", dump(cli, "loss.gir", "--stage", "llvm"), re.MULTILINE)
    assert re.search(r"^\w*reduce_mul_exp_sum\w*:", dump(cli, "loss.gir", "--stage", "asm"), re.MULTILINE)


def test_the_text_is_a_fixed_point(cli: Cli, folder: Path) -> None:
    text = dump(cli, "loss.gir")
    (folder / "again.gir").write_text(text, encoding="utf-8")
    assert dump(cli, "again.gir") == text
    assert structurally_equal(parse(text), parse(LOSS))


def test_the_gradient_at_another_stage(cli: Cli) -> None:
    traced = dump(cli, "loss.gir", "--gradient")
    assert "-> (f32[], f32[n, 3], f32[3])" in traced
    assert dump(cli, "loss.gir", "--gradient", "--stage", "optimized") == dump(cli, "loss.gir", "--stage", "gradient")
    assert dump(cli, "loss.gir", "--gradient", "--stage", "source").count("def ") > dump(
        cli, "loss.gir", "--stage", "source"
    ).count("def ")


@pytest.mark.parametrize("wrt", ["w", "%w", "1", " w ,"])
def test_gradients_for_some_parameters(cli: Cli, wrt: str) -> None:
    assert "-> (f32[], f32[3])" in dump(cli, "loss.gir", "--stage", "gradient", "--wrt", wrt)


def test_an_output_that_is_no_scalar_is_summed(cli: Cli, folder: Path) -> None:
    text = "graph @f(%x: f32[n]) -> (f32[n]) {\n  %0: f32[n] = mul(%x, %x)\n  return %0\n}\n"
    (folder / "vector.gir").write_text(text, encoding="utf-8")
    assert "-> (f32[], f32[n])" in dump(cli, "vector.gir", "--stage", "gradient")


def test_gradient_values(cli: Cli, folder: Path) -> None:
    np = pytest.importorskip("numpy")
    assert cli("dump", "loss.gir", "--stage", "gradient", "-o", "gradient.gir").code == 0
    x = np.array([[0.1, -0.2, 0.3], [0.5, 0.0, -1.0]], np.float32)
    w = np.array([1.0, 2.0, -0.5], np.float32)
    np.savez(folder / "inputs.npz", x=x, w=w)
    assert cli("run", "gradient.gir", "inputs.npz", "-o", "outputs.npz").code == 0
    with np.load(folder / "outputs.npz") as outputs:
        e = np.exp(x * w)
        value, dx, dw = (outputs[name] for name in outputs.files)
    np.testing.assert_allclose(value, e.sum(), rtol=1e-6)
    np.testing.assert_allclose(dx, e * w, rtol=1e-5)
    np.testing.assert_allclose(dw, (e * x).sum(0), rtol=1e-5)


def test_reference_runs_no_passes_and_has_no_code(cli: Cli) -> None:
    assert dump(cli, "loss.gir", "--target", "reference", "--stage", "optimized") == dump(cli, "loss.gir")
    result = cli("dump", "loss.gir", "--target", "reference", "--stage", "asm")
    assert result.code == 2
    assert "the target reference makes no code, so it has no stage 'asm'" in result.err


@pytest.mark.parametrize("option", ["--trace-passes", "--trace-firings", "--trace-diff"])
def test_what_passes_did(cli: Cli, golden: Golden, option: str) -> None:
    text = dump(cli, "loss.gir", "--stage", "optimized", option)
    golden(f"golden/passes{option.removeprefix('--trace')}.txt", text)
    assert structurally_equal(parse(text), parse(dump(cli, "loss.gir", "--stage", "optimized")))


def test_what_passes_did_in_other_formats(cli: Cli) -> None:
    data = json.loads(dump(cli, "loss.gir", "--stage", "gradient", "--trace-diff", "--format", "json"))
    assert data["result"]["name"] == "loss_gradient"
    by_pass = {record["pass"]: record for record in data["passes"]}
    assert by_pass["canonicalize"]["rules"]["mul_one"] >= 1
    assert any(line.startswith("-  %z: f32[n, 3] = mul(") for line in by_pass["canonicalize"]["diff"])
    assert by_pass["inline"]["diff"] == []
    assert not any("seconds" in record or "firings" in record for record in data["passes"])
    dot = dump(cli, "loss.gir", "--stage", "optimized", "--trace-passes", "--format", "dot")
    assert dot.startswith("// pass ")
    assert dump(cli, "loss.gir", "--stage", "llvm", "--trace-passes").startswith("; pass ")


def test_times_only_where_asked_for(cli: Cli) -> None:
    assert "seconds" in dump(cli, "loss.gir", "--stage", "optimized", "--times").splitlines()[0]
    data = json.loads(dump(cli, "loss.gir", "--stage", "optimized", "--times", "--format", "json"))
    assert all(record["seconds"] >= 0 for record in data["passes"])


def test_locations(cli: Cli) -> None:
    text = dump(cli, "model.py:loss", *INPUTS, "--locations")
    assert 'loc("model.py":14:9)' in text
    assert "conftest" not in text and "graphc/cli" not in text
    assert 'loc("loss.gir":5:' in dump(cli, "loss.gir", "--locations")


def test_source_shows_the_users_lines(cli: Cli) -> None:
    assert "# model.py:15" in dump(cli, "model.py:loss", *INPUTS, "--stage", "source")


def test_colors(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = dump(cli, "loss.gir")
    assert "\x1b" not in plain
    colored = dump(cli, "loss.gir", "--color", "always")
    assert "\x1b[1mgraph\x1b[0m" in colored
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert dump(cli, "loss.gir") == colored
    assert dump(cli, "loss.gir", "--color", "never") == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert dump(cli, "loss.gir") == plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert dump(cli, "loss.gir") == plain


def test_output_to_a_file(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = dump(cli, "loss.gir")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert dump(cli, "loss.gir", "-o", "out.gir") == ""
    assert (folder / "out.gir").read_text(encoding="utf-8") == expected
    assert {path.name for path in folder.iterdir()} == {"loss.gir", "model.py", "script.py", "static.py", "out.gir"}


def test_two_processes_print_the_same() -> None:
    outputs = []
    for seed in ("1", "2"):
        words = ["dump", "model.py:loss", *INPUTS, "--stage", "source", "--gradient", "--trace-firings"]
        done = subprocess.run(
            [sys.executable, "-m", "graphc.cli.main", *words],
            env={"PYTHONHASHSEED": seed, "PATH": "", "GRAPHC_CACHE": "off"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert "0x" not in outputs[0]


def test_a_function_that_assigns_to_slices(cli: Cli, tmp_path: Path) -> None:
    script = tmp_path / "stencil.py"
    script.write_text("def sweep(a):\n    a[1:-1] = 0.5 * (a[:-2] + a[2:])\n    return a.sum()\n")
    for stage in ("traced", "optimized", "kernels"):
        result = cli("dump", f"{script}:sweep", "--input", "f32[8]", "--stage", stage)
        assert result.code == 0
        assert "dynamic_update_slice" in result.out
