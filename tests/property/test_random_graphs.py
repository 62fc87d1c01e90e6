"""Random graphs: text form, reference interpreter, pipeline and compiled kernels agree on values and gradients."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence, Set

import hypothesis
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from graphc.compile import compile_graph
from graphc.dtypes import ALL, DType, float32
from graphc.errors import GraphcError
from graphc.ir.graph import Graph, Value
from graphc.ir.parser import parse
from graphc.ir.primitive import primitives
from graphc.ir.printer import print_graph
from graphc.ir.structure import first_difference
from graphc.ir.types import TensorType
from graphc.ir.verifier import verify
from graphc.passes.pipeline import pipeline
from tests.property.draft_steps import draft
from tests.property.drafts import SIZES, inputs, plans, results
from tests.property.error_bound import PRECISION, spreads

EXAMPLES = 2000 if os.environ.get("GRAPHC_HYPOTHESIS_PROFILE") == "full" else 200
PARTS = 8  # an example compiles a dozen kernels: parts let the workers share them
# What is not looked at more closely: each of two implementations rounds once and the last operation may err by a little.
NEAR_ULPS = 2.0
# Two implementations, each within the spread of the ideal result; samples seldom reach the worst case. 16-bit floats round
# to the same value in both but for a few, so they have no such excuse.
SPREADS = {16: 2.0, 32: 4.0, 64: 4.0}


def check_same(
    got: Sequence[np.ndarray], want: Sequence[np.ndarray], graph: Graph, arrays: Sequence[np.ndarray],
    bindings: Mapping[str, int], exact: Set[Value], what: str,
) -> None:  # fmt: skip
    """Integers, bools and exact floats agree to the bit, other floats within a few spreads of their rounding errors."""
    rounded = []
    for number, (one, other, output) in enumerate(zip(got, want, graph.outputs, strict=True)):
        where = f"{what}, result {number} with {bindings}"
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        if output in exact or not output.dtype.is_floating:
            np.testing.assert_array_equal(one, other, err_msg=where)
        elif not np.all(_distance(one, other) <= NEAR_ULPS * _ulps(other, output.dtype)):
            rounded.append(number)
    if not rounded:
        return
    for estimate in spreads(graph, arrays, bindings, exact):
        if estimate is None:
            if hypothesis.currently_in_test_context():
                hypothesis.event("beyond the range of a dtype")
            return
        if all(_is_within(got[i], want[i], estimate[i], graph.outputs[i].dtype) for i in rounded):
            return
    for i in rounded:
        allowed = _allowed(want[i], estimate[i], graph.outputs[i].dtype)
        distance = _distance(got[i], want[i])
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.where(distance <= allowed, 0, distance / allowed)
        if np.any(apart):
            worst = np.unravel_index(np.argmax(apart), apart.shape)
            pytest.fail(
                f"{what}, result {i} with {bindings}: at {worst} {got[i][worst]!r} instead of {want[i][worst]!r}, "
                f"{apart[worst]:.2f} times the {allowed[worst]:.2e} that rounding explains"
            )


def _is_within(one: np.ndarray, other: np.ndarray, spread: np.ndarray, dtype: DType) -> bool:
    return bool(np.all(_distance(one, other) <= _allowed(other, spread, dtype)))


def _allowed(value: np.ndarray, spread: np.ndarray, dtype: DType) -> np.ndarray:
    return SPREADS[dtype.bits] * spread + NEAR_ULPS * _ulps(value, dtype)


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    a, b = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))


def _ulps(value: np.ndarray, dtype: DType) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.abs(value.astype(np.float64)) * 2.0 ** (1 - PRECISION[dtype])


def test_an_exponent_that_is_exact_stays_so() -> None:
    """A power of a negative number, whose exponent is computed: found by the long run."""
    check([b"\x00", b"\x01\x02", b"\xdf\x00\x86"], 0)


def test_the_reference_of_lgamma_errs_near_its_roots() -> None:
    """Also found by the long run: the compiled function was the better one."""
    check([b"\x00\x00\x00\x02", b"\x00\x02", b"h\x00\x1a\xa7"], 0)


def check(plan: Sequence[bytes], seed: int) -> None:
    case = draft(plan)
    graph = case.graph
    verify(graph)
    text = print_graph(graph)
    assert first_difference(graph, parse(text)) is None
    try:
        optimized = pipeline("cpu").run(graph, verify=True)
        compiled = compile_graph(graph)
        for size in SIZES:
            bindings = {"n": size}
            arrays = inputs(graph, seed, size)
            try:
                want = results(graph, arrays)
            except GraphcError as error:
                hypothesis.event(f"raises {type(error).__name__}")
                with pytest.raises(type(error)):
                    compiled(*arrays)
                continue
            check_same(results(optimized, arrays), want, graph, arrays, bindings, case.exact, "optimized")
            check_same(compiled(*arrays), want, graph, arrays, bindings, case.exact, "compiled")
            if "n" not in text.split("{")[0]:
                break
    except BaseException as error:
        error.add_note(f"inputs(graph, {seed}, n) of\n{text}")
        raise


@pytest.mark.parametrize("part", range(PARTS))
def test_compiled_code_agrees_with_the_reference(part: int) -> None:
    @hypothesis.seed(part)
    @settings(max_examples=EXAMPLES // PARTS, phases=(Phase.generate, Phase.shrink))
    @given(plan=plans, seed=st.integers(0, 2**20))
    def run(plan: list[bytes], seed: int) -> None:
        check(plan, seed)

    run()


def test_random_graphs_reach_most_primitives_and_are_not_small() -> None:
    rng = np.random.default_rng(0)
    found: Counter[str] = Counter()
    sizes, dtypes = [], set()
    for _ in range(300):
        plan = [rng.bytes(12) for _ in range(12)]
        nodes = list(draft(plan).graph.nodes())
        found.update({node.op.name for node in nodes})
        dtypes |= {r.dtype for node in nodes for r in node.results}
        sizes.append(len(nodes))
    assert len(found) >= 98, sorted(set(primitives()) - set(found))
    assert dtypes == set(ALL)
    assert np.median(sizes) > 30


def test_an_error_of_a_few_ulps_is_found() -> None:
    caught: Counter[tuple[int, bool]] = Counter()
    for seed in range(30):
        case = draft([np.random.default_rng([seed, i]).bytes(12) for i in range(8)])
        arrays = inputs(case.graph, seed, 4)
        want = results(case.graph, arrays)
        for number, output in enumerate(case.graph.outputs):
            if output in case.exact or not output.dtype.is_floating or not np.any(want[number]):
                continue
            for ulps in (0, 8, 256):
                wrong = want[number].astype(np.float64) * (1 + ulps * 2.0 ** (1 - PRECISION[output.dtype]))
                got = [*want[:number], wrong.astype(output.dtype.numpy), *want[number + 1 :]]
                try:
                    check_same(got, want, case.graph, arrays, {"n": 4}, case.exact, "wrong")
                    found = False
                except pytest.fail.Exception:
                    found = True
                caught[ulps, found] += 1
    assert not caught[0, True]
    assert caught[8, True] > caught[8, False] / 2
    assert caught[256, True] > 5 * caught[256, False]  # what is left cancels, or overflows


def test_a_step_that_is_left_out_leaves_a_graph() -> None:
    case = draft([b"", b"", b""])
    assert case.graph.parameters[0].type == TensorType(float32, (3, 4))
    verify(case.graph)
