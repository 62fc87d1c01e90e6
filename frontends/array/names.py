"""The public array functions: what is exported as ``gc.<name>``, and the module that defines it. Imports nothing."""

from __future__ import annotations

from typing import Final

_BY_MODULE: Final[dict[str, str]] = {
    "activations": (
        "celu elu gelu glu hardsigmoid hardswish hardtanh leaky_relu log_sigmoid log_softmax logsigmoid mish relu "
        "relu6 selu silu softmax softplus softsign swish"
    ),
    "attention": "bilinear embedding linear scaled_dot_product_attention",
    "constants": "e inf nan newaxis pi",
    "convolution": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "creation": (
        "arange asarray copy diag diagonal empty empty_like eye full full_like linspace meshgrid one_hot ones "
        "ones_like trace tril triu zeros zeros_like"
    ),
    "datatypes": "astype can_cast finfo iinfo isdtype result_type",
    "einstein": "einsum",
    "elementwise": (
        "abs absolute acos acosh add arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan atan2 "
        "atanh bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor ceil "
        "clamp clip conj copysign cos cosh digamma divide equal erf erfc exp exp2 expm1 floor floor_divide "
        "greater greater_equal hypot invert isclose isfinite isinf isnan left_shift lerp less less_equal lgamma "
        "log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor logit maximum minimum mod "
        "multiply nan_to_num negative not_equal positive pow power real reciprocal remainder right_shift round "
        "rsqrt sigmoid sign signbit sin sinh sqrt square subtract tan tanh true_divide trunc where xlogy"
    ),
    "exchange": "from_dlpack from_numpy",
    "indexing": "put_along_axis take take_along_axis",
    "linalg": "cross dot inner kron matmul matrix_norm matrix_power outer tensordot vecdot vector_norm",
    "losses": (
        "binary_cross_entropy binary_cross_entropy_with_logits cross_entropy huber_loss kl_div l1_loss mse_loss "
        "nll_loss smooth_l1_loss"
    ),
    "movement": (
        "broadcast_arrays broadcast_to cat chunk concat concatenate expand_dims flatten flip hstack "
        "matrix_transpose moveaxis pad permute permute_dims ravel repeat reshape roll rot90 split squeeze stack "
        "swapaxes tile transpose unsqueeze unstack vstack"
    ),
    "normalization": "batch_norm cosine_similarity group_norm instance_norm layer_norm normalize rms_norm",
    "pooling": (
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
        "adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d global_avg_pool global_max_pool max_pool1d "
        "max_pool2d max_pool3d"
    ),
    "reduction": (
        "all allclose any argmax argmin array_equal count_nonzero cumprod cumsum cumulative_max cumulative_min "
        "cumulative_prod cumulative_sum logsumexp max mean median min nanmean nansum norm prod std sum var"
    ),
    "selection": "nonzero",
    "sorting": "argsort searchsorted sort topk unique unique_all unique_counts unique_inverse unique_values",
    "statistics": "average corrcoef cov cumulative_logsumexp diff interp quantile trapezoid",
}

# Public name → the module that defines it.
PUBLIC: Final[dict[str, str]] = {
    name: f"graphc.frontends.array.{module}" for module, names in _BY_MODULE.items() for name in names.split()
}
