"""``graphc run``: a graph on arrays from files."""

from __future__ import annotations

import argparse
import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from graphc.cli.render import add_output_options, to_json_text, write_file
from graphc.cli.stages import add_target_choice, parameter_names
from graphc.cli.targets import Request, resolve
from graphc.compile import compile_graph
from graphc.dtypes import as_dtype
from graphc.errors import ArgumentError, FileError, ParseError
from graphc.ir.graph import Graph
from graphc.ir.printer import value_names
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN
from graphc.runtime.executable import Executable
from graphc.runtime.memory import MemoryPlan

_DESCRIPTION: Final = """\
Run a graph in text form on arrays, and print a summary of its outputs. The arrays are those of one .npz file, which are
matched with parameters by name (or by order, as arr_0, arr_1, …), or one .npy file for each parameter."""

_EPILOG: Final = """\
examples:
  graphc run model.gir inputs.npz -o outputs.npz
  graphc run model.gir x.npy w.npy --check

--check runs the graph node by node with NumPy as well, and exits with 1 where results differ by more than rounding."""

#: Outputs with no more elements than this are printed whole.
_SHOWN: Final = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``graphc run``."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("file", metavar="FILE.gir", help="the text of a graph; - for standard input")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="one .npz file, or a .npy file for each parameter")
    add_target_choice(parser, "on what to run it")
    parser.add_argument("--fast-math", action="store_true", help="allow changes that alter rounding, NaN or infinities")
    parser.add_argument("--check", action="store_true", help="compare with the reference")
    parser.add_argument("--memory", action="store_true", help="print how many bytes the call needed")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_output_options(parser, formats=False, color=False)


def run(arguments: argparse.Namespace) -> int:
    """Run ``graphc run``. ``-o`` takes the outputs, a .npz file or for a single one a .npy file."""
    if arguments.file != "-" and not arguments.file.endswith(".gir"):
        raise ArgumentError(
            f"{arguments.file} is not a .gir file", hint="graphc dump writes one: -o model.gir", location=UNKNOWN,
            cause=ArgumentError.COMMAND,
        )
    graph = resolve(Request(arguments.file))
    names = output_names(graph)
    _check_output_file(arguments.output, names)
    inputs = read_inputs(graph, arguments.inputs)
    compiled = compile_graph(graph, arguments.target, fast_math=arguments.fast_math)
    results = compiled(*inputs)
    outputs = dict(zip(names, results, strict=True))
    different: dict[str, float] = {}
    if arguments.check:
        expected = compile_graph(graph, "reference")(*inputs)
        different = _compare(outputs, dict(zip(names, expected, strict=True)))
    if arguments.output:
        write_file(arguments.output, _file_bytes(arguments.output, outputs))
    memory = compiled.memory() if arguments.memory and isinstance(compiled, Executable) else None
    if arguments.json:
        print(_as_json(outputs, different, arguments.check, memory), end="")
    else:
        print(_as_text(outputs, different) + ("" if memory is None else f"{memory.describe()}\n"), end="")
    if arguments.check and not arguments.json:
        print(f"check: {len(different)} of {len(outputs)} outputs differ" if different else "check: all agree")
    return 1 if different else 0


def output_names(graph: Graph) -> list[str]:
    """What outputs are called: as the text calls them, a number for a value without a name, never two alike."""
    names = value_names(graph)
    result: list[str] = []
    for position, output in enumerate(graph.outputs):
        name = names[output].removeprefix("%") if output.node.name else f"output_{position}"
        result.append(name if name not in result else f"{name}_{position}")
    return result


def read_inputs(graph: Graph, paths: Sequence[str]) -> list[np.ndarray]:
    """The arrays in ``paths``, one a parameter, in order. Raises FileError, ParseError or ArgumentError."""
    names = parameter_names(graph)
    if len(paths) == 1 and not paths[0].endswith(".npy"):
        found = _load(paths[0])
        arrays = [_as_bfloat16(found)] if isinstance(found, np.ndarray) else _ordered(paths[0], found, names)
    else:
        arrays = []
        for path in paths:
            found = _load(path)
            if not isinstance(found, np.ndarray):
                raise ArgumentError(
                    f"{path} holds several arrays, and is not the only input", hint="give .npy files", location=UNKNOWN,
                    cause=ArgumentError.COMMAND,
                )
            arrays.append(_as_bfloat16(found))
    if len(arrays) != len(names):
        declared = ", ".join(f"{name}: {type_}" for name, type_ in zip(names, graph.parameter_types, strict=True))
        raise ArgumentError(
            f"{graph.name} takes {len(names)} inputs, {len(arrays)} were given",
            hint=f"it takes {declared}" if declared else None,
            location=UNKNOWN,
            cause=ArgumentError.COUNT,
        )
    return arrays


def _load(path: str) -> np.ndarray | Mapping[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}", location=UNKNOWN) from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile):
        raise ParseError(
            f"{path} is not a .npy or .npz file of numbers",
            hint="np.save and np.savez write such files",
            location=UNKNOWN,
        ) from None


