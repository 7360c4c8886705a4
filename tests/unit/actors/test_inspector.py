"""Two films side by side, the second with a known fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.inspector import FaceLook, Inspected, Inspector
from actors.masks import PastedFace
from actors.prober import probe
from kernels.api import Patch
from kernels.cpu import CpuKernels
from kernels.dense_flow import DisFlow
from kernels.picture import Roi
from scheduler.errors import FramesLost

WIDTH, HEIGHT, FRAMES = 160, 120, 12
FACE = Roi(x0=40, y0=30, x1=110, y1=100)
Change = Callable[[int, NDArray[np.uint8]], None]


def film(path: Path, change: Change | None = None, depth: int = 8, frames: int = FRAMES) -> Path:
    """A texture that moves by two pixels a frame, without loss; ``change`` works on the face."""
    rng = np.random.default_rng(7)
    texture = cv2.GaussianBlur(rng.random((HEIGHT, 400)).astype(np.float32), (0, 0), 3)
    wall = np.clip((texture - 0.5) * 900 + 120, 20, 230).astype(np.uint8)
    pix_fmt = "gray" if depth == 8 else "gray10le"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        for at in range(frames):
            picture = wall[:, 2 * at : 2 * at + WIDTH].copy()
            if change is not None:
                change(at, picture[FACE.y0 : FACE.y1, FACE.x0 : FACE.x1])
            samples = picture if depth == 8 else picture.astype(np.uint16) << (depth - 8)
            frame = av.VideoFrame.from_ndarray(samples, pix_fmt)
            frame.pts = at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def pasted(*, missing: int = -1) -> Iterator[PastedFace]:
    touched = np.ones((FACE.y1 - FACE.y0, FACE.x1 - FACE.x0), np.bool_)
    empty = Patch(roi=Roi(x0=0, y0=0, x1=0, y1=0), touched=np.zeros((0, 0), np.bool_))
    for at in range(FRAMES):
        patch = empty if at == missing else Patch(roi=FACE, touched=touched)
        yield PastedFace(frame=at, track=2, patch=patch, strength=1.0, hidden=0.0)


def inspect(source: Path, output: Path, **more: Any) -> list[Inspected]:
    given = {"pairs": range(1, FRAMES), "looks": {}, "pasted": pasted()} | more
    inspector = Inspector(CpuKernels(), DisFlow(), None)
    return list(inspector.inspect(probe(source), probe(output), given.pop("pasted"), **given))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return film(tmp_path / "source.mkv")


@pytest.mark.parametrize("depth", [8, 10])
def test_a_copy_is_as_steady_as_its_source(source: Path, tmp_path: Path, depth: int) -> None:
    found = inspect(source, film(tmp_path / "copy.mkv", depth=depth))
    assert [each.frame for each in found] == list(range(FRAMES))
    assert found[0].steadiness == ()
    for each in found[1:]:
        (face,) = each.steadiness
        assert face.track == 2
        assert face.warp == face.own_warp < 2
        assert face.flicker == face.own_flicker


def test_flicker_is_measured_in_codes(source: Path, tmp_path: Path) -> None:
    def flicker(at: int, face: NDArray[np.uint8]) -> None:
        face += np.uint8(6 * (at % 2))

    for each in inspect(source, film(tmp_path / "flickers.mkv", flicker))[1:]:
        (face,) = each.steadiness
        assert face.warp == pytest.approx(6, abs=0.8)
        assert face.flicker == pytest.approx(6, abs=0.5)
        assert face.own_flicker < 0.5


def test_a_swap_that_is_gone_for_a_frame_is_flicker(source: Path, tmp_path: Path) -> None:
    def darker(at: int, face: NDArray[np.uint8]) -> None:
        if at != 6:
            face -= np.uint8(20)

    found = inspect(source, film(tmp_path / "gone.mkv", darker), pasted=pasted(missing=6))
    warps = [each.steadiness[0].warp for each in found[1:]]
    assert warps[5] > 15, "into the frame without it"
    assert warps[6] > 15, "and out of it"
    assert max(warps[:5] + warps[7:]) < 3


def test_only_the_pairs_asked_for_are_measured(source: Path) -> None:
    found = inspect(source, source, pairs={3, 4, 9})
    assert [each.frame for each in found if each.steadiness] == [3, 4, 9]


def test_portraits_are_cut_from_both_films(source: Path, tmp_path: Path) -> None:
    def white(at: int, face: NDArray[np.uint8]) -> None:
        face[...] = 255

    points = np.array([[90, 55], [80, 55], [60, 55], [70, 55], [75, 75]], np.float32)
    look = FaceLook(track=2, points=points, portrait=True)
    found = inspect(source, film(tmp_path / "white.mkv", white), looks={5: [look]})
    (like,) = found[5].likenesses
    assert (like.before, like.after) == (None, None), "nobody asked for likeness"
    assert like.portraits is not None
    before, after = like.portraits
    assert before.shape == after.shape == (144, 144, 3)
    assert after[72, 72].min() > 250 > before[72, 72].max()


def test_films_that_do_not_fit_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FramesLost, match="--film"):
        inspect(source, film(tmp_path / "short.mkv", frames=FRAMES - 1))
