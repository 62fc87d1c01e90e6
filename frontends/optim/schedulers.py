"""Learning-rate schedules: each sets the optimizer's rate as a function of how often it was stepped.

Call ``scheduler.step()`` after ``optimizer.step()``, outside of traced functions: they read the rate when they run.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import ArgumentError, TraceError
from graphc.frontends.dispatch import active_trace
from graphc.frontends.optim.optimizer import Optimizer


class LRScheduler(ABC):
    """Base of the schedules. A subclass says by :meth:`rate_at` what the rate of a group is after ``epoch`` steps.

    The rates that a schedule starts from are kept in the groups as ``"initial_lr"``, and set again by the first
    schedule only.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not optimizer.param_groups:
            raise ArgumentError("a schedule needs an optimizer with parameters", cause=ArgumentError.OPTIMIZER)
        self.optimizer = optimizer
        self.last_epoch = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group.rate_value())
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._apply()

    @abstractmethod
    def rate_at(self, epoch: int, base: float, group: int) -> float:
        """The rate of a group whose initial rate is ``base``, after ``epoch`` steps."""

    def step(self) -> None:
        """Go on to the next rate. Raises TraceError inside a traced function, where it would happen only once."""
        if active_trace() is not None:
            raise TraceError(
                "scheduler.step() inside a traced function would count only when it is traced",
                hint="call it outside; the traced function reads the learning rate when it runs",
            )
        self.last_epoch += 1
        self._apply()

    def _apply(self) -> None:
        for position, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs, strict=False)):
            group["lr"] = self.rate_at(self.last_epoch, base, position)

    def get_last_lr(self) -> list[float]:
        """The rates that the groups have now."""
        return [group.rate_value() for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """How far the schedule has come."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        if len(state_dict["base_lrs"]) != len(self.base_lrs):
            raise ArgumentError(
                f"the saved schedule is of {len(state_dict['base_lrs'])} groups, this one of {len(self.base_lrs)}",
                cause=ArgumentError.OPTIMIZER,
            )
        self.last_epoch, self.base_lrs = state_dict["last_epoch"], list(state_dict["base_lrs"])
        self._apply()


class StepLR(LRScheduler):
    """The rate times ``gamma`` every ``step_size`` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ArgumentError(f"step_size must be at least 1, not {step_size}", cause=ArgumentError.RANGE)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate_at(self, epoch: int, base: float, group: int) -> float:
        return base * self.gamma ** (epoch // self.step_size)


class ExponentialLR(LRScheduler):
    """The rate times ``gamma`` every step."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate_at(self, epoch: int, base: float, group: int) -> float:
        return base * self.gamma**epoch


class CosineAnnealingLR(LRScheduler):
    """Half a cosine wave from the initial rate down to ``eta_min`` in ``T_max`` steps, and back (Loshchilov and
    Hutter, 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1:
            raise ArgumentError(f"T_max must be at least 1, not {T_max}", cause=ArgumentError.RANGE)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate_at(self, epoch: int, base: float, group: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class LinearWarmup(LRScheduler):
    """From ``start_factor`` times the initial rate up to all of it, linearly in ``total_iters`` steps."""

    def __init__(self, optimizer: Optimizer, total_iters: int, start_factor: float = 0.0) -> None:
        if total_iters < 1:
            raise ArgumentError(f"total_iters must be at least 1, not {total_iters}", cause=ArgumentError.RANGE)
        self.total_iters, self.start_factor = total_iters, start_factor
        super().__init__(optimizer)

    def rate_at(self, epoch: int, base: float, group: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return base * (self.start_factor + (1 - self.start_factor) * done)


class LambdaLR(LRScheduler):
    """The initial rate times ``lr_lambda(epoch)``; one function, or a list with one for each group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ArgumentError(
                f"{len(self.lr_lambdas)} functions for {groups} parameter groups", cause=ArgumentError.OPTIMIZER
            )
        super().__init__(optimizer)

    def rate_at(self, epoch: int, base: float, group: int) -> float:
        return base * self.lr_lambdas[group](epoch)
