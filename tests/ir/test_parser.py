"""What the parser says about malformed texts: message, place and hint."""

from collections.abc import Callable
from pathlib import Path

import pytest

import graphc.ops  # noqa: F401  (fills the registry)
from graphc.errors import ArgumentError, ParseError
from graphc.ir import parse, primitive

HEAD = "graph @g(%x: f32[3], %p: bool[]) -> (f32[3]) {\n  "
TAIL = "\n  return %x\n}"


def in_body(line: str) -> str:
    return HEAD + line + TAIL


MALFORMED = {
    "nothing": "",
    "no graph": "module @g() {}",
    "no name": "graph g() -> () { return }",
    "parameter without a type": "graph @g(%x) -> () { return }",
    "parameter twice": "graph @g(%x: f32[], %x: f32[]) -> () { return }",
    "parameters without commas": "graph @g(%x: f32[] %y: f32[]) -> () { return }",
    "no results": "graph @g() { return }",
    "text goes on": "graph @g() -> () { return } graph",
    "text ends": "graph @g() -> () {",
    "body not closed": "graph @g() -> () { return",
    "unknown op": in_body("%0: f32[3] = ned(%x)"),
    "unknown op, nothing close": in_body("%0: f32[3] = frobnicate_the_tensor(%x)"),
    "op is no word": in_body("%0: f32[3] = 3(%x)"),
    "unknown value": in_body("%0: f32[3] = neg(%xx)"),
    "unknown value, nothing close": in_body("%0: f32[3] = neg(%17)"),
    "used above its definition": in_body("%0: f32[3] = neg(%1)\n  %1: f32[3] = neg(%x)"),
    "operand is no value": in_body("%0: f32[3] = neg(3)"),
    "operands without commas": in_body("%0: f32[3] = add(%x %x)"),
    "value twice": in_body("%x: f32[3] = neg(%x)"),
    "value twice in a line": in_body("%0: f32[2], %0: i64[2] = top_k(%x) {k = 2}"),
    "value without a type": in_body("%0 = neg(%x)"),
    "wrong type": in_body("%0: f32[4] = neg(%x)"),
    "wrong dtype": in_body("%0: bool[3] = neg(%x)"),
    "too few results": in_body("%0: f32[2] = top_k(%x) {k = 2}"),
    "too many results": in_body("%0: f32[3], %1: f32[3] = neg(%x)"),
    "operands that do not fit": in_body("%0: f32[3] = add(%x, %p)"),
    "too many operands": in_body("%0: f32[3] = neg(%x, %x)"),
    "parameter as an op": in_body("%0: f32[3] = parameter()"),
    "unknown attribute": in_body("%0: f32[2], %1: i64[2] = top_k(%x) {kk = 2}"),
    "attribute of an op without any": in_body("%0: f32[3] = neg(%x) {k = 2}"),
    "missing attribute": in_body("%0: f32[2], %1: i64[2] = top_k(%x)"),
    "attribute twice": in_body("%0: f32[2], %1: i64[2] = top_k(%x) {k = 2, k = 2}"),
    "attribute without a value": in_body("%0: f32[2], %1: i64[2] = top_k(%x) {k = }"),
    "attribute without =": in_body("%0: f32[2], %1: i64[2] = top_k(%x) {k 2}"),
    "attribute of the wrong kind": in_body('%0: f32[3] = transpose(%x) {permutation = "abc"}'),
    "attribute is a reserved word": in_body("%0: f32[3] = reshape(%x) {shape = (min)}"),
    "attributes without commas": in_body("%0: f32[3] = slice(%x) {starts = (0) limits = (3), strides = (1)}"),
    "tuple without commas": in_body("%0: f32[3] = reshape(%x) {shape = (3 1)}"),
    "calculation with a tuple": in_body("%0: f32[3] = reshape(%x) {shape = (1, 2) + 1}"),
    "calculation with a boolean": in_body("%0: f32[3] = reshape(%x) {shape = (true) * 2}"),
    "float too large": in_body("%0: f32[] = constant() {value = 1e999}"),
    "string not closed": in_body('effect check(%p) {message = "oops}'),
    "bad escape": in_body('effect check(%p) {message = "\\q"}'),
    "effect without the word": in_body('check(%p) {message = "m"}'),
    "effect that is none": in_body("effect %0: f32[3] = neg(%x)"),
    "effect named as a value": in_body('%0: bool[] = check(%p) {message = "m"}'),
    "no statement": in_body("neg(%x)"),
    "guard without a relation": in_body("guard n"),
    "guard with >": in_body("guard n > m"),
    "alias of an unknown output": in_body("alias 1 -> %x"),
    "alias twice": in_body("alias 0 -> %x\n  alias 0 -> %x"),
    "alias to a computed value": in_body("%0: f32[3] = neg(%x)\n  alias 0 -> %0"),
    "alias without a parameter": in_body("alias 0 -> 1"),
    "too few outputs": "graph @g(%x: f32[]) -> (f32[], f32[]) { return %x }",
    "too many outputs": "graph @g(%x: f32[]) -> () { return %x }",
    "output of another type": "graph @g(%x: f32[]) -> (f32[1]) { return %x }",
    "array of a symbolic shape": in_body("%0: f32[n] = constant() {value = dense<f32[n]: [1.0]>}"),
    "array with too few elements": in_body("%0: f32[2] = constant() {value = dense<f32[2]: [1.0]>}"),
    "array with too few brackets": in_body("%0: f32[2] = constant() {value = dense<f32[1, 1]: [1.0]>}"),
    "array element is no number": in_body("%0: f32[2] = constant() {value = dense<f32[1]: [x]>}"),
    "array element is no boolean": in_body("%0: bool[1] = constant() {value = dense<bool[1]: [1]>}"),
    "array element is a fraction": in_body("%0: i8[1] = constant() {value = dense<i8[1]: [1.5]>}"),
    "array element is out of range": in_body("%0: i8[1] = constant() {value = dense<i8[1]: [128]>}"),
    "array element is too large": in_body("%0: f16[1] = constant() {value = dense<f16[1]: [70000.0]>}"),
    "array is not base64": in_body('%0: f32[1] = constant() {value = dense<f32[1]: base64 "AA!A">}'),
    "array has too few bytes": in_body('%0: f32[1] = constant() {value = dense<f32[1]: base64 "AAAA">}'),
    "location without a file": in_body("%0: f32[3] = neg(%x) loc(3:4)"),
    "location without a column": in_body('%0: f32[3] = neg(%x) loc("f.py":3)'),
    "nested graph is malformed": in_body(
        "%0: f32[3] = call(%x) {graph = graph @f(%y: f32[3]) -> (f32[3]) {return %x}}"
    ),
    "text before the place is long": in_body(
        "%0: f32[] = constant() {value = dense<f32[]: 0.0>} " + " " * 200 + "oops"
    ),
}


def test_every_message(golden: Callable[[str | Path, str], None]) -> None:
    parts: list[str] = []
    for title, text in MALFORMED.items():
        with pytest.raises(ParseError) as caught:
            parse(text)
        parts.append(f"=== {title}\n{caught.value}\n")
    golden("golden/parse_errors.txt", "\n".join(parts))


def test_the_error_points_into_the_text() -> None:
    with pytest.raises(ParseError) as caught:
        parse(in_body("%0: f32[3] = ned(%x)"), filename="net.gir")
    error = caught.value
    assert (error.location.filename, error.location.line, error.location.column) == ("net.gir", 2, 16)
    assert error.location.source_line == "  %0: f32[3] = ned(%x)"
    assert error.hint == "did you mean ne or neg?"


def test_without_any_op_registered_the_error_says_what_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitive, "_REGISTRY", {})
    with pytest.raises(ArgumentError, match="no primitive called 'parameter'"):
        parse("graph @g() -> () { return }")
