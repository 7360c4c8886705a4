"""What the compositor's stage does to faces in device memory: what the CPU's does to the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.device_compositor import DeviceFinisher
from actors.device_frames import DeviceFrame
from actors.device_lane import DeviceLane
from actors.finisher import HostFinisher
from actors.frames import Frame, FrameHandle, SlotLayout
from actors.gpu_video import VideoRoute
from kernels.cpu import CpuKernels
from kernels.face_masks import box_mask
from kernels.picture import PictureFormat, Plane
from scheduler.errors import RenderError
from scheduler.hands import HandObservation
from scheduler.jobs import StabilizeSettings
from tests.support.played_gpu import PlayedGpu

SIZE = 64
NV12 = VideoRoute(decode="nvdec", encode="nvenc")
PLANAR = VideoRoute(decode="upload", encode="download")
FORMATS = {
    "nv12": (PictureFormat(width=96, height=72), NV12),
    "p010": (PictureFormat(width=96, height=72, depth=10, matrix="bt2020", transfer="pq"), NV12),
    "planar, odd": (PictureFormat(width=95, height=71), PLANAR),
    "444, 10": (PictureFormat(width=96, height=72, depth=10, sub_x=0, sub_y=0), PLANAR),
    "grey": (PictureFormat(width=96, height=72, planes=1, sub_x=0, sub_y=0), PLANAR),
}
FILTERS = StabilizeSettings(flow=False, guard=False, seam=False)
AFFINES = (
    np.array([[1.3, 0.1, -12.0], [-0.1, 1.3, 2.0]]),
    np.array([[0.9, 0.0, -30.0], [0.0, 0.9, 1.0]]),  # over the first
    np.array([[1.0, 0.0, 500.0], [0.0, 1.0, 0.0]]),  # beyond the frame
)


@pytest.fixture
def lane(played: PlayedGpu) -> Iterator[DeviceLane]:
    lane = DeviceLane(played.gpu)
    yield lane
    lane.close()
    assert (played.driver.used(), played.driver.events()) == (0, 0)


def host_frame(fmt: PictureFormat) -> Frame:
    """A smooth picture with three faces that were swapped."""
    layout = SlotLayout(format=fmt, faces=3, crop_size=SIZE)
    handle = FrameHandle(slot=0, generation=1, frame_index=0, pts=0)
    frame = Frame(handle, layout, memoryview(bytearray(layout.nbytes)))
    top = (1 << fmt.depth) - 1
    for number, plane in enumerate(frame.picture.planes):
        y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
        wave = 0.5 + 0.3 * np.sin(x / 9 + number) * np.cos(y / 7)
        plane[...] = np.rint(top * wave).astype(plane.dtype)
    frame.faces = len(AFFINES)
    rng, kernels = np.random.default_rng(3), CpuKernels()
    for place, affine in enumerate(AFFINES):
        frame.affines[place], frame.tracks[place] = affine, place
        frame.originals[place] = kernels.crop(frame.picture, affine, SIZE)
        tint = rng.uniform(-0.2, 0.2, 3)
        frame.crops[place, ..., :3] = np.clip(frame.originals[place] + tint, 0, 1)
        frame.crops[place, ..., 3] = box_mask(SIZE, 0.3)
    return frame


def device_frame(
    lane: DeviceLane, played: PlayedGpu, route: VideoRoute, host: Frame
) -> DeviceFrame:
    """The same in device memory."""
    fmt = host.picture.format
    ring = lane.arenas.ring(route.layout(fmt, 3, SIZE), 1)
    frame = ring.acquire(0, 0)
    frame.faces = host.faces
    frame.affines[...], frame.tracks[...] = host.affines, host.tracks
    planes: list[Plane] = list(host.picture.planes)
    if frame.layout.semi_planar:
        pairs = np.empty((planes[1].shape[0], 2 * planes[1].shape[1]), planes[1].dtype)
        pairs[:, 0::2], pairs[:, 1::2] = planes[1:]
        planes = [plane << frame.picture.shift for plane in (planes[0], pairs)]
    lane.gpu.upload(planes, frame)
    stream = lane.gpu.compute
    frame.await_filled(stream)
    for pointer, values in ((frame.crops, host.crops), (frame.originals, host.originals)):
        data = np.ascontiguousarray(values).reshape(1, -1).view(np.uint8)
        played.driver.store(pointer, data.nbytes, data, stream)
    ring.close()  # its memory is the arena's
    return frame


def planes_of(lane: DeviceLane, frame: DeviceFrame) -> list[NDArray[np.int64]]:
    frame.mark_filled(lane.gpu.compute)
    found = []
    for number, rows in enumerate(lane.gpu.download(frame)):
        samples = rows.copy().view(frame.layout.format.dtype) >> frame.picture.shift
        pairs = frame.layout.semi_planar and number == 1
        found += [samples[:, 0::2], samples[:, 1::2]] if pairs else [samples]
    return [plane.astype(np.int64) for plane in found]


def finisher(lane: DeviceLane) -> DeviceFinisher:
    border = box_mask(SIZE, 0.3)
    return DeviceFinisher(lane.launcher, FILTERS, None, border, telling=True)


@pytest.mark.parametrize("name", FORMATS)
def test_faces_over_each_other_are_pasted_as_the_cpu_does(
    lane: DeviceLane, played: PlayedGpu, name: str
) -> None:
    fmt, route = FORMATS[name]
    host = host_frame(fmt)
    frame = device_frame(lane, played, route, host)
    before = [plane.astype(np.int64) for plane in host.picture.planes]
    theirs = HostFinisher(CpuKernels(), FILTERS, None)
    wanted, patches = theirs.composite(host), finisher(lane).composite(frame)
    for ours, patch in zip(patches, wanted, strict=True):
        full = np.zeros((2, fmt.height, fmt.width), bool)
        for where, each in zip(full, (ours, patch), strict=True):
            where[each.roi.y0 : each.roi.y1, each.roi.x0 : each.roi.x1] = each.touched
        # The CPU keeps places to 1/4096 of a pixel.
        assert (full[0] != full[1]).sum() <= 0.005 * full[1].sum()
    assert wanted[2].roi.empty
    found = planes_of(lane, frame)
    most = 6 if fmt.transfer == "pq" else 1
    for here, there, then in zip(found, host.picture.planes, before, strict=True):
        assert (there != then).mean() > 0.2
        assert np.abs(here - there).max() <= most
        assert (here != there).mean() < 0.04


def test_an_affine_without_an_inverse_is_the_swappers_fault(
    lane: DeviceLane, played: PlayedGpu
) -> None:
    frame = device_frame(lane, played, NV12, host_frame(FORMATS["nv12"][0]))
    frame.affines[1] = 0
    with pytest.raises(RenderError, match="face 2 of frame 0"):
        finisher(lane).composite(frame)


def test_masks_are_told_and_what_hands_cover_is_taken_out(
    lane: DeviceLane, played: PlayedGpu
) -> None:
    host = host_frame(FORMATS["nv12"][0])
    host.picture.planes[0][:, 40:] = 30  # what is the hand looks like nothing else
    frame = device_frame(lane, played, NV12, host)
    fingers = [(40 + 6 * f, 50 - 9 * j) for f in range(5) for j in range(4)]
    joints = np.array([(55.0, 65.0), *fingers], np.float32)
    hands = [HandObservation(frame=0, landmarks=joints, presence=1.0)]
    theirs, ours = HostFinisher(CpuKernels(), FILTERS, None), finisher(lane)
    np.testing.assert_allclose(ours.strengths(frame), theirs.strengths(host), rtol=1e-3)
    theirs.occlude(host, hands, ())
    ours.occlude(frame, hands, ())
    crops = lane.gpu.compute
    nbytes = host.crops.nbytes
    found = played.driver.load(frame.crops, nbytes, nbytes, 1, crops).view(np.float32)
    left = found.reshape(host.crops.shape)[..., 3]
    assert host.crops[0, ..., 3].sum() < 0.9 * box_mask(SIZE, 0.3).sum()
    assert np.abs(left - host.crops[..., 3]).mean() < 0.005
