"""Executables: what they check on entry, what they raise while running, what their results share (nothing)."""

import gc as garbage
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.dtypes import bfloat16, bool_, float32, int64
from graphc.errors import (
    ArgumentError,
    BackendError,
    CheckError,
    DTypeError,
    OutOfBoundsError,
    ShapeError,
)  # fmt: skip
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.runtime.executable import MAX_FRAMES, Executable

N = symbol("n")
LINE = Location("model.py", 7)


def compiled(function: Callable[..., Any], *types: TensorType, **options: Any) -> Executable:
    b = Builder("g", location=LINE)
    outputs = function(b, *[b.parameter(t, f"x{i}") for i, t in enumerate(types)])
    executable = compile_graph(b.finish(outputs if isinstance(outputs, list) else [outputs]), **options)
    assert isinstance(executable, Executable)
    return executable


def vector(dtype: Any = float32) -> TensorType:
    return TensorType(dtype, (N,))


def test_one_compilation_serves_all_sizes() -> None:
    executable = compiled(lambda b, x, y: b.add(b.mul(x, y), y), vector(), vector())
    for n in (0, 1, 5, 1000):
        x, y = np.arange(n, dtype=np.float32), np.full(n, 2, np.float32)
        np.testing.assert_array_equal(executable(x, y)[0], x * 2 + 2)


def test_other_strides_byte_orders_and_alignments_are_taken() -> None:
    executable = compiled(lambda b, x: b.mul(x, x), TensorType(float32, (N, 3)))
    x = np.arange(12, dtype=np.float32).reshape(3, 4).T
    raw = np.frombuffer(b"\0" + x.tobytes(), np.uint8)
    for given in (x, np.asfortranarray(x), x.astype(">f4"), x[::-1][::-1], raw[1:].view(np.float32).reshape(4, 3)):
        np.testing.assert_array_equal(executable(given)[0], np.asarray(given) * np.asarray(given))


def test_inputs_are_checked_by_name() -> None:
    executable = compiled(lambda b, x, y: b.add(x, y), vector(), vector())
    one, two = np.zeros(1, np.float32), np.zeros(2, np.float32)
    with pytest.raises(ArgumentError, match="takes 2 inputs, 1 were given"):
        executable(one)
    with pytest.raises(DTypeError, match=r"x1 has dtype float64, but f32\[n\] was declared") as caught:
        executable(one, np.zeros(1))
    assert "astype('float32')" in str(caught.value)
    with pytest.raises(ShapeError, match="x1 has size 2 in dimension 0, but the size 'n' is 1"):
        executable(one, two)
    with pytest.raises(ShapeError, match="x0 has 2 dimensions"):
        executable(one.reshape(1, 1), one)


def test_guards_are_checked() -> None:
    b = Builder("g", location=LINE)
    x, y = b.parameter(vector(), "x"), b.parameter(TensorType(float32, (symbol("m"),)), "y")
    b.guard("==", N, symbol("m"))
    executable = compile_graph(b.finish([b.add(x, b.neg(x)), y]))
    with pytest.raises(ShapeError, match="the sizes must satisfy n == m, but n is 1 and m is 2"):
        executable(np.zeros(1, np.float32), np.zeros(2, np.float32))


def test_results_share_no_memory() -> None:
    def outputs(b: Builder, x: Any) -> list[Any]:
        doubled = b.add(x, x)
        return [
            x,
            x,
            doubled,
            doubled,
            b.reshape(x, shape=(1, N)),
            b.reshape(doubled, shape=(1, N)),
            b.constant([1.0, 2.0]),
        ]

    executable = compiled(outputs, vector(), optimize=False)
    x = np.arange(4, dtype=np.float32)
    first, second = executable(x), executable(x)
    arrays = [x, *first, *second]
    for i, a in enumerate(arrays):
        assert a.flags.writeable
        assert not any(np.shares_memory(a, other) for other in arrays[i + 1 :])
    first[0][:] = -1
    first[-1][:] = -1
    np.testing.assert_array_equal(executable(x)[-1], [1.0, 2.0])
    assert x.tolist() == [0, 1, 2, 3]


def test_an_index_out_of_range_names_the_line_and_the_op() -> None:
    executable = compiled(lambda b, x, i: b.gather(x, i, axes=(0,)), vector(), vector(int64).with_shape((symbol("k"),)))
    x = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(executable(x, np.array([3, 0]))[0], [3, 0])
    with pytest.raises(OutOfBoundsError, match="gather: index 4 is out of range for axis 0, which has size 4") as caught:
        executable(x, np.array([1, 4]))
    assert (caught.value.location.filename, caught.value.location.line) == ("model.py", 7)
    np.testing.assert_array_equal(executable(x, np.array([2]))[0], [2])


def test_checks_raise_in_order_with_their_line() -> None:
    b = Builder("g", location=LINE)
    p, q = b.parameter(TensorType(bool_, ()), "p"), b.parameter(TensorType(bool_, ()), "q")
    b.check(b.bitwise_not(p), message="p is set")
    b.check(b.bitwise_not(q), message="q is set")
    executable = compile_graph(b.finish([b.bitwise_and(p, q)]))
    assert executable(np.array(False), np.array(False))[0].tolist() is False
    with pytest.raises(CheckError, match="p is set") as caught:
        executable(np.array(True), np.array(True))
    assert caught.value.location.line == 7
    with pytest.raises(CheckError, match="q is set"):
        executable(np.array(False), np.array(True))


