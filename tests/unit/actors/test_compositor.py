import numpy as np
import pytest

from actors.compositor import Compositor
from actors.frames import Frame, FrameHandle, SlotLayout
from kernels.api import plane_touched
from kernels.cpu import CpuKernels
from kernels.picture import Picture, PictureFormat
from scheduler.errors import RenderError


@pytest.fixture
def frame():
    layout = SlotLayout(format=PictureFormat(width=160, height=90), faces=3, crop_size=64)
    handle = FrameHandle(slot=0, generation=1, frame_index=7, pts=7)
    made = Frame(handle, layout, memoryview(bytearray(layout.nbytes)))
    rng = np.random.default_rng(0)
    for plane in made.picture.planes:
        plane[:] = rng.integers(16, 236, plane.shape)
    made.crops[:] = 0.5
    made.crops[..., 3] = 0
    made.crops[:, 8:56, 12:52, 3] = 1
    for face, (x, y) in enumerate([(0, 0), (60, 20), (500, 500)]):
        made.affines[face] = [[1, 0, -x], [0, 1, -y]]
        made.originals[face] = CpuKernels().crop(made.picture, made.affines[face], 64)
    return made


def test_each_face_gets_its_patch_in_order(frame):
    before = [plane.copy() for plane in frame.picture.planes]
    frame.faces = 3
    patches = Compositor(CpuKernels()).composite(frame)
    assert len(patches) == 3
    assert (patches[0].roi.x1 <= 80, patches[1].roi.x0 > 60, patches[2].roi.empty) == (True,) * 3
    full = np.zeros((90, 160), np.bool_)
    for patch in patches:
        full[patch.roi.y0 : patch.roi.y1, patch.roi.x0 : patch.roi.x1] |= patch.touched
    assert full[30, 30]
    assert full[50, 92]
    assert not full[:, 120:].any()
    for number, (old, new) in enumerate(zip(before, frame.picture.planes, strict=True)):
        allowed = plane_touched(full, frame.picture.format, number)
        assert np.array_equal(old[~allowed], new[~allowed])
        assert (old[allowed] != new[allowed]).any()


@pytest.mark.parametrize("apart", [0, 30, 60, 80])
def test_the_swappers_own_crops_save_sampling_and_change_nothing(frame, apart):
    """Also for faces that overlap: what the first left is what the second is blended with."""
    frame.faces = 2
    frame.affines[1] = [[1.1, 0.1, -1.1 * apart], [-0.1, 1.1, 2]]
    frame.originals[1] = CpuKernels().crop(frame.picture, frame.affines[1], 64)
    rng = np.random.default_rng(1)
    frame.crops[:2, ..., :3] = rng.random((2, 64, 64, 3), np.float32)
    fresh = Picture(
        format=frame.picture.format, planes=tuple(plane.copy() for plane in frame.picture.planes)
    )
    wanted = [
        CpuKernels().paste(fresh, frame.crops[i, ..., :3], frame.crops[i, ..., 3], frame.affines[i])
        for i in range(2)
    ]
    found = Compositor(CpuKernels()).composite(frame)
    for one, other in zip(found, wanted, strict=True):
        assert one.roi == other.roi
        assert np.array_equal(one.touched, other.touched)
    for one, other in zip(frame.picture.planes, fresh.planes, strict=True):
        assert np.array_equal(one, other)


def test_a_frame_without_faces_is_left_alone(frame):
    """Crops that an earlier frame left in the slot do not count."""
    before = [plane.copy() for plane in frame.picture.planes]
    assert Compositor(CpuKernels()).composite(frame) == ()
    for old, new in zip(before, frame.picture.planes, strict=True):
        assert np.array_equal(old, new)


def test_what_a_swapper_broke_is_named(frame):
    frame.faces = 2
    frame.crops[1, 30, 30, 0] = np.nan
    with pytest.raises(RenderError, match=r"face 2 of frame 7.*not finite"):
        Compositor(CpuKernels()).composite(frame)
    frame.crops[1] = 0.5
    frame.affines[1] = 0
    with pytest.raises(RenderError, match="inverted"):
        Compositor(CpuKernels()).composite(frame)
