"""Nodes of Python's syntax tree."""

from __future__ import annotations

import ast
from typing import TypeVar

N = TypeVar("N", bound=ast.AST)


def load(name: str) -> ast.Name:
    """``name`` where it is read."""
    return ast.Name(name, ast.Load())


def store(name: str) -> ast.Name:
    """``name`` where it is bound."""
    return ast.Name(name, ast.Store())


def at(node: N, where: ast.AST) -> N:
    """``node``, and all within it that has no place yet, at the place of ``where``."""
    ast.copy_location(node, where)
    return ast.fix_missing_locations(node)
