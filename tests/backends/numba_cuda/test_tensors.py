"""Tensors on a device: what they do there as on the CPU, and what is about devices only."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DeviceError, DonatedError, InPlaceError, MixedDeviceError, OutOfBoundsError, TraceError
from graphc.runtime import dlpack

pytestmark = pytest.mark.simulator


def on_device(data: Any, **options: Any) -> gc.Tensor:
    made: gc.Tensor = gc.tensor(data, device="cuda", **options)
    return made


def same(x: Any, want: Any) -> None:
    assert x.is_cuda
    np.testing.assert_allclose(x.detach().cpu().numpy(), want, rtol=1e-6)


def test_there_and_back() -> None:
    x = gc.tensor([[1.0, 2.0], [3.0, 4.0]])
    for there in (x.to("cuda"), x.cuda(), x.to(gc.device("cuda")), x.to(device="cuda"), x.to(on_device([0.0]))):
        assert there.device == "cuda:0"
        same(there, x.numpy())
        assert there.to("cuda") is there
        np.testing.assert_array_equal(there.cpu().numpy(), x.numpy())
    both = x.to("cuda", gc.int32)
    assert (both.device, both.dtype) == ("cuda:0", gc.int32)
    assert repr(on_device([1.0])) == "tensor([1.], device='cuda:0')"
    assert repr(on_device([1.0], requires_grad=True)) == "tensor([1.], device='cuda:0', requires_grad=True)"


def test_constructors() -> None:
    made = [
        gc.zeros(2, 3, device="cuda"), gc.ones(2, device="cuda"), gc.full((2,), 3, device="cuda"), gc.empty(2, device="cuda"),
        gc.arange(3, device="cuda"), gc.linspace(0, 1, 3, device="cuda"), gc.eye(2, device="cuda"),
        gc.asarray([1, 2], device="cuda"), gc.from_numpy(np.ones(2), device="cuda"), gc.tensor(gc.ones(2), device="cuda"),
        gc.zeros_like(gc.ones(2), device="cuda"), gc.ones_like(gc.ones(2, device="cuda")),
    ]  # fmt: skip
    assert all(x.device == "cuda:0" for x in made)
    assert gc.zeros_like(made[0], device="cpu").device == "cpu"
    same(made[4], [0, 1, 2])


def test_the_default_device() -> None:
    with gc.device("cuda"):
        assert gc.get_default_device() == "cuda:0"
        assert gc.zeros(2).device == gc.tensor([1]).device == gc.random.normal((2,)).device == "cuda:0"
        with gc.device("cpu"):
            assert gc.zeros(2).device == "cpu"
        assert gc.zeros(2, device="cpu").device == "cpu"
        assert gc.from_numpy(np.ones(2)).device == "cpu"
    assert gc.zeros(2).device == "cpu"
    gc.set_default_device("cuda")
    try:
        assert gc.zeros(2).device == "cuda:0"
    finally:
        gc.set_default_device("cpu")
    assert gc.zeros(2).device == "cpu"


def test_one_seed_gives_the_same_numbers_everywhere() -> None:
    gc.random.manual_seed(5)
    here = [gc.random.uniform((3,)).numpy(), gc.random.randint(0, 10, (4,)).numpy()]
    gc.random.manual_seed(5)
    with gc.device("cuda"):
        there = [gc.random.uniform((3,)), gc.random.randint(0, 10, (4,))]
    for one, other in zip(here, there, strict=True):
        same(other, one)


def test_draws_are_made_where_that_is_said() -> None:
    assert gc.random.normal((2,), device="cuda").device == "cuda:0"
    assert gc.random.choice(gc.arange(4, device="cuda"), (2,)).device == "cuda:0"
    same(gc.fori_loop(0, 3, lambda i, total: total + i, gc.zeros(2, device="cuda")), [3, 3])


def test_what_reads_values() -> None:
    x = on_device([3, 4])
    assert (x[0].item(), int(x[1]), bool(x[0] > 2), x.tolist(), x[on_device(1)].item()) == (3, 4, True, [3, 4], 4)
    assert f"{on_device(2.5):.2f}" == "2.50"
    assert [v.item() for v in x] == [3, 4]
    for reads in (x.numpy, lambda: np.asarray(x)):
        with pytest.raises(DeviceError, match="of a tensor on cuda:0") as caught:
            reads()
        assert caught.value.hint == "copy it first: x.cpu().numpy()"


def test_views_share_memory() -> None:
    x = on_device(np.arange(12.0).reshape(3, 4))
    want = np.arange(12.0).reshape(3, 4)
    views = (x.T, want.T), (x[::2, 1:], want[::2, 1:]), (gc.flip(x, 0), want[::-1]), (x.reshape(2, 6), want.reshape(2, 6))
    for view, expected in views:
        view.add_(1)
        expected[...] += 1
        same(x, want)
    x[1] = 0
    want[1] = 0
    same(x, want)
    x[:] = gc.flip(x, 1)
    same(x, want[:, ::-1])
    with pytest.raises(InPlaceError, match="broadcast view"):
        x[0].expand(2, 4).add_(1)


def test_gradients_flow_through_moves() -> None:
    w = gc.tensor([1.0, 2.0], requires_grad=True)
    loss = (w.cuda() * on_device([3.0, 4.0])).sum().cpu()
    loss.backward()
    assert w.grad is not None
    assert w.grad.device == "cpu"
    np.testing.assert_array_equal(w.grad.numpy(), [3, 4])
    (again,) = gc.gradients_of((w.cuda() ** 2).sum(), w)
    assert again is not None
    assert again.device == "cpu"


def test_in_place_and_no_grad() -> None:
    w = on_device([1.0, 2.0], requires_grad=True)
    with pytest.raises(InPlaceError, match="a leaf tensor"):
        w += 1
    with gc.no_grad():
        w += 1
    same(w, [2, 3])
    saved = w * w
    with gc.no_grad():
        w.mul_(2)
    with pytest.raises(InPlaceError, match="was changed in place"):
        saved.sum().backward()
    here = gc.zeros(2)
    here.copy_(w)
    np.testing.assert_array_equal(here.detach().numpy(), [4, 6])


def test_copies_and_pickles() -> None:
    x = on_device([1.0, 2.0], requires_grad=True)
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert other.requires_grad
        same(other, [1, 2])
    y = copy.copy(x.detach())
    y += 1
    same(x, [1, 2])


def test_mixed_devices_name_both_lines() -> None:
    weights = on_device([1.0, 2.0])
    batch = gc.tensor([1.0, 2.0])
    for mixes, name in ((lambda: weights * batch, "mul"), (lambda: gc.maximum(batch, weights), "maximum")):
        with pytest.raises(MixedDeviceError) as caught:
            mixes()
        assert caught.value.message.startswith(name)
        assert "f32[2] on cpu, made at " in caught.value.message
        assert "f32[2] on cuda:0, made at " in caught.value.message
        for tensor in (weights, batch):
            assert str(tensor.origin) in caught.value.message
        assert caught.value.hint is not None
        assert 'x.to("cuda:0")' in caught.value.hint
    same(weights * gc.tensor(2.0), [2, 4])  # without dimensions, it goes with any
    same(weights * np.array([2.0, 3.0], "float32"), [2, 6])
    with pytest.raises(MixedDeviceError, match="f got tensors on different devices"):
        gc.jit(lambda x: x * weights, name="f")(batch)


def test_an_index_out_of_range_is_found_when_somebody_waits() -> None:
    x = on_device([1.0, 2.0])
    y = x[on_device([0, 7])]  # here
    with pytest.raises(OutOfBoundsError, match="index 7 is out of range for axis 0, which has size 2") as caught:
        y.cpu()
    assert caught.value.location.source_line.endswith("# here")


def test_jitted_functions_run_where_their_arguments_are() -> None:
    @gc.jit
    def f(x: Any) -> Any:
        return x * 2 + gc.ones(2, device=x.device)

    assert f(gc.tensor([1.0, 2.0])).device == "cpu"
    same(f(on_device([1.0, 2.0])), [3, 5])
    assert f.trace_count == 2
    assert "x: device cpu → cuda:0" in str(f.explain())
    same(f(on_device([3.0, 2.0])), [7, 5])
    assert f.trace_count == 2
    with pytest.raises(TraceError, match="was to be moved to cpu within a traced function that runs on cuda:0"):
        gc.jit(lambda x: x.cpu())(on_device([1.0]))


def test_jitted_functions_write_back_and_take_donations() -> None:
    x, y = on_device([1.0, 2.0]), on_device([1.0, 1.0])

    @gc.jit
    def add_to(x: Any, y: Any) -> None:
        x += y

    add_to(x, y)
    same(x, [2, 3])
    f = gc.jit(lambda x: x + 1, donate="x")
    same(f(x), [3, 4])
    with pytest.raises(DonatedError):
        x + 1


def test_draws_in_jitted_functions_advance_the_generator() -> None:
    f = gc.jit(lambda x: x + gc.random.uniform((2,)))
    gc.random.manual_seed(1)
    first, second = f(on_device([0.0, 0.0])), f(on_device([0.0, 0.0]))
    gc.random.manual_seed(1)
    np.testing.assert_array_equal(first.cpu().numpy(), gc.random.uniform((2,)).numpy())
    np.testing.assert_array_equal(second.cpu().numpy(), gc.random.uniform((2,)).numpy())


def test_sessions_keep_variables_on_the_device() -> None:
    graph = gc.Graph()
    with gc.Session(graph, target="cuda") as session:
        v = gc.Variable(gc.zeros(3))
        step = v.assign_add(gc.ones(3))
        session.run(gc.global_variables_initializer())
        for _ in range(2):
            session.run(step)
        (kept,) = session._state.values()
        assert kept.device.name == "cuda:0"
        np.testing.assert_array_equal(session.run(v), [2, 2, 2])
    captured = on_device([1.0, 2.0])
    with gc.Session(gc.Graph(), target="cuda") as session:
        np.testing.assert_array_equal(session.run(gc.identity(captured)), [1, 2])
    message = "a Session with the target cpu reads a tensor"
    with gc.Session(gc.Graph()) as session, pytest.raises(MixedDeviceError, match=message):
        session.run(gc.identity(captured))


def test_dlpack_both_ways() -> None:
    x = on_device(np.arange(6.0).reshape(2, 3))
    assert x.__dlpack_device__() == (dlpack.CUDA, 0)
    same_memory = gc.from_dlpack(x.T)
    same_memory[0, 1] = 10
    same(x, [[0, 1, 2], [10, 4, 5]])
    before = len(dlpack._exported)
    x.__dlpack__()
    x.__dlpack__()
    assert len(dlpack._exported) <= before + 1  # what nobody takes is let go
    copied = gc.from_dlpack(x, copy=True)
    copied += 1
    same(x, [[0, 1, 2], [10, 4, 5]])
    assert gc.from_dlpack(x, device="cpu").device == "cpu"
    half = gc.from_dlpack(on_device([1.0, 2.0], dtype=gc.bfloat16))
    assert half.dtype is gc.bfloat16
    with pytest.raises(gc.errors.GradientError):
        on_device([1.0], requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="exported there only"):
        x.__dlpack__(dl_device=(1, 0))
    with pytest.raises(gc.errors.ArgumentError, match="taken already"):
        capsule = x.__dlpack__()
        dlpack.from_capsule(capsule)
        dlpack.from_capsule(capsule)


class Foreign:
    """Another library's array on the GPU."""

    def __init__(self, x: gc.Tensor) -> None:
        self.__cuda_array_interface__ = x.__cuda_array_interface__


