"""A compiled graph: check the inputs, bind the symbolic sizes, run the instructions, give new arrays."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from graphc.dtypes import as_dtype
from graphc.errors import (
    ArgumentError,
    BackendError,
    CheckError,
    DTypeError,
    GraphcError,
    OutOfBoundsError,
    ShapeError,
)
from graphc.ir.dims import evaluate_dim
from graphc.ir.graph import Graph, Node
from graphc.ir.types import Bindings, TensorType, bind_shape, check_shape
from graphc.locations import UNKNOWN
from graphc.ops.core import check_guards, concrete_attributes
from graphc.runtime.program import Instruction, NativeKernel, Program, RunCheck, RunKernels, RunLibrary, View

#: How many combinations of input shapes an executable remembers the sizes of.
MAX_FRAMES = 64


class Stages(Mapping[str, str]):
    """The text of each stage of a compilation, made when it is looked at."""

    def __init__(self, makers: Mapping[str, Callable[[], str]]) -> None:
        self._makers = dict(makers)

    def __getitem__(self, name: str) -> str:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


class Executable:
    """A graph that runs: ``executable(*arrays)`` gives a list of arrays, one an output.

    Inputs must have the dtypes and shapes of the graph's parameters; symbolic sizes are bound by them. The results
    are new arrays that share memory with no input, no constant and not with each other. Safe to call from several
    threads at once.

    Raises ArgumentError, DTypeError or ShapeError, naming the parameter, for wrong inputs; OutOfBoundsError or
    CheckError, with the line of the user's that made the op, for what fails while running.
    """

    def __init__(self, graph: Graph, program: Program) -> None:
        self.graph = graph
        self.program = program
        self._names = [p.node.name or f"input {i}" for i, p in enumerate(graph.parameters)]
        self._types = graph.parameter_types
        self._sized = [node for node in graph.nodes() if _depends_on_sizes(node)]
        self._frames: OrderedDict[tuple[tuple[int, ...], ...], _Frame] = OrderedDict()
        self._releases = _last_uses(program)

    def __call__(self, *arrays: Any) -> list[np.ndarray]:
        inputs = self._check(arrays)
        frame = self._frame(inputs)
        slots: list[np.ndarray | None] = [None] * len(self.program.slots)
        for slot, array in self.program.literals.items():
            slots[slot] = array
        for slot, array in zip(self.program.parameters, inputs, strict=True):
            slots[slot] = array
        for instruction, prepared, released in zip(
            self.program.instructions, frame.prepared, self._releases, strict=True
        ):
            _RUN[type(instruction)](instruction, prepared, slots, frame)
            for slot in released:
                slots[slot] = None
        return self._outputs(slots, inputs)

    def stages(self) -> Mapping[str, str]:
        """Stage → text: "kernels" (the kernel IR), "source", "llvm" and "asm"; each is made when it is looked at."""
        makers = dict(self.program.texts)
        for stage in ("source", "llvm", "asm"):
            makers.setdefault(stage, partial(self._kernel_texts, stage))
        return Stages(makers)

    def kernels(self) -> list[NativeKernel]:
        """The compiled kernels, in the order in which they run."""
        return [k for i in self.program.instructions if isinstance(i, RunKernels) for k in i.kernels]

    def _kernel_texts(self, stage: str) -> str:
        texts: dict[str, None] = {}
        for kernel in self.kernels():
            texts[kernel.text(stage).rstrip("\n")] = None
        return "\n\n\n".join(texts) + "\n"

    def _check(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        if len(arrays) != len(self._types):
            raise ArgumentError(f"{self.graph.name} takes {len(self._types)} inputs, {len(arrays)} were given")
        checked: list[np.ndarray] = []
        for name, type_, given in zip(self._names, self._types, arrays, strict=True):
            array = np.asarray(given)
            if array.dtype != type_.dtype.numpy and array.dtype.newbyteorder("=") != type_.dtype.numpy:
                raise DTypeError(
                    f"{name} has dtype {array.dtype}, but {type_} was declared",
                    hint=f"convert it: .astype({str(type_.dtype)!r})" if _is_known(array) else None,
                )
            if not (array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative):
                array = np.require(array, dtype=type_.dtype.numpy, requirements=["C", "A"])
            checked.append(array)
        return checked

    def _frame(self, inputs: Sequence[np.ndarray]) -> _Frame:
        key = tuple([array.shape for array in inputs])
        frame = self._frames.get(key)
        if frame is None:
            bindings = self._bind(inputs)
            for node in self._sized:
                _check_node(node, bindings)
            frame = _Frame(self.program, bindings)
            self._frames[key] = frame
            while len(self._frames) > MAX_FRAMES:
                self._frames.popitem(last=False)
        return frame

    def _bind(self, inputs: Sequence[np.ndarray]) -> Bindings:
        bindings: Bindings = {}
        for name, type_, array in zip(self._names, self._types, inputs, strict=True):
            bind_shape(type_, array.shape, bindings, name)
        for name, type_, array in zip(self._names, self._types, inputs, strict=True):
            check_shape(type_, array.shape, bindings, name)
        check_guards(self.graph.guards, bindings)
        return bindings

    def _outputs(self, slots: Sequence[np.ndarray | None], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        taken = {_owner(array) for array in inputs} | {_owner(array) for array in self.program.literals.values()}
        results: list[np.ndarray] = []
        for slot in self.program.outputs:
            array = slots[slot]
            assert array is not None, "an output was released before the end"
            owner = _owner(array)
            if owner in taken:
                array = array.copy()
                owner = _owner(array)
            taken.add(owner)
            results.append(array)
        return results

    def __repr__(self) -> str:
        return f"<Executable of {self.graph!r}>"


def _depends_on_sizes(node: Node) -> bool:
    """Whether sizes that only a call knows may be wrong for ``node``: a slice out of bounds, the argmax of nothing."""
    if node.op.elementwise or node.op.name in ("parameter", "constant", "reshape"):
        return False
    return not all(t.is_concrete for t in (*node.types, *(v.type for v in node.inputs)))


def _check_node(node: Node, bindings: Bindings) -> None:
    """Infer the types of ``node`` again, with the sizes of this call."""
    operands = tuple([v.type.substitute(bindings) for v in node.inputs])
    try:
        node.op.infer(operands, **concrete_attributes(node.attributes, bindings))
    except GraphcError as error:
        error.location = node.location if node.location.line else error.location
        raise


def _is_known(array: np.ndarray) -> bool:
    try:
        as_dtype(array.dtype)
    except DTypeError:
        return False
    return True


def _owner(array: np.ndarray) -> int:
    """Which object's memory an array uses: one that is a view names its base."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return id(base)


