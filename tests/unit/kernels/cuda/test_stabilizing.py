"""All temporal filters of a face in device memory are those of the CPU, frame after frame."""

from dataclasses import fields

import cv2
import numpy as np
import pytest

from actors.device_stabilizer import DeviceFace, DeviceStabilizer
from actors.frames import Frame, FrameHandle, SlotLayout
from actors.stabilizer import Stabilizer
from kernels.cuda.dense_flow import CudaFlow, HostFlow
from kernels.cuda.launcher import Launcher
from kernels.dense_flow import DisFlow
from kernels.picture import PictureFormat
from scheduler.jobs import StabilizeSettings

FORMAT = PictureFormat(
    width=16, height=16, sub_x=0, sub_y=0, matrix="rgb", transfer="srgb", full_range=True
)
NAMES = [field.name for field in fields(StabilizeSettings)]
ALL = dict.fromkeys(NAMES, True)
NONE = dict.fromkeys(NAMES, False)


def soft(seed, size, deviation):
    field = np.random.default_rng(seed).random((size, size)).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), deviation)
    return (field - field.min()) / np.ptp(field)


class Both:
    """The same frames for the CPU's filters and for the device's."""

    def __init__(self, settings, launcher, size, flow=None):
        self.size, self.launcher = size, launcher
        self.layout = SlotLayout(format=FORMAT, faces=1, crop_size=size)
        self.theirs = Stabilizer(settings, DisFlow())
        self.flow = HostFlow(launcher, DisFlow()) if flow is None else flow
        self.ours = DeviceStabilizer(settings, launcher, self.flow)
        self.scene = np.stack([soft(seed, 2 * size, size / 24) for seed in (1, 2, 3)], -1)
        self.change = soft(4, size, size / 16) - 0.5
        y, x = np.mgrid[:size, :size] - (size - 1) / 2
        inside = 0.42 - np.hypot(x, 0.9 * y) / size
        self.mask = np.clip(inside * 12, 0, 1).astype(np.float32)

    def crops(self, at):
        """(original, swapped) of a frame: the scene moves, the swap jitters."""
        size, rng = self.size, np.random.default_rng(at)
        move = np.array([[1, 0.004 * at, -size / 3 - 0.7 * at], [0, 1, -size / 3 + 0.4 * at]])
        original = cv2.warpAffine(self.scene, move, (size, size), flags=cv2.INTER_CUBIC)
        original = (0.2 + 0.6 * original).clip(0, 1).astype(np.float32)
        own = 0.15 * self.change + 0.05 * (soft(50 + at, size, 4) - 0.5)
        swapped = original * 0.9 + 0.05 + own[..., None] + rng.normal(0, 0.002, original.shape)
        mask = np.roll(self.mask, 2 * at, 1)
        blended = original + mask[..., None] * (swapped.clip(0, 1) - original)
        return original, np.dstack([blended, mask]).astype(np.float32)

    def frame(self, at):
        """(theirs, ours, as swapped), [s, s, 4] each."""
        original, swapped = self.crops(at)
        affine = np.array([[1.0, 0, -0.5 * at], [0, 1, 0]])
        handle = FrameHandle(slot=0, generation=0, frame_index=at, pts=at)
        frame = Frame(handle, self.layout, memoryview(bytearray(self.layout.nbytes)))
        frame.faces = 1
        frame.tracks[0], frame.affines[0] = 5, affine
        frame.originals[0], frame.crops[0] = original, swapped
        self.theirs.stabilize(frame)
        face = DeviceFace(
            track=5,
            affine=affine,
            size=self.size,
            crop=self.launcher.sent("crop in", swapped),
            original=self.launcher.sent("original in", original),
        )
        self.ours.stabilize(at, [face], "srgb")
        ours = self.launcher.fetched(face.crop, swapped.shape, "float32")
        return frame.crops[0].copy(), ours, swapped


@pytest.mark.parametrize(
    ("size", "frames", "settings"),
    [
        (64, 4, ALL),
        (64, 2, NONE | {"flow": True}),
        pytest.param(256, 2, ALL, marks=pytest.mark.slow),
    ],
)
def test_the_devices_filters_are_the_cpus(cuda, size, frames, settings):
    both = Both(StabilizeSettings(**settings), Launcher(cuda()), size)
    for at in range(frames):
        theirs, ours, swapped = both.frame(at)
        apart = np.abs(theirs - ours)
        # Their cubic has a = -0.75 and places of 1/32 pixel, which shows where the mask ends within
        # five pixels; and similarity is of bytes, which shows where the snap's threshold lies.
        assert apart.mean() < 8e-4
        assert apart[..., :3].max() < 0.03
        assert apart[..., 3].max() < 0.1
        if at and settings["flow"]:
            assert np.abs(swapped - ours).mean() > 4 * apart.mean(), "nothing was held"


def test_two_frames_alike_give_the_same_bytes_after_a_gap(cuda):
    """Memory of a track ends where a frame lacks it, and nothing else is kept."""
    launcher = Launcher(cuda())
    both = Both(StabilizeSettings(**ALL), launcher, 64)
    first = [both.frame(at)[1].tobytes() for at in (0, 1)]
    again = Both(StabilizeSettings(**ALL), launcher, 64)
    again.frame(7)
    assert [again.frame(at)[1].tobytes() for at in (0, 1)] == first


@pytest.mark.cuda
@pytest.mark.parametrize("size", [64, 256])
def test_gpu_and_cpu_give_the_same_bits(gpu, devices, size):
    """With the kernels' own flow, too: the shim's bytes are the GPU's."""
    found = []
    for device in (devices.usual(), gpu()):
        launcher = Launcher(device)
        both = Both(StabilizeSettings(**ALL), launcher, size, CudaFlow(launcher, small=size > 64))
        found.append([both.frame(at)[1].tobytes() for at in range(3)])
    assert found[0] == found[1]


@pytest.mark.parametrize("size", [64])
def test_with_the_kernels_own_flow_no_picture_is_copied(cuda, size):
    """From and to the host go the test's own crops and what the sums take."""

    class Counting:
        def __init__(self, device):
            self.device, self.copied = device, 0

        def __getattr__(self, name):
            return getattr(self.device, name)

        def write(self, pointer, pitch, rows):
            self.copied += rows.nbytes
            self.device.write(pointer, pitch, rows)

        def read(self, pointer, pitch, rows):
            self.copied += rows.nbytes
            self.device.read(pointer, pitch, rows)

    device = Counting(cuda())
    launcher = Launcher(device)
    ours = DeviceStabilizer(StabilizeSettings(**ALL), launcher)
    both = Both(StabilizeSettings(**ALL), launcher, size)
    copied = []
    for at in range(3):
        original, swapped = both.crops(at)
        face = DeviceFace(
            track=5,
            affine=np.eye(2, 3),
            size=size,
            crop=launcher.sent("crop in", swapped),
            original=launcher.sent("original in", original),
        )
        before = device.copied
        ours.stabilize(at, [face], "srgb")
        copied.append(device.copied - before)
        steady = launcher.fetched(face.crop, swapped.shape, "float32")
        assert np.isfinite(steady).all()
    # Curves of the transfer go once.
    assert copied[2] < 2000
