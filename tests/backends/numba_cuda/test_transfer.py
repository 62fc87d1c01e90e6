"""Copies through pinned memory, on a driver that does nothing before it is waited for."""

import threading

import numpy as np
import pytest

from graphc.backends.numba_cuda import transfer
from graphc.backends.numba_cuda.transfer import MOST_PINNED, PIECE, SMALLEST, Download, Staging
from graphc.errors import OutOfMemoryError

from .fake_driver import OUT_OF_MEMORY, FakeDriver


def on_device(driver: FakeDriver, address: int, like: np.ndarray) -> np.ndarray:
    """What is on the device now, without waiting."""
    import ctypes

    return np.frombuffer(ctypes.string_at(address, like.nbytes), like.dtype).reshape(like.shape)


@pytest.mark.parametrize("nbytes", [1, 100, SMALLEST, SMALLEST + 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_an_array_goes_and_comes_back(nbytes: int) -> None:
    driver = FakeDriver()
    staging = Staging(driver)
    array = (np.arange(nbytes) % 251).astype(np.uint8)
    address = driver.allocate(nbytes)
    staging.upload(address, array)
    back = np.zeros_like(array)
    staging.download([Download(address, back)])
    np.testing.assert_array_equal(back, array)


def test_an_array_may_be_changed_while_its_copy_is_under_way() -> None:
    driver = FakeDriver()
    staging = Staging(driver)
    array = np.arange(1000)
    address = driver.allocate(array.nbytes)
    staging.upload(address, array)
    assert driver.fake.done == 0, "nothing was waited for"
    array[:] = -1
    driver.synchronize()
    np.testing.assert_array_equal(on_device(driver, address, array), np.arange(1000))


def test_pinned_memory_is_used_again_only_when_its_copy_is_done() -> None:
    driver = FakeDriver()
    staging = Staging(driver)
    address = driver.allocate(100 * SMALLEST)
    for number in range(10):
        staging.upload(address + number * SMALLEST, np.full(SMALLEST, number, np.uint8))
    assert len(driver.fake.pinned) == 10, "each copy under way has its own"
    driver.synchronize()
    for number in range(10, 20):
        staging.upload(address + number * SMALLEST, np.full(SMALLEST, number, np.uint8))
    assert len(driver.fake.pinned) == 10
    driver.synchronize()
    found = on_device(driver, address, np.empty((20, SMALLEST), np.uint8))
    np.testing.assert_array_equal(found[:, 0], np.arange(20))
    np.testing.assert_array_equal(found[:, -1], np.arange(20))


def test_little_is_pinned_for_large_arrays() -> None:
    driver = FakeDriver()
    staging = Staging(driver)
    array = np.arange(3 * MOST_PINNED // 8)
    address = driver.allocate(array.nbytes)
    staging.upload(address, array)
    assert staging.pinned == sum(map(len, driver.fake.pinned.values())) == MOST_PINNED
    back = np.zeros_like(array)
    staging.download([Download(address, back)])
    np.testing.assert_array_equal(back, array)
    assert staging.pinned <= MOST_PINNED
    staging.release()
    assert not driver.fake.pinned and staging.pinned == 0


def test_pinned_memory_of_other_sizes_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MOST_PINNED", 4 * SMALLEST)
    driver = FakeDriver()
    staging = Staging(driver)
    address = driver.allocate(1 << 20)
    for _ in range(4):
        staging.upload(address, np.zeros(SMALLEST, np.uint8))
    driver.synchronize()
    staging.upload(address, np.ones(4 * SMALLEST, np.uint8))
    assert [len(block) for block in driver.fake.pinned.values()] == [4 * SMALLEST]
    staging.upload(address, np.full(10, 2, np.uint8))  # waits for the copy before, and takes its place
    driver.synchronize()
    assert on_device(driver, address, np.zeros(12, np.uint8)).tolist() == [2] * 10 + [1, 1]


def test_a_host_without_room() -> None:
    driver = FakeDriver()
    driver.fake.failing["cuMemHostAlloc"] = OUT_OF_MEMORY
    with pytest.raises(OutOfMemoryError, match="the host has no room for 4,096 bytes that a GPU made for tests copies"):
        Staging(driver).upload(driver.allocate(100), np.zeros(100, np.uint8))


def test_several_arrays_are_waited_for_once() -> None:
    driver = FakeDriver()
    staging = Staging(driver)
    arrays = [np.full(10, number) for number in range(3)]
    addresses = [driver.allocate(80) for _ in arrays]
    for address, array in zip(addresses, arrays, strict=True):
        staging.upload(address, array)
    got = [np.empty(10, int) for _ in arrays]
    copied = driver.fake.log.count("cuMemcpyDtoHAsync")
    staging.download([Download(address, array) for address, array in zip(addresses, got, strict=True)])
    names = driver.fake.log
    assert copied == 0
    assert names.index("cuEventSynchronize") > max(at for at, name in enumerate(names) if name == "cuMemcpyDtoHAsync")
    np.testing.assert_array_equal(got, arrays)


def test_threads_share_pinned_memory() -> None:
    driver = FakeDriver()
    staging = Staging(driver)
    wrong: list[int] = []
    lock = threading.Lock()  # the fake driver is no better than a list

    def work(number: int) -> None:
        with lock:
            address = driver.allocate(8000)
        for step in range(20):
            array, back = np.full(1000, 100 * number + step), np.empty(1000, int)
            with lock:
                staging.upload(address, array)
            with lock:
                staging.download([Download(address, back)])
            if (array != back).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
