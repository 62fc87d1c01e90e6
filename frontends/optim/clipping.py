"""Limits on gradients, between ``backward()`` and ``step()``."""

from __future__ import annotations

from typing import Any

from graphc.errors import ArgumentError
from graphc.frontends.array.core import astype
from graphc.frontends.array.creation import zeros
from graphc.frontends.array.elementwise import clip, isfinite, minimum, multiply
from graphc.frontends.array.movement import stack
from graphc.frontends.array.reduction import norm
from graphc.frontends.dispatch import Array, bind_all
from graphc.frontends.grad_mode import no_grad
from graphc.frontends.pytree import flatten


def _with_gradients(params: Any) -> list[Any]:
    if not isinstance(params, (dict, list, tuple, Array)):
        params = list(params)
    return [p for p in flatten(params)[0] if p.grad is not None]


def clip_grad_norm_(params: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Array:
    """Scale all gradients by one factor, so that the norm of all their elements together is at most ``max_norm``.

    The factor is max_norm / (norm + 1e-6) where that is below 1, as in PyTorch. ``norm_type``: the p of the norm, inf
    for the largest magnitude. Returns the norm before. ``error_if_nonfinite``: raise CheckError where that is not
    finite.
    """
    if not max_norm >= 0:
        raise ArgumentError(f"max_norm must be at least 0, not {max_norm}", cause=ArgumentError.RANGE)
    owners = _with_gradients(params)
    if not owners:
        return zeros(())
    with no_grad():
        norms = [norm(p.grad.reshape(-1), norm_type) for p in owners]
        total = norm(stack([astype(n, n.dtype.compute) for n in norms]), norm_type)
        if error_if_nonfinite:
            bind_all("check", isfinite(total), message="clip_grad_norm_: the norm of the gradients is not finite")
        factor = minimum(max_norm / (total + 1e-6), 1.0)  # type: ignore[operator]
        for param in owners:
            param.grad = multiply(param.grad, astype(factor, param.grad.dtype))
    return total


def clip_grad_value_(params: Any, clip_value: float) -> None:
    """Limit every element of every gradient to [-``clip_value``, ``clip_value``]."""
    if not clip_value >= 0:
        raise ArgumentError(f"clip_value must be at least 0, not {clip_value}", cause=ArgumentError.RANGE)
    with no_grad():
        for param in _with_gradients(params):
            param.grad = clip(param.grad, -clip_value, clip_value)
