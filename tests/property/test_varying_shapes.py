"""Random programs on shapes that vary: jitted, they give what they give executed at once, or the same error."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.errors import GraphcError, RetraceWarning

#: Steps from one or two arrays to an array; what does not fit a rank or a size is an error in every mode.
STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "multiply by the transpose": lambda x, y: x * y.T,
    "matmul": lambda x, y: x @ y,
    "mean": lambda x, y: x - x.mean(0),
    "divide by a size": lambda x, y: x / x.shape[0],
    "scale by a size": lambda x, y: x * (2 * x.shape[-1] + 1),
    "tail": lambda x, y: x[1:],
    "all but the last": lambda x, y: x[:-1],
    "interior": lambda x, y: x[1:-1] + x[:-2],
    "every other": lambda x, y: x[::2],
    "backwards": lambda x, y: x[::-1],
    "first rows": lambda x, y: x[:3],
    "last row": lambda x, y: x[-1],
    "half": lambda x, y: x[x.shape[0] // 2 :],
    "flatten": lambda x, y: x.reshape(-1),
    "pairs": lambda x, y: x.reshape(-1, 2),
    "rows of two": lambda x, y: x.reshape(x.shape[0], 2, -1),
    "transpose": lambda x, y: x.T,
    "new axis": lambda x, y: x[:, None],
    "squeeze": lambda x, y: gc.squeeze(x),
    "concat": lambda x, y: gc.concat([x, y]),
    "stack": lambda x, y: gc.stack([x, y]),
    "roll": lambda x, y: gc.roll(x, 1, 0),
    "repeat": lambda x, y: gc.repeat(x, 2, 0),
    "tile": lambda x, y: gc.tile(x, (2, 1)),
    "maximum": lambda x, y: x.max(0),
    "cumulative": lambda x, y: gc.cumsum(x, 0),
    "sort": lambda x, y: gc.sort(x, 0),
    "softmax": lambda x, y: gc.softmax(x, -1),
    "positions": lambda x, y: x + gc.arange(x.shape[-1]),
    "zeros": lambda x, y: gc.concat([x, gc.zeros(x.shape)]),
    "outer": lambda x, y: x[..., None] * y,
    "if small": lambda x, y: x * 2 if x.shape[0] < 3 else x + 1,
    "if square": lambda x, y: x.T if x.shape[0] == x.shape[-1] else x,
    "if equal": lambda x, y: x - y if x.shape == y.shape else x,
    "write": lambda x, y: written(x * 1),
    "nonzero": lambda x, y: gc.nonzero(x > 0, size=x.shape[0])[0] + x.sum(),
    "gradient": lambda x, y: gc.grad(lambda t: (t * t).mean() + t.sum())(x),
}


def written(x: Any) -> Any:
    x[1:] = x[:-1]
    x[0] += 1
    return x


#: The second array, given the shape of the first.
OTHERS: dict[str, Callable[[tuple[int, ...]], tuple[int, ...]]] = {
    "same": lambda shape: shape,
    "last axis": lambda shape: shape[-1:],
    "one": lambda shape: (1,) * len(shape),
    "one more": lambda shape: (shape[0] + 1, *shape[1:]),
    "transposed": lambda shape: shape[::-1],
}
SIZES = st.integers(0, 5)
CALLS = st.one_of(
    st.lists(st.tuples(SIZES), min_size=2, max_size=5), st.lists(st.tuples(SIZES, SIZES), min_size=2, max_size=5)
)


def outcome(function: Callable[..., Any], *shapes: tuple[int, ...]) -> tuple[str, Any]:
    arrays = [gc.tensor(np.random.default_rng(sum(s)).integers(-3, 4, s).astype(np.float32)) for s in shapes]
    try:
        return "value", function(*arrays).numpy()
    except (GraphcError, ZeroDivisionError, IndexError) as error:
        return "error", type(error)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4), CALLS, st.sampled_from(sorted(OTHERS)))
def test_programs_with_varying_shapes(steps: list[str], shapes: list[tuple[int, ...]], other: str) -> None:
    def program(x: Any, y: Any) -> Any:
        for step in steps:
            x = STEPS[step](x, y)
        return x

    jitted = gc.jit(program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RetraceWarning)
        for shape in shapes:
            kind, expected = outcome(program, shape, OTHERS[other](shape))
            jitted_kind, actual = outcome(jitted, shape, OTHERS[other](shape))
            assert jitted_kind == kind, (shape, expected, actual)
            if kind == "value":
                assert actual.shape == expected.shape, shape
                np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
            else:
                assert issubclass(actual, expected) or issubclass(expected, actual), (shape, expected, actual)
