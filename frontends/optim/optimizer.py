"""What all optimizers share. Each adds one pure rule, which every mode applies.

``step()`` updates tensors in place (eagerly or inside a traced function), ``init`` and ``update`` are the functional
form over pytrees, and ``minimize`` builds the update into a static graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc.dtypes import DType, int64
from graphc.errors import ArgumentError, GradientError, ShapeError
from graphc.frontends.array.core import ArrayLike, astype, lift, show_shape
from graphc.frontends.array.creation import full
from graphc.frontends.dispatch import Array, context_of, eager_context
from graphc.frontends.grad_mode import enable_grad, no_grad
from graphc.frontends.optim.fused import Update
from graphc.frontends.optim.group import ParameterGroup, check_rate
from graphc.frontends.optim.static_updates import gradients_of, update_operation
from graphc.frontends.placement import device_like
from graphc.frontends.pytree import flatten, paths, unflatten
from graphc.frontends.static.tensor import StaticTensor

Slots = dict[str, Any]  # what a rule remembers of one parameter: name → array
Options = dict[str, Any]


def slot_dtype(name: str, parameter: Any) -> DType:
    """The dtype of a slot: counters are int64; what is accumulated has the parameter's dtype, at least float32."""
    dtype: DType = int64 if name == "step" else parameter.dtype.compute
    return dtype


