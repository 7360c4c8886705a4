"""The shim catches what it is there for: bugs of each kind, planted into the real kernels."""

import ctypes
import re

import cv2
import numpy as np
import pytest

from kernels import reference_flow
from kernels import reference_steps as oracle
from kernels.cuda import dense_flow, steadying, steps
from kernels.cuda.backend import CudaKernels
from kernels.cuda.device import DevicePlane, Texture
from kernels.cuda.launcher import Launcher
from kernels.cuda.modules import sources
from kernels.cuda.signatures import SIGNATURES
from kernels.reference import ReferenceKernels
from tests.support.cuda_device import HostDevice, HostFault

SIZE = 40


class Bent:
    """A device that does one thing otherwise."""

    def __init__(self, device: HostDevice) -> None:
        self._device = device

    def __getattr__(self, name: str) -> object:
        return getattr(self._device, name)


def paste(scene, device) -> int:
    """How many samples of a paste are not as they must be."""
    picture, affine = scene.picture(90, 70), scene.affine(0.8, 0.3, 40, 35, SIZE)
    found, wanted, mask = scene.copy(picture), scene.copy(picture), scene.mask(SIZE)
    crop = 1 - ReferenceKernels().crop(picture, affine, SIZE)
    CudaKernels(device).paste(found, crop, mask, affine)
    ReferenceKernels().paste(wanted, crop, mask, affine)
    apart = [abs(a.astype(int) - b) > 1 for a, b in zip(found.planes, wanted.planes, strict=True)]
    return int(sum(each.sum() for each in apart))


def blur(device) -> float:
    """How far a blur is off."""
    launcher, picture = Launcher(device), np.random.default_rng(0).random((20, 300), np.float32)
    taps, out = steps.gaussian_taps(3, 9), launcher.memory("out", picture.nbytes)
    steps.blur(launcher, launcher.sent("in", picture), out, (300, 20), taps)
    found = launcher.fetched(out, picture.shape, "float32")
    off = np.abs(found - oracle.blur(picture.astype(np.float64), taps, False))
    return float(np.where(np.isfinite(off), off, np.inf).max())


def flow(device) -> float:
    """How far dense flow is from its definition, in its own pixels."""
    launcher, rng = Launcher(device), np.random.default_rng(1)
    field = cv2.GaussianBlur(rng.random((60, 70)), (0, 0), 2.5)
    field = np.rint((field - field.min()) / np.ptp(field) * 255).astype(np.uint8)
    pictures = np.ascontiguousarray(field[4:52, 4:60]), np.ascontiguousarray(field[5:53, 2:58])
    planes = [
        DevicePlane(pointer=launcher.sent(name, each), pitch=56, width=56, height=48, dtype="uint8")
        for name, each in zip(("now", "old"), pictures, strict=True)
    ]
    small = dense_flow.CudaFlow(launcher, small=True).flow(*planes)
    found = launcher.fetched(small.pointer, (small.height, small.width, 2), "float32")
    wanted = reference_flow.dense_flow(
        *(each.astype(np.float64) for each in pictures),
        *(1, dense_flow.ROUNDS, dense_flow.COARSEST, dense_flow.FIRM),
    )
    off = np.abs(found - wanted)
    return float(np.where(np.isfinite(off), off, np.inf).max())


def alike(device) -> float:
    """How far similarity along a motion is off."""
    launcher, rng = Launcher(device), np.random.default_rng(2)
    now, before = rng.integers(0, 256, (2, 30, 41), np.uint8)
    motion = rng.normal(0, 1, (15, 20, 2)).astype(np.float32)
    pair = [launcher.sent(name, each) for name, each in (("now", now), ("before", before))]
    lumas = [steadying.Lumas(original=at, swapped=at) for at in pair]
    where = steps.SmallPicture(pointer=launcher.sent("motion", motion), width=20, height=15)
    outs = [launcher.memory(name, 4 * now.size) for name in ("followed", "alike")]
    steadying.likeness(launcher, *lumas, where, *outs, (41, 30))
    wanted = reference_flow.likeness(*(e.astype(np.float64) for e in (now, before, motion)))
    off = [np.abs(launcher.fetched(out, now.shape, "float32") - wanted) for out in outs]
    return float(np.where(np.isfinite(off), off, np.inf).max())


def without(name: str, pattern: str, instead: str = "") -> dict[str, str]:
    text, count = re.subn(pattern, instead, sources()[name])
    assert count == 1, "the bug is planted nowhere"
    return {name: text}


def test_without_a_bug_all_is_well(devices, scene):
    assert paste(scene, devices.usual()) == 0
    assert blur(devices.usual()) < 1e-5
    assert flow(devices.usual()) < 2e-3
    assert alike(devices.usual()) < 1e-4


def test_other_orders_of_threads_give_the_same_bytes(devices, scene):
    found = []
    for seed in range(3):
        picture, affine = scene.picture(90, 70), scene.affine(0.4, 0.3, 40, 35, SIZE)
        kernels = CudaKernels(devices.changed({}, seed))
        crop = kernels.crop(picture, affine, SIZE)
        kernels.paste(picture, crop[::-1].copy(), scene.mask(SIZE), affine)
        small = kernels.thumbnail(picture, affine, SIZE, SIZE)
        found.append([crop.tobytes(), small.tobytes(), *(p.tobytes() for p in picture.planes)])
    assert found[0] == found[1] == found[2]


