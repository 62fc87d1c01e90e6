"""What TARGET on the command line means: a text file, a function, a script or a static graph → a graph of the IR."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import graphc.ops  # noqa: F401 - fills the registry of primitives, which the parser needs
from graphc.cli.inputs import parse_inputs
from graphc.errors import ArgumentError, FileError, GraphcError, ParseError
from graphc.frontends.eager.record import record
from graphc.frontends.static import Graph as StaticGraph
from graphc.frontends.static import Operation
from graphc.frontends.static.tensor import StaticTensor
from graphc.frontends.tracing.jit import jit
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.parser import parse, parse_file
from graphc.ir.verifier import verify
from graphc.locations import UNKNOWN, TextLocation, current_location, is_internal_code

TARGET_HELP: Final = "file.gir, - (such text on standard input), file.py:function, file.py:static_graph, or script.py"

_SHOWN_NAMES: Final = 12
_FORMS: Final = f"a target is {TARGET_HELP}"


class ScriptError(GraphcError, RuntimeError):
    """The user's file raised an exception that is not graphc's."""


@dataclass(frozen=True)
class Request:
    """How to get a graph: the target's text, specs of inputs, names of what to fetch, arguments of a script."""

    target: str
    inputs: tuple[str, ...] = ()
    fetches: tuple[str, ...] = ()
    script_arguments: tuple[str, ...] = ()


def add_target_options(parser: argparse.ArgumentParser) -> None:
    """The options that go with a target."""
    group = parser.add_argument_group("target")
    group.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SPEC",
        help='what a function is traced with, once for each argument: a type such as "f32[batch, 784]", a number, '
        'a "string", or a nested [list], (tuple) or {"key": value} of them; name=SPEC for a keyword argument',
    )
    group.add_argument(
        "--fetch", action="append", default=[], metavar="NAME", help="what to fetch from a static graph; repeatable"
    )


def is_in_file(target: str) -> bool:
    """Whether ``target`` is a function or static graph in a Python file."""
    path, colon, name = target.rpartition(":")
    return bool(colon and name) and path.endswith(".py")


def resolve(request: Request) -> Graph:
    """The graph that ``request`` asks for, verified. Raises a graphc error, with a hint, for whatever goes wrong."""
    graph = _resolve(request)
    outside = current_location().filename
    if any(node.location.filename == outside for node in graph.nodes()):
        graph = _relocated(graph, outside)
    verify(graph)
    return graph


def _relocated(graph: Graph, outside: str) -> Graph:
    """``graph`` without locations in ``outside``, the program that called this one: they are not the user's."""
    new: dict[Node, Node] = {}
    for node in graph.nodes():
        location = UNKNOWN if node.location.filename == outside else node.location
        inputs = tuple([Value(new[v.node], v.index) for v in node.inputs])
        new[node] = Node(node.op, inputs, node.attributes, node.types, location, node.name)
    return graph.replace(
        parameters=[Value(new[p.node], p.index) for p in graph.parameters],
        outputs=[Value(new[o.node], o.index) for o in graph.outputs],
        effects=[new[e] for e in graph.effects],
        guards=[g._replace(location=UNKNOWN) if g.location.filename == outside else g for g in graph.guards],
    )


def _resolve(request: Request) -> Graph:
    target = request.target
    if target == "-":
        _refuse_inputs(request, "text on standard input")
        return parse(_standard_input(), filename="<stdin>")
    path, colon, name = target.rpartition(":")
    if colon and path.endswith(".py"):
        if not name:
            raise ArgumentError(
                f"the target {target!r} names no function", hint=_FORMS, location=UNKNOWN, cause=ArgumentError.COMMAND
            )
        return _from_module(request, path, name)
    if target.endswith(".py"):
        _refuse_inputs(request, "a script")
        return _from_script(request)
    if target.endswith(".gir"):
        _refuse_inputs(request, "a .gir file")
        return parse_file(target)
    raise ArgumentError(
        f"cannot tell what the target {target!r} is", hint=_FORMS, location=UNKNOWN, cause=ArgumentError.COMMAND
    )


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ParseError(f"standard input is not UTF-8 text: {error}", location=UNKNOWN) from None


