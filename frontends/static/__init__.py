"""The static front end, TensorFlow 1.x's way: placeholders and Variables, a graph of ops, and Sessions that run parts of it."""

from graphc.frontends.static.graph import Graph, get_default_graph, reset_default_graph
from graphc.frontends.static.operations import (
    control_dependencies,
    gradients,
    group,
    identity,
    name_scope,
    no_op,
    placeholder,
)
from graphc.frontends.static.session import Session, get_default_session
from graphc.frontends.static.tensor import Operation
from graphc.frontends.static.variable import (
    Variable,
    assign,
    assign_add,
    assign_sub,
    global_variables,
    global_variables_initializer,
    trainable_variables,
    variables_initializer,
)

__all__ = [
    "Graph",
    "Operation",
    "Session",
    "Variable",
    "assign",
    "assign_add",
    "assign_sub",
    "control_dependencies",
    "get_default_graph",
    "get_default_session",
    "global_variables",
    "global_variables_initializer",
    "gradients",
    "group",
    "identity",
    "name_scope",
    "no_op",
    "placeholder",
    "reset_default_graph",
    "trainable_variables",
    "variables_initializer",
]
