"""Our memory as an array of other libraries, and theirs as ours: by the CUDA Array Interface."""

import numpy as np
import pytest

from kernels.cuda.device import DevicePlane
from kernels.cuda.interop import LEGACY, DeviceArray, offered, taken
from tests.support.hardware import package

STREAM = 0x5EED0


class Ours:
    """A device whose stream notes whom it waited for."""

    def __init__(self):
        self.stream, self.waited = STREAM, []

    def wait_for(self, stream):
        self.waited.append(stream)


class Foreign:
    def __init__(self, **interface):
        self.__cuda_array_interface__ = {
            "shape": (4, 6),
            "typestr": "<f4",
            "data": (4096, False),
            "version": 3,
            **interface,
        }


class OnHost:
    """What NumPy reads as an array interface: the same keys, but for host memory."""

    def __init__(self, array):
        given = dict(array.__cuda_array_interface__)
        given.pop("stream")
        self.__array_interface__ = given
        self.keep = array


def test_the_interface_has_what_version_3_says():
    holder = object()
    plane = DevicePlane(pointer=512, pitch=64, width=20, height=5, dtype="uint16", channels=2)
    array = offered(plane, STREAM, holder)
    interface = array.__cuda_array_interface__
    assert interface == {
        "shape": (5, 20, 2),
        "typestr": "<u2",
        "data": (512, False),
        "version": 3,
        "strides": (64, 4, 2),
        "stream": STREAM,
    }
    assert [type(each) for each in interface["data"]] == [int, bool]
    assert array.holder is holder
    assert array.plane() == plane


def test_an_array_without_gaps_has_no_strides():
    plane = DevicePlane(pointer=512, pitch=80, width=20, height=5, dtype="float32")
    interface = offered(plane, 1, None).__cuda_array_interface__
    assert (interface["strides"], interface["typestr"], interface["shape"]) == (
        None,
        "<f4",
        (5, 20),
    )
    assert offered(plane, 1, None).plane() == plane


def test_no_memory_is_at_nought():
    assert DeviceArray(pointer=77, shape=(0, 3), dtype="uint8").__cuda_array_interface__[
        "data"
    ] == (0, False)


@pytest.mark.parametrize("channels", [1, 2])
def test_numpy_finds_the_same_samples(channels):
    """A consumer that is not ours: NumPy's array interface has the same shape, type and strides."""
    rng = np.random.default_rng(2)
    memory = rng.integers(0, 2**16, (7, 40), np.uint16)
    plane = DevicePlane(
        pointer=memory.ctypes.data, pitch=80, width=9, height=7, dtype="uint16", channels=channels
    )
    seen = np.asarray(OnHost(offered(plane, STREAM, memory)))
    wanted = memory[:, : 9 * channels].reshape(7, 9, 2) if channels == 2 else memory[:, :9]
    assert np.array_equal(seen, wanted)
    seen[0, 0] = 7
    assert (memory[0, :channels] == 7).all(), "a copy"


def test_the_ambiguous_stream_is_refused():
    with pytest.raises(ValueError, match="stream 0"):
        DeviceArray(pointer=512, shape=(4,), dtype="uint8", stream=0)
    with pytest.raises(ValueError, match="stream 0"):
        taken(Foreign(stream=0), Ours())
    with pytest.raises(ValueError, match="one for each axis"):
        DeviceArray(pointer=512, shape=(4,), dtype="uint8", strides=(4, 1))


@pytest.mark.parametrize(
    ("interface", "waited"),
    [
        ({"stream": 99}, [99]),
        ({"stream": LEGACY}, [LEGACY]),
        ({"stream": None}, []),
        ({}, []),
        ({"stream": STREAM}, []),
        ({"version": 2}, [LEGACY]),
    ],
)
def test_what_is_taken_is_waited_for(interface, waited):
    ours, foreign = Ours(), Foreign(**interface)
    array = taken(foreign, ours)
    assert ours.waited == waited
    assert array.holder is foreign
    assert array.plane() == DevicePlane(pointer=4096, pitch=24, width=6, height=4, dtype="float32")


def test_what_cannot_be_taken_is_refused():
    ours = Ours()
    with pytest.raises(ValueError, match="ndarray has no __cuda_array_interface__"):
        taken(np.zeros(3), ours)
    with pytest.raises(ValueError, match="mask"):
        taken(Foreign(mask=Foreign()), ours)
    turned = taken(Foreign(strides=(4, 16)), ours)
    with pytest.raises(ValueError, match="whose rows have no gaps"):
        turned.plane()
    with pytest.raises(ValueError, match=r"wanted \[h, w\]"):
        taken(Foreign(shape=(4, 6, 3)), ours).plane()
    assert taken(Foreign(data=(4096, True)), ours).read_only


@pytest.mark.cuda
def test_cupy_and_torch_see_our_memory(gpu):
    """The same bytes at the same place, both ways."""
    device = gpu()
    cupy = package("cupy", "make test-gpu installs it")
    picture = np.random.default_rng(1).random((6, 8), np.float32)
    memory = device.reserve(picture.nbytes)
    device.write(memory.pointer, 32, picture)
    plane = DevicePlane(pointer=memory.pointer, pitch=32, width=8, height=6, dtype="float32")
    array = offered(plane, device.stream, memory)
    theirs = cupy.asarray(array)
    assert theirs.data.ptr == memory.pointer
    assert np.array_equal(cupy.asnumpy(theirs), picture)
    theirs += 1
    back = taken(theirs, device).plane()
    found = np.empty_like(picture)
    device.read(back.pointer, back.pitch, found)
    assert np.array_equal(found, picture + 1)
    torch = package("torch", "make test-gpu installs it")
    tensor = torch.as_tensor(array, device="cuda")
    assert tensor.data_ptr() == memory.pointer
    assert np.array_equal(tensor.cpu().numpy(), picture + 1)
