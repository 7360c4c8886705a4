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
beyond a cut, a gap or the end of its track.

While a film is stitched its lanes wait, so many frames of a face are computed at once. The result
has the same bits wherever the tables were parted, and on every CPU: nothing is summed over more
rows than said above, and arrays are only added, multiplied, divided and rooted, in one order, which
IEEE 754 defines to the last bit. Logarithms and powers of e are taken of single numbers.
"""

from __future__ import annotations

import cmath
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

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
LEAST: Final = 4
"""Fewer frames without a gap or cut are left as they are."""
BLOCK: Final = 32
"""Frames that are computed at once: their shapes stay in a core's cache."""

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

Values = NDArray[np.float64]
Placed = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Landmarks and box of a face."""


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
        self._tracks: dict[int, list[FaceObservation]] = {}
        """The faces that wait, by track, and those of the `REACH` frames before."""
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
            track = self._tracks.setdefault(face.track, [])
            if track and track[-1].frame == face.frame:
                raise ValueError(f"track {face.track} twice in frame {face.frame}")
            track.append(face)
            self._waiting.append(face)
            self._last = face.frame

    def _finished(self, until: int) -> list[FaceObservation]:
        rows: list[FaceObservation] = []
        first: dict[int, int] = {}
        while self._waiting and self._waiting[0].frame <= until:
            rows.append(self._waiting.popleft())
            first.setdefault(rows[-1].track, rows[-1].frame)
        moved: dict[tuple[int, int], Placed] = {}
        for track, start in first.items():
            faces = self._tracks.pop(track)
            for frame, placed in self._smoothed(faces, start, until):
                moved[frame, track] = placed
            if faces[-1].frame > until:  # else there is a gap after it, which ends all windows
                self._tracks[track] = [face for face in faces if face.frame > until - REACH]
        return [_placed(face, moved.get((face.frame, face.track))) for face in rows]

    def _smoothed(
        self, faces: Sequence[FaceObservation], start: int, stop: int
    ) -> Iterator[tuple[int, Placed]]:
        """(frame, landmarks and box) of a track's faces in frames [start, stop] that move."""
        count = len(faces[0].landmarks)
        if count not in self._parts:
            self._parts[count] = _Parts(point_set(count))
        parts = self._parts[count]
        frames = [face.frame for face in faces]
        posed = parts.take_apart(np.stack([face.landmarks for face in faces]))
        for low, high in self._runs(frames, posed.formed):
            if high - low < LEAST:
                continue
            run = posed.part(low, high)
            first, last = (
                max(low, bisect_left(frames, start)),
                min(high, bisect_right(frames, stop)),
            )
            for begin in range(first, last, BLOCK):
                end = min(begin + BLOCK, last)
                points = parts.smooth(run, begin - low, end - low)
                boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
                placed = zip(points, boxes, strict=True)
                yield from zip(frames[begin:end], placed, strict=True)

    def _runs(self, frames: Sequence[int], formed: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
        """[low, high) of faces without a gap, a cut or a face without form between them."""
        low = 0
        for at, frame in enumerate(frames):
            gap = at > low and (
                frame != frames[at - 1] + 1
                or bisect_right(self._cuts, frame) != bisect_right(self._cuts, frame - 1)
            )
            if gap or not formed[at]:
                yield low, at
                low = at if formed[at] else at + 1
        yield low, len(frames)


def smoothed(tables: Iterable[pa.Table], *, cuts: Collection[int] = ()) -> Iterator[pa.Table]:
    """Stitched tables in film order -> the same rows, smoothed; one table more, for the end."""
    smoother = Smoother(cuts=cuts)
    for table in tables:
        yield smoother.extend(table)
    yield smoother.finish()


def _placed(face: FaceObservation, moved: Placed | None) -> FaceObservation:
    return replace(face, landmarks=moved[0], box=moved[1]) if moved else face


@dataclass(frozen=True, slots=True, eq=False)
class _Posed:
    """Faces of a track, taken apart. Pairs are x and y, or a complex number's parts."""

    centre: Values
    """[f, 2] of the points on bone, in pixels."""
    zoom: Values
    """[f, 2] reference -> picture, a complex number: its absolute value is the distance between
    the eyes in pixels, its angle the turn."""
    shape: Values
    """[f, points, 2] about the centre in the reference's coordinates."""
    formed: NDArray[np.bool_]
    """[f] False for a face without size."""

    def part(self, low: int, high: int) -> Self:
        """Of the faces [low, high)."""
        rows = slice(low, high)
        return type(self)(self.centre[rows], self.zoom[rows], self.shape[rows], self.formed[rows])


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """What one window makes of some frames."""

    shift: Values
    """[f, 2] of the centre, in parts of the distance between the eyes."""
    turn: Values
    """[f, 2] logarithm of the size, and angle."""
    shape: Values
    """[f, points, 2]."""


class _Parts:
    """Takes faces of one point set apart and puts them together again, smoothed."""

    def __init__(self, points: PointSet) -> None:
        self._bones = list(points.bones)
        places = np.array(list(points.bones.values()))
        centred = places - places.sum(axis=0) / len(places)
        spread = float((centred**2).sum())
        # The conjugate: what turns a face back into the reference.
        self._fit = centred * [1.0, -1.0] / spread
        self._radius = float(np.sqrt(spread / len(places)))
        groups = np.zeros(points.count, np.intp)
        parts = (points.lips, points.chin, points.right_eye, points.left_eye)
        for number, part in enumerate(parts, start=1):
            groups[list(part)] = number
        self._groups = groups
        self._counts = np.bincount(groups)
        self._trust = np.array([_POSE_TRUST, *_SHAPE_TRUST, _SHAPE_TRUST[-1]]).T[::-1]
        self._windows = [(reach, _windows(reach)) for reach in reversed(REACHES)]

    def take_apart(self, landmarks: NDArray[np.float32]) -> _Posed:
        """Of [f, points, 2] landmarks."""
        points = landmarks.astype(np.float64)
        bones = [points[:, bone] for bone in self._bones]
        centre = _sum(bones) / len(bones)
        # Least squares in the plane is one complex number: size and turn at once (Umeyama 1991).
        zoom = _sum(_times(fit, bone - centre) for fit, bone in zip(self._fit, bones, strict=True))
        formed = _length(zoom) > 1e-6  # not where it is not a number, either
        zoom[~formed] = 1.0, 0.0
        return _Posed(centre, zoom, _over(points - centre[:, None], zoom[:, None]), formed)

    def smooth(self, run: _Posed, start: int, stop: int) -> NDArray[np.float32]:
        """float32 [stop - start, points, 2] the landmarks of the faces [start, stop) of a run.

        Args:
            run: without a gap, with `REACH` faces on both sides, fewer only where it ends.
        """
        low, high = max(start - CALM, 0), min(stop + CALM, len(run.centre))
        answers = self._answers(run, low, high)
        apart = self._apart(run.shape[low:high], answers)
        apart[-1] = _calmed(apart[-1])
        mine = slice(start - low, stop - low)
        shift, turn = np.zeros((2, stop - start, 2))
        own = run.shape[start:stop]
        shape = own.copy()
        for answer, share in zip(
            answers, _share(apart[:, mine], self._trust[:, None]), strict=True
        ):
            shift += share[:, :1] * (answer.shift[mine] - shift)
            turn += share[:, :1] * (answer.turn[mine] - turn)
            shape += share[:, 1:][:, self._groups, None] * (answer.shape[mine] - shape)
        shift *= np.minimum(1.0, MAX_SHIFT / np.maximum(_length(shift), 1e-12))[:, None]
        turn = np.clip(turn, [-MAX_ZOOM, -MAX_TURN], [MAX_ZOOM, MAX_TURN])
        change = shape - own
        change *= np.minimum(1.0, MAX_VERTEX / np.maximum(_length(change), 1e-12))[..., None]
        turned = _times(_each(cmath.exp, turn)[:, None], own + change)
        zoom, centre = run.zoom[start:stop, None], run.centre[start:stop, None]
        return (centre + _times(zoom, shift[:, None] + turned)).astype(np.float32)

    def _answers(self, run: _Posed, low: int, high: int) -> list[_Answer]:
        """What the windows make of the faces [low, high), the shortest first."""
        count, span = len(run.centre), REACHES[0]
        # What lies beyond the run's ends has no weight.
        places = np.clip(np.arange(low - span, high + span), 0, count - 1)
        near = slice(places[0], places[-1] + 1)
        around = places - places[0]
        centre, zoom, shape = run.centre[places], run.zoom[low:high], run.shape[near][around]
        grown = _each(cmath.log, run.zoom[near])[around]

        def seen(values: Values, off: int) -> Values:
            return values[span + off : span + off + high - low]

        def shift(off: int) -> Values:
            # In units of the distance between the eyes, seen from each frame.
            return _over(seen(centre, off) - seen(centre, 0), zoom)

        def turn(off: int) -> Values:
            difference = seen(grown, off) - seen(grown, 0)
            difference[:, 1] -= 2 * np.pi * np.rint(difference[:, 1] / (2 * np.pi))
            return difference

        answers = []
        shifts, turns = ({off: see(off) for off in range(-span, span + 1)} for see in (shift, turn))
        for reach, windows in self._windows:
            offs = range(-reach, reach + 1)
            weights = np.zeros((len(offs), high - low))
            for at in range(low, high):
                before, after = min(at, reach), min(count - 1 - at, reach)
                weights[reach - before : reach + after + 1, at - low] = windows[before, after]
            columns = weights[..., None]
            answers.append(
                _Answer(
                    _weighted(columns, (shifts[off] for off in offs)),
                    _weighted(columns, (turns[off] for off in offs)),
                    _weighted(columns[..., None], (seen(shape, off) for off in offs)),
                )
            )
        return answers

    def _apart(self, own: Values, answers: Sequence[_Answer]) -> Values:
        """[windows, f, 1 + groups] how far an answer is from that of the next shorter window (the
        shortest one's from the detection), in the pose and in each group of points."""
        apart = np.empty((len(answers), len(own), 1 + len(self._counts)))
        before = _Answer(np.zeros((len(own), 2)), np.zeros((len(own), 2)), own)
        for number, answer in enumerate(answers):
            moved = _length(answer.shift - before.shift)
            turned = self._radius * _length(answer.turn - before.turn)
            apart[number, :, 0] = np.sqrt(moved * moved + turned * turned)
            apart[number, :, 1:] = self._sizes(answer.shape - before.shape)
            before = answer
        return apart

    def _sizes(self, difference: Values) -> Values:
        """[f, groups] root mean square over the points of each group."""
        frames, groups = len(difference), len(self._counts)
        squares = difference[..., 0] ** 2 + difference[..., 1] ** 2
        bins = np.arange(frames)[:, None] * groups + self._groups
        sums = np.bincount(bins.ravel(), squares.ravel(), frames * groups)
        size: Values = np.sqrt(sums.reshape(frames, groups) / self._counts)
        return size


def _calmed(apart: Values) -> Values:
    """[f, n] root mean square over the `CALM` faces on each side, the nearest most."""
    frames = len(apart)
    padded = np.zeros((frames + 2 * CALM, apart.shape[1] + 1))
    padded[CALM:-CALM, :-1] = apart * apart
    padded[CALM:-CALM, -1] = 1.0
    total = _sum(
        (CALM + 1 - abs(off)) * padded[CALM + off : CALM + off + frames]
        for off in range(-CALM, CALM + 1)
    )
    calm: Values = np.sqrt(total[:, :-1] / total[:, -1:])
    return calm


def _sum(values: Iterable[Values]) -> Values:
    """The sum, term by term: its bits depend on these values alone."""
    first, *others = values
    total = first.copy()
    for value in others:
        total += value
    return total


def _weighted(weights: Values, values: Iterable[Values]) -> Values:
    """The sum of weights [n, ...] times as many values, term by term."""
    (weight, value), *others = zip(weights, values, strict=True)
    total: Values = weight * value
    term = np.empty_like(total)
    for weight, value in others:
        np.multiply(weight, value, out=term)
        total += term
    return total


def _times(one: Values, other: Values) -> Values:
    """Products [..., 2] of complex numbers. NumPy's own may be fused, by the CPU."""
    real = one[..., 0] * other[..., 0] - one[..., 1] * other[..., 1]
    imaginary = one[..., 0] * other[..., 1] + one[..., 1] * other[..., 0]
    return np.stack([real, imaginary], axis=-1)


def _over(one: Values, other: Values) -> Values:
    """Quotients [..., 2] of complex numbers."""
    conjugate = other * [1.0, -1.0]
    square = other[..., 0] ** 2 + other[..., 1] ** 2
    return _times(one, conjugate) / square[..., None]


def _length(values: Values) -> Values:
    """[...] of [..., 2]."""
    length: Values = np.sqrt(values[..., 0] ** 2 + values[..., 1] ** 2)
    return length


def _each(function: Callable[[complex], complex], values: Values) -> Values:
    """A function of complex numbers [f, 2], one after the other."""
    results = [function(complex(real, imaginary)) for real, imaginary in values.tolist()]
    return np.array([(each.real, each.imag) for each in results])


def _share(difference: Values, half: Values) -> Values:
    """How much a window counts: 1 for no difference, 0.5 at ``half``, soon 0 beyond."""
    square = (difference / half) ** 2
    share: Values = 1 / (1 + square * square)
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
