"""graphc: a dual-mode graph compiler for NumPy-style programs and deep learning.

Use it as ``import graphc as gc``. The public names are listed in `_EXPORTS` and loaded on first use (PEP 562), so that
importing graphc stays cheap: neither Numba nor NumPy is loaded until something needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

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
_MODULES: Final = frozenset({"cuda", "errors", "dtypes", "random", "optim", "testing"})

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
    "no_retrace": "graphc.frontends.tracing.history",
    "spec": "graphc.frontends.spec",
    **dict.fromkeys(("print", "callback", "assert_"), "graphc.frontends.effects"),
    "make_repro": "graphc.frontends.tracing.repro",
    "check_numerics": "graphc.frontends.debug.numerics",
    "grad": "graphc.frontends.transforms.gradient",
    "value_and_grad": "graphc.frontends.transforms.gradient",
    "vjp": "graphc.frontends.transforms.gradient",
    "vmap": "graphc.frontends.transforms.batching",
    **dict.fromkeys(("jvp", "linearize"), "graphc.frontends.transforms.forward"),
    **dict.fromkeys(("jacobian", "jacfwd", "jacrev", "hessian", "hvp"), "graphc.frontends.transforms.jacobians"),
    "register_pytree": "graphc.frontends.pytree",
    "tree_map": "graphc.frontends.pytree",
    # control flow
    "cond": "graphc.frontends.control.cond",
    "switch": "graphc.frontends.control.cond",
    "while_loop": "graphc.frontends.control.loops",
    "fori_loop": "graphc.frontends.control.loops",
    "scan": "graphc.frontends.control.scan",
    "checkpoint": "graphc.frontends.control.checkpoint",
    "custom_vjp": "graphc.frontends.control.custom_vjp",
    # static
    **dict.fromkeys(_STATIC, "graphc.frontends.static"),
    # shared
    "random": "graphc.frontends.random",
    "cuda": "graphc.frontends.cuda",
    **dict.fromkeys(("device", "set_default_device", "get_default_device"), "graphc.frontends.placement"),
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

# The same names for type checkers and editors, which cannot see through __getattr__.
# fmt: off
# isort: off
if TYPE_CHECKING:
    from graphc import dtypes as dtypes
    from graphc import errors as errors
    from graphc.frontends import cuda as cuda
    from graphc.frontends import optim as optim
    from graphc.frontends import random as random
    from graphc import testing as testing
    from graphc.compile import compile_graph as compile_graph
    from graphc.dtypes import (
        DType as DType, bfloat16 as bfloat16, bool_ as bool_, float16 as float16, float32 as float32, float64 as float64,
        int16 as int16, int32 as int32, int64 as int64, int8 as int8, uint16 as uint16, uint32 as uint32, uint64 as uint64,
        uint8 as uint8,
    )
    from graphc.errors import GraphcError as GraphcError
    from graphc.frontends.array.activations import (
        celu as celu, elu as elu, gelu as gelu, glu as glu, hardsigmoid as hardsigmoid, hardswish as hardswish, hardtanh as
        hardtanh, leaky_relu as leaky_relu, log_sigmoid as log_sigmoid, log_softmax as log_softmax, logsigmoid as
        logsigmoid, mish as mish, relu as relu, relu6 as relu6, selu as selu, silu as silu, softmax as softmax, softplus as
        softplus, softsign as softsign, swish as swish,
    )
    from graphc.frontends.array.attention import (
        bilinear as bilinear, embedding as embedding, linear as linear, scaled_dot_product_attention as
        scaled_dot_product_attention,
    )
    from graphc.frontends.array.constants import e as e, inf as inf, nan as nan, newaxis as newaxis, pi as pi
    from graphc.frontends.array.convolution import (
        conv1d as conv1d, conv2d as conv2d, conv3d as conv3d, conv_transpose1d as conv_transpose1d, conv_transpose2d as
        conv_transpose2d, conv_transpose3d as conv_transpose3d,
    )
    from graphc.frontends.array.creation import (
        arange as arange, asarray as asarray, copy as copy, diag as diag, diagonal as diagonal, empty as empty, empty_like
        as empty_like, eye as eye, full as full, full_like as full_like, linspace as linspace, meshgrid as meshgrid, one_hot
        as one_hot, ones as ones, ones_like as ones_like, trace as trace, tril as tril, triu as triu, zeros as zeros,
        zeros_like as zeros_like,
    )
    from graphc.frontends.array.datatypes import (
        astype as astype, can_cast as can_cast, finfo as finfo, iinfo as iinfo, isdtype as isdtype, result_type as
        result_type,
    )
    from graphc.frontends.array.einstein import einsum as einsum
    from graphc.frontends.array.elementwise import (
        abs as abs, absolute as absolute, acos as acos, acosh as acosh, add as add, arccos as arccos, arccosh as arccosh,
        arcsin as arcsin, arcsinh as arcsinh, arctan as arctan, arctan2 as arctan2, arctanh as arctanh, asin as asin, asinh
        as asinh, atan as atan, atan2 as atan2, atanh as atanh, bitwise_and as bitwise_and, bitwise_invert as
        bitwise_invert, bitwise_left_shift as bitwise_left_shift, bitwise_or as bitwise_or, bitwise_right_shift as
        bitwise_right_shift, bitwise_xor as bitwise_xor, ceil as ceil, clamp as clamp, clip as clip, conj as conj, copysign
        as copysign, cos as cos, cosh as cosh, digamma as digamma, divide as divide, equal as equal, erf as erf, erfc as
        erfc, exp as exp, exp2 as exp2, expm1 as expm1, floor as floor, floor_divide as floor_divide, greater as greater,
        greater_equal as greater_equal, hypot as hypot, invert as invert, isclose as isclose, isfinite as isfinite, isinf as
        isinf, isnan as isnan, left_shift as left_shift, lerp as lerp, less as less, less_equal as less_equal, lgamma as
        lgamma, log as log, log10 as log10, log1p as log1p, log2 as log2, logaddexp as logaddexp, logical_and as
        logical_and, logical_not as logical_not, logical_or as logical_or, logical_xor as logical_xor, logit as logit,
        maximum as maximum, minimum as minimum, mod as mod, multiply as multiply, nan_to_num as nan_to_num, negative as
        negative, not_equal as not_equal, positive as positive, pow as pow, power as power, real as real, reciprocal as
        reciprocal, remainder as remainder, right_shift as right_shift, round as round, rsqrt as rsqrt, sigmoid as sigmoid,
        sign as sign, signbit as signbit, sin as sin, sinh as sinh, sqrt as sqrt, square as square, subtract as subtract,
        tan as tan, tanh as tanh, true_divide as true_divide, trunc as trunc, where as where, xlogy as xlogy,
    )
    from graphc.frontends.array.exchange import from_dlpack as from_dlpack, from_numpy as from_numpy
    from graphc.frontends.array.indexing import (
        put_along_axis as put_along_axis, take as take, take_along_axis as take_along_axis,
    )
    from graphc.frontends.array.linalg import (
        cross as cross, dot as dot, inner as inner, kron as kron, matmul as matmul, matrix_norm as matrix_norm, matrix_power
        as matrix_power, outer as outer, tensordot as tensordot, vecdot as vecdot, vector_norm as vector_norm,
    )
    from graphc.frontends.array.losses import (
        binary_cross_entropy as binary_cross_entropy, binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
        cross_entropy as cross_entropy, huber_loss as huber_loss, kl_div as kl_div, l1_loss as l1_loss, mse_loss as
        mse_loss, nll_loss as nll_loss, smooth_l1_loss as smooth_l1_loss,
    )
    from graphc.frontends.array.movement import (
        broadcast_arrays as broadcast_arrays, broadcast_to as broadcast_to, cat as cat, chunk as chunk, concat as concat,
        concatenate as concatenate, expand_dims as expand_dims, flatten as flatten, flip as flip, hstack as hstack,
        matrix_transpose as matrix_transpose, moveaxis as moveaxis, pad as pad, permute as permute, permute_dims as
        permute_dims, ravel as ravel, repeat as repeat, reshape as reshape, roll as roll, rot90 as rot90, split as split,
        squeeze as squeeze, stack as stack, swapaxes as swapaxes, tile as tile, transpose as transpose, unsqueeze as
        unsqueeze, unstack as unstack, vstack as vstack,
    )
    from graphc.frontends.array.normalization import (
        batch_norm as batch_norm, cosine_similarity as cosine_similarity, group_norm as group_norm, instance_norm as
        instance_norm, layer_norm as layer_norm, normalize as normalize, rms_norm as rms_norm,
    )
    from graphc.frontends.array.pooling import (
        adaptive_avg_pool1d as adaptive_avg_pool1d, adaptive_avg_pool2d as adaptive_avg_pool2d, adaptive_avg_pool3d as
        adaptive_avg_pool3d, adaptive_max_pool1d as adaptive_max_pool1d, adaptive_max_pool2d as adaptive_max_pool2d,
        adaptive_max_pool3d as adaptive_max_pool3d, avg_pool1d as avg_pool1d, avg_pool2d as avg_pool2d, avg_pool3d as
        avg_pool3d, global_avg_pool as global_avg_pool, global_max_pool as global_max_pool, max_pool1d as max_pool1d,
        max_pool2d as max_pool2d, max_pool3d as max_pool3d,
    )
    from graphc.frontends.array.reduction import (
        all as all, allclose as allclose, any as any, argmax as argmax, argmin as argmin, array_equal as array_equal,
        count_nonzero as count_nonzero, cumprod as cumprod, cumsum as cumsum, cumulative_max as cumulative_max,
        cumulative_min as cumulative_min, cumulative_prod as cumulative_prod, cumulative_sum as cumulative_sum, logsumexp as
        logsumexp, max as max, mean as mean, median as median, min as min, nanmean as nanmean, nansum as nansum, norm as
        norm, prod as prod, std as std, sum as sum, var as var,
    )
    from graphc.frontends.array.selection import nonzero as nonzero
    from graphc.frontends.array.sorting import (
        argsort as argsort, searchsorted as searchsorted, sort as sort, topk as topk, unique as unique, unique_all as
        unique_all, unique_counts as unique_counts, unique_inverse as unique_inverse, unique_values as unique_values,
    )
    from graphc.frontends.array.statistics import (
        average as average, corrcoef as corrcoef, cov as cov, cumulative_logsumexp as cumulative_logsumexp, diff as diff,
        interp as interp, quantile as quantile, trapezoid as trapezoid,
    )
    from graphc.frontends.control.checkpoint import checkpoint as checkpoint
    from graphc.frontends.control.cond import cond as cond, switch as switch
    from graphc.frontends.control.custom_vjp import custom_vjp as custom_vjp
    from graphc.frontends.control.loops import fori_loop as fori_loop, while_loop as while_loop
    from graphc.frontends.control.scan import scan as scan
    from graphc.frontends.debug.numerics import check_numerics as check_numerics
    from graphc.frontends.eager.create import is_tensor as is_tensor, tensor as tensor
    from graphc.frontends.eager.record import record as record
    from graphc.frontends.eager.tensor import Tensor as Tensor, gradients_of as gradients_of
    from graphc.frontends.effects import assert_ as assert_, callback as callback, print as print
    from graphc.frontends.grad_mode import (
        enable_grad as enable_grad, is_grad_enabled as is_grad_enabled, no_grad as no_grad, set_grad_enabled as
        set_grad_enabled,
    )
    from graphc.frontends.pytree import register_pytree as register_pytree, tree_map as tree_map
    from graphc.frontends.placement import (
        device as device, get_default_device as get_default_device, set_default_device as set_default_device,
    )
    from graphc.frontends.spec import spec as spec
    from graphc.frontends.static import (
        Graph as Graph, Session as Session, Variable as Variable, assign as assign, assign_add as assign_add, assign_sub as
        assign_sub, control_dependencies as control_dependencies, get_default_graph as get_default_graph,
        get_default_session as get_default_session, global_variables as global_variables, global_variables_initializer as
        global_variables_initializer, gradients as gradients, group as group, identity as identity, name_scope as
        name_scope, no_op as no_op, placeholder as placeholder, reset_default_graph as reset_default_graph,
        trainable_variables as trainable_variables, variables_initializer as variables_initializer,
    )
    from graphc.frontends.tracing.history import no_retrace as no_retrace
    from graphc.frontends.tracing.jit import jit as jit
    from graphc.frontends.tracing.repro import make_repro as make_repro
    from graphc.frontends.transforms.batching import vmap as vmap
    from graphc.frontends.transforms.forward import jvp as jvp, linearize as linearize
    from graphc.frontends.transforms.gradient import grad as grad, value_and_grad as value_and_grad, vjp as vjp
    from graphc.frontends.transforms.jacobians import (
        hessian as hessian, hvp as hvp, jacfwd as jacfwd, jacobian as jacobian, jacrev as jacrev,
    )
    from graphc.ir.parser import parse as parse, parse_file as parse_file
    from graphc.runtime.threads import get_num_threads as get_num_threads, set_num_threads as set_num_threads
# isort: on
# fmt: on

__all__ = ["__version__", *_EXPORTS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    path = _EXPORTS[name]
    import_module("graphc.tracebacks").install()
    if path.startswith(("graphc.frontends.", "graphc.ir.")):
        import_module("graphc.ops")  # primitives are known before anything is built of them
    if path.startswith("graphc.frontends."):
        import_module("graphc.frontends.eager.context")  # array functions have somebody who executes them
    module = import_module(path)
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
