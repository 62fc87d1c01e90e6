"""What is installed: the package list, the wheel, the guards, and how little `import graphc` loads."""

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path
from typing import Final

import pytest

import graphc

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = {"graphc": "graphc", "graphc.frontends": "frontends", "graphc.backends": "backends"}
HEAVY: Final = {"numba", "llvmlite", "scipy", "ml_dtypes", "rich", "numpy"}


def installed_name(path: Path) -> str:
    """The file's path inside a wheel."""
    relative = path.relative_to(ROOT)
    return (relative if relative.parts[0] == "graphc" else "graphc" / relative).as_posix()


def source_modules() -> set[str]:
    return {installed_name(path) for folder in FOLDERS.values() for path in (ROOT / folder).rglob("*.py")}


def error_pages() -> set[str]:
    """The pages that `graphc explain` prints, inside a wheel."""
    folder = ROOT / "docs" / "errors"
    return {f"graphc/error_pages/{path.name}" for path in [*folder.glob("GC*.md"), folder / "__init__.py"]}


def run_python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the sources: what earlier builds left in the tree must not reach it."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs" / "errors", source / "docs" / "errors")
    for path in (ROOT / name for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")):
        if path.exists():
            shutil.copy(path, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(output), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = output.glob("*.whl")
    return file


def test_the_package_list_is_the_tree() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = config["options"]["packages"].split()
    found = {name.rpartition("/")[0].replace("/", ".") for name in source_modules()}
    assert sorted(listed) == sorted([*found, "graphc.error_pages"])
    without_init = [name for name in found if f"{name.replace('.', '/')}/__init__.py" not in source_modules()]
    assert not without_init


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == source_modules() | error_pages() | {"graphc/py.typed"}


def test_the_wheel_imports_on_its_own(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "import graphc.frontends.array as a, graphc.backends.reference as b; print(a.__file__); print(b.__file__)"
    done = run_python(code, tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert Path(line).is_relative_to(tmp_path / "site" / "graphc")


@pytest.mark.parametrize("name", ["frontends", "backends"])
def test_the_mapped_folders_refuse_their_own_names(name: str) -> None:
    done = run_python(f"import {name}", ROOT)
    assert done.returncode != 0
    assert f"ImportError: this folder is installed as graphc.{name}" in done.stderr


def test_installed_packages_are_found_from_anywhere(tmp_path: Path) -> None:
    done = run_python("import graphc.frontends.array, graphc.backends", tmp_path)
    assert done.returncode == 0, done.stderr


def test_import_graphc_loads_nothing_heavy(tmp_path: Path) -> None:
    done = run_python("import sys, json, graphc; print(json.dumps(sorted(sys.modules)))", tmp_path)
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(done.stdout)
    assert "graphc" in modules
    assert not HEAVY & set(modules)


def test_every_public_name_loads() -> None:
    for name in graphc.__all__:
        getattr(graphc, name)  # gc.newaxis is None, as in NumPy; a name that does not load raises
    assert set(graphc.__all__) <= set(dir(graphc))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'graphc' has no attribute 'nothing_of_the_kind'"):
        _ = graphc.nothing_of_the_kind


def test_type_checkers_see_every_public_name() -> None:
    tree = ast.parse(Path(graphc.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    exports = {n: m if n in graphc._MODULES else f"{m}.{n}" for n, m in graphc._EXPORTS.items()}
    assert seen == exports
