"""The stage that puts a new face on each face of a frame.

Which face, and how, is the business of a ``FaceSwapper``; this file cuts the crops for it, gathers
them over frames where it works on several at once, and has the results laid into the frames' slots,
where the compositor finds them. ``FaceGatherer`` is what of it does not care where the pixels lie.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from actors.frames import Frame, SlotNotes
from actors.swap_memory import SwapMemory
from kernels.api import Kernels
from kernels.geometry import Affine, apply, compose
from kernels.picture import Picture
from scheduler.tracks import FaceObservation

S = TypeVar("S", bound=SlotNotes)
A = TypeVar("A")
A_contra = TypeVar("A_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedFace:
    """One face to swap. Coordinates: pixel centres on whole numbers."""

    picture: Picture
    """The frame as decoded, for swappers that must see more than the crop."""
    affine: NDArray[np.float64]
    """[2, 3] frame pixels -> crop pixels."""
    crop: NDArray[np.float32]
    """[size, size, 3] the stream's own R'G'B', 0..1."""
    landmarks: NDArray[np.float64]
    """[n, 2] in crop pixels."""
    out: NDArray[np.float32]
    """[size, size, 4], to be filled: the swapped R'G'B' 0..1 and the blend mask 0..1, soft, zero at
    the border. Where the mask is zero the frame keeps its pixels."""


class CropSwapper(Protocol[A_contra]):
    """Changes faces in aligned crops, wherever these lie. It keeps nothing from one face to the
    next."""

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        ...

    @property
    def batch(self) -> int:
        """How many faces it would like to be given at once; 1: it gains nothing from several."""
        ...

    def affine(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        """The crop that the swapper wants of a face.

        Args:
            landmarks: [n, 2] in upright square display pixels.
        Returns: float64 [2, 3] display pixels -> crop pixels, a similarity.
        """
        ...

    def swap_all(self, faces: Sequence[A_contra]) -> None:
        """Swap any number of faces, each as if it were alone: fills the crops of all."""
        ...


class FaceSwapper(CropSwapper[AlignedFace], Protocol):
    """A swapper of crops in host memory: fills ``out`` of each face."""


class FaceGatherer(ABC, Generic[S, A]):
    """Gathers the faces of frames into batches.

    Args:
        face_swappers: by person, the size of all the same.
        display: float64 [2, 3] coded frame pixels -> upright square display pixels.
        beat: called each time that a batch of faces is done: one frame may take minutes.
    """

    def __init__(
        self,
        face_swappers: Mapping[int, CropSwapper[A]],
        display: NDArray[np.float64],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._face_swappers = face_swappers
        self._display = display
        self._beat = beat

    @abstractmethod
    def _place(self, frame: S, place: int, face: FaceObservation, affine: Affine) -> A | None:
        """Cuts the crop of a face into its place in the slot; None: it is swapped already.

        Args:
            affine: frame pixels -> crop pixels.
        """

    def _done(self, frame: S, faces: Sequence[FaceObservation]) -> None:
        """The faces of a frame are swapped."""

    def affine(self, face: FaceObservation) -> Affine:
        """float64 [2, 3] frame pixels -> pixels of the crop that the face's swapper wants."""
        aligned = self._face_swappers[face.person].affine(apply(self._display, face.landmarks))
        return compose(aligned, self._display)

    def swap(self, frame: S, faces: Sequence[FaceObservation]) -> None:
        """Fill ``frame.crops``, ``originals``, ``affines``, ``tracks`` and ``faces``, in the order
        given.

        Raises:
            ValueError: more faces than the slot has room for.
        """
        for _ in self.swap_frames([frame], {frame.handle.frame_index: faces}, hold=0):
            continue

    def swap_frames(
        self,
        frames: Iterable[S],
        faces: Mapping[int, Sequence[FaceObservation]],
        *,
        hold: int,
    ) -> Iterator[S]:
        """The frames in their order, each as ``swap`` leaves it.

        A frame is held back until the faces of a person fill its swapper's batch, or ``hold``
        frames are held already. How faces are gathered never changes what comes out.

        Args:
            frames: as decoded.
            faces: to swap, by frame index.
            hold: how many frames may be held back while the next is asked for.

        Raises:
            ValueError: more faces than a slot has room for.
        """
        held: list[S] = []
        waiting: dict[int, list[A]] = {}
        for frame in frames:
            seen = faces.get(frame.handle.frame_index, ())
            frame.faces = len(seen)
            for place, face in enumerate(seen):
                affine = self.affine(face)
                frame.affines[place] = affine
                frame.tracks[place] = face.track
                aligned = self._place(frame, place, face, affine)
                if aligned is not None:
                    waiting.setdefault(face.person, []).append(aligned)
            held.append(frame)
            if len(held) > hold or self._due(waiting):
                yield from self._swapped(held, waiting, faces)
                held, waiting = [], {}
        yield from self._swapped(held, waiting, faces)

    def _due(self, waiting: Mapping[int, Sequence[A]]) -> bool:
        """Whether there is nothing to wait for, or a batch is full."""
        return not waiting or any(
            len(faces) >= self._face_swappers[person].batch for person, faces in waiting.items()
        )

    def _swapped(
        self,
        held: Sequence[S],
        waiting: Mapping[int, Sequence[A]],
        faces: Mapping[int, Sequence[FaceObservation]],
    ) -> Sequence[S]:
        """The frames that were held back, once those of their faces that wait are swapped."""
        for person in sorted(waiting):
            face_swapper, crops = self._face_swappers[person], waiting[person]
            for first in range(0, len(crops), face_swapper.batch):
                face_swapper.swap_all(crops[first : first + face_swapper.batch])
                self._beat()
        for frame in held:
            self._done(frame, faces.get(frame.handle.frame_index, ()))
        return held


class Swapper(FaceGatherer[Frame, AlignedFace]):
    """Swaps the faces of frames in host memory.

    Args:
        face_swappers, display, beat: see `FaceGatherer`.
        kernels: cuts the crops.
        memory: knows faces that this lane has swapped before.
    """

    def __init__(
        self,
        face_swappers: Mapping[int, FaceSwapper],
        kernels: Kernels,
        display: NDArray[np.float64],
        beat: Callable[[], None] = lambda: None,
        memory: SwapMemory | None = None,
    ) -> None:
        super().__init__(face_swappers, display, beat)
        self._kernels = kernels
        self._memory = memory or SwapMemory(limit=0)

    def prepare(
        self, frame: Frame, face: FaceObservation
    ) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
        """(affine float64 [2, 3] frame -> crop, crop float32 [size, size, 3], landmarks in it)."""
        affine = self.affine(face)
        crop = self._kernels.crop(frame.picture, affine, self._face_swappers[face.person].size)
        return affine, crop, apply(affine, face.landmarks)

    def _place(
        self, frame: Frame, place: int, face: FaceObservation, affine: Affine
    ) -> AlignedFace | None:
        size, out = self._face_swappers[face.person].size, frame.crops[place]
        frame.originals[place] = self._kernels.crop(frame.picture, affine, size)
        if self._memory.recall(face, out):
            return None
        return AlignedFace(
            picture=frame.picture,
            affine=affine,
            crop=frame.originals[place],
            landmarks=apply(affine, face.landmarks),
            out=out,
        )

    def _done(self, frame: Frame, faces: Sequence[FaceObservation]) -> None:
        for place, face in enumerate(faces):
            self._memory.keep(face, frame.crops[place])