def _reads(instruction: Instruction) -> tuple[int, ...]:
    return (instruction.operand,) if isinstance(instruction, (View, RunCheck)) else instruction.operands


def _writes(instruction: Instruction) -> tuple[int, ...]:
    if isinstance(instruction, RunCheck):
        return ()
    return (instruction.result,) if isinstance(instruction, View) else instruction.results


def _last_uses(program: Program) -> list[tuple[int, ...]]:
    """For each instruction, the slots that nothing reads after it. A view keeps its base alive by itself."""
    seen = set(program.outputs)
    releases: list[tuple[int, ...]] = []
    for instruction in reversed(program.instructions):
        touched = dict.fromkeys((*_reads(instruction), *_writes(instruction)))
        releases.append(tuple(slot for slot in touched if slot not in seen))
        seen.update(touched)
    return releases[::-1]


@dataclass(frozen=True)
class _PreparedKernel:
    """A kernel for one set of sizes; ``array`` keeps alive what ``sizes`` points to."""

    kernel: NativeKernel
    array: Any
    sizes: int
    extent: int


@dataclass(frozen=True)
class _PreparedStep:
    kernels: tuple[_PreparedKernel, ...]
    scratch: tuple[tuple[tuple[int, ...], Any], ...]


class _Frame:
    """Everything that depends on the sizes of one call: shapes of slots, size arguments and extents of kernels."""

    def __init__(self, program: Program, bindings: Bindings) -> None:
        self.shapes = [_concrete(type_, bindings) for type_ in program.slots]
        self.dtypes = [type_.dtype.numpy for type_ in program.slots]
        self.prepared: list[Any] = [_prepare(instruction, bindings) for instruction in program.instructions]

    def allocate(self, slot: int) -> np.ndarray:
        return np.empty(self.shapes[slot], self.dtypes[slot])


