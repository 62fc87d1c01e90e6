"""Epilogues: what is stored in place of a product's sums, in every kind of kernel."""

import numpy as np
import pytest

from graphc.backends.numba_cpu.backend import NAMESPACE, SIGNATURE
from graphc.backends.numba_cpu.gemm.blocked import block_sizes
from graphc.backends.numba_cpu.gemm.lowering import lower_dot_general
from graphc.backends.numba_cpu.gemm.product import Epilogue
from graphc.backends.numba_cpu.kernels import compile_kernel
from graphc.dtypes import DType, bfloat16, float16, float32, float64
from graphc.ir.types import TensorType

MATRICES = {"contract": ((1,), (0,)), "batch": ((), ())}
DEEP = 2 * block_sizes(float32).depth + 3


def load(dtype: DType, text: str) -> str:
    return text if dtype.bits > 16 else f"{dtype.short}_to_f32({text})"


def run(arrays, shape, epilogue, name, attributes=MATRICES, pieces=1):
    dtype = arrays[0].dtype
    kind = next(d for d in (float32, float64, float16, bfloat16) if d.numpy == dtype)
    types = [TensorType(kind, a.shape) for a in arrays]
    kernels = lower_dot_general(attributes, types, [TensorType(kind, shape)], epilogue, name)
    result = np.full(shape, 7, dtype)
    scratch = [np.empty(t.shape, t.dtype.numpy) for t in kernels[0].scratch]
    addresses = np.array([a.ctypes.data for a in (*arrays, result, *scratch)], dtype=np.int64)
    status = np.zeros(4, np.int64)
    for kernel in kernels:
        code = compile_kernel(kernel.source, kernel.name, SIGNATURE, filename=f"<{kernel.name}>", namespace=NAMESPACE)
        sizes = np.array(kernel.sizes, dtype=np.int64)
        for piece in range(pieces):
            lo, hi = (kernel.extent * edge // pieces for edge in (piece, piece + 1))
            code(addresses.ctypes.data, sizes.ctypes.data, lo, hi, status.ctypes.data)
    return result


SIZES = [(37, 45, 29), (32, 64, 16), (14, 32, DEEP), (40, 70, DEEP), (3, 5, 0), (1, 45, 29), (45, 1, 29)]


@pytest.mark.parametrize("m, n, k", SIZES)
@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=str)
def test_bias_and_relu(dtype, m, n, k):
    rng = np.random.default_rng(0)
    a, b, bias = (rng.standard_normal(s).astype(dtype.numpy) for s in ((m, k), (k, n), n))
    value = f"fmaximum(total + {load(dtype, 'bias[column]')}, np.{dtype.compute.name}(0))"
    got = run((a, b, bias), (m, n), Epilogue(value, buffers=(("bias", dtype, 2),)), "bias_relu", pieces=2)
    wide = [x.astype(np.float64) for x in (a, b, bias)]
    wanted = np.maximum(wide[0] @ wide[1] + wide[2], 0)
    scale = {8: 1e-13, 4: 1e-5, 2: 4e-3}[dtype.itemsize] * (8 if dtype is bfloat16 else 1)
    np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=scale, atol=scale * max(k, 1) ** 0.5)


@pytest.mark.parametrize("k", [1, 2, 21, DEEP])
def test_scale_and_residual_by_position_row_and_matrix(k):
    """A batch whose first matrix is scaled, with the residual read at the result's position and a row's number added."""
    rng = np.random.default_rng(0)
    a, b, residual = (rng.standard_normal(s).astype(np.float32) for s in ((3, 19, k), (3, k, 23), (3, 19, 23)))
    epilogue = Epilogue(
        "scaled + residual[position] + np.float32(row)",
        lines=("scaled = total * np.float32(0.5) if matrix == 0 else total",),
        buffers=(("residual", float32, 2),),
    )
    attributes = {"contract": ((2,), (1,)), "batch": ((0,), (0,))}
    got = run((a, b, residual), (3, 19, 23), epilogue, "scale_residual", attributes, pieces=3)
    wanted = np.matmul(a.astype(np.float64), b.astype(np.float64))
    wanted[0] *= 0.5
    wanted += residual + np.arange(19)[:, None]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * k**0.5)


@pytest.mark.parametrize("shapes", [((30_001,), (30_001,)), ((50, 40), (50,))], ids=str)
def test_dots_and_columns(shapes):
    contract = ((0,), (0,))
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    wanted = np.tensordot(a.astype(np.float64), b.astype(np.float64), contract) * 2 + 1
    epilogue = Epilogue("total * np.float32(2) + np.float32(1)")
    attributes = {"contract": contract, "batch": ((), ())}
    got = run((a, b), wanted.shape, epilogue, "twice_and_one", attributes)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-3)