def test_a_reshape_that_cannot_be_decided_before_is_checked() -> None:
    executable = compiled(lambda b, x: b.reshape(x, shape=(N // 2, 2)), vector(), optimize=False)
    assert executable(np.zeros(4, np.float32))[0].shape == (2, 2)
    with pytest.raises(ShapeError, match=r"reshape: shape \(5,\) cannot become \(2, 2\)"):
        executable(np.zeros(5, np.float32))


def test_sizes_that_only_a_call_knows_are_checked() -> None:
    executable = compiled(lambda b, x: b.slice(x, starts=(1,), limits=(4,), strides=(1,)), vector(), optimize=False)
    assert executable(np.arange(5, dtype=np.float32))[0].tolist() == [1, 2, 3]
    with pytest.raises(ShapeError, match="slice: ") as caught:
        executable(np.zeros(3, np.float32))
    assert caught.value.location.line == 7
    largest = compiled(lambda b, x: b.argmax(x, axis=0), vector())
    with pytest.raises(ArgumentError, match="argmax"):
        largest(np.zeros(0, np.float32))


def test_threads_may_call_and_compile_at_once() -> None:
    shared = compiled(lambda b, x: b.reduce_sum(b.exp(x), axes=(0,)), vector())
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            own = compiled(lambda b, x: b.add(b.mul(x, b.full_like(x, float(number % 3))), x), vector())
            for n in range(1, 40):
                x = np.full(n + number, 1.0, np.float32)
                np.testing.assert_allclose(shared(x)[0], np.exp(1.0) * (n + number), rtol=1e-5)
                np.testing.assert_allclose(own(x)[0], number % 3 + 1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_remembered_sizes_are_bounded() -> None:
    executable = compiled(lambda b, x: b.neg(x), vector())
    for n in range(MAX_FRAMES + 20):
        executable(np.zeros(n, np.float32))
    assert len(executable._frames) == MAX_FRAMES


def test_matrix_products() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 3, 4, 5)).astype(np.float32), rng.normal(size=(5, 6, 2, 4)).astype(np.float32)
    executable = compiled(
        lambda b, x, y: b.dot_general(x, y, contract=((3, 2), (0, 3)), batch=((0,), (2,))),
        TensorType(float32, left.shape),
        TensorType(float32, right.shape),
    )
    np.testing.assert_allclose(executable(left, right)[0], np.einsum("abcd,deac->abe", left, right), rtol=2e-4, atol=1e-5)
    square = compiled(lambda b, x: b.dot_general(x, x, contract=((1,), (0,)), batch=((), ())), TensorType(bfloat16, (3, 3)))
    x = np.arange(9).reshape(3, 3).astype(bfloat16.numpy)
    np.testing.assert_array_equal(square(x)[0].astype(int), np.arange(9).reshape(3, 3) @ np.arange(9).reshape(3, 3))


def test_stages_are_text() -> None:
    executable = compiled(lambda b, x: b.exp(x), vector())
    stages = executable.stages()
    assert list(stages) == ["kernels", "source", "llvm", "asm", "plan"]
    assert "is an output" in stages["kernels"]
    assert "exp_f32(v0)  # model.py:7" in stages["source"]
    assert "define" in stages["llvm"]
    assert len(stages["asm"]) > 100


def test_unknown_targets() -> None:
    b = Builder("g")
    graph = b.finish([b.parameter(vector(), "x")])
    with pytest.raises(BackendError, match="no target 'abacus'"):
        compile_graph(graph, "abacus")


def test_a_call_is_compiled_without_optimization_too() -> None:
    inner = Builder("inner")
    callee = inner.finish([inner.neg(inner.parameter(vector(), "x"))])
    executable = compiled(lambda b, x: b.call(x, graph=callee), vector(), optimize=False)
    np.testing.assert_array_equal(executable(np.ones(3, np.float32))[0], -np.ones(3))


@pytest.mark.parametrize("target", ["cpu", "reference"])
def test_a_size_that_is_only_in_an_expression_is_solved_for(target: str) -> None:
    b = Builder("g", location=LINE)
    x, y = b.parameter(TensorType(float32, (2 * N,)), "x"), b.parameter(TensorType(float32, (N + symbol("m"),)), "y")
    halves = b.reshape(x, shape=(N, 2))
    run = compile_graph(b.finish([b.reduce_sum(halves, axes=(1,)), b.dimension(dim=symbol("m")), b.neg(y)]), target)
    for n, m in ((3, 2), (1, 0), (0, 0), (4, 7)):
        one, other, negative = run(np.ones(2 * n, np.float32), np.ones(n + m, np.float32))
        assert one.tolist() == [2.0] * n
        assert other.item() == m
        assert negative.tolist() == [-1.0] * (n + m)
    with pytest.raises(ShapeError, match=r"x has size 5 in dimension 0, but no size 'n' makes 2\*n that"):
        run(np.ones(5, np.float32), np.ones(5, np.float32))
    with pytest.raises(ShapeError, match="y has size 2 in dimension 0, but no size 'm' makes"):
        run(np.ones(6, np.float32), np.ones(2, np.float32))


def test_an_executable_is_freed_when_it_is_dropped() -> None:
    """At once, not by the collector of cycles: its constants may be large."""
    b = Builder("g")
    x = b.parameter(TensorType(float32, (3,)), "x")
    executable = compile_graph(b.finish([b.add(x, b.constant(np.ones(3, np.float32)))]))
    executable(np.ones(3, np.float32))
    assert isinstance(executable, Executable)
    assert executable._latest is not None
    frame = weakref.ref(executable._latest)
    garbage.disable()
    try:
        del executable
        assert frame() is None
    finally:
        garbage.enable()