def test_the_cuda_array_interface_both_ways() -> None:
    x = on_device(np.arange(6.0).reshape(2, 3), dtype=gc.float32)
    for wrapped in (gc.asarray(Foreign(x)), gc.asarray(Foreign(x.T)).T):
        assert wrapped.shape == (2, 3)
        wrapped += 1
    same(x, np.arange(6.0).reshape(2, 3) + 2)
    copied = gc.tensor(Foreign(x))
    copied += 1
    same(x, np.arange(6.0).reshape(2, 3) + 2)
    assert not hasattr(on_device([1.0], requires_grad=True), "__cuda_array_interface__")


def test_what_gpus_there_are() -> None:
    assert gc.cuda.is_available()
    assert (gc.cuda.device_count(), gc.cuda.current_device()) == (1, 0)
    assert gc.cuda.get_device_name() == gc.cuda.get_device_name("cuda:0") == gc.cuda.get_device_name(0) != ""
    assert len(gc.cuda.get_device_capability()) == 2
    gc.cuda.synchronize()
    with pytest.raises(DeviceError, match="cpu is no GPU"):
        gc.cuda.synchronize("cpu")


def test_memory_comes_back() -> None:
    gc.cuda.reset_peak_memory_stats()
    before = gc.cuda.memory_allocated()
    x = gc.zeros(10_000, device="cuda")
    assert gc.cuda.memory_allocated() >= before + 40_000
    del x
    gc.cuda.synchronize()
    assert gc.cuda.memory_allocated() == before
    assert gc.cuda.max_memory_allocated() >= before + 40_000
    assert gc.cuda.memory_reserved() >= before
    gc.cuda.empty_cache()
    assert set(gc.cuda.memory_stats()) >= {"allocated_bytes", "peak_allocated_bytes", "reserved_bytes"}
