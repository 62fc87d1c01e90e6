"""Checks of options that several optimizers have."""

from __future__ import annotations

from typing import Any

from graphc.errors import ArgumentError


def check_nonnegative(options: dict[str, Any], *names: str) -> None:
    """Raise ArgumentError for an option below 0 (or NaN)."""
    for name in names:
        if not options[name] >= 0:
            raise ArgumentError(f"{name} must be at least 0, not {options[name]}", cause=ArgumentError.RANGE)


def check_betas(options: dict[str, Any]) -> None:
    """Raise ArgumentError unless ``betas`` are two numbers in [0, 1)."""
    betas = options["betas"]
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ArgumentError(f"betas must be two numbers of at least 0 and below 1, not {betas}", cause=ArgumentError.RANGE)