def _concrete(type_: TensorType, bindings: Bindings) -> tuple[int, ...]:
    shape = tuple(evaluate_dim(dim, bindings) for dim in type_.shape)
    if any(size < 0 for size in shape):
        raise ShapeError(f"the sizes {bindings} give {type_} the negative shape {shape}")
    return shape


def _prepare(instruction: Instruction, bindings: Bindings) -> Any:
    if isinstance(instruction, View):
        return tuple(evaluate_dim(dim, bindings) for dim in instruction.shape)
    if not isinstance(instruction, RunKernels):
        return None
    kernels: list[_PreparedKernel] = []
    for kernel in instruction.kernels:
        sizes = [evaluate_dim(size, bindings) for size in kernel.sizes]
        array = (ctypes.c_int64 * max(1, len(sizes)))(*sizes)
        extent = evaluate_dim(kernel.extent, bindings)
        kernels.append(_PreparedKernel(kernel, array, ctypes.addressof(array), extent))
    scratch = tuple((_concrete(t, bindings), t.dtype.numpy) for t in instruction.scratch)
    return _PreparedStep(tuple(kernels), scratch)


def _run_kernels(step: RunKernels, prepared: _PreparedStep, slots: list[Any], frame: _Frame) -> None:
    for slot in step.results:
        slots[slot] = frame.allocate(slot)
    arrays = [slots[slot] for slot in (*step.operands, *step.results)]
    arrays += [np.empty(shape, dtype) for shape, dtype in prepared.scratch]
    buffers = (ctypes.c_int64 * max(1, len(arrays)))(*[array.ctypes.data for array in arrays])
    status = (ctypes.c_int64 * 4)()
    address, status_address = ctypes.addressof(buffers), ctypes.addressof(status)
    for part in prepared.kernels:
        if part.extent <= 0:
            continue
        failure = part.kernel.call(address, part.sizes, 0, part.extent, status_address)
        if failure:
            raise BackendError(f"the kernel {part.kernel.name} failed with status {failure}")
        if step.checks and status[0]:
            raise OutOfBoundsError(
                f"{step.op}: index {status[1]} is out of range for axis {status[2]}, which has size {status[3]}",
                location=step.location or UNKNOWN,
            )


def _run_library(step: RunLibrary, prepared: None, slots: list[Any], frame: _Frame) -> None:
    for slot in step.results:
        slots[slot] = frame.allocate(slot)
    step.function([slots[slot] for slot in step.operands], [slots[slot] for slot in step.results])


def _run_view(step: View, shape: tuple[int, ...], slots: list[Any], frame: _Frame) -> None:
    array = slots[step.operand]
    if array.size != int(np.prod(shape, dtype=np.int64)):
        raise ShapeError(
            f"reshape: shape {array.shape} cannot become {shape}: the element counts differ",
            location=step.location or UNKNOWN,
        )
    slots[step.result] = array.reshape(shape)


def _run_check(step: RunCheck, prepared: None, slots: list[Any], frame: _Frame) -> None:
    if not slots[step.operand].item():
        raise CheckError(step.message, location=step.location or UNKNOWN)


_RUN: dict[type, Callable[..., None]] = {
    RunKernels: _run_kernels,
    RunLibrary: _run_library,
    View: _run_view,
    RunCheck: _run_check,
}
