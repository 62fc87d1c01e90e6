"""PyTorch's own sample inputs for its operators, with PyTorch's outputs and VJPs, written to a folder.

Run as a program, so that PyTorch's warnings and thread pools stay out of the tests: ``python dump_opinfo.py FOLDER`` with the
names of the operators (``nn.functional.conv2d``, ``max.binary``), one a line, on the standard input. It writes

- ``arrays.npz``: every tensor, under a number;
- ``index.json``: for each operator a list of samples, each an object with ``args``, ``kwargs``, ``output`` (trees), and
  ``cotangents`` and ``gradients`` (lists as long as the float outputs and the differentiable inputs; null for none).

In a tree a tensor is {"tensor": number, "differentiable": bool}, a slice {"slice": [start, stop, step]}, a tuple
{"tuple": […]}, a dtype {"dtype": name}, the ellipsis {"ellipsis": true}, a dictionary {"dict": {…}}, a float
{"float": text}. Samples that hold anything else are left out.
"""

import itertools
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 8
SEED = 20
LARGEST = 20_000  # elements of an output: larger samples test speed, not semantics


class Unencodable(Exception):
    """The sample holds what the format has no word for."""


class Writer:
    """The trees of a sample, and the arrays that they point to."""

    def __init__(self, torch: Any, first: int) -> None:
        self.torch = torch
        self.first = first
        self.arrays: list[np.ndarray] = []

    def tree(self, value: Any) -> Any:
        torch = self.torch
        if isinstance(value, torch.Tensor):
            if value.layout != torch.strided or value.is_nested or value.is_complex() or value.dtype == torch.bfloat16:
                raise Unencodable(str(value.dtype))
            self.arrays.append(np.array(value.detach().numpy()))
            return {"tensor": self.first + len(self.arrays) - 1, "differentiable": value.requires_grad}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return {"float": repr(value)}
        if isinstance(value, list):
            return [self.tree(item) for item in value]
        if isinstance(value, tuple):
            return {"tuple": [self.tree(item) for item in value]}
        if isinstance(value, dict):
            return {"dict": {key: self.tree(item) for key, item in value.items()}}
        if isinstance(value, slice):
            return {"slice": [self.tree(item) for item in (value.start, value.stop, value.step)]}
        if value is Ellipsis:
            return {"ellipsis": True}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        raise Unencodable(type(value).__name__)


def detached(value: Any, leaves: list[Any]) -> Any:
    """The same tree with every tensor that requires a gradient made a leaf, and listed in ``leaves``."""
    if isinstance(value, (list, tuple)):
        return type(value)([detached(item, leaves) for item in value])
    if isinstance(value, dict):
        return {key: detached(item, leaves) for key, item in value.items()}
    if getattr(value, "requires_grad", False) is True:
        leaves.append(value.detach().requires_grad_())
        return leaves[-1]
    return value


def tensors(torch: Any, value: Any) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(torch, item)


def sample_record(torch: Any, operator: Any, sample: Any, first: int) -> tuple[dict[str, Any], list[np.ndarray]]:
    writer = Writer(torch, first)
    leaves: list[Any] = []
    args = detached([sample.input, *sample.args], leaves)
    kwargs = detached(dict(sample.kwargs), leaves)
    record: dict[str, Any] = {"args": writer.tree(args), "kwargs": writer.tree(kwargs)["dict"]}
    output = operator(*args, **kwargs)
    record["output"] = writer.tree(output)
    if sum(t.numel() for t in tensors(torch, output)) > LARGEST:
        raise Unencodable("a large output")
    sources = [t for t in tensors(torch, output) if t.requires_grad]
    record["cotangents"], record["gradients"] = [], []
    if sources and leaves:
        cotangents = [torch.randn(t.shape, dtype=t.dtype) for t in sources]
        found = torch.autograd.grad(sources, leaves, cotangents, allow_unused=True)
        record["cotangents"] = writer.tree(cotangents)
        record["gradients"] = writer.tree([None if g is None else g.detach() for g in found])
    return record, writer.arrays


def dump(folder: Path, names: list[str]) -> None:
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    torch.set_num_threads(1)
    operators = {f"{op.name}.{op.variant_test_name}".rstrip("."): op for op in op_db}
    arrays: list[np.ndarray] = []
    index: dict[str, list[Any]] = {}
    for name in names:
        operator = operators[name]
        dtype = torch.float64 if torch.float64 in operator.dtypes else torch.int64
        torch.manual_seed(SEED)
        np.random.seed(SEED)
        samples = operator.sample_inputs(
            "cpu", dtype, requires_grad=operator.supports_autograd and dtype.is_floating_point
        )
        index[name] = []
        for sample in itertools.islice(samples, 4 * SAMPLES):
            try:
                record, found = sample_record(torch, operator, sample, len(arrays))
            except (Unencodable, RuntimeError):  # RuntimeError: a sample whose gradient PyTorch itself refuses
                continue
            index[name].append(record)
            arrays += found
            if len(index[name]) == SAMPLES:
                break
    np.savez(folder / "arrays.npz", **{str(i): array for i, array in enumerate(arrays)})
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    dump(Path(sys.argv[1]), sys.stdin.read().split())
