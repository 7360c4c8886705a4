"""The swapped face is nearer to the source's: measured by an embedder that no swapper uses.

dlib's ResNet-128 (Davis King, 2017): a Euclidean distance below 0.6 means the same person.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dlib
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.compositor import Compositor
from actors.decoder import Decoder
from actors.detector import FaceDetector
from actors.formats import picture_format
from actors.frames import Frame, SlotLayout
from actors.landmarker import FaceLandmarker
from actors.mesh_swapper import MeshSwapper
from actors.models import ModelStore
from actors.observer import FaceObserver
from actors.prober import probe
from actors.sources import load_sources
from actors.swapper import Swapper
from actors.transport.shm import Ring
from kernels.cpu import CpuKernels
from kernels.geometry import apply, display_affine, display_size
from scheduler.jobs import SwapSettings

FRAMES = 20
HAND = range(58, 230)
"""Frames of the clip in which a hand covers part of the face."""
CROP_SIZE = 384
"""What a job chooses for faces of this clip's size."""
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
CHIN = 152


class Embedder:
    """dlib's 128 numbers of a face, on the box that its own detector would give."""

    def __init__(self, models: ModelStore) -> None:
        self._points = dlib.shape_predictor(str(models.path("dlib_shape_predictor_5")))
        self._network = dlib.face_recognition_model_v1(
            str(models.path("dlib_face_recognition_resnet_128"))
        )

    def embed(self, rgb: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        low = landmarks.min(axis=0)
        high = landmarks.max(axis=0)
        low[1], high[1] = landmarks[list(BROWS), 1].min(), landmarks[CHIN, 1]
        centre, half = (low + high) / 2, (high - low).max() / 2
        box = dlib.rectangle(*np.rint([*(centre - half), *(centre + half)]).astype(int).tolist())
        return np.array(self._network.compute_face_descriptor(rgb, self._points(rgb, box)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    frame: int
    before: float
    """Distance of the original frame to the source."""
    after: float
    """Distance of the swapped frame to the source."""
    own: float
    """Distance of the swapped frame to the original one."""


@pytest.fixture(scope="module")
def table(models: ModelStore, samples: dict[str, Path]) -> list[Row]:
    """Decode, track, swap and composite 20 evenly spaced frames of the clip."""
    kernels = CpuKernels()
    detector = FaceDetector(models.path("face_detection_full_range"))
    landmarker = FaceLandmarker(models.path("face_landmark"))
    (source,) = load_sources(
        SwapSettings(sources=(str(samples["astronaut"]),)), detector, landmarker, kernels
    )
    embedder = Embedder(models)
    wanted = embedder.embed(source.image, np.array(source.landmarks))

    index = probe(samples["wolfgang_langer"])
    coded = (index.width, index.height, float(index.sample_aspect_ratio), index.rotation)
    display, (width, height) = display_affine(*coded), display_size(*coded)
    observer = FaceObserver(detector, landmarker, kernels, display)
    swapper = Swapper(MeshSwapper([source], CROP_SIZE), kernels, display)
    compositor = Compositor(kernels)

    def embed(frame: Frame, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        return embedder.embed(
            kernels.thumbnail(frame.picture, display, width, height), landmarks.copy()
        )

    chosen = set(np.linspace(0, index.frames - 1, FRAMES).round().astype(int).tolist())
    rows = []
    layout = SlotLayout(format=picture_format(index), faces=1, crop_size=CROP_SIZE)
    ring = Ring.create(layout, 2)
    try:
        for frame in Decoder(index).decode(0, index.frames, ring):
            number = frame.handle.frame_index
            if number in chosen:
                (face,) = observer.observe(frame.picture, number)
                landmarks = apply(display, face.landmarks)
                original = embed(frame, landmarks)
                swapper.swap(frame, [face])
                compositor.composite(frame)
                swapped = embed(frame, landmarks)
                before, after, own = (
                    float(np.linalg.norm(a - b))
                    for a, b in ((original, wanted), (swapped, wanted), (swapped, original))
                )
                rows.append(Row(frame=number, before=before, after=after, own=own))
            ring.release(frame.handle.slot)
    finally:
        ring.close()
    print("\nframe  original to source  swapped to source  swapped to original")
    for row in rows:
        hand = "  hand" if row.frame in HAND else ""
        print(f"{row.frame:5}  {row.before:18.3f}  {row.after:17.3f}  {row.own:19.3f}{hand}")
    before, after, own = (
        float(np.mean([getattr(row, name) for row in rows])) for name in ("before", "after", "own")
    )
    print(f" mean  {before:18.3f}  {after:17.3f}  {own:19.3f}")
    return rows


def test_the_swapped_face_is_the_sources(table: list[Row]) -> None:
    assert len(table) == FRAMES
    before = np.mean([row.before for row in table])
    after = np.mean([row.after for row in table])
    assert before > 0.7
    assert after <= 0.58
    assert before - after >= 0.15


def test_no_free_face_stays_nearer_to_itself(table: list[Row]) -> None:
    free = [row for row in table if row.frame not in HAND]
    assert len(free) >= 12
    assert [row.frame for row in free if row.after >= row.own] == []
