"""Stochastic gradient descent and sign descent."""

from __future__ import annotations

from typing import Any

from graphc.errors import ArgumentError
from graphc.frontends.array.elementwise import equal, sign, where
from graphc.frontends.optim.checking import check_betas, check_nonnegative
from graphc.frontends.optim.optimizer import Optimizer, Options, Slots


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak's, or Nesterov's in the form of Sutskever et al., ICML 2013).

    g = grad + weight_decay p;  b = momentum b + (1 - dampening) g, but g in the first step;  p = p - lr b, or with
    ``nesterov`` p - lr (g + momentum b). Without momentum, p = p - lr g. The formulas of ``torch.optim.SGD``.

    >>> opt = gc.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    """

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        dampening: float = 0.0,
    ) -> None:
        super().__init__(
            params,
            lr,
            {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov, "dampening": dampening},
        )

    def check_options(self, options: Options) -> None:
        check_nonnegative(options, "momentum", "weight_decay")
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ArgumentError("Nesterov momentum needs a momentum above 0 and no dampening", cause=ArgumentError.OPTIMIZER)

    def slots(self, options: Options) -> dict[str, float]:
        if not options["momentum"]:
            return {}
        # Only a dampened first step differs from the others, so only then steps are counted.
        return {"momentum_buffer": 0.0, **({"step": 0} if options["dampening"] else {})}

    def rule(self, param: Any, grad: Any, slots: Slots, lr: Any, options: Options) -> tuple[Any, Slots]:
        if options["weight_decay"]:
            grad = grad + param * options["weight_decay"]
        momentum = options["momentum"]
        if not momentum:
            return param - lr * grad, {}
        changed: Slots = {}
        added = grad
        if options["dampening"]:
            added = where(equal(slots["step"], 0), grad, grad * (1 - options["dampening"]))
            changed["step"] = slots["step"] + 1
        buffer = slots["momentum_buffer"] * momentum + added
        changed["momentum_buffer"] = buffer
        direction = grad + buffer * momentum if options["nesterov"] else buffer
        return param - lr * direction, changed


class Lion(Optimizer):
    """Evolved sign momentum (Chen et al., "Symbolic discovery of optimization algorithms", 2023).

    p = p (1 - lr weight_decay) - lr sign(b1 m + (1 - b1) grad);  m = b2 m + (1 - b2) grad.
    """

    def __init__(
        self, params: Any = None, lr: Any = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr, {"betas": betas, "weight_decay": weight_decay})

    def check_options(self, options: Options) -> None:
        check_betas(options)
        check_nonnegative(options, "weight_decay")

    def slots(self, options: Options) -> dict[str, float]:
        return {"exp_avg": 0.0}

    def rule(self, param: Any, grad: Any, slots: Slots, lr: Any, options: Options) -> tuple[Any, Slots]:
        first, second = options["betas"]
        average = slots["exp_avg"]
        direction = sign(average * first + grad * (1 - first))
        if options["weight_decay"]:
            param = param * (1 - lr * options["weight_decay"])
        return param - lr * direction, {"exp_avg": average * second + grad * (1 - second)}
