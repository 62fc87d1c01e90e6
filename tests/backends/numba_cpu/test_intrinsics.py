"""Every intrinsic gives the bits that its Python twin gives."""

import re
from typing import Any

import numpy as np
import pytest

from graphc.backends.numba_cpu.intrinsics import INTRINSICS, PYTHON_TWINS
from graphc.backends.numba_cpu.kernels import compile_kernel
from graphc.backends.numba_cpu.scalar_namespace import namespace, python_namespace
from graphc.errors import BackendError

from .ulp import Array

EACH_FLOAT = pytest.mark.parametrize("dtype", ["f32", "f64"])
UNARY = ("floor", "ceil", "trunc", "rint", "sqrt", "fabs")
BINARY = ("copysign", "fmaximum", "fminimum", "add_reassoc", "mul_reassoc", "mul_rounded")
INTEGERS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
BITCASTS = tuple(name for name in INTRINSICS if name.startswith("bitcast_"))


def numpy_type(short: str) -> Any:
    return np.dtype(short[0] + str(int(short[1:]) // 8)).type


def floats(dtype: str) -> Array:
    kind = numpy_type(dtype)
    info = np.finfo(kind)
    edges = [0.0, 0.5, 1.5, 2.5, 0.49999997, 1.0, 127.5, 255.9, 2.0**31, 2.0**32, 2.0**63, 2.0**64, 1e30, np.inf]
    edges += [float(info.smallest_subnormal), float(info.tiny), float(info.max), 8388609.0, 4503599627370497.0]
    random = np.random.default_rng(5)
    values = np.array([*edges, *random.standard_normal(40), *np.exp(random.uniform(-40, 40, 40))], kind)
    return np.concatenate([values, -values, [kind(np.nan)]])


def apply(name: str, arrays: tuple[Array, ...], shorts: tuple[str, ...], target: str) -> Array:
    names = [f"x{k}" for k in range(len(arrays))]
    elements = ", ".join(f"{x}[i]" for x in names)
    text = f"def apply({', '.join(names)}, out, n):\n    for i in range(n):\n        out[i] = {name}({elements})\n"
    signature = (*(f"{short}*" for short in shorts), f"{target}*", "i64")
    kernel = compile_kernel(text, "apply", signature, filename=f"<{name}>", namespace=namespace())
    out = np.empty(arrays[0].shape, numpy_type(target))
    assert kernel(*(array.ctypes.data for array in arrays), out.ctypes.data, out.size) == 0
    return out


def assert_twin_agrees(name: str, arrays: tuple[Array, ...], shorts: tuple[str, ...], target: str) -> None:
    twin = python_namespace()[name]
    kind = numpy_type(target)
    results = [twin(*operands) for operands in zip(*arrays, strict=True)]
    assert all(isinstance(result, kind) for result in results)
    expected, compiled = np.array(results, kind), apply(name, arrays, shorts, target)
    np.testing.assert_array_equal(compiled, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(compiled)[numbers], np.signbit(expected)[numbers])


def pairs(dtype: str) -> tuple[Array, Array]:
    values = floats(dtype)[::3]
    values = np.concatenate([values, values.dtype.type([0.0, -0.0, np.nan])])
    x, y = (np.ascontiguousarray(axis.ravel()) for axis in np.meshgrid(values, values))
    return x, y


@EACH_FLOAT
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: str) -> None:
    assert_twin_agrees(name, (floats(dtype),), (dtype,), dtype)


@EACH_FLOAT
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, dtype: str) -> None:
    assert_twin_agrees(name, pairs(dtype), (dtype, dtype), dtype)


@EACH_FLOAT
def test_fma_rounds_once(dtype: str) -> None:
    x, y = pairs(dtype)
    # Addends that nearly cancel the product show a product rounded on its own.
    with np.errstate(all="ignore"):
        z = np.where(np.arange(x.size) % 2 == 0, -(x * y), np.roll(x, 7))
    assert_twin_agrees("fma", (x, y, z), (dtype,) * 3, dtype)


@EACH_FLOAT
def test_mul_rounded_is_not_contracted(dtype: str) -> None:
    text = "def k(x, out, n):\n    for i in range(n):\n        out[i] = {}(x[i], x[i]) - x[i]\n"
    kernels = {}
    for name in ("mul_rounded", "mul_reassoc"):
        source = text.format(name)
        signature = (f"{dtype}*", f"{dtype}*", "i64")
        kernels[name] = compile_kernel(source, "k", signature, filename=f"<{name}>", namespace=namespace())
    x = 1 + np.finfo(numpy_type(dtype)).eps * np.arange(64, dtype=numpy_type(dtype))
    out = np.empty_like(x)
    kernels["mul_rounded"](x.ctypes.data, out.ctypes.data, x.size)
    np.testing.assert_array_equal(out, x * x - x)


