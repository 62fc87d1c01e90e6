"""Arrays on the device: copies of any layout, and executables that take and leave them there."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DeviceError, DTypeError
from graphc.ir.primitive import get_primitive
from graphc.runtime.devices import DeviceBuffer, canonical_name, device_count, find_device

pytestmark = pytest.mark.simulator

VIEWS: list[list[tuple[str, dict[str, Any]]]] = [
    [("transpose", {"permutation": (2, 0, 1)})],
    [("slice", {"starts": (0, 1, 2), "limits": (2, 3, 4), "strides": (1, 2, 1)})],
    [("reverse", {"axes": (0, 2)}), ("slice", {"starts": (1, 0, 0), "limits": (2, 3, 4), "strides": (1, 1, 3)})],
    [("reshape", {"shape": (6, 4)}), ("broadcast_in_dim", {"shape": (2, 6, 4), "dims": (1, 2)})],
    [("slice", {"starts": (0, 0, 0), "limits": (0, 3, 4), "strides": (1, 1, 1)})],
    [("slice", {"starts": (1, 0, 0), "limits": (2, 3, 4), "strides": (1, 1, 1)})],
]


def seen(buffer: DeviceBuffer, steps: list[tuple[str, dict[str, Any]]]) -> DeviceBuffer:
    for op, attributes in steps:
        view = buffer.view(op, attributes)
        assert view is not None
        buffer = view
    return buffer


def expected(array: np.ndarray, steps: list[tuple[str, dict[str, Any]]]) -> np.ndarray:
    for op, attributes in steps:
        array = get_primitive(op).evaluate(array, **attributes)
    return array


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool", "uint16"])
def test_arrays_come_back_as_they_went(dtype: str) -> None:
    array = (np.arange(6) % 5).reshape(2, 3).astype(dtype)
    buffer = find_device("cuda").upload(array)
    assert (buffer.shape, buffer.dtype, buffer.nbytes) == ((2, 3), array.dtype, array.nbytes)
    np.testing.assert_array_equal(buffer.numpy(), array)
    np.testing.assert_array_equal(buffer.copy().numpy(), array)


@pytest.mark.parametrize("steps", VIEWS, ids=lambda steps: steps[-1][0])
def test_views_are_read_and_written_through(steps: list[tuple[str, dict[str, Any]]]) -> None:
    array = np.arange(24, dtype="float32").reshape(2, 3, 4)
    buffer = find_device("cuda").upload(array)
    view, want = seen(buffer, steps), expected(array, steps)
    np.testing.assert_array_equal(view.numpy(), want)
    if view.layout.repeats:
        return
    new = np.arange(want.size, dtype="float32").reshape(want.shape) - 100
    find_device("cuda").copy(find_device("cuda").upload(new), view)
    want[...] = new
    np.testing.assert_array_equal(buffer.numpy(), array)


def test_executables_take_and_leave_arrays_on_the_device() -> None:
    graph = gc.parse("""
graph @f(%x: f32[n], %y: f32[n]) -> (f32[n], f32[n], f32[n]) {
  %0: f32[n] = add(%x, %y)
  return %0, %x, %0
}
""")
    compiled: Any = gc.compile_graph(graph, "cuda")
    device = find_device("cuda")
    x, y = np.arange(4, dtype="float32"), np.ones(4, "float32")
    a, b = device.upload(x), device.upload(y)
    for _ in range(2):
        total, same, again = compiled(a, y)
        assert all(type(result) is DeviceBuffer for result in (total, same, again))
        np.testing.assert_array_equal(total.numpy(), x + 1)
        np.testing.assert_array_equal(same.numpy(), x)
        assert len({device.address(buffer.memory) for buffer in (a, total, same, again)}) == 4
    part = b.view("broadcast_in_dim", {"shape": (2, 4), "dims": (1,)})
    assert part is not None
    row = part.view("slice", {"starts": (0, 1), "limits": (2, 2), "strides": (1, 1)})
    assert row is not None
    column = row.view("reshape", {"shape": (2,)})
    assert column is not None
    tail = a.view("slice", {"starts": (2,), "limits": (4,), "strides": (1,)})
    np.testing.assert_array_equal(compiled(column, tail)[0].numpy(), [3, 4])
    assert all(type(result) is np.ndarray for result in compiled(x, y))
    assert type(compiled.on_device(x, y)[0]) is DeviceBuffer
    with pytest.raises(DTypeError, match="has dtype int64"):
        compiled(device.upload(np.arange(4)), b)


def test_the_host_does_not_read_devices_by_accident() -> None:
    buffer = find_device("cuda").upload(np.ones(3, "float32"))
    for function in (np.asarray, np.negative, np.sum):
        with pytest.raises(DeviceError, match="an array on cuda:0 was given to code"):
            function(buffer)


def test_the_interface_for_other_libraries() -> None:
    buffer = find_device("cuda").upload(np.arange(6, dtype="float32").reshape(2, 3))
    described = buffer.__cuda_array_interface__
    assert (described["shape"], described["typestr"], described["strides"]) == ((2, 3), "<f4", None)
    turned = buffer.view("transpose", {"permutation": (1, 0)})
    assert turned is not None
    assert turned.__cuda_array_interface__["strides"] == (4, 12)
    row = buffer.view("slice", {"starts": (1, 0), "limits": (2, 3), "strides": (1, 1)})
    assert row is not None
    assert row.address == buffer.address + 12


def test_names() -> None:
    assert canonical_name("cuda") == canonical_name("cuda:0") == "cuda:0"
    assert canonical_name("cpu") == "cpu"
    assert find_device("cuda") is find_device("cuda:0")
    assert device_count("cuda") == 1
    for wrong in ("tpu", "cuda:", "cuda:x", "cpu:1"):
        with pytest.raises(DeviceError, match="there is no device"):
            canonical_name(wrong)
    with pytest.raises(DeviceError, match="the first GPU only"):
        find_device("cuda:1")
    with pytest.raises(DeviceError, match="no memory of its own"):
        find_device("cpu")
