"""PyTorch's losses as functions of graphc arrays, with PyTorch's parameters."""

from collections.abc import Callable
from typing import Any

import graphc as gc


def loss(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loss whose two deprecated flags, superseded by ``reduction``, PyTorch's signature still carries."""

    def apply(x: Any, target: Any, *args: Any, size_average: None = None, reduce: None = None, **kwargs: Any) -> Any:
        return function(x, target, *args, **kwargs)

    return apply


def broadcasting(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loss that PyTorch lets broadcast (with a warning) and graphc does not."""

    def apply(x: Any, target: Any, **kwargs: Any) -> Any:
        return function(*gc.broadcast_arrays(x, target), **kwargs)

    return apply


LOSSES: dict[str, Callable[..., Any]] = {
    **{
        f"nn.functional.{name}": loss(getattr(gc, name))
        for name in ("cross_entropy", "nll_loss", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits")
    },
    **{
        f"nn.functional.{name}": broadcasting(getattr(gc, name))
        for name in ("l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss")
    },
}
