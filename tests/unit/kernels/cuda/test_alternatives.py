"""Warps and colour by other libraries are ours but for what is known to differ."""

import numpy as np
import pytest

from kernels.cpu import CpuKernels
from kernels.cuda import steps
from kernels.cuda.alternatives import CvCudaSteps, NotInstalledError, TorchSteps, grid_warp
from kernels.cuda.device import DevicePicture
from kernels.cuda.interop import DeviceArray
from kernels.cuda.launcher import Launcher
from kernels.picture import Roi
from tests.support.hardware import lacking, package

SIZE = 64


@pytest.mark.parametrize("kind", [CvCudaSteps, TorchSteps])
def test_a_missing_library_is_one_clear_error(kind, monkeypatch):
    for name in ("cvcuda", "torch"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(NotInstalledError, match=r"cannot be imported.*Next: install"):
        kind(7)


def made(kind, stream):
    try:
        return kind(stream)
    except NotInstalledError as error:
        lacking(error)


def array(launcher, name, content, stream):
    pointer = launcher.sent(name, content)
    return DeviceArray(
        pointer=pointer, shape=content.shape, dtype=content.dtype.name, stream=stream
    )


def gray(scene):
    """A picture that is the same in all three planes, as R'G'B'."""
    picture = scene.picture(120, 90, planes=1, full_range=True)
    return picture, np.repeat(picture.planes[0][..., None], 3, -1)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", [CvCudaSteps, TorchSteps])
@pytest.mark.parametrize("scale", [0.8, 1.7])
def test_their_warp_is_ours_but_for_its_cubic(gpu, scene, kind, scale):
    device = gpu()
    launcher, theirs = Launcher(device), made(kind, device.stream)
    picture, rgb = gray(scene)
    if kind is TorchSteps:
        rgb = rgb.astype(np.float32)
    affine = scene.affine(scale, 0.3, 60, 45, SIZE)
    out = np.zeros((SIZE, SIZE, 3), rgb.dtype)
    source = array(launcher, "rgb", rgb, device.stream)
    target = array(launcher, "out", out, device.stream)
    theirs.warp(source, affine, target)
    found = launcher.fetched(target.pointer, out.shape, out.dtype.name).astype(np.float64)
    wanted = CpuKernels().crop(picture, affine, SIZE) * 255
    apart = np.abs(found - wanted)
    # -0.75 against -0.5, and what is rounded or clipped.
    assert apart.mean() < 1.5
    assert apart.max() < 12


@pytest.mark.cuda
def test_their_nv12_is_ours(gpu, scene):
    device = gpu()
    launcher, theirs = Launcher(device), made(CvCudaSteps, device.stream)
    picture = scene.picture(96, 64, matrix="bt601", chroma_left=False)
    pairs = np.stack(picture.planes[1:], -1).reshape(32, 96)
    whole = np.concatenate([picture.planes[0], pairs])
    source = array(launcher, "nv12", whole[..., None], device.stream)
    target = array(launcher, "rgb", np.zeros((64, 96, 3), np.uint8), device.stream)
    theirs.rgb_of_nv12(source, target)
    found = launcher.fetched(target.pointer, (64, 96, 3), "uint8").astype(np.float64)
    held = DevicePicture.semi_planar(picture.format, source.pointer, source.pointer + 96 * 64, 96)
    box, out = Roi(x0=0, y0=0, x1=96, y1=64), launcher.memory("ours", 12 * 96 * 64)
    steps.decode(launcher, held, box, out)
    ours = launcher.fetched(out, (64, 96, 3), "float32") * 255
    # They repeat a chroma sample over its block, we read between them.
    assert np.abs(found - ours).mean() < 4


@pytest.mark.cuda
def test_torchs_own_grid_is_ours(scene):
    """Needs torch, but no GPU: the grid's convention of places."""
    torch = package("torch", "make test-gpu installs it")
    picture, rgb = gray(scene)
    affine = scene.affine(1.3, 0.3, 60, 45, SIZE)
    found = grid_warp(torch, torch.as_tensor(rgb), affine, (SIZE, SIZE)).numpy()
    apart = np.abs(found - CpuKernels().crop(picture, affine, SIZE) * 255)
    assert apart.mean() < 1.5
