"""What only a real GPU can show."""

import numpy as np
import pytest

from kernels.cuda.backend import CudaKernels
from kernels.cuda.cupy_device import describe
from kernels.cuda.device import Texture
from kernels.cuda.launcher import Launcher
from tests.support.hardware import package

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("scale", [0.3, 0.9, 2.2])
def test_gpu_and_cpu_give_the_same_bits(gpu, devices, scene, options, scale):
    """Only IEEE-rounded operations in a fixed order: the shim's bytes are the GPU's."""
    found = []
    for device in (devices.usual(), gpu()):
        picture, affine = scene.picture(131, 97, **options), scene.affine(scale, 0.4, 60, 50, 48)
        kernels = CudaKernels(device)
        crop = kernels.crop(picture, affine, 48)
        kernels.paste(picture, crop[::-1].copy(), scene.mask(48), affine)
        small = kernels.thumbnail(picture, affine, 48, 41)
        found.append([crop.tobytes(), small.tobytes(), *(p.tobytes() for p in picture.planes)])
    assert found[0] == found[1]


def test_memory_of_the_gpu_keeps_what_is_written(gpu):
    launcher = Launcher(gpu())
    sent = np.random.default_rng(0).random((33, 57), np.float32)
    assert np.array_equal(launcher.fetched(launcher.sent("a", sent), sent.shape, "float32"), sent)
    pitched = launcher.memory("b", 256 * 33)
    launcher.device.write(pitched, 256, sent[:, 3:50])
    back = np.empty((33, 47), np.float32)
    launcher.device.read(pitched, 256, back)
    assert np.array_equal(back, sent[:, 3:50])


def test_marks_measure_what_was_asked_between_them(gpu):
    device = gpu()
    launcher, rows = Launcher(device), np.zeros((1, 64 << 20), np.uint8)
    pointer = launcher.memory("marked", rows.nbytes)
    before, none = device.mark(), device.mark()
    device.write(pointer, rows.nbytes, rows)
    after = device.mark()
    assert device.between(before, after) is None or device.between(before, after) > 0
    device.wait()
    assert device.between(before, after) > device.between(before, none) >= 0


def test_textures_are_described_as_meant():
    """Needs CuPy, but no GPU."""
    cupy = package("cupy", "make test-gpu installs it")

    texture = Texture(
        pointer=512 * 77, pitch=96, width=20, height=7, dtype="uint16", channels=2, zero_beyond=True
    )
    resource, descriptor = describe(cupy, texture, 0)
    assert resource.get_resource_desc() == {
        "resType": 3,
        "pitch2D": {
            "devPtr": 512 * 77,
            "desc": {"x": 16, "y": 16, "z": 0, "w": 0, "f": 1},
            "width": 20,
            "height": 7,
            "pitchInBytes": 96,
        },
    }
    how = descriptor.get_texture_desc()
    assert how["addressMode"][:2] == (3, 3)
    assert (how["filterMode"], how["readMode"], how["normalizedCoords"]) == (0, 0, 0)
    assert how["borderColor"] == (0.0, 0.0, 0.0, 0.0)
