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
}

if TYPE_CHECKING:  # the same names for type checkers and editors, which cannot see through __getattr__
    from graphc import dtypes as dtypes
    from graphc import errors as errors
    from graphc import testing as testing
    from graphc.compile import compile_graph as compile_graph
    from graphc.dtypes import (
        DType as DType,
    )  # fmt: skip
    from graphc.dtypes import (
        bfloat16 as bfloat16,
    )
    from graphc.dtypes import (
        bool_ as bool_,
    )
    from graphc.dtypes import (
        float16 as float16,
    )
    from graphc.dtypes import (
        float32 as float32,
    )
    from graphc.dtypes import (
        float64 as float64,
    )
    from graphc.dtypes import (
        int8 as int8,
    )
    from graphc.dtypes import (
        int16 as int16,
    )
    from graphc.dtypes import (
        int32 as int32,
    )
    from graphc.dtypes import (
        int64 as int64,
    )
    from graphc.dtypes import (
        uint8 as uint8,
    )
    from graphc.dtypes import (
        uint16 as uint16,
    )
    from graphc.dtypes import (
        uint32 as uint32,
    )
    from graphc.dtypes import (
        uint64 as uint64,
    )
    from graphc.errors import GraphcError as GraphcError
    from graphc.frontends import optim as optim
    from graphc.frontends import random as random
    from graphc.frontends.array.activations import (
        celu as celu,
    )  # fmt: skip
    from graphc.frontends.array.activations import (
        elu as elu,
    )
    from graphc.frontends.array.activations import (
        gelu as gelu,
    )
    from graphc.frontends.array.activations import (
        glu as glu,
    )
    from graphc.frontends.array.activations import (
        hardsigmoid as hardsigmoid,
    )
    from graphc.frontends.array.activations import (
        hardswish as hardswish,
    )
    from graphc.frontends.array.activations import (
        hardtanh as hardtanh,
    )
    from graphc.frontends.array.activations import (
        leaky_relu as leaky_relu,
    )
    from graphc.frontends.array.activations import (
        log_sigmoid as log_sigmoid,
    )
    from graphc.frontends.array.activations import (
        log_softmax as log_softmax,
    )
    from graphc.frontends.array.activations import (
        logsigmoid as logsigmoid,
    )
    from graphc.frontends.array.activations import (
        mish as mish,
    )
    from graphc.frontends.array.activations import (
        relu as relu,
    )
    from graphc.frontends.array.activations import (
        relu6 as relu6,
    )
    from graphc.frontends.array.activations import (
        selu as selu,
    )
    from graphc.frontends.array.activations import (
        silu as silu,
    )
    from graphc.frontends.array.activations import (
        softmax as softmax,
    )
    from graphc.frontends.array.activations import (
        softplus as softplus,
    )
    from graphc.frontends.array.activations import (
        softsign as softsign,
    )
    from graphc.frontends.array.activations import (
        swish as swish,
    )
    from graphc.frontends.array.attention import (
        bilinear as bilinear,
    )  # fmt: skip
    from graphc.frontends.array.attention import (
        embedding as embedding,
    )
    from graphc.frontends.array.attention import (
        linear as linear,
    )
    from graphc.frontends.array.attention import (
        scaled_dot_product_attention as scaled_dot_product_attention,
    )
    from graphc.frontends.array.constants import e as e
    from graphc.frontends.array.constants import inf as inf
    from graphc.frontends.array.constants import nan as nan
    from graphc.frontends.array.constants import newaxis as newaxis
    from graphc.frontends.array.constants import pi as pi
    from graphc.frontends.array.convolution import (
        conv1d as conv1d,
    )  # fmt: skip
    from graphc.frontends.array.convolution import (
        conv2d as conv2d,
    )
    from graphc.frontends.array.convolution import (
        conv3d as conv3d,
    )
    from graphc.frontends.array.convolution import (
        conv_transpose1d as conv_transpose1d,
    )
    from graphc.frontends.array.convolution import (
        conv_transpose2d as conv_transpose2d,
    )
    from graphc.frontends.array.convolution import (
        conv_transpose3d as conv_transpose3d,
    )
    from graphc.frontends.array.creation import (
        arange as arange,
    )  # fmt: skip
    from graphc.frontends.array.creation import (
        asarray as asarray,
    )
    from graphc.frontends.array.creation import (
        copy as copy,
    )
    from graphc.frontends.array.creation import (
        diag as diag,
    )
    from graphc.frontends.array.creation import (
        diagonal as diagonal,
    )
    from graphc.frontends.array.creation import (
        empty as empty,
    )
    from graphc.frontends.array.creation import (
        empty_like as empty_like,
    )
    from graphc.frontends.array.creation import (
        eye as eye,
    )
    from graphc.frontends.array.creation import (
        full as full,
    )
    from graphc.frontends.array.creation import (
        full_like as full_like,
    )
    from graphc.frontends.array.creation import (
        linspace as linspace,
    )
    from graphc.frontends.array.creation import (
        meshgrid as meshgrid,
    )
    from graphc.frontends.array.creation import (
        one_hot as one_hot,
    )
    from graphc.frontends.array.creation import (
        ones as ones,
    )
    from graphc.frontends.array.creation import (
        ones_like as ones_like,
    )
    from graphc.frontends.array.creation import (
        trace as trace,
    )
    from graphc.frontends.array.creation import (
        tril as tril,
    )
    from graphc.frontends.array.creation import (
        triu as triu,
    )
    from graphc.frontends.array.creation import (
        zeros as zeros,
    )
    from graphc.frontends.array.creation import (
        zeros_like as zeros_like,
    )
    from graphc.frontends.array.datatypes import (
        astype as astype,
    )  # fmt: skip
    from graphc.frontends.array.datatypes import (
        can_cast as can_cast,
    )
    from graphc.frontends.array.datatypes import (
        finfo as finfo,
    )
    from graphc.frontends.array.datatypes import (
        from_dlpack as from_dlpack,
    )
    from graphc.frontends.array.datatypes import (
        from_numpy as from_numpy,
    )
    from graphc.frontends.array.datatypes import (
        iinfo as iinfo,
    )
    from graphc.frontends.array.datatypes import (
        isdtype as isdtype,
    )
    from graphc.frontends.array.datatypes import (
        result_type as result_type,
    )
    from graphc.frontends.array.einstein import einsum as einsum
    from graphc.frontends.array.elementwise import (
        abs as abs,
    )  # fmt: skip
    from graphc.frontends.array.elementwise import (
        absolute as absolute,
    )
    from graphc.frontends.array.elementwise import (
        acos as acos,
    )
    from graphc.frontends.array.elementwise import (
        acosh as acosh,
    )
    from graphc.frontends.array.elementwise import (
        add as add,
    )
    from graphc.frontends.array.elementwise import (
        arccos as arccos,
    )
    from graphc.frontends.array.elementwise import (
        arccosh as arccosh,
    )
    from graphc.frontends.array.elementwise import (
        arcsin as arcsin,
    )
    from graphc.frontends.array.elementwise import (
        arcsinh as arcsinh,
    )
    from graphc.frontends.array.elementwise import (
        arctan as arctan,
    )
    from graphc.frontends.array.elementwise import (
        arctan2 as arctan2,
    )
    from graphc.frontends.array.elementwise import (
        arctanh as arctanh,
    )
    from graphc.frontends.array.elementwise import (
        asin as asin,
    )
    from graphc.frontends.array.elementwise import (
        asinh as asinh,
    )
    from graphc.frontends.array.elementwise import (
        atan as atan,
    )
    from graphc.frontends.array.elementwise import (
        atan2 as atan2,
    )
    from graphc.frontends.array.elementwise import (
        atanh as atanh,
    )
    from graphc.frontends.array.elementwise import (
        bitwise_and as bitwise_and,
    )
    from graphc.frontends.array.elementwise import (
        bitwise_invert as bitwise_invert,
    )
    from graphc.frontends.array.elementwise import (
        bitwise_left_shift as bitwise_left_shift,
    )
    from graphc.frontends.array.elementwise import (
        bitwise_or as bitwise_or,
    )
    from graphc.frontends.array.elementwise import (
        bitwise_right_shift as bitwise_right_shift,
    )
    from graphc.frontends.array.elementwise import (
        bitwise_xor as bitwise_xor,
    )
    from graphc.frontends.array.elementwise import (
        ceil as ceil,
    )
    from graphc.frontends.array.elementwise import (
        clamp as clamp,
    )
    from graphc.frontends.array.elementwise import (
        clip as clip,
    )
    from graphc.frontends.array.elementwise import (
        conj as conj,
    )
    from graphc.frontends.array.elementwise import (
        copysign as copysign,
    )
    from graphc.frontends.array.elementwise import (
        cos as cos,
    )
    from graphc.frontends.array.elementwise import (
        cosh as cosh,
    )
    from graphc.frontends.array.elementwise import (
        digamma as digamma,
    )
    from graphc.frontends.array.elementwise import (
        divide as divide,
    )
    from graphc.frontends.array.elementwise import (
        equal as equal,
    )
    from graphc.frontends.array.elementwise import (
        erf as erf,
    )
    from graphc.frontends.array.elementwise import (
        erfc as erfc,
    )
    from graphc.frontends.array.elementwise import (
        exp as exp,
    )
    from graphc.frontends.array.elementwise import (
        exp2 as exp2,
    )
    from graphc.frontends.array.elementwise import (
        expm1 as expm1,
    )
    from graphc.frontends.array.elementwise import (
        floor as floor,
    )
    from graphc.frontends.array.elementwise import (
        floor_divide as floor_divide,
    )
    from graphc.frontends.array.elementwise import (
        greater as greater,
    )
    from graphc.frontends.array.elementwise import (
        greater_equal as greater_equal,
    )
    from graphc.frontends.array.elementwise import (
        hypot as hypot,
    )
    from graphc.frontends.array.elementwise import (
        invert as invert,
    )
    from graphc.frontends.array.elementwise import (
        isclose as isclose,
    )
    from graphc.frontends.array.elementwise import (
        isfinite as isfinite,
    )
    from graphc.frontends.array.elementwise import (
        isinf as isinf,
    )
    from graphc.frontends.array.elementwise import (
        isnan as isnan,
    )
    from graphc.frontends.array.elementwise import (
        left_shift as left_shift,
    )
    from graphc.frontends.array.elementwise import (
        lerp as lerp,
    )
    from graphc.frontends.array.elementwise import (
        less as less,
    )
    from graphc.frontends.array.elementwise import (
        less_equal as less_equal,
    )
    from graphc.frontends.array.elementwise import (
        lgamma as lgamma,
    )
    from graphc.frontends.array.elementwise import (
        log as log,
    )
    from graphc.frontends.array.elementwise import (
        log1p as log1p,
    )
    from graphc.frontends.array.elementwise import (
        log2 as log2,
    )
    from graphc.frontends.array.elementwise import (
        log10 as log10,
    )
    from graphc.frontends.array.elementwise import (
        logaddexp as logaddexp,
    )
    from graphc.frontends.array.elementwise import (
        logical_and as logical_and,
    )
    from graphc.frontends.array.elementwise import (
        logical_not as logical_not,
    )
    from graphc.frontends.array.elementwise import (
        logical_or as logical_or,
    )
    from graphc.frontends.array.elementwise import (
        logical_xor as logical_xor,
    )
    from graphc.frontends.array.elementwise import (
        logit as logit,
    )
    from graphc.frontends.array.elementwise import (
        maximum as maximum,
    )
    from graphc.frontends.array.elementwise import (
        minimum as minimum,
    )
    from graphc.frontends.array.elementwise import (
        mod as mod,
    )
    from graphc.frontends.array.elementwise import (
        multiply as multiply,
    )
    from graphc.frontends.array.elementwise import (
        nan_to_num as nan_to_num,
    )
    from graphc.frontends.array.elementwise import (
        negative as negative,
    )
    from graphc.frontends.array.elementwise import (
        not_equal as not_equal,
    )
    from graphc.frontends.array.elementwise import (
        positive as positive,
    )
    from graphc.frontends.array.elementwise import (
        pow as pow,
    )
    from graphc.frontends.array.elementwise import (
        power as power,
    )
    from graphc.frontends.array.elementwise import (
        real as real,
    )
    from graphc.frontends.array.elementwise import (
        reciprocal as reciprocal,
    )
    from graphc.frontends.array.elementwise import (
        remainder as remainder,
    )
    from graphc.frontends.array.elementwise import (
        right_shift as right_shift,
    )
    from graphc.frontends.array.elementwise import (
        round as round,
    )
    from graphc.frontends.array.elementwise import (
        rsqrt as rsqrt,
    )
    from graphc.frontends.array.elementwise import (
        sigmoid as sigmoid,
    )
    from graphc.frontends.array.elementwise import (
        sign as sign,
    )
    from graphc.frontends.array.elementwise import (
        signbit as signbit,
    )
    from graphc.frontends.array.elementwise import (
        sin as sin,
    )
    from graphc.frontends.array.elementwise import (
        sinh as sinh,
    )
    from graphc.frontends.array.elementwise import (
        sqrt as sqrt,
    )
    from graphc.frontends.array.elementwise import (
        square as square,
    )
    from graphc.frontends.array.elementwise import (
        subtract as subtract,
    )
    from graphc.frontends.array.elementwise import (
        tan as tan,
    )
    from graphc.frontends.array.elementwise import (
        tanh as tanh,
    )
    from graphc.frontends.array.elementwise import (
        true_divide as true_divide,
    )
    from graphc.frontends.array.elementwise import (
        trunc as trunc,
    )
    from graphc.frontends.array.elementwise import (
        where as where,
    )
    from graphc.frontends.array.elementwise import (
        xlogy as xlogy,
    )
    from graphc.frontends.array.indexing import (
        nonzero as nonzero,
    )  # fmt: skip
    from graphc.frontends.array.indexing import (
        put_along_axis as put_along_axis,
    )
    from graphc.frontends.array.indexing import (
        take as take,
    )
    from graphc.frontends.array.indexing import (
        take_along_axis as take_along_axis,
    )
    from graphc.frontends.array.linalg import (
        cross as cross,
    )  # fmt: skip
    from graphc.frontends.array.linalg import (
        dot as dot,
    )
    from graphc.frontends.array.linalg import (
        inner as inner,
    )
    from graphc.frontends.array.linalg import (
        kron as kron,
    )
    from graphc.frontends.array.linalg import (
        matmul as matmul,
    )
    from graphc.frontends.array.linalg import (
        matrix_norm as matrix_norm,
    )
    from graphc.frontends.array.linalg import (
        matrix_power as matrix_power,
    )
    from graphc.frontends.array.linalg import (
        outer as outer,
    )
    from graphc.frontends.array.linalg import (
        tensordot as tensordot,
    )
    from graphc.frontends.array.linalg import (
        vecdot as vecdot,
    )
    from graphc.frontends.array.linalg import (
        vector_norm as vector_norm,
    )
    from graphc.frontends.array.losses import (
        binary_cross_entropy as binary_cross_entropy,
    )  # fmt: skip
    from graphc.frontends.array.losses import (
        binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
    )
    from graphc.frontends.array.losses import (
        cross_entropy as cross_entropy,
    )
    from graphc.frontends.array.losses import (
        huber_loss as huber_loss,
    )
    from graphc.frontends.array.losses import (
        kl_div as kl_div,
    )
    from graphc.frontends.array.losses import (
        l1_loss as l1_loss,
    )
    from graphc.frontends.array.losses import (
        mse_loss as mse_loss,
    )
    from graphc.frontends.array.losses import (
        nll_loss as nll_loss,
    )
    from graphc.frontends.array.losses import (
        smooth_l1_loss as smooth_l1_loss,
    )
    from graphc.frontends.array.movement import (
        broadcast_arrays as broadcast_arrays,
    )  # fmt: skip
    from graphc.frontends.array.movement import (
        broadcast_to as broadcast_to,
    )
    from graphc.frontends.array.movement import (
        cat as cat,
    )
    from graphc.frontends.array.movement import (
        chunk as chunk,
    )
    from graphc.frontends.array.movement import (
        concat as concat,
    )
    from graphc.frontends.array.movement import (
        concatenate as concatenate,
    )
    from graphc.frontends.array.movement import (
        expand_dims as expand_dims,
    )
    from graphc.frontends.array.movement import (
        flatten as flatten,
    )
    from graphc.frontends.array.movement import (
        flip as flip,
    )
    from graphc.frontends.array.movement import (
        hstack as hstack,
    )
    from graphc.frontends.array.movement import (
        matrix_transpose as matrix_transpose,
    )
    from graphc.frontends.array.movement import (
        moveaxis as moveaxis,
    )
    from graphc.frontends.array.movement import (
        pad as pad,
    )
    from graphc.frontends.array.movement import (
        permute as permute,
    )
    from graphc.frontends.array.movement import (
        permute_dims as permute_dims,
    )
    from graphc.frontends.array.movement import (
        ravel as ravel,
    )
    from graphc.frontends.array.movement import (
        repeat as repeat,
    )
    from graphc.frontends.array.movement import (
        reshape as reshape,
    )
    from graphc.frontends.array.movement import (
        roll as roll,
    )
    from graphc.frontends.array.movement import (
        rot90 as rot90,
    )
    from graphc.frontends.array.movement import (
        split as split,
    )
    from graphc.frontends.array.movement import (
        squeeze as squeeze,
    )
    from graphc.frontends.array.movement import (
        stack as stack,
    )
    from graphc.frontends.array.movement import (
        swapaxes as swapaxes,
    )
    from graphc.frontends.array.movement import (
        tile as tile,
    )
    from graphc.frontends.array.movement import (
        transpose as transpose,
    )
    from graphc.frontends.array.movement import (
        unsqueeze as unsqueeze,
    )
    from graphc.frontends.array.movement import (
        unstack as unstack,
    )
    from graphc.frontends.array.movement import (
        vstack as vstack,
    )
    from graphc.frontends.array.normalization import (
        batch_norm as batch_norm,
    )  # fmt: skip
    from graphc.frontends.array.normalization import (
        cosine_similarity as cosine_similarity,
    )
    from graphc.frontends.array.normalization import (
        group_norm as group_norm,
    )
    from graphc.frontends.array.normalization import (
        instance_norm as instance_norm,
    )
    from graphc.frontends.array.normalization import (
        layer_norm as layer_norm,
    )
    from graphc.frontends.array.normalization import (
        normalize as normalize,
    )
    from graphc.frontends.array.normalization import (
        rms_norm as rms_norm,
    )
    from graphc.frontends.array.pooling import (
        adaptive_avg_pool1d as adaptive_avg_pool1d,
    )  # fmt: skip
    from graphc.frontends.array.pooling import (
        adaptive_avg_pool2d as adaptive_avg_pool2d,
    )
    from graphc.frontends.array.pooling import (
        adaptive_avg_pool3d as adaptive_avg_pool3d,
    )
    from graphc.frontends.array.pooling import (
        adaptive_max_pool1d as adaptive_max_pool1d,
    )
    from graphc.frontends.array.pooling import (
        adaptive_max_pool2d as adaptive_max_pool2d,
    )
    from graphc.frontends.array.pooling import (
        adaptive_max_pool3d as adaptive_max_pool3d,
    )
    from graphc.frontends.array.pooling import (
        avg_pool1d as avg_pool1d,
    )
    from graphc.frontends.array.pooling import (
        avg_pool2d as avg_pool2d,
    )
    from graphc.frontends.array.pooling import (
        avg_pool3d as avg_pool3d,
    )
    from graphc.frontends.array.pooling import (
        global_avg_pool as global_avg_pool,
    )
    from graphc.frontends.array.pooling import (
        global_max_pool as global_max_pool,
    )
    from graphc.frontends.array.pooling import (
        max_pool1d as max_pool1d,
    )
    from graphc.frontends.array.pooling import (
        max_pool2d as max_pool2d,
    )
    from graphc.frontends.array.pooling import (
        max_pool3d as max_pool3d,
    )
    from graphc.frontends.array.reduction import (
        all as all,
    )  # fmt: skip
    from graphc.frontends.array.reduction import (
        allclose as allclose,
    )
    from graphc.frontends.array.reduction import (
        any as any,
    )
    from graphc.frontends.array.reduction import (
        argmax as argmax,
    )
    from graphc.frontends.array.reduction import (
        argmin as argmin,
    )
    from graphc.frontends.array.reduction import (
        array_equal as array_equal,
    )
    from graphc.frontends.array.reduction import (
        count_nonzero as count_nonzero,
    )
    from graphc.frontends.array.reduction import (
        cumprod as cumprod,
    )
    from graphc.frontends.array.reduction import (
        cumsum as cumsum,
    )
    from graphc.frontends.array.reduction import (
        cumulative_max as cumulative_max,
    )
    from graphc.frontends.array.reduction import (
        cumulative_min as cumulative_min,
    )
    from graphc.frontends.array.reduction import (
        cumulative_prod as cumulative_prod,
    )
    from graphc.frontends.array.reduction import (
        cumulative_sum as cumulative_sum,
    )
    from graphc.frontends.array.reduction import (
        logsumexp as logsumexp,
    )
    from graphc.frontends.array.reduction import (
        max as max,
    )
    from graphc.frontends.array.reduction import (
        mean as mean,
    )
    from graphc.frontends.array.reduction import (
        median as median,
    )
    from graphc.frontends.array.reduction import (
        min as min,
    )
    from graphc.frontends.array.reduction import (
        nanmean as nanmean,
    )
    from graphc.frontends.array.reduction import (
        nansum as nansum,
    )
    from graphc.frontends.array.reduction import (
        norm as norm,
    )
    from graphc.frontends.array.reduction import (
        prod as prod,
    )
    from graphc.frontends.array.reduction import (
        std as std,
    )
    from graphc.frontends.array.reduction import (
        sum as sum,
    )
    from graphc.frontends.array.reduction import (
        var as var,
    )
    from graphc.frontends.array.sorting import (
        argsort as argsort,
    )  # fmt: skip
    from graphc.frontends.array.sorting import (
        searchsorted as searchsorted,
    )
    from graphc.frontends.array.sorting import (
        sort as sort,
    )
    from graphc.frontends.array.sorting import (
        topk as topk,
    )
    from graphc.frontends.array.sorting import (
        unique as unique,
    )
    from graphc.frontends.array.sorting import (
        unique_all as unique_all,
    )
    from graphc.frontends.array.sorting import (
        unique_counts as unique_counts,
    )
    from graphc.frontends.array.sorting import (
        unique_inverse as unique_inverse,
    )
    from graphc.frontends.array.sorting import (
        unique_values as unique_values,
    )
    from graphc.frontends.array.statistics import (
        average as average,
    )  # fmt: skip
    from graphc.frontends.array.statistics import (
        corrcoef as corrcoef,
    )
    from graphc.frontends.array.statistics import (
        cov as cov,
    )
    from graphc.frontends.array.statistics import (
        cumulative_logsumexp as cumulative_logsumexp,
    )
    from graphc.frontends.array.statistics import (
        diff as diff,
    )
    from graphc.frontends.array.statistics import (
        interp as interp,
    )
    from graphc.frontends.array.statistics import (
        quantile as quantile,
    )
    from graphc.frontends.array.statistics import (
        trapezoid as trapezoid,
    )
    from graphc.frontends.eager.create import is_tensor as is_tensor
    from graphc.frontends.eager.create import tensor as tensor
    from graphc.frontends.eager.record import record as record
    from graphc.frontends.eager.tensor import Tensor as Tensor
    from graphc.frontends.eager.tensor import gradients_of as gradients_of
    from graphc.frontends.grad_mode import (
        enable_grad as enable_grad,
    )  # fmt: skip
    from graphc.frontends.grad_mode import (
        is_grad_enabled as is_grad_enabled,
    )
    from graphc.frontends.grad_mode import (
        no_grad as no_grad,
    )
    from graphc.frontends.grad_mode import (
        set_grad_enabled as set_grad_enabled,
    )
    from graphc.frontends.pytree import register_pytree as register_pytree
    from graphc.frontends.pytree import tree_map as tree_map
    from graphc.frontends.spec import spec as spec
    from graphc.frontends.static import (
        Graph as Graph,
    )  # fmt: skip
    from graphc.frontends.static import (
        Session as Session,
    )
    from graphc.frontends.static import (
        Variable as Variable,
    )
    from graphc.frontends.static import (
        assign as assign,
    )
    from graphc.frontends.static import (
        assign_add as assign_add,
    )
    from graphc.frontends.static import (
        assign_sub as assign_sub,
    )
    from graphc.frontends.static import (
        control_dependencies as control_dependencies,
    )
    from graphc.frontends.static import (
        get_default_graph as get_default_graph,
    )
    from graphc.frontends.static import (
        get_default_session as get_default_session,
    )
    from graphc.frontends.static import (
        global_variables as global_variables,
    )
    from graphc.frontends.static import (
        global_variables_initializer as global_variables_initializer,
    )
    from graphc.frontends.static import (
        gradients as gradients,
    )
    from graphc.frontends.static import (
        group as group,
    )
    from graphc.frontends.static import (
        identity as identity,
    )
    from graphc.frontends.static import (
        name_scope as name_scope,
    )
    from graphc.frontends.static import (
        no_op as no_op,
    )
    from graphc.frontends.static import (
        placeholder as placeholder,
    )
    from graphc.frontends.static import (
        reset_default_graph as reset_default_graph,
    )
    from graphc.frontends.static import (
        trainable_variables as trainable_variables,
    )
    from graphc.frontends.static import (
        variables_initializer as variables_initializer,
    )
    from graphc.frontends.tracing.jit import jit as jit
    from graphc.frontends.transforms.gradient import grad as grad
    from graphc.frontends.transforms.gradient import value_and_grad as value_and_grad
    from graphc.frontends.transforms.gradient import vjp as vjp
    from graphc.ir.parser import parse as parse
    from graphc.ir.parser import parse_file as parse_file

__all__ = ["__version__", *_EXPORTS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    path = _EXPORTS[name]
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
