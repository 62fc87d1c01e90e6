"""PyTorch's activations, layers, pools and normalizations as functions of graphc arrays, with PyTorch's parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import graphc as gc
from tests.judges.opinfo_samples import Unsupported


def softmax_like(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(x: Any, dim: int, *, dtype: Any = None) -> Any:
        x = x if dtype is None else x.astype(dtype)
        return function(x, dim) if x.ndim else function(gc.reshape(x, 1), 0).reshape(())

    return apply


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    return gc.where(x * beta > threshold, x, gc.softplus(x, beta))


def avg_pool(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, kernel_size, stride=None, *args, **kwargs: function(
        x, kernel_size, stride or None, *args, **kwargs
    )


def max_pool(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(
        x: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return function(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)

    return apply


def adaptive_max_pool(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(x: Any, output_size: Any, return_indices: bool = False) -> Any:
        if return_indices:
            raise Unsupported("adaptive pools give no indices")
        return function(x, output_size)

    return apply


def pad(x: Any, padding: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    pairs = [tuple(padding[i : i + 2]) for i in range(0, len(padding), 2)][::-1]
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    if mode != "constant" and min(padding) < 0:
        raise Unsupported("only constant padding may be negative")
    if mode == "constant":
        return gc.pad(x, widths, constant_values=0.0 if value is None else value)
    return gc.pad(x, widths, names[mode])


def constant_pad(x: Any, padding: Sequence[int], value: float = 0.0) -> Any:
    return pad(x, padding, "constant", value)


def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if x.ndim < 2:
        raise Unsupported("batch_norm needs a channel dimension")
    return gc.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if not use_input_stats:
        raise Unsupported("instance_norm keeps no running statistics")
    return gc.instance_norm(x, weight, bias, eps)


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    if dropout_p:
        raise Unsupported("attention has no dropout")
    return gc.scaled_dot_product_attention(query, key, value, attn_mask, is_causal, scale, enable_gqa)


def embedding(
    weight: Any,  # PyTorch's samples have it first
    indices: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise Unsupported("embedding looks up only")
    return gc.embedding(indices, weight, padding_idx)


def one_or_other(function: Callable[..., Any]) -> Callable[..., Any]:
    """An activation with an ``inplace`` flag, which changes nothing about its values."""
    return function


def prelu(x: Any, weight: Any) -> Any:
    shape = [-1 if d == 1 else 1 for d in range(x.ndim)] if weight.ndim and weight.size > 1 else [1] * x.ndim
    return gc.where(x > 0, x, x * gc.reshape(weight, shape))


NETWORK: dict[str, Callable[..., Any]] = {
    **{
        f"nn.functional.{name}": one_or_other(getattr(gc, name))
        for name in (
            *("relu", "relu6", "elu", "selu", "celu", "leaky_relu", "gelu", "silu", "mish", "hardswish", "hardsigmoid"),
            *("hardtanh", "softsign", "logsigmoid"),
        )
    },
    "nn.functional.softplus": softplus,
    "nn.functional.glu": lambda x, dim=-1: gc.glu(x, dim),
    "nn.functional.tanhshrink": lambda x: x - gc.tanh(x),
    "nn.functional.prelu": prelu,
    "nn.functional.threshold": lambda x, threshold, value: gc.where(x > threshold, x, value),
    "softmax": softmax_like(gc.softmax),
    "softmax.with_dtype": softmax_like(gc.softmax),
    "log_softmax": softmax_like(gc.log_softmax),
    "log_softmax.with_dtype": softmax_like(gc.log_softmax),
    "nn.functional.softmin": softmax_like(lambda x, dim: gc.softmax(-x, dim)),
    **{
        f"nn.functional.{name}": getattr(gc, name)
        for name in (
            *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
            *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
            *("layer_norm", "group_norm", "rms_norm", "linear", "bilinear"),
        )
    },
    **{f"nn.functional.avg_pool{n}d": avg_pool(getattr(gc, f"avg_pool{n}d")) for n in (1, 2, 3)},
    **{f"nn.functional.max_pool{n}d": max_pool(getattr(gc, f"max_pool{n}d")) for n in (1, 2, 3)},
    **{
        f"nn.functional.adaptive_max_pool{n}d": adaptive_max_pool(getattr(gc, f"adaptive_max_pool{n}d"))
        for n in (1, 2, 3)
    },
    **{f"nn.functional.pad.{mode}": pad for mode in ("constant", "reflect", "replicate", "circular")},
    "constant_pad_nd": constant_pad,
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.instance_norm": instance_norm,
    "nn.functional.scaled_dot_product_attention": attention,
    "nn.functional.embedding": embedding,
    "nn.functional.normalize": lambda x, p=2.0, dim=1, eps=1e-12: gc.normalize(x, p, dim, eps),
    "nn.functional.cosine_similarity": lambda x, y, dim=1, eps=1e-8: gc.cosine_similarity(x, y, dim, eps),
}
