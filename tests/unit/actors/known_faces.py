"""A small film whose faces move by known motion, and an observer that knows where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.frames import Frame, SlotLayout
from actors.landmarker import Mesh
from actors.observer import FaceObserver, observation
from actors.transport.shm import Ring
from kernels.geometry import apply
from kernels.mesh.canonical import canonical_face
from kernels.picture import Picture, PictureFormat
from scheduler.boxes import overlap
from scheduler.tracks import FaceObservation

WIDTH, HEIGHT = 256, 160
FORMAT = PictureFormat(width=WIDTH, height=HEIGHT, planes=1)
SIZE = 72
"""Side of a face's texture; the mesh fills about three quarters of it."""

Motion = Callable[[int], NDArray[np.float64] | None]
"""Frame -> affine from the face's texture to the frame, None where the face is not there."""


def mesh() -> NDArray[np.float64]:
    """The canonical mesh in the pixels of a face's texture."""
    flat = canonical_face().vertices[:, :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    return (flat - (low + high) / 2) * 0.75 * SIZE / (high - low).max() + (SIZE - 1) / 2


def texture(seed: int, height: int, width: int) -> NDArray[np.float64]:
    noise = np.random.default_rng(seed)
    octaves = [
        cv2.GaussianBlur(noise.normal(0, s, (height, width)), (0, 0), s) for s in (1.5, 4.0, 12.0)
    ]
    whole: NDArray[np.float64] = np.sum(octaves, axis=0)
    return whole / whole.std()


class KnownFilm:
    """Faces with textures of their own before a background that changes at cuts.

    Args:
        motions: one for each face.
        frames: of the film.
        cuts: frames that begin a shot.
    """

    def __init__(self, motions: list[Motion], frames: int, cuts: tuple[int, ...] = ()) -> None:
        self.motions = motions
        self.frames = frames
        self.cuts = cuts
        self._faces = [texture(50 + n, SIZE, SIZE) for n in range(len(motions))]
        self._grounds = [texture(n, HEIGHT, WIDTH) for n in range(len(cuts) + 1)]
        self._pictures: dict[int, NDArray[np.uint8]] = {}

    def picture(self, at: int) -> NDArray[np.uint8]:
        if at not in self._pictures:
            self._pictures[at] = self._paint(at)
        return self._pictures[at]

    def _paint(self, at: int) -> NDArray[np.uint8]:
        shot = sum(cut <= at for cut in self.cuts)
        whole = 128 + 15 * self._grounds[shot]
        for face, motion in zip(self._faces, self.motions, strict=True):
            affine = motion(at)
            if affine is not None:
                light = 100 if shot % 2 else 150
                size = (WIDTH, HEIGHT)
                there = cv2.warpAffine(np.ones_like(face), affine, size, flags=cv2.INTER_LINEAR)
                seen = cv2.warpAffine(light + 35 * face, affine, size, flags=cv2.INTER_CUBIC)
                whole = np.where(there > 0.99, seen, whole)
        whole = whole if shot % 2 == 0 else 255 - whole
        return np.clip(np.rint(whole), 0, 255).astype(np.uint8)

    def truth(self, at: int) -> list[tuple[int, NDArray[np.float64]]]:
        """(number of the face, mesh) of each face in a frame."""
        shown = ((n, motion(at)) for n, motion in enumerate(self.motions))
        return [(n, apply(affine, mesh())) for n, affine in shown if affine is not None]

    def decode(self, start: int, stop: int, ring: Ring) -> Iterator[Frame]:
        """The film's frames within [start, stop), in slots of the ring."""
        for at in range(max(start, 0), min(stop, self.frames)):
            frame = ring.acquire(at, at)
            np.copyto(frame.picture.planes[0], self.picture(at))
            yield frame


def ring(slots: int) -> Ring:
    return Ring.create(SlotLayout(format=FORMAT, faces=0, crop_size=1), slots)


class KnownFaces(FaceObserver):
    """Sees what is there, except where it is told to fail; how well depends on where it looks.

    Args:
        film: the truth.
        missed: (face, frame) that the detector does not find.
        hidden: (face, frame) that the mesh does not accept either.
    """

    def __init__(
        self,
        film: KnownFilm,
        missed: frozenset[tuple[int, int]] = frozenset(),
        hidden: frozenset[tuple[int, int]] = frozenset(),
    ) -> None:
        self._film = film
        self._missed = missed | hidden
        self._hidden = hidden
        self._max_overlap = 0.5
        self._display = np.eye(2, 3)
        self.asked: list[int] = []
        """Frames for which the detector ran."""
        self.looked: list[int] = []
        """Frames at which the mesh looked for a known face."""

    @property
    def guesses(self) -> bool:
        return False

    def observe(self, picture: Picture, frame_index: int) -> list[FaceObservation]:
        self.asked.append(frame_index)
        assert np.array_equal(picture.planes[0], self._film.picture(frame_index)), "a stale slot"
        return self.apart(
            [
                observation(frame_index, Mesh(landmarks=points, presence=0.9), 0.8)
                for face, points in self._film.truth(frame_index)
                if (face, frame_index) not in self._missed
            ]
        )

    def look(
        self, picture: Picture, frame_index: int, points: NDArray[np.float64], score: float
    ) -> FaceObservation | None:
        self.looked.append(frame_index)
        assert np.array_equal(picture.planes[0], self._film.picture(frame_index)), "a stale slot"
        box = np.concatenate([points.min(axis=0), points.max(axis=0)])
        for face, truth in self._film.truth(frame_index):
            extent = np.concatenate([truth.min(axis=0), truth.max(axis=0)])
            if overlap(box, extent) > 0.6 and (face, frame_index) not in self._hidden:
                landmarks = 0.9 * truth + 0.1 * points
                return observation(frame_index, Mesh(landmarks=landmarks, presence=0.95), score)
        return None
