"""Reading the text form (.gir) back into a graph.

Types are inferred while reading and compared with the written ones, so a text that parses is well typed. Whatever is
wrong with a text is a ParseError that points to it. Nodes without ``loc(…)`` have their place in the text as location.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphc.errors import ArgumentError, ArgumentTypeError, FileError, ParseError
from graphc.ir.builder import complete_attributes
from graphc.ir.dims import Dim, DimExpr
from graphc.ir.graph import Graph, Guard, Node, Value
from graphc.ir.lexer import Cursor, close_to, counted, shortened
from graphc.ir.literals import read_array, read_number, read_string
from graphc.ir.primitive import Primitive, get_primitive, primitives
from graphc.ir.spec import DTYPES, continue_dim, read_dim, read_type
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN, Location

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}
_RELATIONS = ("==", "!=", "<=", "<")
_DIM_OPERATORS = ("+", "-", "*", "//", "%")


def parse(text: str, *, filename: str = "<gir>") -> Graph:
    """The graph that ``text`` spells; ``filename`` is what errors and locations call the text.

    Ops are looked up in the registry, so ``graphc.ops`` (or the module that defines an op) must have been imported.
    Raises ParseError, with line, column and, where it is clear, how to mend it.
    """
    if not isinstance(text, str):
        raise ArgumentTypeError(f"the text of a graph is a string, not {type(text).__name__}")
    cursor = Cursor(text, filename)
    graph = _GraphReader(cursor).read()
    cursor.expect_end()
    return graph


def parse_file(path: str | os.PathLike[str]) -> Graph:
    """The graph in the UTF-8 file ``path``. Raises FileError where it cannot be read, else as :func:`parse`."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"{os.fspath(path)} is not UTF-8 text: {error}") from None
    return parse(text, filename=os.fspath(path))


