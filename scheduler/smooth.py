"""Smoothing of the joined trajectories, without lag.

A landmark network answers for each frame alone, and its answers tremble by about half a percent of
the distance between the eyes. Once the tables are stitched, the frames before and after are known,
and a local polynomial takes the trembling out without delaying what moves: A. Savitzky, M. Golay,
"Smoothing and differentiation of data by simplified least squares procedures", Analytical
Chemistry 36(8), 1964; here weighted towards the window's middle in the manner of R. Henderson
("Note on graduation by adjusted average", 1916), which trembles less for the same window.

Each face is taken apart into a pose, the similarity that brings a reference of points on bone
nearest to it (shift, turn, and logarithm of the size), and a shape, all points in the reference's
own coordinates with the distance between the eyes as unit. Both are smoothed over 25 frames, over 9
and over 5. The longest window counts where the motion is a parabola for that long, as of what sits
on bone: it takes the network's slow wandering out, too. Where it differs from the next shorter one
by more than that, the 9 frames count; where those differ from the 5 by more than trembling would
explain, the 5; where these differ from the detection itself by more, the detection. All passages
are continuous and decided for the pose, the mouth, the chin and the eyes apart, so that a blink or
a word stays what it is while the rest of the face is held still. Whether the longest counts is
decided from the differences of nine frames together: decided in each anew, it would tremble.

What is bounded is the correction: 3 degrees, 6 % and 2 % of the distance between the eyes for turn,
shift and size, 2 % for a vertex within the shape. Elsewhere such figures (3 degrees, 6 pixels, 2 %
in a frame) bound how fast a face may move, each frame from the one before. That breaks true fast
motion (its error grew from .28 to 5.6 % of the distance between the eyes, and it lagged by .8
frames) and never forgets: where a chunk begins would be seen for ever. A face of 100 pixels between
the eyes makes 6 pixels the 6 % used here; as a share they hold for any size of face.

Support is finite: a frame depends on the sixteen before and the sixteen after, and on nothing
beyond a cut, a gap or the end of its track. Nothing is summed over more rows than these, so the
result has the same bits wherever the tables were parted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import hypot
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scheduler.points import PointSet, point_set
from scheduler.tracks import FaceObservation, from_table, to_table

REACHES: Final = (12, 4, 2)
"""Frames to each side of the middle of windows of 25, 9 and 5 frames."""
CALM: Final = 4
"""Frames to each side over which it is decided whether the 25-frame window counts."""
REACH: Final = REACHES[0] + CALM
"""How far ahead of its result the smoother reads."""

MAX_TURN: Final = float(np.radians(3.0))
MAX_SHIFT: Final = 0.06
MAX_ZOOM: Final = 0.02
MAX_VERTEX: Final = 0.02
"""Greatest corrections; all but the turn in parts of the distance between the outer eye corners."""

_POSE_TRUST: Final = (0.0015, 0.003, 0.003)
_SHAPE_TRUST: Final = (
    (0.002, 0.005, 0.015),
    (0.0015, 0.003, 0.008),
    (0.0015, 0.003, 0.008),
    (0.001, 0.002, 0.004),
)
"""Where each window counts half: its difference from the next shorter one, in parts of the distance
between the eyes, for the pose and for face, lips, chin and eyes."""

Complex = NDArray[np.complex128]


@dataclass(slots=True, eq=False)
class _Moment:
    """A face in one frame, taken apart. Points are complex numbers x + iy."""

    face: FaceObservation
    centre: complex
    """Of the points on bone, in pixels."""
    zoom: complex
    """Reference -> picture: its absolute value is the distance between the eyes in pixels."""
    shape: Complex
    """[n] points about the centre in the reference's coordinates."""
    answers: _Answers | None = None
    """Once the frames are known that they depend on."""


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """What the windows make of one frame, the shortest first."""

    shifts: list[complex]
    """Of the centre, in parts of the distance between the eyes."""
    turns: list[complex]
    """Logarithm of the size, and i times the angle."""
    shapes: list[Complex]
    apart: NDArray[np.float64]
    """[windows, 1 + groups] difference from the next shorter window (the shortest one's from the
    detection), of the pose and of each group of vertices."""


