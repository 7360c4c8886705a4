"""The hand before the face of a real film: found on its frames, outlined, the same in chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.decoder import Decoder
from actors.detector import FaceDetector
from actors.formats import picture_format
from actors.frames import Frame, FrameHandle, SlotLayout
from actors.hand_landmarker import HandLandmarker
from actors.hands import HALO, HandTracker
from actors.landmarker import FaceLandmarker
from actors.models import ModelStore
from actors.observer import FaceObserver
from actors.occluder import Occluder
from actors.palms import PalmDetector
from actors.prober import probe
from actors.toolbox import DETECTOR, HAND_LANDMARKER, LANDMARKER, PALM_DETECTOR
from kernels.cpu import CpuKernels
from kernels.geometry import Affine, apply
from kernels.mesh.canonical import OVAL
from kernels.picture import PictureFormat
from scheduler.hands import HandObservation
from scheduler.tracks import FaceObservation

UPRIGHT = np.eye(2, 3)
DRAWN = json.loads((Path(__file__).parents[1] / "data" / "hand_polygons.json").read_text())
FIRST, LAST = DRAWN["hand_on_face"]
POLYGONS = {int(frame): np.array(points) for frame, points in DRAWN["polygons"].items()}
SIZE = 384


@dataclass(frozen=True, slots=True)
class Film:
    frames: tuple[Frame, ...]
    faces: dict[int, FaceObservation]
    """The one of a frame, where a test asks for it."""


class ManySlots:
    """A ring that never gets a frame back."""

    def __init__(self, fmt: PictureFormat) -> None:
        self._layout = SlotLayout(format=fmt, faces=1, crop_size=SIZE)

    def acquire(self, frame_index: int, pts: int) -> Frame:
        handle = FrameHandle(slot=0, generation=0, frame_index=frame_index, pts=pts)
        return Frame(handle, self._layout, memoryview(bytearray(self._layout.nbytes)))


@pytest.fixture(scope="module")
def film(models: ModelStore, samples: dict[str, Path]) -> Film:
    index = probe(samples["wolfgang_langer"])
    frames = tuple(Decoder(index).decode(0, index.frames, ManySlots(picture_format(index))))
    observer = FaceObserver(
        FaceDetector(models.path(DETECTOR)),
        FaceLandmarker(models.path(LANDMARKER)),
        CpuKernels(),
        UPRIGHT,
    )
    faces = {}
    for at, frame in enumerate(frames):
        if HandTracker.looks_at(at) or FIRST <= at <= LAST:
            (faces[at],) = observer.observe(frame.picture, at)
    return Film(frames, faces)


def follow(models: ModelStore, film: Film, start: int, stop: int) -> list[HandObservation]:
    """The hands of a chunk, from its frames and their halo."""
    tracker = HandTracker(
        PalmDetector(models.path(PALM_DETECTOR)),
        HandLandmarker(models.path(HAND_LANDMARKER)),
        CpuKernels(),
        UPRIGHT,
    )
    for at in range(max(start - HALO, 0), min(stop + HALO, len(film.frames))):
        boxes = [film.faces[at].box] if tracker.looks_at(at) else []
        tracker.observe(film.frames[at].picture, at, boxes)
    return tracker.result(start, stop)


@pytest.fixture(scope="module")
def hands(models: ModelStore, film: Film) -> dict[int, list[HandObservation]]:
    found: dict[int, list[HandObservation]] = {at: [] for at in range(len(film.frames))}
    for hand in follow(models, film, 0, len(film.frames)):
        found[hand.frame].append(hand)
    return found


def drawn(affine: Affine, points: NDArray[np.floating]) -> NDArray[np.bool_]:
    picture = np.zeros((SIZE, SIZE), np.uint8)
    fixed = np.round(apply(affine, points) * 16).astype(np.int32)
    cv2.fillPoly(picture, [fixed], 1, shift=4)
    return picture > 0


def covers(
    film: Film, hands: dict[int, list[HandObservation]], frames: Sequence[int]
) -> Iterator[tuple[int, Affine, NDArray[np.bool_], NDArray[np.bool_]]]:
    """(frame, its map to the crop, face, hand on the face) as the occluder leaves the masks."""
    occluder = Occluder(CpuKernels())
    for at in frames:
        frame, face = film.frames[at], film.faces[at]
        low, high = face.box.reshape(2, 2).astype(np.float64)
        scale = SIZE / (1.4 * float((high - low).max()))
        shift = (SIZE - 1) / 2 - scale * (low + high) / 2
        affine = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
        fmt = frame.picture.format
        edges = [[-0.5, -0.5], [fmt.width - 0.5, -0.5]]
        edges += [[fmt.width - 0.5, fmt.height - 0.5], [-0.5, fmt.height - 0.5]]
        oval = drawn(affine, face.landmarks[list(OVAL)]) & drawn(affine, np.array(edges))
        frame.faces = 1
        frame.affines[0] = affine
        frame.crops[0, ..., 3] = oval
        occluder.occlude(frame, hands[at])
        yield at, affine, oval, oval & (frame.crops[0, ..., 3] < 0.5)


def test_outlines_are_those_drawn_by_eye(
    film: Film, hands: dict[int, list[HandObservation]]
) -> None:
    scores = {}
    for at, affine, oval, cover in covers(film, hands, sorted(POLYGONS)):
        wanted = oval & drawn(affine, POLYGONS[at])
        scores[at] = (cover & wanted).sum() / (cover | wanted).sum()
    assert len(scores) >= 6
    assert np.mean(list(scores.values())) >= 0.85, scores
    assert min(scores.values()) >= 0.75, scores


def test_the_hand_is_masked_on_its_frames_and_on_no_other(
    film: Film, hands: dict[int, list[HandObservation]]
) -> None:
    on_face = [
        cover.sum() / oval.sum()
        for _, _, oval, cover in covers(film, hands, range(FIRST, LAST + 1))
    ]
    assert np.mean(np.array(on_face) > 0.005) >= 0.95
    clear = [at for at in hands if not FIRST <= at <= LAST and not hands[at]]
    assert len(clear) == 300, "no hand is seen where there is none"


def test_chunks_find_what_the_whole_film_does(
    models: ModelStore, film: Film, hands: dict[int, list[HandObservation]]
) -> None:
    for start, stop in ((50, 71), (133, 146), (220, 236)):
        chunk = follow(models, film, start, stop)
        whole = [hand for at in range(start, stop) for hand in hands[at]]
        assert len(chunk) == len(whole) > 0
        for one, other in zip(chunk, whole, strict=True):
            assert (one.frame, one.presence) == (other.frame, other.presence)
            assert one.landmarks.tobytes() == other.landmarks.tobytes()


def test_a_clear_crop_keeps_its_mask(film: Film, hands: dict[int, list[HandObservation]]) -> None:
    frame = film.frames[150]
    # A face elsewhere in the frame, where this hand is not.
    frame.affines[0] = [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    frame.crops[0, ..., 3] = 1
    Occluder(CpuKernels()).occlude(frame, hands[150])
    assert (frame.crops[0, ..., 3] == 1).all()