def _refuse_inputs(request: Request, what: str) -> None:
    if request.inputs:
        raise ArgumentError(
            f"--input is for functions; {what} says itself what its inputs are", location=UNKNOWN, cause=ArgumentError.COMMAND
        )
    if request.fetches:
        raise ArgumentError(f"--fetch is for static graphs, not for {what}", location=UNKNOWN, cause=ArgumentError.COMMAND)


def _from_script(request: Request) -> Graph:
    name = _module_stem(request.target)
    with _running(request.target, "__main__", request.script_arguments) as run, record(name) as recorded:
        run()
    graph: Graph = recorded.graph()
    return graph


def _from_module(request: Request, path: str, name: str) -> Graph:
    with _running(path, _module_name(path), request.script_arguments) as run:
        module = run()
        found = _attribute(module, path, name)
        with _user_code(path):
            return _to_graph(found, request, name, module)


def _module_name(path: str) -> str:
    stem = _module_stem(path)
    return f"graphc_target_{stem}" if stem in sys.modules or not stem.isidentifier() else stem


def _module_stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _attribute(module: ModuleType, path: str, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = sorted(key for key, value in vars(found).items() if not key.startswith("_") and _is_target(value))
            close = difflib.get_close_matches(part, known, n=3)
            if close:
                hint = f"did you mean {' or '.join(close)}?"
            else:
                hint = f"it has {', '.join(known)}" if known else "it defines no functions"
            raise ArgumentError(f"{path} defines no {part!r}", hint=hint, location=UNKNOWN, cause=ArgumentError.COMMAND)
        found = getattr(found, part)
    return found


def _is_target(value: object) -> bool:
    """Whether a name that was mistyped may have meant ``value``."""
    if isinstance(value, Graph) or _static_graph(value) is not None:
        return True
    if not callable(value) or inspect.isclass(value):
        return False
    code = getattr(inspect.unwrap(value), "__code__", None)
    return code is not None and not is_internal_code(code)


def _to_graph(found: Any, request: Request, name: str, module: ModuleType) -> Graph:
    if _returns_graph(found) and not request.inputs:
        found = found()
    if isinstance(found, Graph):
        return found
    static = _static_graph(found)
    if static is not None:
        if request.inputs:
            raise ArgumentError(
                "--input is for functions; a static graph has placeholders", location=UNKNOWN, cause=ArgumentError.COMMAND
            )
        fetches = [each for fetch in request.fetches for each in _fetched(fetch, static, module)]
        if not fetches and found is static:
            raise ArgumentError(
                f"{name} is a whole static graph: what is to be fetched?",
                hint=f"add --fetch NAME: {_some(_names(static, module))}",
                location=UNKNOWN,
                cause=ArgumentError.COMMAND,
            )
        graph: Graph = static.to_ir(fetches or (found if isinstance(found, (list, tuple)) else [found]))
        return graph
    if not callable(found):
        raise ArgumentError(
            f"{name} is neither a function nor a graph, but of type {type(found).__name__}",
            hint=_FORMS,
            location=UNKNOWN,
            cause=ArgumentError.COMMAND,
        )
    if request.fetches:
        raise ArgumentError("--fetch is for static graphs, not for functions", location=UNKNOWN, cause=ArgumentError.COMMAND)
    return _trace(found, request.inputs, name)


def _static_graph(found: object) -> StaticGraph | None:
    """``found`` if it is a static graph, or the graph that it (or each of several) is a tensor, Variable or op of."""
    if isinstance(found, (list, tuple)):
        graphs = {_static_graph(each) for each in found}
        return graphs.pop() if len(graphs) == 1 else None
    if isinstance(found, (StaticTensor, Operation)):
        return found.graph
    return found if isinstance(found, StaticGraph) else None


def _fetched(fetch: str, static: StaticGraph, module: ModuleType) -> Sequence[Any]:
    """What ``--fetch`` names: an element of the graph, or a variable of the file that holds one or a list of them."""
    if fetch.partition(":")[0] in static.names_of_elements():
        return (fetch,)
    value = vars(module).get(fetch)
    if value is None or _static_graph(value) is not static:
        names = _names(static, module)
        close = difflib.get_close_matches(fetch, names, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"it has {_some(names)}"
        raise ArgumentError(
            f"the static graph has nothing called {fetch!r}", hint=hint, location=UNKNOWN, cause=ArgumentError.COMMAND
        )
    return value if isinstance(value, (list, tuple)) else (value,)


def _names(static: StaticGraph, module: ModuleType) -> list[str]:
    variables = [key for key, value in vars(module).items() if value is not static and _static_graph(value) is static]
    return list(dict.fromkeys([*variables, *static.names_of_elements()]))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")


def _returns_graph(found: Any) -> bool:
    """Whether it is a function without arguments that says it returns a graph."""
    if not inspect.isfunction(found) or inspect.signature(found).parameters:
        return False
    annotation = found.__annotations__.get("return")
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.rpartition(".")[2] == "Graph"


def _trace(function: Callable[..., Any], specs: Sequence[str], name: str) -> Graph:
    positional, keywords = parse_inputs(specs)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None
    if signature is not None:
        try:
            signature.bind(*positional, **keywords)
        except TypeError as error:
            raise ArgumentError(
                f"{name}{signature} cannot be called with {_counted(specs)}: {error}",
                hint=_input_hint(signature),
                location=UNKNOWN,
                cause=ArgumentError.COMMAND,
            ) from None
    jitted: Any = function if callable(getattr(function, "graph", None)) else jit(function)
    graph: Graph = jitted.graph(*positional, **keywords)
    return graph


def _counted(specs: Sequence[str]) -> str:
    return {0: "no --input", 1: "1 --input"}.get(len(specs), f"{len(specs)} --input options")


def _input_hint(signature: inspect.Signature) -> str:
    names = [p.name for p in signature.parameters.values() if p.default is p.empty]
    return f'give --input once for each of {", ".join(names)}, for example --input "f32[n, 3]"'


@contextlib.contextmanager
def _running(path: str, name: str, arguments: Sequence[str]) -> Iterator[Callable[[], ModuleType]]:
    """Within the block, a function that runs ``path`` as the module ``name`` and gives the module.

    The file sees itself in sys.modules, its folder first in sys.path, and ``arguments`` in sys.argv. What it prints
    goes to standard error: standard output is for the graph.
    """
    code = _compile(path)
    module = ModuleType(name)
    module.__file__ = path
    saved_module, saved_path, saved_argv = sys.modules.get(name), sys.path[:], sys.argv
    sys.modules[name] = module
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    sys.argv = [path, *arguments]

    def run() -> ModuleType:
        with _user_code(path):
            exec(code, module.__dict__)
        return module

    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield run
    finally:
        sys.argv, sys.path[:] = saved_argv, saved_path
        if saved_module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = saved_module


def _compile(path: str) -> Any:
    try:
        with open(path, "rb") as stream:
            source = stream.read()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}", location=UNKNOWN) from None
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        place = TextLocation(path, error.lineno or 0, error.offset or 0, error.text or "")
        raise ParseError(f"{path} is not valid Python: {error.msg}", location=place) from None
    except ValueError as error:  # null bytes
        raise ParseError(f"{path} is not valid Python: {error}", location=UNKNOWN) from None


@contextlib.contextmanager
def _user_code(path: str) -> Iterator[None]:
    """Turns an exception of the user's code into a ScriptError with the user's part of the traceback."""
    try:
        yield
    except GraphcError:
        raise
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise ScriptError(f"{path} ended with exit code {stop.code}", location=UNKNOWN) from None
    except Exception as error:
        frames = [
            summary
            for (frame, _), summary in zip(
                traceback.walk_tb(error.__traceback__), traceback.extract_tb(error.__traceback__), strict=True
            )
            if not is_internal_code(frame.f_code) and frame.f_code.co_filename != contextlib.__file__
        ]
        shown = "".join(traceback.format_list(frames) + traceback.format_exception_only(error)).rstrip("\n")
        raise ScriptError(f"{path} raised an exception\n{shown}", location=UNKNOWN) from error
