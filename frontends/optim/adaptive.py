"""Optimizers that scale each element's step by the size of its past gradients."""

from __future__ import annotations

from typing import Any

from graphc.dtypes import float64
from graphc.errors import ArgumentError
from graphc.frontends.array.core import astype
from graphc.frontends.array.elementwise import divide, maximum, pow, sqrt, subtract
from graphc.frontends.optim.checking import check_betas, check_nonnegative
from graphc.frontends.optim.optimizer import Optimizer, Options, Slots


def _bias_correction(beta: float, step: Any) -> Any:
    """1 - beta**step, in float64: in float32 the first steps with a beta near 1 would be off in the fifth digit."""
    return subtract(1.0, pow(beta, astype(step, float64)))


class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015); ``amsgrad`` after Reddi et al., ICLR 2018. The formulas of ``torch.optim.Adam``.

    g = grad + weight_decay p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g²;  and in step t
    p = p - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps), where ``amsgrad`` takes the largest v so far.

    >>> opt = gc.optim.Adam(model.parameters(), lr=1e-3)
    """

    decoupled = False

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, {"betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad})

    def check_options(self, options: Options) -> None:
        check_betas(options)
        check_nonnegative(options, "eps", "weight_decay")

    def slots(self, options: Options) -> dict[str, float]:
        largest = {"max_exp_avg_sq": 0.0} if options["amsgrad"] else {}
        return {"step": 0, "exp_avg": 0.0, "exp_avg_sq": 0.0, **largest}

    def rule(self, param: Any, grad: Any, slots: Slots, lr: Any, options: Options) -> tuple[Any, Slots]:
        first, second = options["betas"]
        decay = options["weight_decay"]
        if decay and self.decoupled:
            param = param * (1 - lr * decay)
        elif decay:
            grad = grad + param * decay
        step = slots["step"] + 1
        average = slots["exp_avg"] * first + grad * (1 - first)
        square = slots["exp_avg_sq"] * second + grad * grad * (1 - second)
        changed = {"step": step, "exp_avg": average, "exp_avg_sq": square}
        if options["amsgrad"]:
            square = changed["max_exp_avg_sq"] = maximum(slots["max_exp_avg_sq"], square)
        size = astype(divide(astype(lr, float64), _bias_correction(first, step)), param.dtype)
        root = astype(sqrt(_bias_correction(second, step)), param.dtype)
        scale: Any = divide(sqrt(square), root)
        return param - size * (average / (scale + options["eps"])), changed


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019): p is first scaled by 1 - lr weight_decay."""

    decoupled = True

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012); ``centered`` after Graves, 2013. The formulas of ``torch.optim.RMSprop``.

    g = grad + weight_decay p;  v = alpha v + (1 - alpha) g²;  d = g / (sqrt(v) + eps), where ``centered`` subtracts the
    squared average gradient from v;  b = momentum b + d;  p = p - lr b.
    """

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            {"alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum, "centered": centered},
        )

    def check_options(self, options: Options) -> None:
        check_nonnegative(options, "eps", "weight_decay", "momentum")
        if not 0 <= options["alpha"] < 1:
            raise ArgumentError(f"alpha must be at least 0 and below 1, not {options['alpha']}", cause=ArgumentError.RANGE)

    def slots(self, options: Options) -> dict[str, float]:
        names = ["square_avg"]
        names += ["grad_avg"] if options["centered"] else []
        names += ["momentum_buffer"] if options["momentum"] else []
        return dict.fromkeys(names, 0.0)

    def rule(self, param: Any, grad: Any, slots: Slots, lr: Any, options: Options) -> tuple[Any, Slots]:
        alpha, momentum = options["alpha"], options["momentum"]
        if options["weight_decay"]:
            grad = grad + param * options["weight_decay"]
        square = slots["square_avg"] * alpha + grad * grad * (1 - alpha)
        changed = {"square_avg": square}
        if options["centered"]:
            average = changed["grad_avg"] = slots["grad_avg"] * alpha + grad * (1 - alpha)
            square = square - average * average
        direction = grad / (sqrt(square) + options["eps"])
        if momentum:
            direction = changed["momentum_buffer"] = slots["momentum_buffer"] * momentum + direction
        return param - lr * direction, changed


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, JMLR 12, 2011). The formulas of ``torch.optim.Adagrad``.

    g = grad + weight_decay p;  s = s + g²;  p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps) in step t.
    """

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        options = {
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
        }
        super().__init__(params, lr, options)

    def check_options(self, options: Options) -> None:
        check_nonnegative(options, "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def slots(self, options: Options) -> dict[str, float]:
        counter = {"step": 0} if options["lr_decay"] else {}
        return {"sum": options["initial_accumulator_value"], **counter}

    def rule(self, param: Any, grad: Any, slots: Slots, lr: Any, options: Options) -> tuple[Any, Slots]:
        if options["weight_decay"]:
            grad = grad + param * options["weight_decay"]
        total = slots["sum"] + grad * grad
        changed = {"sum": total}
        if options["lr_decay"]:
            changed["step"] = slots["step"] + 1
            lr = astype(astype(lr, float64) / (1 + astype(slots["step"], float64) * options["lr_decay"]), param.dtype)
        return param - lr * (grad / (sqrt(total) + options["eps"])), changed