def _ordered(path: str, arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
    """The arrays of a .npz file in the order of the parameters."""
    unnamed = [f"arr_{i}" for i in range(len(arrays))]
    keys = unnamed if list(arrays) == unnamed and not set(unnamed) <= set(names) else names
    missing = [name for name in keys if name not in arrays]
    unknown = [name for name in arrays if name not in keys]
    if missing or unknown:
        what = f"has no array {missing[0]!r}" if missing else f"has an array {unknown[0]!r} that is no parameter"
        raise ArgumentError(
            f"{path} {what}",
            hint=f"the graph takes {', '.join(names) or 'nothing'}; the file has {', '.join(arrays) or 'nothing'}",
            location=UNKNOWN,
            cause=ArgumentError.COMMAND,
        )
    return [_as_bfloat16(arrays[name]) for name in keys]


def _as_bfloat16(array: np.ndarray) -> np.ndarray:
    """NumPy's files know no bfloat16: such arrays are read as two bytes of anything."""
    return array.view(as_dtype("bfloat16").numpy) if array.dtype == np.dtype("V2") else array


def _check_output_file(path: str | None, names: Sequence[str]) -> None:
    if path is None or path.endswith(".npz"):
        return
    if not path.endswith(".npy"):
        raise ArgumentError(
            f"cannot write arrays to {path}", hint="name a .npz or .npy file", location=UNKNOWN, cause=ArgumentError.COMMAND
        )
    if len(names) != 1:
        raise ArgumentError(
            f"a .npy file holds one array, and there are {len(names)} outputs",
            hint="name a .npz file",
            location=UNKNOWN,
            cause=ArgumentError.COMMAND,
        )


def _file_bytes(path: str, outputs: Mapping[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    if path.endswith(".npy"):
        np.save(stream, next(iter(outputs.values())))
        return stream.getvalue()
    # Written by hand: np.savez takes names as keyword arguments, among which some are its own.
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in outputs.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())  # without the time of day
    return stream.getvalue()


def _compare(outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest relative error of each output that differs by more than rounding."""
    different: dict[str, float] = {}
    for name, got in outputs.items():
        want = expected[name]
        dtype = as_dtype(want.dtype)
        if not dtype.is_inexact:
            if not np.array_equal(got, want):
                different[name] = math.inf
            continue
        tolerance = {"f64": 1e-9, "f32": 1e-4, "f16": 1e-2, "bf16": 5e-2}[dtype.short]
        got64, want64 = got.astype(np.float64), want.astype(np.float64)
        scale = float(np.max(np.abs(want64), initial=0.0, where=np.isfinite(want64)))
        if np.allclose(got64, want64, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
            continue
        with np.errstate(all="ignore"):
            error = np.abs(got64 - want64) / (scale or 1.0)
        different[name] = float(np.max(error)) if np.all(np.isfinite(error)) else math.inf
    return different


def _type(array: np.ndarray) -> TensorType:
    return TensorType(as_dtype(array.dtype), array.shape)


def _as_text(outputs: Mapping[str, np.ndarray], different: Mapping[str, float]) -> str:
    lines: list[str] = []
    for name, array in outputs.items():
        lines.append(f"{name}: {_type(array)} {_contents(array)}".rstrip())
        if name in different:
            lines.append(f"  differs from the reference: relative error {different[name]:.3g}")
    return "".join(f"{line}\n" for line in lines)


def _contents(array: np.ndarray) -> str:
    if array.size == 0:
        return "empty"
    if array.size <= _SHOWN:
        return f"= {_values(array)}"
    if array.dtype == np.bool_:
        return f"true {int(array.sum())}, false {int(array.size - array.sum())}"
    values = array.astype(np.float64)
    finite = values[np.isfinite(values)]
    parts = [f"min {finite.min():.6g}, max {finite.max():.6g}, mean {finite.mean():.6g}"] if finite.size else []
    parts += [
        f"{what} {count}"
        for what, count in (("nan", int(np.isnan(values).sum())), ("inf", int(np.isinf(values).sum())))
        if count
    ]
    return ", ".join(parts)


def _values(array: np.ndarray) -> str:
    """All elements, each so short that it reads back to the same value."""
    if array.ndim:
        return f"[{', '.join(_values(part) for part in array)}]"
    if array.dtype == np.bool_:
        return str(bool(array)).lower()
    return str(array[()])


def _as_json(
    outputs: Mapping[str, np.ndarray], different: Mapping[str, float], checked: bool, memory: MemoryPlan | None
) -> str:
    entries: list[dict[str, Any]] = []
    for name, array in outputs.items():
        entry: dict[str, Any] = {"name": name, "dtype": as_dtype(array.dtype).short, "shape": list(array.shape)}
        if array.size <= _SHOWN:
            entry["values"] = _plain(array.astype(np.float64).tolist() if array.dtype.kind in "fV" else array.tolist())
        elif array.dtype != np.bool_ and np.all(np.isfinite(array.astype(np.float64))):
            values = array.astype(np.float64)
            entry |= {"min": float(values.min()), "max": float(values.max()), "mean": float(values.mean())}
        if checked:
            entry["agrees"] = name not in different
        entries.append(entry)
    summary: dict[str, Any] = {"outputs": entries}
    if memory is not None:
        summary["memory"] = {**asdict(memory), "peak": memory.peak}
    return to_json_text(summary)


def _plain(value: Any) -> Any:
    """Values that JSON lacks as strings: "nan", "inf"."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
