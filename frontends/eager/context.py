"""The context that executes at once: computes with NumPy or a compiled kernel, and records where somebody asked for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from graphc.dtypes import DType
from graphc.errors import GradientError, GraphcError, InPlaceError, LeakedTracerError
from graphc.frontends.array.core import is_scalar, scalar_dtype, too_large
from graphc.frontends.call_pattern import NOT_ALIKE, CallPattern
from graphc.frontends.dispatch import Array, Context, add_eager, observers, set_eager
from graphc.frontends.eager.autograd import save_residuals
from graphc.frontends.eager.composed import MOST_ELEMENTS, Composed, Program
from graphc.frontends.eager.execute import as_numpy, execute
from graphc.frontends.eager.memory import give_up_memory, owns_memory_alone
from graphc.frontends.eager.operators import quick_function, quick_function_of_two, quick_select
from graphc.frontends.eager.prepared import PreparedOp, prepare
from graphc.frontends.eager.recorder import new_record
from graphc.frontends.eager.recording import (
    UNWRITTEN,
    Leaf,
    Record,
    Reference,
    Saved,
    broadcast_reference,
    emit_reference,
    is_tracked,
    recorders,
)
from graphc.frontends.eager.repeated import Run, repeated_call
from graphc.frontends.eager.scalars import SAFE
from graphc.frontends.eager.tensor import Tensor, over
from graphc.frontends.grad_mode import mode
from graphc.frontends.storage import VIEW_OPS, Storage, ViewStep, write_through
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph
from graphc.ir.primitive import Primitive, get_primitive
from graphc.ir.types import TensorType
from graphc.locations import Location, current_frame, current_location
from graphc.runtime.device_buffer import DeviceBuffer
from graphc.runtime.devices import find_device
from graphc.runtime.executable import Executable

_CALL = get_primitive("call")
_CHANGES_FORM = frozenset(("convert_element_type", "reshape", "broadcast_in_dim"))


class EagerContext:
    """Executes ops on :class:`Tensor`."""

    name = target = "cpu"
    on_devices: ClassVar[dict[str, Context]] = {}

    def on_device(self, name: str) -> Context:
        """The context that executes on the device ``name``. Raises DeviceError where it is not there."""
        found = self.on_devices.get(name)
        if found is None:
            module: Any = import_module("graphc.frontends.eager.on_device")
            found = self.on_devices.setdefault(name, module.DeviceContext(find_device(name)))
            add_eager(found)
        return found

    def lift(self, value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, Array):
            raise leaked(value)
        if is_scalar(value):
            return self.literal(value, scalar_dtype(value), weak=True)
        return Tensor.wrap(as_numpy(value))

    def quick_function(self, primitive: str) -> Callable[[Any], Any]:
        """See :func:`graphc.frontends.eager.operators.quick_function`."""
        return quick_function(Tensor, primitive)

    def quick_function_of_two(self, primitive: str) -> Callable[[Any, Any], Any]:
        """See :func:`graphc.frontends.eager.operators.quick_function_of_two`."""
        return quick_function_of_two(Tensor, primitive)

    def quick_select(self) -> Callable[[Any, Any, Any], Any]:
        """See :func:`graphc.frontends.eager.operators.quick_select`."""
        return quick_select(Tensor)

    def composed(self, function: Callable[..., Any], most_elements: int | None = MOST_ELEMENTS) -> Composed:
        """``function`` for :meth:`compose`."""
        return Composed(function, most_elements)

    def literal(self, value: Any, dtype: DType, weak: bool = False) -> Tensor:
        kind = type(value)
        if (kind is int and dtype.is_integer) or (kind in (int, float) and dtype.bits >= 32 and -SAFE < value < SAFE):
            try:
                tensor = Tensor.wrap(np.array(value, dtype.numpy))  # without the cost of silencing warnings
            except OverflowError:
                raise too_large(value, dtype) from None
        else:
            with np.errstate(all="ignore"):
                tensor = Tensor.wrap(np.array(value).astype(dtype.numpy))
        tensor.weak = weak
        if recorders.active:
            tensor._reference = Reference(Leaf(tensor.type, None, False, current_location(), tensor._array), 0)
        return tensor

    def filled(self, shape: Any, value: Any, dtype: DType) -> Tensor:
        """A new tensor of ``shape`` with ``value`` everywhere."""
        return Tensor.wrap(np.full(shape, self.literal(value, dtype)._array, dtype.numpy))

    def bind(self, op: Primitive, operands: Sequence[Any], attributes: dict[str, Any]) -> tuple[Tensor, ...]:
        if op.name in VIEW_OPS:
            return (self.view(operands[0], op, attributes),)
        tracked = self._is_tracked(operands)
        if not tracked and op.elementwise and len(attributes) == len(op.attributes):
            results = execute(op, [t._array for t in operands], attributes)
            tensors = tuple([Tensor.wrap(r) for r in results])
        else:
            prepared = prepare(op, tuple([t.type for t in operands]), attributes)
            results = execute(op, [t._array for t in operands], prepared.attributes)
            tensors = tuple([Tensor.wrap(r, t) for r, t in zip(results, prepared.types, strict=True)])
            if tracked:
                self.record(prepared, operands, tensors)
        if operands and all(t.weak for t in operands) and op.name != "convert_element_type":
            for tensor in tensors:
                tensor.weak = True
        if observers and ORIGINS in observers:
            location = current_location()
            for tensor in tensors:
                tensor._origin = location
        return tensors

    def _is_tracked(self, operands: Sequence[Any]) -> bool:
        """Whether an op on ``operands`` may have to be recorded."""
        return bool(recorders.active) or (any(map(is_tracked, operands)) and mode.enabled)

    def record(self, prepared: PreparedOp, operands: Sequence[Any], results: tuple[Tensor, ...]) -> None:
        """Remember an op that was executed, if a recorder or a gradient wants it."""
        recording = bool(recorders.active)
        if not (recording or (prepared.is_inexact and mode.enabled)):
            return
        references = [t.reference() for t in operands]
        needed = [r is not None and r.source.requires_grad for r in references]
        needs = prepared.is_inexact and mode.enabled and True in needed
        if not needs and not recording:
            return
        location = current_location()
        inputs: list[Reference | TensorType] = []
        for position, reference in enumerate(references):
            if reference is None and recording:
                reference = operands[position].recorded(location)
            if reference is None:
                inputs.append(prepared.operand_types[position])
                continue
            if prepared.broadcasts and (repeated := prepared.broadcasts[position]) is not None:
                flows = mode.enabled and reference.requires_grad
                reference = broadcast_reference(reference, repeated, prepared.operand_types[position], flows, location)
            inputs.append(reference)
        record = Record(prepared.op, prepared.attributes, tuple(inputs), prepared.types, needs, location)
        for index, tensor in enumerate(results):  # before results are saved, which fixes what their memory stands for
            tensor._reference = Reference(record, index)
        if needs:
            save_residuals(record, prepared, operands, results, needed)

    def view(self, x: Any, op: Primitive, attributes: dict[str, Any]) -> Tensor:
        prepared = prepare(op, (x.type,), attributes)
        source = x._array
        array = op.evaluate(source, **prepared.attributes)
        if op.name == "reshape" and array is not source and array.size and not np.may_share_memory(array, source):
            return self._copy_as(x, prepared, array)  # a reshape that no strides can express
        return self._seen(x, prepared, array)

    def _seen(self, x: Any, prepared: PreparedOp, array: Any) -> Tensor:
        """The view of ``x`` whose memory ``array`` is."""
        storage = x.storage()
        result = over(array, prepared.types[0])
        result.weak = x.weak
        result._storage = storage
        result._way = (*x._chain, ViewStep.of(prepared.op.name, prepared.attributes, x.type))
        result._seen = -1  # derived from the base's reference when it is read
        if storage.value is None:
            result._seen = storage.written
            if recorders.active:
                storage.value = x.base_recorded(current_location())
                result._seen = -1
        elif mode.enabled or recorders.active:
            result.reference()
        return result

    def _copy_as(self, x: Tensor, prepared: PreparedOp, array: Any) -> Tensor:
        result = over(array, prepared.types[0])
        result.weak = x.weak
        self.record(prepared, (x,), (result,))
        return result

    def receive(self, x: Tensor) -> Tensor:
        """A copy of ``x``, which is on another device, on this one; gradients flow through it."""
        return self._received(x, Tensor.wrap(x._host_array(), x.type))

    def _received(self, x: Tensor, result: Tensor) -> Tensor:
        result.weak = x.weak
        result._origin = current_location()
        if self._is_tracked((x,)):
            self.record(prepare(get_primitive("reshape"), (x.type,), {"shape": x.shape}), (x,), (result,))
        return result

    def copy(self, x: Any) -> Tensor:
        result = over(x._array.copy(), x.type)
        if self._is_tracked((x,)):
            self.record(prepare(get_primitive("reshape"), (x.type,), {"shape": x.shape}), (x,), (result,))
        return result

    def write(self, x: Any, value: Any) -> None:
        self._check_writable(x)
        recording = bool(recorders.active)
        storage = x.storage()
        detached = bool(x._chain) and any(step.op == "stop_gradient" for step in x._chain)
        base, new = storage.value, value.reference()
        if new is not None and new.requires_grad:
            _keep_overwritten(new, storage)
        if x._array is not value._array:  # a compiled program may have written there already
            self.assign(x._array, value._array)
        storage.version.count += 1
        graded = mode.enabled and not detached
        flows = graded and ((base is not None and base.requires_grad) or (new is not None and new.requires_grad))
        if flows or recording:
            location = current_location()
            if base is None:
                base = x.base_recorded(location)
            if new is None:
                new = value.recorded(location)
            written = write_through(base, x._chain, new, emit_reference)
            if base.requires_grad and not graded:
                owner = base.source.tensor if isinstance(base.source, Leaf) else None
                leaf = Leaf(base.type, owner, isinstance(base.source, Leaf), location, origin=written)
                written = Reference(leaf, 0)
            storage.value = written
            storage.written += 1

    def assign(self, target: Any, value: Any) -> None:
        """Give the array ``target`` the contents of ``value``."""
        np.copyto(target, value)

    def is_read_only(self, x: Any) -> bool:
        """Whether the memory of ``x`` may not be written."""
        return not x._array.flags.writeable

    def repeats(self, x: Any) -> bool:
        """Whether several elements of ``x`` are one in memory. A broadcast that only added unit axes repeats none."""
        return any(stride == 0 and size > 1 for stride, size in zip(x._array.strides, x._array.shape, strict=True))

    def replace(self, x: Any, value: Any) -> None:
        """:meth:`write`, of a tensor that nobody will use: where nobody but ``x`` holds its memory, ``x`` takes that of
        ``value`` instead of a copy."""
        if x._array is not value._array and value._reference is None and not recorders.active:
            self._check_writable(x)
            if owns_memory_alone(x):
                x._array = value._array
                if x._storage is not None:
                    x._storage.base_array = value._array
        self.write(x, value)

    def check_donation(self, x: Any, name: str) -> None:
        """Raise GradientError where the value of the donated argument ``x``, called ``name``, has to stay."""
        if mode.enabled and x.requires_grad:
            raise GradientError(
                f"the donated argument {name} requires gradients, so that backward() may need its value",
                hint="donate a detach()ed tensor, or call the function under `with gc.no_grad():`",
            )

    def run(self, executable: Any, arrays: Sequence[Any]) -> Any:
        """The outputs of a compiled graph, or of a function on NumPy arrays, as arrays that :func:`over` takes."""
        return executable(*arrays)

    def donation(self, x: Any) -> Any:
        """What to run a program on that may overwrite the donated argument ``x``: ``x``, or a copy where somebody else sees
        its memory."""
        if not x._array.flags.writeable or recorders.active or not owns_memory_alone(x, least=0):
            return Tensor.wrap(x._array.copy(), x.type)
        return x

    def donate(self, x: Any, function: str, location: Location) -> None:
        """Take its memory from the donated argument ``x`` of ``function``."""
        give_up_memory(x, function, location)

    def call(
        self,
        graph: Graph,
        run: Any,
        sources: Sequence[Any],
        kept: Sequence[int],
        unread: Collection[int],
        flows: Sequence[bool],
        in_place: Executable | None = None,
    ) -> list[Tensor]:
        """Run a compiled ``graph`` on ``sources`` (tensors, ndarrays, scalars) as one recorded op.

        ``kept``: positions of sources that the caller will overwrite, of which a recording keeps a copy; ``unread``: of
        those that no gradient depends on, so that they may be overwritten by whoever likes to. ``flows``: for
        each output, whether it depends on an input that requires gradients in a way that ``no_grad`` or ``detach`` did not
        cut. ``in_place`` is run instead of ``run`` where nobody needs what it overwrites.
        """
        tensors = [s if isinstance(s, Tensor) else None for s in sources]
        arrays = [
            s if t is None else t._array for s, t in zip(sources, tensors, strict=True)
        ]
        references = [None if t is None else t.reference() for t in tensors]
        needed = [r is not None and r.requires_grad for r in references]
        needs = mode.enabled and any(needed) and any(flows)
        originals = {i: _copied(arrays[i]) for i in kept} if needs else {}
        if in_place is not None and not needs and not recorders.active and _may_overwrite(arrays, in_place.written):
            run = in_place
        results = [over(r) for r in run(*arrays)]
        if needs or recorders.active:
            self._record_call(graph, sources, references, results, flows, needs, originals, unread)
        return results

    def may_overwrite(self, arrays: Sequence[Any], written: Collection[int]) -> bool:
        """Whether :meth:`call` may run a program that writes to the arrays at ``written``, but for what has to be recorded."""
        return _may_overwrite(arrays, written)

    def compose(self, composed: Composed, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a :class:`Composed` function, run as one op; NOT_ALIKE, with nothing done, where it has to be run
        op by op."""
        try:
            found = composed.program(args, kwargs)
            if found is None:
                return NOT_ALIKE
            program, operands = found
            arrays = [t._array for t in operands]
            results = [Tensor.wrap(array) for array in program.run(arrays)]
        except GraphcError:  # the ops one by one say it better, with the line of this call
            return NOT_ALIKE
        if True in program.weak:
            for tensor, weak in zip(results, program.weak, strict=True):
                tensor.weak = weak
        if mode.enabled and program.is_inexact and any(map(is_tracked, operands)):
            self._record_composed(program, operands, arrays, results)
        return results[0] if program.is_one else results

    def _record_composed(
        self, program: Program, operands: Sequence[Tensor], arrays: Sequence[Any], results: Sequence[Tensor]
    ) -> None:
        inputs: list[Reference | TensorType] = []
        needs = False
        for tensor in operands:
            reference = tensor._reference if tensor._storage is None else tensor.reference()
            if reference is None:
                inputs.append(tensor.type)
            else:
                inputs.append(reference)
                needs = needs or reference.source.requires_grad
        if not needs:
            return
        record = new_record(_CALL, program.attributes, tuple(inputs), program.types, current_frame(2))
        record.title = program.graph.name
        record.saved_operands = tuple([(i, Saved(a.copy(), UNWRITTEN, 0)) for i, a in enumerate(arrays)])
        for index, tensor in enumerate(results):
            tensor._reference = Reference(record, index)

    def repeated_call(self, run: Run, runs: Mapping[tuple[Any, ...], Run], pattern: CallPattern) -> Any:
        """What runs calls of ``pattern``, in the present gradient mode, without :meth:`call`."""
        return repeated_call(run, runs, pattern)

    def _record_call(
        self,
        graph: Graph,
        sources: Sequence[Any],
        references: Sequence[Reference | None],
        results: Sequence[Tensor],
        flows: Sequence[bool],
        needs: bool,
        originals: dict[int, Any],
        unread: Collection[int],
    ) -> None:
        location = current_location()
        inputs: list[Reference | TensorType] = []
        saved: list[tuple[int, Saved]] = []
        for position, (source, reference, type_) in enumerate(
            zip(sources, references, graph.parameter_types, strict=True)
        ):
            tensor = source if isinstance(source, Tensor) else Tensor.wrap(np.asarray(source, type_.dtype.numpy))
            if reference is None and recorders.active:
                reference = tensor.recorded(location)
            inputs.append(tensor.type if reference is None else reference)
            if position in originals:
                saved.append((position, over(originals[position]).saved()))
            else:
                saved.append((position, Saved(tensor._array, UNWRITTEN, 0) if position in unread else tensor.saved()))
        types = tuple([t.type for t in results])
        record = Record(get_primitive("call"), {"graph": graph}, tuple(inputs), types, needs, location)
        if needs:
            record.saved_operands = tuple(saved)
        for index, (tensor, flow) in enumerate(zip(results, flows, strict=True)):
            made = Reference(record, index)
            if flow or (recorders.active and not needs):
                tensor._reference = made
            elif recorders.active:
                tensor._reference = Reference(Leaf(tensor.type, tensor, False, location, origin=made), 0)

    def _check_writable(self, x: Tensor) -> None:
        chain, is_read_only = x._chain, self.is_read_only(x)
        if chain or is_read_only:
            is_broadcast, repeats = any(step.op == "broadcast_in_dim" for step in chain), self.repeats(x)
            if (is_broadcast and repeats) or ((is_broadcast or repeats) and is_read_only):
                raise InPlaceError(
                    "this tensor is a broadcast view, in which several elements share memory: it cannot be written in place",
                    hint="take a copy() first, or write to the tensor it was broadcast from",
                )
        if is_read_only:
            raise InPlaceError(
                "this tensor shares the memory of a read-only array, so it cannot be written in place",
                hint="take a copy() first",
                cause=InPlaceError.READ_ONLY,
            )
        if not mode.enabled or (chain and any(step.op == "stop_gradient" for step in chain)):
            return
        base = x.storage().value if x._storage is not None else x._reference
        if base is not None and isinstance(base.source, Leaf) and base.source.requires_grad:
            what = "a view of a leaf tensor" if chain else "a leaf tensor"
            raise InPlaceError(
                f"{what} that requires_grad is changed in place, which its own gradient cannot follow",
                hint="wrap the update in `with gc.no_grad():`, or write to a copy()",
                cause=InPlaceError.LEAF,
            )

    def repeats_operands(self, operands: Sequence[Any]) -> bool:
        return not recorders.active

    def check_usable(self, x: Any) -> None:
        """Eager tensors always are."""

    def guard(self, relation: str, lhs: Dim, rhs: Dim) -> None:
        raise AssertionError("eager sizes are integers")

    def stop_gradient(self, x: Any) -> Tensor:
        return self.view(x, get_primitive("stop_gradient"), {})

    def repetitions(self, operands: Sequence[Any]) -> Dim:
        return 1


