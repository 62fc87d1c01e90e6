"""Which maps are computed where a product reads its operand: casts, scales, masks that nobody else reads.

Such a map never writes its result: each element of it is made when a block brings it from memory into its tile. That is done
once for each tile that needs the element, so the map has to be short; and its memory has to run as the operand's does, point by
point, so that a position is all that it needs to know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from graphc.ir.graph import Value
from graphc.ir.types import TensorType
from graphc.loops.body import Instruction
from graphc.loops.kernel import Kernel, used_instructions
from graphc.loops.plan import KernelStep, OpStep, Plan, ProductStep, Step, ViewStep
from graphc.loops.products import PRODUCTS

from .body import SHORT

_INSTRUCTIONS: Final = 12
_SLOW: Final = frozenset(["/", "//", "%"])
_SLOW_MATH: Final = frozenset(["sqrt"])


@dataclass
class Prologues:
    """``of``: operand of a product → the map that makes it; ``gone``: steps that need not run any more."""

    of: dict[Value, KernelStep] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)


def find_prologues(plan: Plan) -> Prologues:
    """The maps of ``plan`` that the product that reads their result can compute itself; see the module."""
    readers: defaultdict[Value, list[Step]] = defaultdict(list)
    for step in plan.steps:
        for value in step.operands:
            readers[value].append(step)
    for output in plan.graph.outputs:
        readers[output] += [step for step in plan.steps if output in step.results]  # so it has another reader
    found = Prologues()
    for step in plan.steps:
        if not isinstance(step, KernelStep) or not is_prologue(step.kernel):
            continue
        value, passed = step.results[0], [id(step)]
        following = _only_reader(value, readers)
        while isinstance(following, ViewStep) and _same_size(value.type, following.results[0].type):
            value = following.results[0]
            passed.append(id(following))
            following = _only_reader(value, readers)
        if not isinstance(following, OpStep | ProductStep) or following.node.op.name not in PRODUCTS:
            continue
        if value in following.node.inputs:
            found.of[value] = step
            found.gone.update(passed)
    return found


def _only_reader(value: Value, readers: Mapping[Value, list[Step]]) -> Step | None:
    reading = readers.get(value, [])
    return reading[0] if len(reading) == 1 else None


def _same_size(before: TensorType, after: TensorType) -> bool:
    return before.size == after.size


def is_prologue(kernel: Kernel) -> bool:
    """Whether each element of the only result is made by little arithmetic of at most two elements at its own position."""
    if len(kernel.loops) > 1 or len(kernel.stages) > 1 or kernel.reductions or len(kernel.results) != 1 or kernel.rows:
        return False
    stage = kernel.only
    if len(stage.body_stores) != 1 or any(loop.reduced for loop in kernel.loops):
        return False
    (stored,) = stage.body_stores
    own = 0 if kernel.loops else None
    if stored.position.loop != own:
        return False
    used = used_instructions(stage.body, [stored.value])
    made = [instruction for number, instruction in enumerate(stage.body) if number in used]
    moving = [i for i in made if i.kind == "load" and i.detail[1].terms]
    if any(i.detail[1].loop != 0 for i in moving) or not 1 <= len(moving) <= 2:
        return False
    work = [i for i in made if i.kind not in ("load", "constant")]
    return len(work) <= _INSTRUCTIONS and all(map(_is_quick, work))


def _is_quick(instruction: Instruction) -> bool:
    if instruction.kind == "math":
        return instruction.detail in SHORT - _SLOW_MATH
    return instruction.kind not in ("index", "size") and (instruction.kind != "binary" or instruction.detail not in _SLOW)
