"""Imports go one way through the source tree. The tables at the top are the rules; the rest reads code with `ast`."""

import ast
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE_DIRS: Final = {"graphc": "graphc", "graphc.frontends": "frontends", "graphc.backends": "backends"}

# Bottom up; a layer may import from the layers before its own row. Layers in one row are strangers, but for the first
# row, whose modules may import each other.
LAYERS: Final = (
    {"version", "errors", "locations", "operands", "dtypes", "tracebacks"},
    {"ir"},
    {"ops"},
    {"rewrite"},
    {"passes"},
    {"loops"},
    {"runtime"},
    {"compile"},
    {"frontends", "backends"},
    {"testing", "cli"},
)
# Written like a user's code, these may say `import graphc as gc`.
MAY_IMPORT_ROOT: Final = {"testing", "cli"}

# Parts of graphc.frontends -> the parts that they may not import. The modes meet in dispatch and array only.
FRONTENDS_APART: Final[dict[str, set[str]]] = {
    "dispatch": {"array", "eager", "tracing", "static", "transforms", "optim", "random"},
    "array": {"eager", "tracing", "static", "transforms", "optim", "random"},
    "eager": {"tracing", "static"},
    "tracing": {"eager", "static"},
    "static": {"eager", "tracing"},
}

# Imports inside functions are for what is heavy or optional; the CLI also loads its commands so.
HEAVY: Final = {"numba", "cuda", "llvmlite", "ml_dtypes", "rich", "matplotlib", "tqdm", "torch", "scipy"}
LOADS_LAZILY: Final = {"cli"}

NUMBA_INTERNALS: Final = ("numba.core", "numba.np", "numba.cpython", "numba.misc", "numba.parfors")
MAX_LINES: Final = 600
VAGUE_NAMES: Final = {"utils", "util", "helpers", "helper", "misc", "common"}


@dataclass(frozen=True)
class Import:
    """One imported module: who, what, where, and whether a function does it."""

    importer: str
    imported: str
    line: int
    in_function: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