class Smoother:
    """Smooths stitched tables, fed in film order; what comes out is `REACH` frames behind.

    All rows come out, in their order, with landmarks and box (the landmarks' extent) changed and
    nothing else. Memory holds 33 frames besides the table at hand.

    Args:
        cuts: frame indices that begin a new scene.
    """

    def __init__(self, *, cuts: Collection[int] = ()) -> None:
        self._cuts = sorted(cuts)
        self._waiting: deque[FaceObservation] = deque()
        self._tracks: dict[int, deque[_Moment]] = {}
        self._last = -1
        self._parts: dict[int, _Parts] = {}

    def extend(self, table: pa.Table) -> pa.Table:
        """Take the next rows (frames rising); give those whose `REACH` frames ahead are known.

        Raises:
            ValueError: a table begins before the last one ended, a row has no track, or a track
                has two rows in a frame.
        """
        self._take(from_table(table))
        return to_table(self._finished(self._last - REACH))

    def finish(self) -> pa.Table:
        """The rows that are left when the film has ended."""
        return to_table(self._finished(self._last))

    def _take(self, faces: Iterable[FaceObservation]) -> None:
        for face in faces:
            if face.frame < self._last or face.track < 0:
                raise ValueError(
                    f"frame {face.frame}, track {face.track} after frame {self._last}; "
                    "wanted stitched rows in film order"
                )
            moments = self._tracks.setdefault(face.track, deque())
            if moments and moments[-1].face.frame == face.frame:
                raise ValueError(f"track {face.track} twice in frame {face.frame}")
            moments.append(self._parts_of(face).take_apart(face))
            self._waiting.append(face)
            self._last = face.frame

    def _finished(self, until: int) -> list[FaceObservation]:
        out = []
        while self._waiting and self._waiting[0].frame <= until:
            face = self._waiting.popleft()
            moments = self._tracks[face.track]
            while moments[0].face.frame < face.frame - REACH:
                moments.popleft()
            out.append(self._smoothed(face.frame, moments))
        for track, moments in list(self._tracks.items()):
            if moments[-1].face.frame <= until:
                del self._tracks[track]
        return out

    def _smoothed(self, frame: int, moments: Sequence[_Moment]) -> FaceObservation:
        by_frame = {moment.face.frame: moment for moment in moments}
        scene = bisect_right(self._cuts, frame)

        def run(middle: int, reach: int) -> tuple[list[_Moment], int]:
            """The moments around one, up to a gap, a cut or a face without form; its place."""
            sides: list[list[_Moment]] = []
            for step in (-1, +1):
                found: list[_Moment] = []
                for at in range(middle + step, middle + step * (reach + 1), step):
                    moment = by_frame.get(at)
                    if moment is None or not moment.zoom or bisect_right(self._cuts, at) != scene:
                        break
                    found.append(moment)
                sides.append(found)
            before, after = sides
            return [*before[::-1], by_frame[middle], *after], len(before)

        here = by_frame[frame]
        around, at = run(frame, CALM)
        if not here.zoom or len(around) < 4:
            return here.face
        parts = self._parts_of(here.face)
        for moment in around:
            if moment.answers is None:
                moment.answers = parts.answers(*run(moment.face.frame, REACHES[0]))
        landmarks = parts.smooth(around, at)
        box = np.concatenate([landmarks.min(axis=0), landmarks.max(axis=0)])
        return replace(here.face, landmarks=landmarks, box=box)

    def _parts_of(self, face: FaceObservation) -> _Parts:
        count = len(face.landmarks)
        if count not in self._parts:
            self._parts[count] = _Parts(point_set(count))
        return self._parts[count]


def smoothed(tables: Iterable[pa.Table], *, cuts: Collection[int] = ()) -> Iterator[pa.Table]:
    """Stitched tables in film order -> the same rows, smoothed; one table more, for the end."""
    smoother = Smoother(cuts=cuts)
    for table in tables:
        yield smoother.extend(table)
    yield smoother.finish()


