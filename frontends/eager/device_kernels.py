"""How one eager op is computed on a device: by an executable of that op alone, made once for operands of a kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from graphc.compile import compile_graph
from graphc.dtypes import as_dtype
from graphc.errors import GraphcError
from graphc.frontends.eager.prepared import PreparedOp, prepare
from graphc.frontends.eager.recent import Recent
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, symbol
from graphc.ir.graph import Graph
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN, current_location
from graphc.ops.inspection import state as inspection
from graphc.runtime.device_buffer import DeviceBuffer
from graphc.runtime.devices import Device, as_host

#: Ops that call Python: they see arrays in the host's memory.
_ON_HOST: Final = frozenset(("print", "callback", "check"))

_executables: Recent[Any, Any] = Recent(1024)


def run_op(device: Device, prepared: PreparedOp, arrays: Sequence[Any]) -> list[DeviceBuffer]:
    """The results of an op on ``arrays``, buffers of ``device`` or NumPy arrays, whose types are those it was prepared for."""
    if prepared.op.name in _ON_HOST or inspection.inspector is not None:
        return _run_on_host(device, prepared, arrays)
    try:
        return list(_executable(device, prepared, arrays).on_device(*arrays, location=current_location()))
    except GraphcError as error:
        error.location = current_location()  # the executable's is that of the call it was made for
        raise


def run_graph(device: Device, executable: Any, arrays: Sequence[Any]) -> list[DeviceBuffer]:
    """The outputs of a compiled graph, or of a function on NumPy arrays, on ``device``."""
    if hasattr(executable, "on_device"):
        return list(executable.on_device(*arrays))
    return [device.upload(np.asarray(result)) for result in executable(*as_host(arrays))]


def compile_for(device: Device, graph: Graph) -> Any:
    """``graph`` compiled for ``device``."""
    return compile_graph(graph, device.target)


def add_arrays(one: Any, two: Any) -> Any:
    """The sum of two arrays, of which either may be on a device; it is where the first one is."""
    if type(one) is not DeviceBuffer:
        return one + (two.numpy() if type(two) is DeviceBuffer else two)
    type_ = TensorType(as_dtype(one.dtype), one.shape)
    return run_op(one.device, prepare(get_primitive("add"), (type_, type_), {}), (one, two))[0]


def _run_on_host(device: Device, prepared: PreparedOp, arrays: Sequence[Any]) -> list[DeviceBuffer]:
    host = as_host(arrays)
    if prepared.broadcasts:
        host = list(np.broadcast_arrays(*host))
    results = prepared.op.evaluate(*host, **prepared.attributes)
    results = results if isinstance(results, tuple) else (results,)
    if inspection.inspector is not None:
        inspection.inspector(prepared.op, host, results, current_location())
    return [device.upload(np.asarray(result)) for result in results]


def _executable(device: Device, prepared: PreparedOp, arrays: Sequence[Any]) -> Any:
    op, attributes = prepared.op, prepared.attributes
    whole: tuple[Any, ...] = prepared.operand_types[0].shape if op.elementwise else ()
    kinds = tuple([(a.dtype, _repeated_axes(a.shape, whole) if op.elementwise else a.shape) for a in arrays])
    key = (device.name, op.name, kinds, len(whole), tuple(attributes.items()))
    try:
        found = _executables.recall(key)
    except TypeError:  # an attribute that is a list or an array
        return _compiled(device, prepared, arrays, whole)
    if found is None:
        found = _compiled(device, prepared, arrays, whole)
        _executables.keep(key, found)
    return found


def _repeated_axes(shape: tuple[int, ...], whole: tuple[int, ...]) -> tuple[bool, ...]:
    """Along which axes an operand of an elementwise op is repeated."""
    return tuple([size != target for size, target in zip(shape, whole[len(whole) - len(shape) :], strict=True)])


def _compiled(device: Device, prepared: PreparedOp, arrays: Sequence[Any], whole: tuple[int, ...]) -> Any:
    b = Builder(f"eager_{prepared.op.name}")
    b.location = UNKNOWN
    sizes: tuple[Dim, ...] = tuple([symbol(f"n{axis}") for axis in range(len(whole))])
    operands = []
    for array in arrays:
        shape: tuple[Dim, ...] = array.shape
        if prepared.op.elementwise:
            last = sizes[len(whole) - len(shape) :]
            shape = tuple([1 if r else n for n, r in zip(last, _repeated_axes(array.shape, whole), strict=True)])
        operand = b.parameter(TensorType(as_dtype(array.dtype), shape))
        if prepared.op.elementwise and shape != sizes:
            dims = tuple(range(len(whole) - len(shape), len(whole)))
            operand = b.emit_one("broadcast_in_dim", operand, shape=sizes, dims=dims)
        operands.append(operand)
    return compile_graph(b.finish(b.emit(prepared.op, *operands, **prepared.attributes)), device.target)