class _GraphReader:
    """Reads one graph; a graph in an attribute gets a reader of its own, with its own values."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.values: dict[str, Value] = {}
        self.parameters: list[Value] = []
        self.effects: list[Node] = []
        self.guards: list[Guard] = []
        self.aliases: dict[int, int] = {}
        self.result_types: list[TensorType] = []
        self.parameter_op = get_primitive("parameter")

    def read(self) -> Graph:
        cursor = self.cursor
        cursor.descend()
        cursor.expect("graph", hint="a text starts with: graph @name(%x: f32[3]) -> (f32[3]) {")
        name = self.graph_name()
        cursor.expect("(")
        while cursor.token != ")":
            if self.parameters:
                cursor.expect(",")
            self.parameter()
        cursor.advance()
        cursor.expect("->", hint="the types of the results follow: -> (f32[3]) {")
        cursor.expect("(")
        while cursor.token != ")":
            if self.result_types:
                cursor.expect(",")
            self.result_types.append(read_type(cursor))
        cursor.advance()
        cursor.expect("{")
        while cursor.token != "return":
            self.line()
        outputs = self.outputs()
        cursor.expect("}")
        cursor.depth -= 1
        return Graph(
            self.parameters, outputs, effects=self.effects, aliases=self.aliases, guards=self.guards, name=name
        )

    def graph_name(self) -> str:
        cursor = self.cursor
        if cursor.accept("@"):
            return read_string(cursor, "the graph's name")
        if cursor.token[:1] != "@":
            raise cursor.expected("the graph's name, such as @main")
        return cursor.advance()[1:]

    def parameter(self) -> None:
        cursor, at = self.cursor, self.cursor.index
        name = self.new_name("a parameter, such as %x: f32[3]")
        cursor.expect(":", hint="a parameter is written with its type: %x: f32[3]")
        type_ = read_type(cursor)
        location = self.location(at)
        node = Node(self.parameter_op, (), {}, (type_,), location, _hint(name))
        self.values[name] = Value(node, 0)
        self.parameters.append(self.values[name])

    def line(self) -> None:
        cursor = self.cursor
        token = cursor.token
        if token[:1] == "%":
            self.statement(effect=False)
        elif token == "effect":
            cursor.advance()
            self.statement(effect=True)
        elif token == "guard":
            self.guard()
        elif token == "alias":
            self.alias()
        else:
            raise cursor.expected("%value: type = op(...), effect, guard, alias or return")

    def outputs(self) -> list[Value]:
        cursor = self.cursor
        at = cursor.index
        cursor.advance()
        outputs: list[Value] = []
        while cursor.token != "}":
            if outputs:
                cursor.expect(",")
            place = cursor.index
            value = self.operand()
            number = len(outputs)
            if number < len(self.result_types) and value.type != self.result_types[number]:
                message = f"output {number} has type {value.type}, the graph declares {self.result_types[number]}"
                raise cursor.error(message, at=place)
            outputs.append(value)
        if len(outputs) != len(self.result_types):
            message = f"the graph declares {counted(len(self.result_types))}, but returns {len(outputs)}"
            raise cursor.error(message, at=at)
        return outputs

    def statement(self, *, effect: bool) -> None:
        cursor, start = self.cursor, self.cursor.index
        names: list[str] = []
        types: list[TensorType] = []
        places: list[int] = []
        if cursor.token[:1] == "%":
            while True:
                name = self.new_name("the name of a value")
                if name in names:
                    raise cursor.error(f"{shortened(name)} is defined twice", at=cursor.index - 1)
                names.append(name)
                cursor.expect(":", hint="a value is written with its type: %0: f32[3] = ...")
                places.append(cursor.index)
                types.append(read_type(cursor))
                if not cursor.accept(","):
                    break
            cursor.expect("=")
        op_at = cursor.index
        op = self.op()
        operands = self.operands()
        attributes, attribute_places = self.attributes() if cursor.token == "{" else ({}, {})
        location = self.location(start)
        complete = self.complete(op, attributes, attribute_places, op_at)
        try:
            inferred = op.infer(tuple([v.type for v in operands]), **complete)
        except Exception as error:  # attributes of a kind that the rule did not foresee
            raise cursor.wrapped(error, at=op_at, doing=f"{op.name} does not take these arguments") from None
        if len(inferred) != len(types):
            raise cursor.error(f"{op.name} has {counted(len(inferred))}, but the line names {len(types)}", at=start)
        for written, actual, place in zip(types, inferred, places, strict=True):
            if written != actual:
                message = f"the result of {op.name} has type {actual}, not {written}"
                raise cursor.error(message, at=place, hint=f"write {actual}, or mend the operands")
        node = Node(op, tuple(operands), complete, inferred, location, _hint(names[0]) if names else "")
        if effect:
            if not op.effect and not any(isinstance(v, Graph) and v.effects for v in complete.values()):
                raise cursor.error(f"{op.name} has no effect", at=op_at, hint="leave out the word effect")
            self.effects.append(node)
        elif op.effect:
            raise cursor.error(f"{op.name} has an effect", at=op_at, hint="start the line with the word effect")
        for index, name in enumerate(names):
            self.values[name] = Value(node, index)

    def op(self) -> Primitive:
        cursor, at = self.cursor, self.cursor.index
        name = cursor.word("the name of an op")
        try:
            return get_primitive(name)
        except ArgumentError:
            known = primitives()
        hint = close_to(name, known) or "graphc.ops.names() lists all ops; importing graphc.ops makes them known"
        raise cursor.error(f"there is no op called {shortened(name)}", at=at, hint=hint)

    def operands(self) -> list[Value]:
        cursor = self.cursor
        cursor.expect("(")
        operands: list[Value] = []
        while cursor.token != ")":
            if operands:
                cursor.expect(",")
            operands.append(self.operand())
        cursor.advance()
        return operands

    def operand(self) -> Value:
        cursor = self.cursor
        name = cursor.token
        value = self.values.get(name)
        if value is None:
            if name[:1] != "%" or len(name) == 1:
                raise cursor.expected("a value, such as %x")
            hint = close_to(name, self.values) or "a value is defined above the line that uses it"
            raise cursor.error(f"{shortened(name)} is not defined", hint=hint)
        cursor.advance()
        return value

    def new_name(self, what: str) -> str:
        cursor = self.cursor
        name = cursor.token
        if name[:1] != "%" or len(name) == 1:
            raise cursor.expected(what)
        if name in self.values:
            raise cursor.error(f"{shortened(name)} is defined twice")
        return cursor.advance()

    def complete(
        self, op: Primitive, attributes: Mapping[str, Any], places: Mapping[str, int], op_at: int
    ) -> dict[str, Any]:
        cursor = self.cursor
        for name, place in places.items():
            if name not in op.attributes:
                takes = f"it takes {', '.join(op.attributes)}" if op.attributes else "it takes none"
                hint = close_to(name, op.attributes)
                raise cursor.error(f"{op.name} has no attribute {shortened(name)}; {takes}", at=place, hint=hint)
        try:
            return complete_attributes(op, attributes)
        except ArgumentError as error:
            raise cursor.wrapped(error, at=op_at, doing=op.name) from None

    def attributes(self) -> tuple[dict[str, Any], dict[str, int]]:
        cursor = self.cursor
        cursor.advance()
        values: dict[str, Any] = {}
        places: dict[str, int] = {}
        while cursor.token != "}":
            if values:
                cursor.expect(",")
            at = cursor.index
            name = cursor.word("the name of an attribute")
            if name in values:
                raise cursor.error(f"the attribute {shortened(name)} is given twice", at=at)
            cursor.expect("=")
            values[name], places[name] = self.attribute(), at
        cursor.advance()
        return values, places

    def attribute(self) -> Any:
        """The value of an attribute. Parentheses make a tuple, or part of a size where an operator follows them."""
        cursor = self.cursor
        token, following = cursor.token, cursor.next_token()
        if token in _WORDS:
            cursor.advance()
            return _WORDS[token]
        if token[:1] == '"':
            return read_string(cursor, "a string")
        if token in DTYPES:
            cursor.advance()
            return DTYPES[token]
        if token == "(":
            return self.tuple_or_dim()
        if token == "graph" and following[:1] == "@":
            return _GraphReader(cursor).read()
        if token == "dense" and following == "<":
            return read_array(cursor)
        if token == "opaque" and following == "<":
            raise cursor.error("this attribute has no text form and cannot be read back")
        if cursor.at_float() or token in ("inf", "nan"):
            return read_number(cursor)
        if token == "-":
            index = cursor.index
            while cursor.token in ("-", "+"):
                cursor.advance()
            is_float = cursor.at_float() or cursor.token in ("inf", "nan")
            cursor.index, cursor.token = index, token
            if is_float:
                return read_number(cursor)
        if token == "-" or cursor.at_number() or token[:1].isalpha() or token[:1] == "_":
            return read_dim(cursor)
        raise cursor.expected("an attribute's value")

    def tuple_or_dim(self) -> Any:
        cursor, at = self.cursor, self.cursor.index
        cursor.descend()
        cursor.advance()
        items: list[Any] = []
        while cursor.token != ")":
            if items:
                cursor.expect(",", hint="the items of a tuple are separated by commas")
            items.append(self.attribute())
        cursor.advance()
        cursor.depth -= 1
        if cursor.token not in _DIM_OPERATORS:
            return tuple(items)
        if len(items) == 1 and isinstance(items[0], (int, DimExpr)) and not isinstance(items[0], bool):
            return continue_dim(cursor, items[0])
        raise cursor.error("only a size can be calculated with", at=at)

    def guard(self) -> None:
        cursor, at = self.cursor, self.cursor.index
        cursor.advance()
        lhs: Dim = read_dim(cursor)
        if cursor.token not in _RELATIONS:
            raise cursor.expected(f"one of {' '.join(_RELATIONS)}", hint="a guard is written: guard n == 2*m")
        relation = cursor.advance()
        rhs = read_dim(cursor)
        self.guards.append(Guard(relation, lhs, rhs, self.location(at)))

    def alias(self) -> None:
        cursor = self.cursor
        cursor.advance()
        at = cursor.index
        output = cursor.integer("the number of an output")
        if output >= len(self.result_types):
            raise cursor.error(f"there is no output {output}: the graph has {len(self.result_types)}", at=at)
        if output in self.aliases:
            raise cursor.error(f"output {output} has an alias already", at=at)
        cursor.expect("->", hint="an alias is written: alias 0 -> %w")
        place = cursor.index
        value = self.operand()
        if value not in self.parameters:
            raise cursor.error(f"{shortened(cursor.tokens[place])} is not a parameter", at=place)
        self.aliases[output] = self.parameters.index(value)

    def location(self, at: int) -> Location:
        """The ``loc(…)`` at the cursor, or else the place of token ``at``."""
        cursor = self.cursor
        if cursor.token != "loc" or cursor.next_token() != "(":
            return cursor.location(at) or UNKNOWN
        cursor.advance()
        cursor.advance()
        filename = read_string(cursor, "the name of a file")
        cursor.expect(":")
        line = cursor.integer("the line")
        cursor.expect(":")
        column = cursor.integer("the column")
        cursor.expect(")")
        return Location(filename, line, column)


def _hint(name: str) -> str:
    """The name that a node gets from the text: none for a number, which the printer gave."""
    return "" if name[1:].isdecimal() else name[1:]