class _Parts:
    """Takes faces of one point set apart and puts them together again, smoothed."""

    def __init__(self, points: PointSet) -> None:
        self._bones = np.array(list(points.bones))
        places = np.array(list(points.bones.values()))
        reference = places[:, 0] + 1j * places[:, 1]
        centred = reference - reference.sum() / len(reference)
        spread = float((centred.real**2 + centred.imag**2).sum())
        self._fit = centred.conj() / spread
        self._radius = float(np.sqrt(spread / len(reference)))
        groups = np.zeros(points.count, np.intp)
        parts = (points.lips, points.chin, points.right_eye, points.left_eye)
        for number, part in enumerate(parts, start=1):
            groups[list(part)] = number
        self._groups = groups
        self._counts = np.bincount(groups)
        self._trust = np.array([_POSE_TRUST, *_SHAPE_TRUST, _SHAPE_TRUST[-1]]).T[::-1]
        self._windows = [(reach, _windows(reach)) for reach in reversed(REACHES)]

    def take_apart(self, face: FaceObservation) -> _Moment:
        points = np.ascontiguousarray(face.landmarks, np.float64).view(np.complex128)[:, 0]
        bones = points[self._bones]
        centre = complex(bones.sum()) / len(bones)
        # Least squares in the plane is one complex number: size and turn at once (Umeyama 1991).
        zoom = complex((self._fit * (bones - centre)).sum())
        if not abs(zoom) > 1e-6:  # also when it is not a number
            return _Moment(face, centre, 0j, points)
        return _Moment(face, centre, zoom, (points - centre) / zoom)

    def answers(self, run: Sequence[_Moment], at: int) -> _Answers:
        """What the windows make of ``run[at]``, from up to twelve frames on each side."""
        here = run[at]
        shifts, turns, shapes, apart = [], [], [], []
        shorter_shift, shorter_turn, shorter_shape = 0j, 0j, here.shape
        for reach, weights in self._windows:
            before, after = min(at, reach), min(len(run) - 1 - at, reach)
            window, moments = weights[before, after], run[at - before : at + after + 1]
            # In units of the distance between the eyes, seen from this frame.
            shift = _sum(window, [(moment.centre - here.centre) / here.zoom for moment in moments])
            turn = _sum(window, [complex(np.log(moment.zoom / here.zoom)) for moment in moments])
            shape = _sum(window, [moment.shape for moment in moments])
            moved = hypot(abs(shift - shorter_shift), self._radius * abs(turn - shorter_turn))
            apart.append([moved, *self._size(shape - shorter_shape)])
            shorter_shift, shorter_turn, shorter_shape = shift, turn, shape
            shifts.append(shift)
            turns.append(turn)
            shapes.append(shape)
        return _Answers(shifts, turns, shapes, np.array(apart))

    def smooth(self, around: Sequence[_Moment], at: int) -> NDArray[np.float32]:
        """float32 [n, 2] the landmarks of ``around[at]``.

        Args:
            around: up to `CALM` neighbours on each side, with their answers.
        """
        here = around[at]
        answers = here.answers
        assert answers is not None
        apart = answers.apart.copy()
        calm = np.zeros_like(apart[-1])
        for place, moment in enumerate(around):
            assert moment.answers is not None
            calm += (CALM + 1 - abs(place - at)) * moment.answers.apart[-1] ** 2
        apart[-1] = np.sqrt(calm / sum(CALM + 1 - abs(n - at) for n in range(len(around))))
        shares = _share(apart, self._trust)
        shift = turn = 0j
        shape = here.shape
        for number, share in enumerate(shares):
            shift += float(share[0]) * (answers.shifts[number] - shift)
            turn += float(share[0]) * (answers.turns[number] - turn)
            shape = shape + share[1:][self._groups] * (answers.shapes[number] - shape)
        shift *= min(1.0, MAX_SHIFT / max(abs(shift), 1e-12))
        turn = complex(
            min(max(turn.real, -MAX_ZOOM), MAX_ZOOM), min(max(turn.imag, -MAX_TURN), MAX_TURN)
        )
        change = shape - here.shape
        bound = np.minimum(1.0, MAX_VERTEX / np.maximum(np.abs(change), 1e-12))
        shape = here.shape + bound * change
        points: Complex = here.centre + here.zoom * (shift + np.exp(turn) * shape)
        return points.view(np.float64).reshape(-1, 2).astype(np.float32)

    def _size(self, difference: Complex) -> NDArray[np.float64]:
        """Root mean square over the vertices of each group."""
        squares = difference.real**2 + difference.imag**2
        mean: NDArray[np.float64] = np.bincount(self._groups, squares) / self._counts
        return np.sqrt(mean)


_Value = TypeVar("_Value", complex, Complex)
_Size = TypeVar("_Size", float, NDArray[np.float64])


def _sum(weights: NDArray[np.float64], values: Sequence[_Value]) -> _Value:
    """The weighted sum, term by term: its bits depend on these values alone."""
    total: _Value = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        total = total + weight * value
    return total


def _share(difference: _Size, half: _Size) -> _Size:
    """How much a window counts: 1 for no difference, 0.5 at ``half``, soon 0 beyond."""
    share: _Size = 1 / (1 + (difference / half) ** 4)
    return share


def _windows(reach: int) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Weights of the value at the middle of a fitted parabola, by frames before and after.

    Least squares with weights ((reach + 1)^2 - k^2) ((reach + 2)^2 - k^2) for the frame at k, which
    keep the second difference of the result small. Fewer than three frames: a line or a point.
    """
    windows = {}
    for before in range(reach + 1):
        for after in range(reach + 1):
            k = np.arange(-before, after + 1, dtype=np.float64)
            weight = ((reach + 1) ** 2 - k**2) * ((reach + 2) ** 2 - k**2)
            powers = k[:, None] ** np.arange(min(3, len(k)))
            normal = (powers.T * weight) @ powers
            windows[before, after] = np.linalg.solve(normal, powers.T * weight)[0]
    return windows