@pytest.mark.parametrize("target", INTEGERS)
@EACH_FLOAT
def test_float_to_integer_saturates(dtype: str, target: str) -> None:
    name = f"float_to_{target}_sat"
    assert_twin_agrees(name, (floats(dtype),), (dtype,), target)
    info = np.iinfo(numpy_type(target))
    x = np.array([np.nan, np.inf, -np.inf, -1.5, 1.5], numpy_type(dtype))
    expected = [0, info.max, info.min, -1 if info.min else 0, 1]
    assert apply(name, (x,), (dtype,), target).tolist() == expected


@pytest.mark.parametrize("name", BITCASTS)
def test_bitcast(name: str) -> None:
    _, source, target = name.split("_")
    bits = np.random.default_rng(9).integers(0, 256, 800, np.uint8).view(numpy_type(source))
    values = bits if source[0] != "f" else np.where(np.isnan(bits), bits.dtype.type(1), bits)
    np.testing.assert_array_equal(apply(name, (values,), (source,), target), values.view(numpy_type(target)))
    twin = PYTHON_TWINS[name]
    for value in values[:20]:
        assert twin(value) == value.view(numpy_type(target)) or np.isnan(value.view(numpy_type(target)))


def test_bitcast_twins_wrap_as_machine_integers_do() -> None:
    assert PYTHON_TWINS["bitcast_i32_f32"](0x3F800000 + (1 << 32)) == np.float32(1)
    assert np.signbit(PYTHON_TWINS["bitcast_i32_f32"](1 << 31))
    assert PYTHON_TWINS["bitcast_u64_f64"](np.uint64(0x3FF0000000000000)) == 1.0


def test_offset_pointer() -> None:
    text = "def k(x, out, n):\n    p = offset_pointer(x, n)\n    for i in range(n):\n        out[i] = p[i]\n"
    kernel = compile_kernel(text, "k", ("i32*", "i32*", "i64"), filename="<offset>", namespace=namespace())
    x, out = np.arange(10, dtype=np.int32), np.zeros(5, np.int32)
    kernel(x.ctypes.data, out.ctypes.data, 5)
    assert out.tolist() == [5, 6, 7, 8, 9]
    assert PYTHON_TWINS["offset_pointer"](x, 5).tolist() == [5, 6, 7, 8, 9]


@EACH_FLOAT
@pytest.mark.parametrize("name", ["add_reassoc", "mul_reassoc", "fmaximum", "fminimum"])
def test_an_accumulating_loop_vectorizes(name: str, dtype: str) -> None:
    loop = f"    for i in range(1, n):\n        total = {name}(total, x[i])\n"
    text = "def k(x, out, n):\n    total = x[0]\n" + loop + "    out[0] = total\n"
    kernel = compile_kernel(text, "k", (f"{dtype}*", f"{dtype}*", "i64"), filename=f"<{name}>", namespace=namespace())
    operation = {"add": "fadd reassoc contract", "mul": "fmul reassoc contract"}.get(name[:3], "@llvm\\.")
    element = "float" if dtype == "f32" else "double"
    assert re.search(rf"{operation}[a-z. ]*\.?v?\d*.*<\d+ x {element}>", kernel.llvm())
    x = np.linspace(0.5, 1.5, 1000, dtype=numpy_type(dtype))
    out = np.empty(1, x.dtype)
    kernel(x.ctypes.data, out.ctypes.data, x.size)
    wide = x.astype(np.float64)
    expected = {"add_reassoc": wide.sum(), "mul_reassoc": wide.prod(), "fmaximum": wide.max(), "fminimum": wide.min()}
    np.testing.assert_allclose(out[0], expected[name], rtol=1e-5)
    x[700] = np.nan
    kernel(x.ctypes.data, out.ctypes.data, x.size)
    assert np.isnan(out[0])


def test_operands_of_two_float_types_are_refused() -> None:
    text = "def k(x, y, out):\n    out[0] = fmaximum(x[0], y[0])\n"
    with pytest.raises(BackendError, match="cannot compile kernel 'k'"):
        compile_kernel(text, "k", ("f32*", "f64*", "f64*"), filename="<mixed>", namespace=namespace())


def test_every_intrinsic_has_a_twin() -> None:
    assert INTRINSICS.keys() == PYTHON_TWINS.keys()
    assert namespace().keys() == python_namespace().keys()