def _keep_overwritten(new: Reference, storage: Storage) -> None:
    """Give the op that made ``new`` a copy of what it reads of ``storage``, into which ``new`` is written: ``y *= x``."""
    source = new.source
    while isinstance(source, Record):
        if any(s.version is storage.version and s.count == s.version.count for _, s in source.saved_operands):
            source.saved_operands = tuple(
                [
                    (i, Saved(s.array.copy(), UNWRITTEN, 0) if s.version is storage.version else s)
                    for i, s in source.saved_operands
                ]
            )
        first = source.inputs[0] if source.inputs else None
        if source.op.name not in _CHANGES_FORM or not isinstance(first, Reference):
            return
        source = first.source


def _copied(array: Any) -> Any:
    return array.copy() if isinstance(array, DeviceBuffer) else np.array(array)


def leaked(value: Array) -> LeakedTracerError:
    return LeakedTracerError(
        f"a symbolic array of type {value.type} was used outside of the graph that it belongs to",
        hint="return it from the traced function (or fetch it with Session.run) instead of keeping it",
        cause=LeakedTracerError.FOREIGN,
    )


#: Among the observers where GRAPHC_TENSOR_ORIGINS=1: then results of ops on the CPU keep their lines, too.
ORIGINS = object()
if os.environ.get("GRAPHC_TENSOR_ORIGINS") == "1":
    observers.append(ORIGINS)
EAGER = EagerContext()
set_eager(EAGER)
Tensor.context = EAGER


def _may_overwrite(arrays: Sequence[Any], written: Collection[int]) -> bool:
    """Whether the arrays at ``written`` can be written, and no other array has part of their memory."""
    # Arrays that own their memory share it with views only, so that a step with many parameters needs no look at all pairs.
    views = [(i, a) for i, a in enumerate(arrays) if not isinstance(a, np.ndarray) or a.base is not None]
    owners = [id(a) for a in arrays if isinstance(a, np.ndarray) and a.base is None]
    for w in written:
        target = arrays[w]
        if not isinstance(target, np.ndarray) or not target.flags.writeable or owners.count(id(target)) > 1:
            return False
        others = views if target.base is None else enumerate(arrays)
        if any(i != w and np.may_share_memory(target, other) for i, other in others):
            return False
    return True
