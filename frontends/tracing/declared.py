"""Sizes that ``gc.jit(dynamic=...)`` declares to vary from the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.dtypes import as_dtype
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.dispatch import Array
from graphc.frontends.spec import Spec, spec
from graphc.ir.dims import name_problem
from graphc.locations import current_location

_HINT = 'dynamic=True, dynamic={"x": 0}, {"x": (0, 1)}, {"x": {0: "batch"}} or {"x": gc.spec("f32[batch, 784]")}'


def argument_of(label: str) -> str:
    """The parameter that a leaf called ``label`` (``params['w'].scale``) is a part of."""
    return label.partition(".")[0].partition("[")[0]


class Declared:
    """What ``dynamic=`` says: for each parameter of the function, which axes of its arrays vary, and what they are called.

    Raises ArgumentError for a form that it does not know.
    """

    def __init__(self, given: Any, parameters: Sequence[str]) -> None:
        self._all = given is True
        self.location = current_location()
        self._arguments: dict[str, Any] = {}
        if given is None or isinstance(given, bool):
            return
        if not isinstance(given, Mapping):
            raise ArgumentError(f"dynamic={given!r} does not say which sizes vary", hint=_HINT, cause=ArgumentError.PARAMETER)
        for name, form in given.items():
            if parameters and name not in parameters and "kwargs" not in parameters:
                raise ArgumentError(
                    f"dynamic: the function has no parameter {name!r}; it has {list(parameters)}", cause=ArgumentError.PARAMETER
                )
            self._arguments[name] = _parsed(name, form)

    def axes(self, leaves: Sequence[Any], labels: Sequence[str]) -> dict[int, dict[int, str]]:
        """For each array of a call that has some, the axes that vary and their names (empty where none was given).

        Raises ShapeError or DTypeError for an array that is not as it was declared.
        """
        found: dict[int, dict[int, str]] = {}
        if not (self._all or self._arguments):
            return found
        for position, (leaf, label) in enumerate(zip(leaves, labels, strict=True)):
            form: Any = True if self._all else self._arguments.get(argument_of(label))
            if form is None or not (isinstance(leaf, Array) or hasattr(leaf, "__array_interface__")):
                continue
            shape = leaf.shape
            if isinstance(form, Spec):
                found[position] = _matched(form, leaf, label)
            elif form is True:
                found[position] = dict.fromkeys(range(len(shape)), "")
            else:
                found[position] = {axis % len(shape): name for axis, name in form.items() if -len(shape) <= axis < len(shape)}
        self._check_names(found, leaves, labels)
        return found

    def _check_names(
        self, found: Mapping[int, Mapping[int, str]], leaves: Sequence[Any], labels: Sequence[str]
    ) -> None:
        """Raise ShapeError where sizes of one name differ."""
        known: dict[str, tuple[str, int]] = {}
        for position, axes in found.items():
            for axis, name in axes.items():
                label, size = f"{labels[position]}.shape[{axis}]", leaves[position].shape[axis]
                first, other = known.setdefault(name, (label, size)) if name else (label, size)
                if other != size:
                    raise ShapeError(
                        f"{label} is {size}, but {first} is {other}, and both are declared to be {name!r}"
                        f"\n  declared at {self.location.render()}".replace("\n    ", "\n      "),
                        hint="call it with equal sizes, or give sizes that may differ different names in dynamic=",
                        cause=ShapeError.DECLARED,
                    )


def _parsed(name: str, form: Any) -> Any:
    if form is True or isinstance(form, Spec):
        return form
    if isinstance(form, str):
        return spec(form)
    if isinstance(form, int):
        return {form: ""}
    if isinstance(form, (tuple, list)) and all(isinstance(axis, int) for axis in form):
        return dict.fromkeys(form, "")
    if isinstance(form, Mapping) and all(isinstance(axis, int) and isinstance(size, str) for axis, size in form.items()):
        for size in form.values():
            problem = name_problem(size)
            if problem is not None:
                raise ArgumentError(f"dynamic: {size!r} cannot name a size: {problem}", cause=ArgumentError.PARAMETER)
        return dict(form)
    raise ArgumentError(f"dynamic: {form!r} does not say which sizes of {name} vary", hint=_HINT, cause=ArgumentError.PARAMETER)


def _matched(declared: Spec, leaf: Any, label: str) -> dict[int, str]:
    type_, dtype = declared.type, as_dtype(leaf.dtype)
    if dtype is not type_.dtype:
        raise DTypeError(f"{label} has dtype {dtype.name}, but dynamic= declares it {type_}", cause=DTypeError.DECLARED)
    if len(leaf.shape) != type_.ndim:
        raise ShapeError(f"{label} has shape {tuple(leaf.shape)}, but dynamic= declares it {type_}", cause=ShapeError.DECLARED)
    axes: dict[int, str] = {}
    for axis, (dim, size) in enumerate(zip(type_.shape, leaf.shape, strict=True)):
        if not isinstance(dim, int):
            name = str(dim)
            if name_problem(name) is not None:
                raise ArgumentError(
                    f"dynamic: {label} is declared {type_}, and {dim} is not a name", hint=_HINT, cause=ArgumentError.PARAMETER
                )
            axes[axis] = name
        elif dim != size:
            raise ShapeError(
                f"{label}.shape[{axis}] is {size}, but dynamic= declares {label} to be {type_}", cause=ShapeError.DECLARED
            )
    return axes