class Optimizer(ABC):
    """Base of the optimizers. A subclass names its options and slots, and defines :meth:`rule`.

    ``params``: tensors that require gradients (any nested structure of them), or parameter groups: dicts with
    ``"params"`` and options that differ from the defaults. It may be left out for the functional form and for
    ``minimize``. The state is made here, not in the first step, so a traced step finds it and updates it like any
    captured tensor.

    Raises ArgumentError for no parameters, one given twice, or options out of range; GradientError for a parameter that
    is not a leaf or does not require a gradient.
    """

    def __init__(self, params: Any, lr: Any, options: Options) -> None:
        self.defaults = ParameterGroup({"lr": lr, **options})
        self.check_options(self.defaults)
        self.param_groups: list[ParameterGroup] = []
        self.state: dict[int, Slots] = {}  # by id of the parameter, which its group keeps alive
        if params is None:
            return
        for group in _as_groups(params):
            self.add_param_group(group)

    # What a subclass defines

    @abstractmethod
    def check_options(self, options: Options) -> None:
        """Raise ArgumentError for an option out of range."""

    def slots(self, options: Options) -> dict[str, float]:
        """The names of what the rule remembers of each parameter, and the values they start from."""
        return {}

    @abstractmethod
    def rule(self, param: Array, grad: Array, slots: Slots, lr: Any, options: Options) -> tuple[Array, Slots]:
        """The new parameter and the new slots: a pure function of arrays, which arrive in the dtype that it computes
        in."""

    # Parameters and state

    @property
    def lr(self) -> Any:
        """The learning rate of the first group; assigning sets it for all groups."""
        return self.param_groups[0]["lr"] if self.param_groups else self.defaults["lr"]

    @lr.setter
    def lr(self, value: Any) -> None:
        self.defaults["lr"] = value
        for group in self.param_groups:
            group["lr"] = value

    def add_param_group(self, group: Any) -> None:
        """Optimize more parameters: a dict with ``"params"`` and the options that differ from the defaults."""
        known = {"params", *self.defaults, "initial_lr"}
        if not isinstance(group, dict) or "params" not in group:
            raise ArgumentError('a parameter group is a dict with "params"')
        unknown = set(group) - known
        if unknown:
            raise ArgumentError(
                f"{type(self).__name__} has no option {', '.join(map(repr, sorted(unknown)))}",
                hint=f"its options are {', '.join(sorted(self.defaults))}",
            )
        params = _listed(group["params"])
        options = {**self.defaults, **group, "params": params}
        self.check_options(options)
        if not params:
            raise ArgumentError("the optimizer got an empty list of parameters")
        taken = {id(p) for g in self.param_groups for p in g["params"]}
        for position, param in enumerate(params):
            _check_parameter(param, position)
            if id(param) in taken:
                raise ArgumentError(f"parameter {position} (shape {show_shape(param.shape)}) is given twice")
            taken.add(id(param))
        added = ParameterGroup(options)
        self.param_groups.append(added)
        for param in params:
            self.state[id(param)] = {
                name: context_of((param,)).lift(np.full(param.shape if name != "step" else (), value, _numpy(name, param)))
                for name, value in self.slots(added).items()
            }

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with ``set_to_none=False`` set those that there are to zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    with no_grad():
                        param.grad = full(param.grad.shape, 0, dtype=param.grad.dtype, device=device_like(param.grad))

    def step(self, closure: Callable[[], Any] | None = None, *, lr: Any = None) -> Any:
        """Update each parameter that has a gradient, in place. Returns what ``closure`` gave.

        ``closure`` computes the loss and its gradients anew. ``lr`` replaces the groups' learning rates in this step; a
        traced function can pass its argument.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if not self.param_groups:
            raise ArgumentError(
                f"this {type(self).__name__} was made without parameters, so step() has none to update",
                hint="pass params, or use the functional update(params, grads, state)",
            )
        rate = None if lr is None else check_rate(lr)
        with no_grad():
            for group in self.param_groups:
                self._step_group(group, group.rate if rate is None else rate)
        return loss

    def _step_group(self, group: ParameterGroup, rate: Any) -> None:
        updates = [
            Update(param, grad, self.state[id(param)]) for param in group["params"] if (grad := param.grad) is not None
        ]
        if group.fused.run(updates, rate, group, lambda p, g, slots, lr: self.apply(p, g, slots, lr, group)):
            return
        for param, grad, slots in updates:
            new, changed = self.apply(param, grad, slots, rate, group)
            param.copy_(new)
            for name, value in changed.items():
                slots[name].copy_(value)

    def apply(self, param: Any, grad: Any, slots: Slots, lr: Any, options: Options) -> tuple[Array, Slots]:
        """:meth:`rule` in the dtype that it computes in: 16-bit parameters are updated in float32 and rounded once."""
        context = context_of((param, grad, lr, *slots.values()))
        target, gradient = context.lift(param), context.lift(grad)
        if gradient.shape != target.shape:
            raise ShapeError(f"the gradient has shape {show_shape(gradient.shape)}, its parameter {show_shape(target.shape)}")
        dtype = target.dtype.compute
        lifted = {name: context.lift(value) for name, value in slots.items()}
        rate = context.literal(lr, dtype) if not isinstance(lr, Array) else astype(context.lift(lr), dtype)
        new, changed = self.rule(astype(target, dtype), astype(gradient, dtype), lifted, rate, options)
        return astype(new, target.dtype), {n: astype(v, lifted[n].dtype) for n, v in changed.items()}

    # Functional form

    def init(self, params: Any) -> Any:
        """The state with which :meth:`update` starts for the pytree ``params``: a tuple of dicts, one for each leaf."""
        leaves, _ = flatten(params)
        return tuple(
            {
                name: full(
                    () if name == "step" else lift(leaf).shape, value, dtype=slot_dtype(name, lift(leaf)),
                    device=device_like(lift(leaf)),
                )
                for name, value in self.slots(self.defaults).items()
            }
            for leaf in leaves
        )

    def update(self, params: Any, grads: Any, state: Any, *, lr: ArrayLike | None = None) -> tuple[Any, Any]:
        """(new parameters, new state) from pytrees of parameters and gradients, and the state of :meth:`init`.

        Nothing is changed in place. A gradient of None leaves its parameter as it is. ``lr`` replaces the optimizer's.

        >>> params, state = opt.update(params, grads, state)
        """
        leaves, tree = flatten(params)
        gradients, grad_tree = flatten(grads)
        if grad_tree != tree:
            raise ArgumentError(
                f"params and grads differ in structure: {', '.join(paths(tree)[:8])} and {', '.join(paths(grad_tree)[:8])}"
            )
        if len(state) != len(leaves):
            raise ArgumentError(f"the state is of {len(state)} parameters, and there are {len(leaves)}",
                                hint="make it with init(params)")  # fmt: skip
        rate = self.defaults.rate if lr is None else check_rate(lr)
        new_leaves: list[Any] = []
        new_state: list[Slots] = []
        with no_grad():
            for leaf, gradient, slots in zip(leaves, gradients, state, strict=True):
                if gradient is None:
                    new_leaves.append(leaf)
                    new_state.append(slots)
                    continue
                new, changed = self.apply(leaf, gradient, slots, rate, self.defaults)
                new_leaves.append(new)
                new_state.append({**slots, **changed})
        return unflatten(tree, new_leaves), tuple(new_state)

    # Static graphs

    def minimize(
        self, loss: Any, var_list: Iterable[Any] | None = None, *, global_step: Any = None, name: str | None = None
    ) -> Any:
        """In a static graph, an operation that makes one step on ``loss`` each time it is run.

        ``var_list``: the Variables to change, by default all trainable ones. What the optimizer remembers becomes
        Variables too, so run the initializer after this. ``global_step``: an integer Variable to count the steps in.
        For an eager or traced loss: ``loss.backward()`` and ``step()``.

        >>> train = gc.optim.SGD(lr=0.1).minimize(loss)
        >>> session.run([train, loss], feed_dict={x: images, y: labels})
        """
        if not isinstance(loss, StaticTensor):
            if not isinstance(loss, Array):
                raise ArgumentError(f"the loss is an array, not a {type(loss).__name__}")
            loss.backward()  # type: ignore[attr-defined]
            return self.step()
        return self.apply_gradients(self.compute_gradients(loss, var_list), global_step=global_step, name=name)

    def compute_gradients(self, loss: Any, var_list: Iterable[Any] | None = None) -> list[tuple[Any, Any]]:
        """The first half of :meth:`minimize`: (gradient or None, Variable) pairs of a static loss."""
        if not isinstance(loss, StaticTensor):
            raise ArgumentError("compute_gradients takes a tensor of a static graph",
                                hint="loss.backward() computes the gradients of others")  # fmt: skip
        return gradients_of(loss, var_list)

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Any]], *, global_step: Any = None, name: str | None = None
    ) -> Any:
        """The second half of :meth:`minimize`: the operation that updates Variables by gradients, clipped ones for
        example."""

        def slots(variable: Any) -> dict[str, tuple[Any, float, DType]]:
            return {
                slot: (() if slot == "step" else variable.shape, value, slot_dtype(slot, variable))
                for slot, value in self.slots(self.defaults).items()
            }

        def apply(variable: Any, gradient: Any, state: Slots) -> tuple[Array, Slots]:
            return self.apply(variable, gradient, state, self.defaults.rate, self.defaults)

        return update_operation(grads_and_vars, slots, apply, name or type(self).__name__, global_step)

    # Saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Copies of the state and options; parameters are numbered in the order of the groups, as in PyTorch."""
        groups: list[Options] = []
        state: dict[int, Slots] = {}
        for group in self.param_groups:
            numbers = list(range(len(state), len(state) + len(group["params"])))
            options = {k: _plain(v) for k, v in group.items() if k != "params"}
            groups.append({**options, "lr": group.rate_value(), "params": numbers})
            for number, param in zip(numbers, group["params"], strict=True):
                state[number] = {name: value.copy() for name, value in self.state[id(param)].items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave, into the tensors that there are.

        Raises ArgumentError, with nothing changed, where groups, parameters or slots do not match.
        """
        saved_groups, saved_state = state_dict["param_groups"], state_dict["state"]
        sizes = [len(g["params"]) for g in saved_groups]
        if sizes != [len(g["params"]) for g in self.param_groups]:
            raise ArgumentError(
                f"the saved state has groups of {sizes} parameters, "
                f"this optimizer of {[len(g['params']) for g in self.param_groups]}"
            )
        pairs: list[tuple[Any, Any]] = []
        for group, saved_group in zip(self.param_groups, saved_groups, strict=True):
            self.check_options({**group, **saved_group})
            check_rate(saved_group["lr"])
            for param, number in zip(group["params"], saved_group["params"], strict=True):
                slots, saved = self.state[id(param)], saved_state[number]
                if set(slots) != set(saved) or set(saved_group) != set(group) | {"initial_lr"} & set(saved_group):
                    raise ArgumentError(f"the saved state is not one of {type(self).__name__} with these options")
                for name, slot in slots.items():
                    value = eager_context().lift(saved[name])
                    if value.shape != slot.shape:
                        raise ArgumentError(
                            f"{name} of parameter {number} has shape {show_shape(value.shape)} in the saved state, and "
                            f"{show_shape(slot.shape)} here"
                        )
                    pairs.append((slot, value))
        with no_grad():
            for slot, value in pairs:
                slot.copy_(value)
        for group, saved_group in zip(self.param_groups, saved_groups, strict=True):
            group.update({k: v for k, v in saved_group.items() if k != "params"})

    def __getstate__(self) -> dict[str, Any]:
        slots = [[self.state[id(p)] for p in g["params"]] for g in self.param_groups]
        return {"defaults": self.defaults, "param_groups": self.param_groups, "slots": slots}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.defaults, self.param_groups = state["defaults"], state["param_groups"]
        self.state = {
            id(param): slots
            for group, of_group in zip(self.param_groups, state["slots"], strict=True)
            for param, slots in zip(group["params"], of_group, strict=True)
        }

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}("]
        for group in self.param_groups or [self.defaults]:
            options = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  {len(group.get('params', ()))} parameters: {options}")
        return "\n".join([*lines, ")"])


def _plain(option: Any) -> Any:
    return option.item() if isinstance(option, Array) and option.shape == () else option  # type: ignore[attr-defined]


def _numpy(name: str, param: Any) -> Any:
    return slot_dtype(name, param).numpy


def _as_groups(params: Any) -> list[Options]:
    if isinstance(params, (float, int)):
        raise ArgumentError(f"the first argument is the parameters, not {params!r}", hint="pass the rate as lr=")
    if not isinstance(params, (dict, Array)) and isinstance(params, Iterable):
        params = list(params)
        if params and all(isinstance(p, dict) and "params" in p for p in params):
            return list(params)
    return [{"params": params}]


def _listed(params: Any) -> list[Any]:
    if not isinstance(params, (dict, list, tuple, Array)) and isinstance(params, Iterable):
        params = list(params)
    return flatten(params)[0]


def _check_parameter(param: Any, position: int) -> None:
    if not isinstance(param, Array):
        raise ArgumentError(f"parameter {position} is a {type(param).__name__}, not a tensor")
    tensor: Any = param
    if not tensor.is_leaf:
        raise GradientError(
            f"parameter {position} (shape {show_shape(tensor.shape)}) is the result of an op, so it gets no .grad",
            hint="optimize the leaf it was computed from, or detach() it and set requires_grad",
        )
    if not tensor.requires_grad:
        raise GradientError(
            f"parameter {position} (shape {show_shape(tensor.shape)}, {tensor.dtype.name}) does not require a gradient",
            hint="call requires_grad_() on it, or leave it out: [p for p in params if p.requires_grad]",
        )
