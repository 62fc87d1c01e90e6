"""graphc: a dual-mode graph compiler for NumPy-style programs and deep learning.

Use it as ``import graphc as gc``. The public names are listed in `_EXPORTS` and loaded on first use (PEP 562), so that
importing graphc stays cheap: neither Numba nor NumPy is loaded until something needs it.
"""

from importlib import import_module
from typing import Final

from graphc.frontends.array.names import PUBLIC as _ARRAY_FUNCTIONS
from graphc.version import __version__

_DTYPES: Final = (
    "bool_", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
    "float64",
)  # fmt: skip

_STATIC: Final = (
    "Graph", "Session", "Variable", "placeholder", "gradients", "assign", "assign_add", "assign_sub", "group", "name_scope",
    "get_default_graph", "reset_default_graph", "get_default_session", "global_variables_initializer", "variables_initializer",
    "trainable_variables", "global_variables", "control_dependencies", "identity", "no_op",
)  # fmt: skip

# Public names that are modules themselves.
_MODULES: Final = frozenset({"errors", "dtypes", "random", "optim", "testing"})

# Public name -> the module that defines it (or that it is).
_EXPORTS: Final[dict[str, str]] = {
    **_ARRAY_FUNCTIONS,
    **dict.fromkeys((*_DTYPES, "DType"), "graphc.dtypes"),
    "errors": "graphc.errors",
    "dtypes": "graphc.dtypes",
    "GraphcError": "graphc.errors",
    # eager
    "Tensor": "graphc.frontends.eager.tensor",
    "tensor": "graphc.frontends.eager.create",
    "is_tensor": "graphc.frontends.eager.create",
    "gradients_of": "graphc.frontends.eager.tensor",
    "record": "graphc.frontends.eager.record",
    "no_grad": "graphc.frontends.grad_mode",
    "enable_grad": "graphc.frontends.grad_mode",
    "set_grad_enabled": "graphc.frontends.grad_mode",
    "is_grad_enabled": "graphc.frontends.grad_mode",
    # tracing and transforms
    "jit": "graphc.frontends.tracing.jit",
    "spec": "graphc.frontends.spec",
    "grad": "graphc.frontends.transforms.gradient",
    "value_and_grad": "graphc.frontends.transforms.gradient",
    "vjp": "graphc.frontends.transforms.gradient",
    "register_pytree": "graphc.frontends.pytree",
    "tree_map": "graphc.frontends.pytree",
    # static
    **dict.fromkeys(_STATIC, "graphc.frontends.static"),
    # shared
    "random": "graphc.frontends.random",
    "optim": "graphc.frontends.optim",
    # the compiler
    "compile_graph": "graphc.compile",
    "parse": "graphc.ir.parser",
    "parse_file": "graphc.ir.parser",
    "testing": "graphc.testing",
    # the run time
    "set_num_threads": "graphc.runtime.threads",
    "get_num_threads": "graphc.runtime.threads",
}

__all__ = ["__version__", *_EXPORTS]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    path = _EXPORTS[name]
    if path.startswith(("graphc.frontends.", "graphc.ir.")):
        import_module("graphc.ops")  # primitives are known before anything is built of them
    if path.startswith("graphc.frontends."):
        import_module("graphc.frontends.eager.context")  # array functions have somebody who executes them
    module = import_module(path)
    value: object = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
