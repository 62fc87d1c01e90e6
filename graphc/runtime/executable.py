"""A compiled graph: check the inputs, bind the symbolic sizes, run the instructions, give new arrays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphc.dtypes import as_dtype
from graphc.errors import (
    ArgumentError,
    DTypeError,
    GraphcError,
)
from graphc.ir.graph import Graph, Node, held_graphs
from graphc.ir.operands import operands_of_node
from graphc.ir.types import Bindings, bind_shape, check_shape, solve_sizes
from graphc.ops.core import check_guards, concrete_attributes
from graphc.runtime.frame import AnyFrame, Frame, Run
from graphc.runtime.memory import MemoryPlan, plan_memory
from graphc.runtime.program import AnyKernel, Permissions, Program, RunKernels, describe_rivals, program_settings
from graphc.runtime.storage import assign_storage, describe_storage

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

    def __init__(self, graph: Graph, program: Program, remake: Callable[[Permissions], Program] | None = None) -> None:
        self.graph = graph
        self.program = program
        self._remake = remake
        self._names = [p.node.name or f"input {i}" for i, p in enumerate(graph.parameters)]
        self._types = graph.parameter_types
        self._sized = [node for node in _all_nodes(graph) if _depends_on_sizes(node)]
        regions = [region for node in _all_nodes(graph) for region in held_graphs(node.attributes)]
        self._guards = [*graph.guards, *(guard for region in regions for guard in region.guards)]
        self._storage = assign_storage(program)
        self._frames: OrderedDict[tuple[tuple[tuple[int, ...], ...], int], AnyFrame] = OrderedDict()
        self._latest: AnyFrame | None = None
        self._run: Run | None = None  # of the latest frame
        #: What runs each combination of input shapes that a frame is remembered for.
        self.known_runs: dict[tuple[tuple[int, ...], ...], Run] = {}

    def __call__(self, *arrays: Any) -> list[np.ndarray]:
        run = self._run
        if run is not None and len(arrays) == len(self._types):
            outputs = run(arrays)
            if outputs is not None:
                return outputs
        inputs = self._check(arrays)
        key = tuple([array.shape for array in inputs])
        while True:
            settings = program_settings(self.program)
            self._latest = self._frame(inputs, key, settings)
            self._run = run = self._latest.runner()
            self.known_runs[key] = run
            outputs = run(inputs)
            if outputs is not None:
                return outputs
            assert settings, "inputs that were checked do not fit the frame made for them"
            # Another thread has changed the settings that the frame was made for.

    def permitted(self, permissions: Permissions) -> Executable:
        """An executable of the same graph that may do to its inputs what ``permissions`` say.

        An output that is in the memory of an input *is* the input array, or the copy made of one with another layout. Inputs
        that are :attr:`written` must be writable and share no memory with other inputs. Unless an input was donated, what
        fails, fails before anything is written.
        """
        program = self.program if self._remake is None else self._remake(permissions)
        return Executable(self.graph, program, self._remake)

    @property
    def written(self) -> Collection[int]:
        """The positions of the inputs that a call writes to."""
        return self._storage.written

    @property
    def replaced(self) -> Mapping[int, int]:
        """Output → the position of the input in whose memory it is."""
        return self._storage.in_place

    def again(self) -> Run | None:
        """What runs a call like the latest one: from the inputs to the outputs, or to None, with nothing done, where an
        input differs in dtype, shape or layout from what that call had. None before the first call."""
        return self._run

    def memory(self, sizes: Mapping[str, int] | None = None) -> MemoryPlan:
        """The bytes that a call needs, where ``sizes`` gives the symbolic sizes; without, those of the latest call.

        Raises ShapeError where a size is not known.
        """
        if sizes is None and isinstance(self._latest, Frame):
            sizes = self._latest.bindings
        return plan_memory(self.program, self._storage, dict(sizes or {}))

    def stages(self) -> Mapping[str, str]:
        """Stage → text: "kernels" (the kernel IR), "plan" (what is in whose memory), "source", "llvm" and "asm"; each is made
        when it is looked at."""
        makers = dict(self.program.texts)
        for stage in ("source", "llvm", "asm"):
            makers.setdefault(stage, partial(self._kernel_texts, stage))
        makers["plan"] = self._plan_text
        return Stages(makers)

    def _plan_text(self) -> str:
        program, storage = self.program, self._storage
        lines = describe_storage(program, storage)
        for paragraph in describe_rivals(program):
            lines += ["", *paragraph.splitlines()]
        if all(type_.is_concrete for type_ in program.slots):
            lines += ["", *self.memory({}).describe().splitlines()]
        return "\n".join(lines) + "\n"

    def kernels(self) -> list[AnyKernel]:
        """The compiled kernels, in the order in which they run, each step's followed by what they call."""
        return [k for i in self.program.instructions if isinstance(i, RunKernels) for k in (*i.kernels, *i.called)]

    def _kernel_texts(self, stage: str) -> str:
        texts: dict[str, None] = {}
        for kernel in self.kernels():
            texts[kernel.text(stage).rstrip("\n")] = None
        return "\n\n\n".join(texts) + "\n"

    def _check(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        if len(arrays) != len(self._types):
            raise ArgumentError(
                f"{self.graph.name} takes {len(self._types)} inputs, {len(arrays)} were given", cause=ArgumentError.COUNT
            )
        return [self._checked(position, given) for position, given in enumerate(arrays)]

    def _checked(self, position: int, given: Any) -> np.ndarray:
        """The input at ``position``, as native code takes it."""
        type_, array = self._types[position], np.asarray(given)
        if array.dtype != type_.dtype.numpy and array.dtype.newbyteorder("=") != type_.dtype.numpy:
            raise DTypeError(
                f"{self._names[position]} has dtype {array.dtype}, but {type_} was declared",
                hint=f"convert it: .astype({str(type_.dtype)!r})" if _is_known(array) else None,
                cause=DTypeError.DECLARED,
            )
        if not (array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative):
            array = np.require(array, dtype=type_.dtype.numpy, requirements=["C", "A"])
        if array.dtype is not type_.dtype.numpy:
            array = array.view(type_.dtype.numpy)  # an equal dtype, but not the object that native code knows
        return array

    def _frame(self, inputs: Sequence[np.ndarray], shapes: tuple[tuple[int, ...], ...], settings: int = 0) -> AnyFrame:
        key = (shapes, settings)
        frame = self._frames.get(key)
        if frame is None:
            bindings = self._bind(inputs)
            for node in self._sized:
                _check_node(node, bindings)
            frame = self._make_frame(bindings)
            self._frames[shapes, frame.settings if isinstance(frame, Frame) else 0] = frame
            while len(self._frames) > MAX_FRAMES:
                (oldest, _), _ = self._frames.popitem(last=False)
                self.known_runs.pop(oldest, None)
        return frame

    def _make_frame(self, bindings: Bindings) -> AnyFrame:
        """The program for one set of sizes. A backend with a run time of its own makes its own kind."""
        return Frame(self.program, self._storage, bindings)

    def _bind(self, inputs: Sequence[np.ndarray]) -> Bindings:
        bindings: Bindings = {}
        for name, type_, array in zip(self._names, self._types, inputs, strict=True):
            bind_shape(type_, array.shape, bindings, name)
        solve_sizes(self._types, [array.shape for array in inputs], bindings, self._names)
        for name, type_, array in zip(self._names, self._types, inputs, strict=True):
            check_shape(type_, array.shape, bindings, name)
        check_guards(self._guards, bindings)
        return bindings

    def __repr__(self) -> str:
        return f"<Executable of {self.graph!r}>"


def _all_nodes(graph: Graph) -> Iterator[Node]:
    """The nodes of ``graph`` and of its regions."""
    for node in graph.nodes():
        yield node
        for region in held_graphs(node.attributes):
            yield from _all_nodes(region)


def _depends_on_sizes(node: Node) -> bool:
    """Whether sizes that only a call knows may be wrong for ``node``: a slice out of bounds, the argmax of nothing."""
    if node.op.elementwise or node.op.regions or node.op.name in ("parameter", "constant", "reshape"):
        return False
    return not all(t.is_concrete for t in (*node.types, *(v.type for v in node.inputs)))


def _check_node(node: Node, bindings: Bindings) -> None:
    """Infer the types of ``node`` again, with the sizes of this call."""
    operands = tuple([v.type.substitute(bindings) for v in node.inputs])
    try:
        node.op.infer(operands, **concrete_attributes(node.op, node.attributes, bindings))
    except GraphcError as error:
        if node.location.line:
            error.location, error.operands = node.location, operands_of_node(node)
        raise


def _is_known(array: np.ndarray) -> bool:
    try:
        as_dtype(array.dtype)
    except DTypeError:
        return False
    return True