def test_missing_barrier_in_the_pyramid(devices, scene):
    device = devices.changed(without("pyramid.cu", r"__syncthreads\(\);"))
    assert paste(scene, device) > 0


def test_missing_barrier_in_the_blur(devices):
    assert blur(devices.changed(without("blur.cu", r"__syncthreads\(\);"))) > 0.01


@pytest.mark.parametrize("which", [0, 1])
def test_missing_barrier_in_dense_flow(devices, which):
    parts = sources()["dense.cu"].split("__syncthreads();")
    assert len(parts) == 3
    text = (";", "__syncthreads();")[which].join(parts[:2])
    text = (";", "__syncthreads();")[1 - which].join([text, parts[2]])
    assert flow(devices.changed({"dense.cu": text})) > 0.01


def test_missing_barrier_in_similarity(devices):
    text = sources()["likeness.cu"].replace("__syncthreads();", ";", 1)
    assert alike(devices.changed({"likeness.cu": text})) > 0.01


@pytest.mark.parametrize("name", ["now level 1", "before level 2", "flow 0"])
def test_short_buffer_in_dense_flow(devices, name, monkeypatch):
    honest = Launcher.memory

    def short(self: Launcher, wanted: str, nbytes: int) -> int:
        return honest(self, wanted, nbytes - 1 if wanted == name else nbytes)

    monkeypatch.setattr(Launcher, "memory", short)
    with pytest.raises(HostFault, match="heap-buffer-overflow"):
        flow(devices.changed({}))


def test_wrong_pitch_of_a_luma(devices):
    class Slanted(Bent):
        def launch(self, kernel, grid, block, arguments):
            if kernel == "halve_bytes":
                arguments[3] = ctypes.c_int(arguments[3].value + 1)
            self._device.launch(kernel, grid, block, arguments)

    try:
        assert flow(Slanted(devices.changed({}))) > 0.01
    except HostFault as fault:
        assert "heap-buffer-overflow" in str(fault)  # noqa: PT017


def test_barrier_that_some_threads_never_reach(devices):
    early = "if ((int)threadIdx.x + first >= width) return;\n__syncthreads();"
    with pytest.raises(HostFault, match="a barrier that not all threads"):
        blur(devices.changed(without("blur.cu", r"__syncthreads\(\);", early)))


def test_shared_memory_that_is_too_small(devices):
    small = without("blur.cu", r"line\[SEGMENT \+ 2 \* FARTHEST_TAP\]", "line[SEGMENT + 8]")
    with pytest.raises(HostFault, match="out of bounds"):
        blur(devices.changed(small))


@pytest.mark.parametrize(
    "name", ["level 0", "level 1", "brought 1", "codes", "touched", "target 1"]
)
def test_short_buffer(devices, scene, name, monkeypatch):
    honest = Launcher.memory

    def short(self: Launcher, wanted: str, nbytes: int) -> int:
        return honest(self, wanted, nbytes - 1 if wanted == name else nbytes)

    monkeypatch.setattr(Launcher, "memory", short)
    with pytest.raises(HostFault, match="heap-buffer-overflow"):
        paste(scene, devices.changed({}))


@pytest.mark.parametrize("wrong", [-32, 32])
def test_wrong_pitch_of_what_is_read(devices, scene, wrong):
    class Slanted(Bent):
        def texture(self, texture: Texture) -> int:
            facts = {name: getattr(texture, name) for name in Texture.__slots__}
            facts["pitch"] += wrong if texture.dtype == "uint8" else 0
            return self._device.texture(Texture(**facts))

    try:
        assert paste(scene, Slanted(devices.changed({}))) > 0
    except HostFault as fault:
        assert "heap-buffer-overflow" in str(fault)  # noqa: PT017


def test_wrong_pitch_of_what_is_written(devices, scene):
    class Slanted(Bent):
        def launch(self, kernel, grid, block, arguments):
            if kernel == "add_change8":
                arguments[4].pitch += 1
            self._device.launch(kernel, grid, block, arguments)

    try:
        assert paste(scene, Slanted(devices.changed({}))) > 0
    except HostFault as fault:
        assert "heap-buffer-overflow" in str(fault)  # noqa: PT017


def test_texture_of_another_type(devices, scene):
    class Confused(Bent):
        def launch(self, kernel, grid, block, arguments):
            self._device.launch(kernel.replace("planar8", "planar16"), grid, block, arguments)

    picture, affine = scene.picture(64, 48), scene.affine(1, 0, 30, 20, SIZE)
    with pytest.raises(HostFault, match="read as another type"):
        CudaKernels(Confused(devices.changed({}))).crop(picture, affine, SIZE)


def test_missing_and_misshapen_arguments(devices):
    launcher = Launcher(devices.usual())
    with pytest.raises(TypeError, match="wanted 7"):
        launcher.run("blur_rows", 8, 8, 0)
    arguments = [kind() for kind in SIGNATURES["blur_rows"].arguments]
    arguments[2] = ctypes.c_int64()
    with pytest.raises(HostFault, match="an argument of another size"):
        devices.changed({}).launch("blur_rows", (1, 1, 1), (128, 1, 1), arguments)
