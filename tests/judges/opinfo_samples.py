"""The samples that dump_opinfo.py wrote, as graphc arrays, and the comparison with PyTorch's results."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphc as gc
from graphc.errors import AxisError

TOLERANCE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 2e-5, np.dtype(np.float16): 2e-3}


class Unsupported(Exception):
    """A sample that uses a parameter, or a meaning of one, that graphc's function does not have."""


@dataclass
class Outcome:
    """What became of an operator's samples."""

    compared: int = 0
    gradients: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def judge(
    function: Callable[..., Any],
    samples: list[dict[str, Any]],
    arrays: Mapping[str, np.ndarray],
    tolerance: float = 0.0,
) -> Outcome:
    """Compare ``function`` with PyTorch's outputs and VJPs on every sample, within ``tolerance`` at least."""
    outcome = Outcome()
    for number, sample in enumerate(samples):
        leaves: list[Any] = []
        args = [_decoded(item, arrays, leaves) for item in sample["args"]]
        kwargs = {key: _decoded(item, arrays, leaves) for key, item in sample["kwargs"].items()}
        try:
            inspect.signature(function).bind(*args, **kwargs)
            output = function(*args, **kwargs)
        except Unsupported as reason:
            outcome.skipped[str(reason)] += 1
            continue
        except AxisError as error:
            if not any(getattr(array, "ndim", None) == 0 for array in args):
                outcome.failures.append(f"sample {number} {_show(sample, arrays)}: {error}")
                continue
            outcome.skipped["a scalar has no axes, as in NumPy; PyTorch's has axis 0"] += 1
            continue
        except TypeError as error:
            if not _is_signature_error(error):
                outcome.failures.append(f"sample {number} {_show(sample, arrays)}: {type(error).__name__}: {error}")
                continue
            outcome.skipped[f"signature: {error}"] += 1
            continue
        except Exception as error:
            outcome.failures.append(f"sample {number} {_show(sample, arrays)}: {type(error).__name__}: {error}")
            continue
        try:
            _compare(sample, output, leaves, arrays, outcome, tolerance)
        except Exception as error:
            outcome.failures.append(f"sample {number} {_show(sample, arrays)}: {type(error).__name__}: {error}")
    return outcome


def _is_signature_error(error: TypeError) -> bool:
    text = str(error)
    return any(
        words in text for words in ("unexpected keyword argument", "positional argument", "missing a required argument")
    )


def _compare(
    sample: dict[str, Any],
    output: Any,
    leaves: list[Any],
    arrays: Mapping[str, np.ndarray],
    outcome: Outcome,
    tolerance: float,
) -> None:
    wanted = list(_tensors(sample["output"]))
    found = list(output) if isinstance(output, (tuple, list)) else [output]
    assert len(found) == len(wanted), f"{len(found)} results, PyTorch has {len(wanted)}"
    for position, (result, want) in enumerate(zip(found, wanted, strict=True)):
        expected = arrays[str(want["tensor"])] if isinstance(want, dict) else np.asarray(want)
        _close(_numpy(result), expected, f"result {position}", tolerance)
    outcome.compared += 1
    if not sample["cotangents"]:
        return
    differentiable = [
        r for r, want in zip(found, wanted, strict=True) if isinstance(want, dict) and want["differentiable"]
    ]
    seeds = [gc.asarray(arrays[str(c["tensor"])]) for c in sample["cotangents"]]
    pairs = [(r, seed) for r, seed in zip(differentiable, seeds, strict=True) if r.requires_grad]
    got: tuple[Any, ...] = (None,) * len(leaves)
    if pairs:
        got = gc.gradients_of([r for r, _ in pairs], leaves, [seed for _, seed in pairs], allow_unused=True)
    for position, (leaf, gradient, want) in enumerate(zip(leaves, got, sample["gradients"], strict=True)):
        zeros = np.zeros(leaf.shape, leaf.dtype.numpy)
        expected = zeros if want is None else arrays[str(want["tensor"])]
        _close(zeros if gradient is None else gradient.numpy(), expected, f"gradient {position}", tolerance)
    outcome.gradients += 1


def _numpy(result: Any) -> np.ndarray:
    return result.detach().numpy() if gc.is_tensor(result) else np.asarray(result)


def _close(found: np.ndarray, expected: np.ndarray, what: str, least: float) -> None:
    assert found.shape == expected.shape, f"{what} has shape {found.shape}, PyTorch's {expected.shape}"
    assert found.dtype == expected.dtype, f"{what} is {found.dtype}, PyTorch's {expected.dtype}"
    tolerance = max(TOLERANCE.get(expected.dtype, 0), least)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=f"{what}:")


def _decoded(tree: Any, arrays: Mapping[str, np.ndarray], leaves: list[Any]) -> Any:
    if isinstance(tree, list):
        return [_decoded(item, arrays, leaves) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = list(tree.items())[:1]
    if kind == "tensor":
        tensor = gc.asarray(arrays[str(value)].copy())
        if tree["differentiable"]:
            leaves.append(tensor.requires_grad_())
        return tensor
    if kind == "tuple":
        return tuple([_decoded(item, arrays, leaves) for item in value])
    if kind == "dict":
        return {key: _decoded(item, arrays, leaves) for key, item in value.items()}
    if kind == "slice":
        return slice(*value)
    return {"ellipsis": lambda _: Ellipsis, "float": float, "dtype": str}[kind](value)


def _tensors(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict) and "tuple" in tree:
        tree = tree["tuple"]
    if isinstance(tree, list):
        for item in tree:
            yield from _tensors(item)
    else:
        yield float(tree["float"]) if isinstance(tree, dict) and "float" in tree else tree


def _show(sample: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    def show(tree: Any) -> str:
        if isinstance(tree, dict) and "tensor" in tree:
            array = arrays[str(tree["tensor"])]
            return f"{array.dtype}{list(array.shape)}"
        if isinstance(tree, dict):
            return show(next(iter(tree.values())))
        return f"[{', '.join(map(show, tree))}]" if isinstance(tree, list) else repr(tree)

    return (
        f"({', '.join(map(show, sample['args']))}; {', '.join(f'{k}={show(v)}' for k, v in sample['kwargs'].items())})"
    )
