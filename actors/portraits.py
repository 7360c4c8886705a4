"""The best views of each face of a chunk, and what recogniser and classifier say of them.

They are slow, and a blurred or turned face tells them little: so they see only the best few
pictures of each run (``scheduler.runs``). A picture's quality depends on its own frame alone, and
the best of the parts' best are the best of the whole: the portraits of a track come out the same,
bit for bit, wherever chunks begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actors.fairface import FairFace
from actors.profiler import Profiler
from actors.recognizer import Embedder, cut, frontal, sharpness
from kernels.api import Kernels
from kernels.cuts import LEAST
from kernels.geometry import Affine
from kernels.picture import Picture
from scheduler.classes import FaceClass
from scheduler.runs import BUCKET, PORTRAITS, RunCounter, best_portraits, crowding
from scheduler.tracks import PORTRAITS_SCHEMA, FaceObservation, float_lists


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Portrait:
    frame: int
    place: int
    quality: float
    chips: tuple[NDArray[np.uint8], ...]
    """One for each reader."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Row:
    """A portrait that has been looked at."""

    frame: int
    place: int
    quality: float
    embedding: NDArray[np.float32]
    seen: FaceClass | None


@dataclass(slots=True)
class _Run:
    last: int
    kept: list[_Portrait] = field(default_factory=list)

    def wants(self, frame: int, bound: float) -> bool:
        """Whether a picture of at most this quality could be among the best."""
        same = [p.quality for p in self.kept if p.frame // BUCKET == frame // BUCKET]
        if same:
            return bound > same[0]
        return len(self.kept) < PORTRAITS or bound > min(p.quality for p in self.kept)

    def add(self, portrait: _Portrait) -> None:
        kept = [*self.kept, portrait]
        best = best_portraits([(p.frame, p.quality) for p in kept])
        self.kept = [kept[at] for at in best]


class PortraitAlbum:
    """Collects the portraits of one chunk. Holds a few chips for each face in the picture.

    Args:
        recognizer: embeds the best; None: nobody does.
        kernels: cuts the chips.
        display: float64 [2, 3], coded frame pixels -> upright display pixels.
        classifier: classifies the best; None: nobody does. One of the two is needed.
        profiler: measures both.
    """

    def __init__(
        self,
        recognizer: Embedder | None,
        kernels: Kernels,
        display: Affine,
        classifier: FairFace | None = None,
        profiler: Profiler | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._classifier = classifier
        self._profiler = profiler or Profiler()
        self._readers = [reader for reader in (recognizer, classifier) if reader is not None]
        self._kernels = kernels
        self._display = display
        self._counter = RunCounter()
        self._runs: dict[int, _Run] = {}
        self._rows: list[_Row] = []

    @property
    def embedded(self) -> int:
        """How many faces the recogniser has looked at so far."""
        return len(self._rows) if self._recognizer else 0

    @property
    def classified(self) -> int:
        """How many faces the classifier has looked at so far."""
        return len(self._rows) if self._classifier else 0

    def add(
        self, picture: Picture, frame: int, faces: Sequence[FaceObservation], change: float
    ) -> None:
        """Look at the faces of the chunk's next frame.

        Args:
            picture: as decoded.
            frame: its index.
            faces: as they go into the chunk's table, in its order.
            change: of the picture from the frame before (``kernels.cuts``).
        """
        if np.float32(change) >= LEAST:  # as the table will say it
            # It may be a cut, which is decided over the whole film: no run goes on for sure.
            self._close(frame)
            self._counter = RunCounter()
            self._runs = {}
        boxes = np.array([face.box for face in faces], np.float64).reshape(-1, 4)
        free = 1.0 - crowding(boxes)
        for place, number in enumerate(self._counter.follow(frame, boxes)):
            run = self._runs.setdefault(number, _Run(frame))
            run.last = frame
            self._look(picture, frame, place, faces[place], float(free[place]), run)
        self._close(frame)

    def table(self) -> pa.Table:
        """The portraits after ``PORTRAITS_SCHEMA``, by frame and place. Ends the album."""
        self._close(None)
        rows = sorted(self._rows, key=lambda row: (row.frame, row.place))
        unseen = FaceClass(gender=-1, age=-1, race=-1)
        seen = [row.seen or unseen for row in rows]
        return pa.Table.from_arrays(
            [
                pa.array([row.frame for row in rows], pa.int64()),
                pa.array([row.place for row in rows], pa.int32()),
                pa.array([row.quality for row in rows], pa.float32()),
                float_lists([row.embedding for row in rows]),
                pa.array([one.gender for one in seen], pa.int8()),
                pa.array([one.age for one in seen], pa.int8()),
                pa.array([one.race for one in seen], pa.int8()),
            ],
            schema=PORTRAITS_SCHEMA,
        )

    def _look(
        self,
        picture: Picture,
        frame: int,
        place: int,
        face: FaceObservation,
        free: float,
        run: _Run,
    ) -> None:
        fmt = picture.format
        box = face.box.astype(np.float64)
        turned = frontal(face.landmarks, self._display)
        bound = turned * face.visible * free * _inside(box, fmt.width, fmt.height)
        if not run.wants(frame, bound):
            return
        first, *others = self._readers
        chip = cut(first, picture, face.landmarks, self._display, self._kernels)
        # As the table keeps it: what is compared here is what is compared after the stitch.
        quality = float(np.float32(bound * sharpness(chip)))
        if not run.wants(frame, quality):
            return
        chips = [
            cut(other, picture, face.landmarks, self._display, self._kernels) for other in others
        ]
        run.add(_Portrait(frame=frame, place=place, quality=quality, chips=(chip, *chips)))

    def _close(self, now: int | None) -> None:
        """Look at the portraits of the runs that have ended before a frame; None: of all."""
        for number in [n for n, run in self._runs.items() if now is None or run.last < now]:
            with self._profiler.span("detector.recognise"):
                self._rows += [self._read(portrait) for portrait in self._runs.pop(number).kept]

    def _read(self, portrait: _Portrait) -> _Row:
        first, last = portrait.chips[0], portrait.chips[-1]
        return _Row(
            frame=portrait.frame,
            place=portrait.place,
            quality=portrait.quality,
            embedding=(
                self._recognizer.embed(first) if self._recognizer else np.empty(0, np.float32)
            ),
            seen=self._classifier.classify(last) if self._classifier else None,
        )


def _inside(box: NDArray[np.float64], width: int, height: int) -> float:
    """The share of a box that lies in the picture."""
    low = np.clip(box[:2], -0.5, (width - 0.5, height - 0.5))
    high = np.clip(box[2:], -0.5, (width - 0.5, height - 0.5))
    return float(np.prod(high - low) / max(float(np.prod(box[2:] - box[:2])), 1e-9))