class ImportReader(ast.NodeVisitor):
    """Collects the imports of one module; `from package import name` means `package.name` where that is a module."""

    def __init__(self, module: str, is_package: bool, modules: set[str]) -> None:
        self.module = module
        self.package = module if is_package else module.rpartition(".")[0]
        self.modules = modules
        self.depth = 0
        self.imports: list[Import] = []

    def add(self, imported: str, line: int) -> None:
        self.imports.append(Import(self.module, imported, line, self.depth > 0))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")
            parents = parents[: len(parents) - node.level + 1]
            base = ".".join([*parents, base] if base else parents)
        for alias in node.names:
            full = f"{base}.{alias.name}"
            self.add(full if full in self.modules or full.startswith(NUMBA_INTERNALS) else base, node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and f"{node.value.id}.{node.attr}" in NUMBA_INTERNALS:
            self.add(f"{node.value.id}.{node.attr}", node.lineno)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_function(self, node: ast.AST) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_function


def source_files(root: Path) -> dict[str, Path]:
    """Module name as installed -> file."""
    files: dict[str, Path] = {}
    for package, folder in PACKAGE_DIRS.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            files[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return files


def read_imports(root: Path) -> list[Import]:
    files = source_files(root)
    found: list[Import] = []
    for module, path in files.items():
        reader = ImportReader(module, path.name == "__init__.py", set(files))
        reader.visit(ast.parse(path.read_text(encoding="utf-8"), str(path)))
        found += reader.imports
    return found


def is_own(module: str) -> bool:
    return module.partition(".")[0] == "graphc"


def layer_of(module: str) -> str:
    """'graphc.ir.graph' -> 'ir'; the root package is ''."""
    return [*module.split("."), ""][1]


def frontend_part(module: str) -> str:
    """'graphc.frontends.eager.tensor' -> 'eager'; '' for what is not in a part of the frontends."""
    return module.removeprefix("graphc.frontends.").partition(".")[0] if module.startswith("graphc.frontends.") else ""


def rank(layer: str) -> int:
    ranks = [i for i, row in enumerate(LAYERS) if layer in row]
    assert ranks, f"graphc.{layer} is in no row of LAYERS: say where it belongs"
    return ranks[0]


def wrong_way(imports: list[Import]) -> Iterator[Import]:
    for item in imports:
        upper, lower = layer_of(item.importer), layer_of(item.imported)
        if not is_own(item.imported) or not upper or upper == lower:
            continue
        if not lower:
            if upper not in MAY_IMPORT_ROOT:
                yield item
        elif rank(lower) > rank(upper) or (rank(lower) == rank(upper) and rank(upper) > 0):
            yield item


def frontends_out_of_order(imports: list[Import]) -> Iterator[Import]:
    for item in imports:
        if frontend_part(item.imported) in FRONTENDS_APART.get(frontend_part(item.importer), ()):
            yield item


def numba_out_of_place(imports: list[Import]) -> Iterator[Import]:
    for item in imports:
        if item.imported.partition(".")[0] != "numba":
            continue
        is_internal = any(item.imported == name or item.imported.startswith(f"{name}.") for name in NUMBA_INTERNALS)
        if layer_of(item.importer) != "backends" or (is_internal and not item.importer.endswith(".adapter")):
            yield item


def loaded_by(imports: list[Import], module: str) -> dict[str, str]:
    """Every module that importing ``module`` loads -> one that imports it; packages and what functions import left out."""
    edges: dict[str, set[str]] = {}
    for item in imports:
        if not item.in_function:
            edges.setdefault(item.importer, set()).add(item.imported)
    found, waiting = {module: ""}, [module]
    while waiting:
        importer = waiting.pop()
        for imported in sorted(edges.get(importer, set()) - set(found)):
            found[imported] = importer
            waiting.append(imported)
    return found


def hidden_imports(imports: list[Import]) -> Iterator[Import]:
    for item in imports:
        is_command = is_own(item.imported) and layer_of(item.importer) in LOADS_LAZILY
        if item.in_function and not is_command and item.imported.partition(".")[0] not in HEAVY:
            yield item


def undeclared(imports: list[Import], declared: set[str]) -> Iterator[Import]:
    known = declared | set(sys.stdlib_module_names) | {"graphc"}
    for item in imports:
        if not item.in_function and item.imported.partition(".")[0] not in known:
            yield item


def find_cycle(imports: list[Import]) -> list[str]:
    """One cycle of module names, its first name repeated at the end; empty if there is none."""
    edges: dict[str, set[str]] = {}
    for item in imports:
        if is_own(item.imported) and item.importer not in {item.imported, "graphc"}:
            edges.setdefault(item.importer, set()).add(item.imported)
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(edges.get(module, ())):
            if cycle := walk(target, [*path, module]):
                return cycle
        done.add(module)
        return []

    return next((cycle for module in sorted(edges) if (cycle := walk(module, []))), [])


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return read_imports(ROOT)


def no_more(found: Iterator[Import]) -> None:
    lines = [str(item) for item in found]
    assert not lines, "\n".join(lines)


def test_layers_import_downwards_only(imports: list[Import]) -> None:
    no_more(wrong_way(imports))


def test_every_module_has_a_layer() -> None:
    for module in source_files(ROOT):
        if module != "graphc":
            rank(layer_of(module))


def test_the_modes_of_the_frontends_stay_apart(imports: list[Import]) -> None:
    no_more(frontends_out_of_order(imports))


def test_numba_stays_in_the_backends_and_its_internals_in_the_adapter(imports: list[Import]) -> None:
    no_more(numba_out_of_place(imports))


def test_a_program_whose_kernels_are_on_disk_does_without_numba(imports: list[Import]) -> None:
    found = loaded_by(imports, "graphc.backends.numba_cpu")
    assert "graphc.backends.numba_cpu.kernels" in found
    assert not {module: importer for module, importer in found.items() if module.partition(".")[0] == "numba"}


def test_imports_stand_at_the_top(imports: list[Import]) -> None:
    no_more(hidden_imports(imports))


def test_what_is_imported_at_the_top_is_a_declared_dependency(imports: list[Import]) -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    requirements = config["options"]["install_requires"].split()
    no_more(undeclared(imports, {requirement.partition(">=")[0] for requirement in requirements}))


def test_no_import_cycles(imports: list[Import]) -> None:
    cycle = find_cycle(imports)
    assert not cycle, " -> ".join(cycle)


def test_modules_are_short() -> None:
    long = {m: n for m, p in source_files(ROOT).items() if (n := len(p.read_text("utf-8").splitlines())) > MAX_LINES}
    assert not long, f"more than {MAX_LINES} lines: split by subject: {long}"


def test_modules_are_named_for_their_subject() -> None:
    vague = [module for module in source_files(ROOT) if VAGUE_NAMES & {part.lstrip("_") for part in module.split(".")}]
    assert not vague, vague


# The checks themselves, on small trees with one fault each.


def imports_of(tmp_path: Path, files: dict[str, str]) -> list[Import]:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_imports(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("graphc/ir/a.py", "from graphc.ops import b", True),
        ("graphc/ops/a.py", "from graphc.ir import b", False),
        ("graphc/ops/a.py", "from ..passes.b import C", True),
        ("graphc/ops/a.py", "def f():\n    import graphc.passes", True),
        ("graphc/ops/a.py", "import typing\nif typing.TYPE_CHECKING:\n    import graphc.passes", False),
        ("graphc/ops/a.py", "from graphc import exp", True),
        ("graphc/testing.py", "import graphc as gc", False),
        ("graphc/cli/a.py", "import graphc.testing", True),
        ("graphc/dtypes.py", "from graphc.errors import E", False),
        ("graphc/compile.py", "import graphc.backends", True),
        ("frontends/a.py", "import graphc.backends.reference", True),
        ("backends/a.py", "from graphc.frontends.array import add", True),
        ("backends/a.py", "from graphc.compile import f", False),
        ("graphc/__init__.py", "from graphc.cli import main", False),
    ],
)
def test_check_layers(tmp_path: Path, file: str, text: str, wrong: bool) -> None:
    assert bool(list(wrong_way(imports_of(tmp_path, {file: text})))) == wrong


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("frontends/array/a.py", "from graphc.frontends.eager import Tensor", True),
        ("frontends/dispatch.py", "from graphc.frontends.array import add", True),
        ("frontends/eager/a.py", "from graphc.frontends.static import Session", True),
        ("frontends/eager/a.py", "from graphc.frontends.array import add", False),
    ],
)
def test_check_frontends(tmp_path: Path, file: str, text: str, wrong: bool) -> None:
    assert bool(list(frontends_out_of_order(imports_of(tmp_path, {file: text})))) == wrong


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("graphc/ops/a.py", "def f():\n    import numba", True),
        ("backends/numba_cpu/a.py", "import numba", False),
        ("backends/numba_cpu/a.py", "from numba.core import types", True),
        ("backends/numba_cpu/a.py", "from numba import core", True),
        ("backends/numba_cpu/a.py", "import numba\nx = numba.core.types", True),
        ("backends/numba_cpu/adapter.py", "from numba.core import types", False),
    ],
)
def test_check_numba(tmp_path: Path, file: str, text: str, wrong: bool) -> None:
    assert bool(list(numba_out_of_place(imports_of(tmp_path, {file: text})))) == wrong


