"""A parameter group: parameters that share options, among them the learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.array.core import is_scalar, show_shape
from graphc.frontends.dispatch import Array, eager_context
from graphc.frontends.grad_mode import no_grad
from graphc.frontends.optim.fused import FusedStep


def check_rate(lr: Any) -> Any:
    """``lr`` as a Python float, or the floating scalar array it is. Raises ArgumentError for a negative number."""
    if isinstance(lr, Array):
        if lr.shape != ():
            raise ShapeError(
                f"a learning rate is a number or a scalar array, not of shape {show_shape(lr.shape)}",
                cause=ShapeError.DIMENSIONS,
            )
        if not lr.dtype.is_floating:
            raise DTypeError(f"a learning rate is a floating number, not {lr.dtype.name}")
        return lr
    if not (is_scalar(lr) or isinstance(lr, (np.floating, np.integer))) or isinstance(lr, bool):
        raise ArgumentError(f"a learning rate is a number or a scalar array, not {lr!r}", cause=ArgumentError.OPTIMIZER)
    rate = float(lr)
    if not rate >= 0:
        raise ArgumentError(f"the learning rate must be at least 0, not {rate}", cause=ArgumentError.OPTIMIZER)
    return rate


class ParameterGroup(dict[str, Any]):
    """The options of a group by name, as in PyTorch: ``"params"``, ``"lr"`` and those of the optimizer.

    The learning rate is kept in a scalar tensor too, which assigning ``group["lr"]`` writes. A traced function or
    static graph reads that tensor when it runs, so a new rate takes effect without a new trace.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        rate = check_rate(options["lr"])
        super().__setitem__("lr", rate)
        self.fused = FusedStep()
        self.rate: Any = rate if isinstance(rate, Array) else eager_context().lift(np.array(rate))

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "lr":
            value = check_rate(value)
            if isinstance(value, Array):
                self.rate = value
            else:
                with no_grad():
                    self.rate.copy_(value)
                if isinstance(self["lr"], Array):
                    return
        super().__setitem__(key, value)

    def update(self, *others: Any, **options: Any) -> None:
        for key, value in dict(*others, **options).items():
            self[key] = value

    def __reduce__(self) -> tuple[Any, ...]:
        return ParameterGroup, (dict(self),)

    def rate_value(self) -> float:
        """The learning rate as a Python float."""
        return float(self.rate.item())