def test_check_what_is_loaded(tmp_path: Path) -> None:
    files = {
        "backends/a/__init__.py": "from .b import f",
        "backends/a/b.py": "from . import c\ndef f():\n    import numba",
        "backends/a/c.py": "import os",
        "backends/a/d.py": "import numba",
    }
    found = loaded_by(imports_of(tmp_path, files), "graphc.backends.a")
    assert found == {
        "graphc.backends.a": "", "graphc.backends.a.b": "graphc.backends.a", "graphc.backends.a.c": "graphc.backends.a.b",
        "os": "graphc.backends.a.c",
    }  # fmt: skip


def test_check_hidden_and_undeclared_imports(tmp_path: Path) -> None:
    found = imports_of(
        tmp_path,
        {
            "graphc/cli/main.py": "import torch\ndef f():\n    import json, rich\n    import graphc.cli.dump",
            "graphc/ir/a.py": "import numpy, os\nf = lambda: 0\ndef g():\n    from graphc import errors",
        },
    )
    assert [item.imported for item in hidden_imports(found)] == ["json", "graphc"]
    assert [item.imported for item in undeclared(found, {"numpy"})] == ["torch"]


def test_check_cycles(tmp_path: Path) -> None:
    files = {"graphc/ir/__init__.py": "", "graphc/ir/a.py": "from graphc.ir import b", "graphc/ir/b.py": "import os"}
    assert find_cycle(imports_of(tmp_path, files)) == []
    files["graphc/ir/__init__.py"] = "from graphc.ir.a import A"
    assert find_cycle(imports_of(tmp_path, files)) == []
    files["graphc/ir/b.py"] = "from graphc.ir import A"
    assert find_cycle(imports_of(tmp_path, files)) == ["graphc.ir", "graphc.ir.a", "graphc.ir.b", "graphc.ir"]
