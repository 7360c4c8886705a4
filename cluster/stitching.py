"""The stitch of a whole film: chunk tables in, one table out that says who gets which face.

Two passes over the tables. The first looks at boxes and portraits only and decides tracks, people
and persons; the second writes the joined rows. So memory holds a few bytes a face, not the meshes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.film_portraits import Key, Portraits
from kernels.geometry import Affine, apply
from scheduler.classes import ClassFilter, FaceClass
from scheduler.identities import SPACES, EmbeddingSpace, Identity, TrackLooks, find_identities
from scheduler.jobs import Analysis, JobSpec
from scheduler.runs import RunCounter
from scheduler.selection import (
    TrackFacts,
    cast_people,
    choose_people,
    keep_classes,
    rank,
    refer,
    refer_to_frame,
)
from scheduler.smooth import smoothed
from scheduler.stitch import Stitcher, places
from scheduler.tracks import PORTRAITS_SCHEMA, SCHEMA, STITCHED_SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Stitched:
    """What the stitch found."""

    tracks: int
    identities: tuple[Identity, ...]
    """Empty unless the job asked who is who."""
    unknown: int
    """Tracks that belong to no identity, though the job asked."""
    samples: dict[str, tuple[tuple[int, tuple[float, ...]], ...]]
    """By letter: (frame, box in coded pixels) of the person's best portraits, best first."""
    rows: int = 0
    swaps: int = 0
    """Rows that get a face."""
    unknown_rows: int = 0


@dataclass(slots=True)
class _Sums:
    """Of the rows of one track."""

    rows: int = 0
    first: int = 0
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))
    """x, y, area, score."""


class FilmStitch:
    """Stitches one film.

    Args:
        analyses: of all chunks, in film order.
        cuts: frames that start a new shot.
        display: float64 [2, 3], coded frame pixels -> upright display pixels.
    """

    def __init__(self, analyses: Sequence[Analysis], cuts: Sequence[int], display: Affine) -> None:
        self._analyses = analyses
        self._cuts = cuts
        self._display = display

    def write(
        self,
        job: JobSpec,
        references: NDArray[np.float64] | None,
        each: Callable[[pa.Table], None],
        *,
        wanted: ClassFilter | None = None,
    ) -> Stitched:
        """Write ``job.tracks`` (``scheduler.tracks.STITCHED_SCHEMA``).

        Args:
            references: [n, d] embeddings of the person that ``job.faces`` names, if it does.
            each: is shown each chunk's joined rows, in film order.
            wanted: whom the job's filter keeps, where that is not ``job.faces.wanted`` itself.

        Raises:
            IdentityUnknown: the job names somebody who is not in the film.
        """
        space = SPACES[job.recognizer]
        portraits = self._portraits(space) if job.portraits.any else None
        looks = self._looks(portraits) if portraits and job.identities else {}
        stitcher = Stitcher(cuts=self._cuts, looks=looks, space=space)
        columns = ["frame", "box", "score"]
        numbers: list[NDArray[np.int32]] = []
        times: list[NDArray[np.int64]] = []
        sums: defaultdict[int, _Sums] = defaultdict(_Sums)
        together: Counter[tuple[int, int]] = Counter()
        of_track: defaultdict[int, list[int]] = defaultdict(list)
        where: dict[Key, NDArray[np.float64]] = {}
        shown: list[tuple[int, TrackFacts]] = []
        by_key = {key: at for at, key in enumerate(portraits.keys)} if portraits else {}
        for table in self._tables(columns):
            tracks = stitcher.number(table)
            numbers.append(tracks)
            frames, boxes = places(table)
            times.append(frames)
            scores = np.asarray(table.column("score"))
            self._sum(sums, frames, boxes, scores, tracks)
            for frame, rows in _by_frame(frames):
                if frame == job.faces.reference_frame:
                    values = self._measure(boxes[rows], scores[rows])
                    shown += zip(tracks[rows].tolist(), map(_facts, values), strict=True)
                together.update(combinations(sorted(tracks[rows].tolist()), 2))
                for place, row in enumerate(rows):
                    if (frame, place) in by_key:
                        of_track[int(tracks[row])].append(by_key[frame, place])
                        where[frame, place] = boxes[row]
        identities: tuple[Identity, ...] = ()
        if portraits and job.identities:
            identities = self._identities(portraits, sums, together, of_track)
        classes = portraits.classes_of(of_track) if portraits else {}
        keep = wanted or job.faces.wanted
        people = self._people(job, references, identities, shown, classes, list(sums), keep)
        facts_of = {track: _facts(s.total / s.rows) for track, s in sums.items()}
        ranks = rank(facts_of, job.faces.order) if job.faces.mode == "one" else {}
        chosen = [
            choose_people(job.faces, at, tracks, people, ranks)
            for at, tracks in zip(times, numbers, strict=True)
        ]
        persons = np.concatenate(chosen)
        numbered = (
            _numbered(table, tracks)
            for table, tracks in zip(self._tables(SCHEMA.names), numbers, strict=True)
        )
        row = 0
        # Without a dictionary: no coordinate comes twice, and to look for that takes longest.
        with pq.ParquetWriter(job.tracks, STITCHED_SCHEMA, use_dictionary=False) as writer:
            for table in smoothed(numbered, cuts=self._cuts) if job.smooth else numbered:
                # Smoothed rows come later than they went in, but in the same order.
                people_here = pa.array(persons[row : row + table.num_rows], pa.int32())
                joined = table.append_column(STITCHED_SCHEMA.field("person"), people_here)
                row += table.num_rows
                each(joined)
                writer.write_table(joined)
        named = {track for identity in identities for track in identity.tracks}
        left = [track for track in sums if track not in named] if job.identities else []
        return Stitched(
            tracks=stitcher.tracks,
            identities=identities,
            unknown=len(left),
            samples=_samples(identities, portraits, of_track, where) if portraits else {},
            rows=sum(s.rows for s in sums.values()),
            swaps=int(np.count_nonzero(persons >= 0)),
            unknown_rows=sum(sums[track].rows for track in left),
        )

    def _people(
        self,
        job: JobSpec,
        references: NDArray[np.float64] | None,
        identities: Sequence[Identity],
        shown: Sequence[tuple[int, TrackFacts]],
        classes: Mapping[int, FaceClass],
        tracks: Sequence[int],
        wanted: ClassFilter,
    ) -> dict[int, int] | None:
        """{track: person} of the faces that may be swapped; None: all of them."""
        space, choice = SPACES[job.recognizer], job.faces
        people: dict[int, int] | None = None
        if job.swap.cast:
            people = cast_people(job.swap.cast, identities)
        elif references is not None:
            distance = space.same if choice.distance is None else choice.distance
            people = refer(references, identities, distance)
        elif choice.mode == "reference" and choice.reference_frame is not None:
            fit = keep_classes({track: 0 for track, _ in shown}, classes, wanted)
            rows = [row for row in shown if row[0] in fit]
            people = refer_to_frame(choice, rows, identities, space)
        if wanted.any:
            everybody = dict.fromkeys(tracks, 0)
            people = keep_classes(everybody if people is None else people, classes, wanted)
        return people

    def _tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        for analysis in self._analyses:
            yield pq.read_table(analysis.faces_path, columns=list(columns), use_threads=False)

    def _portraits(self, space: EmbeddingSpace) -> Portraits:
        tables = [
            pq.read_table(a.portraits_path, schema=PORTRAITS_SCHEMA, use_threads=False)
            for a in self._analyses
        ]
        return Portraits.read(tables, space)

    def _looks(self, portraits: Portraits) -> dict[Key, NDArray[np.float64]]:
        """The mean embedding of each run's best portraits, by the run's first row."""
        by_key = {key: at for at, key in enumerate(portraits.keys)}
        counter = RunCounter(self._cuts)
        members: defaultdict[int, list[int]] = defaultdict(list)
        for table in self._tables(["frame", "box"]):
            frames, boxes = places(table)
            for frame, rows in _by_frame(frames):
                runs = counter.follow(frame, boxes[rows])
                for place, run in enumerate(runs):
                    if (frame, place) in by_key:
                        members[run].append(by_key[frame, place])
        return {
            counter.firsts[run]: portraits.mean(portraits.best(ats)) for run, ats in members.items()
        }

    def _sum(
        self,
        sums: defaultdict[int, _Sums],
        frames: NDArray[np.int64],
        boxes: NDArray[np.float64],
        scores: NDArray[np.float32],
        tracks: NDArray[np.int32],
    ) -> None:
        values = self._measure(boxes, scores)
        # One row after the other: a sum must not depend on where a chunk ends.
        for frame, track, value in zip(frames.tolist(), tracks.tolist(), values, strict=True):
            entry = sums[track]
            if not entry.rows:
                entry.first = frame
            entry.rows += 1
            entry.total += value

    def _measure(
        self, boxes: NDArray[np.float64], scores: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """[n, 4] x, y, area and score of each row, in display pixels."""
        corners = apply(self._display, boxes.reshape(-1, 2, 2))
        areas = np.abs(np.prod(corners[:, 1] - corners[:, 0], axis=1))
        return np.column_stack([corners.mean(axis=1), areas, scores.astype(np.float64)])

    def _identities(
        self,
        portraits: Portraits,
        sums: dict[int, _Sums],
        together: Counter[tuple[int, int]],
        of_track: dict[int, list[int]],
    ) -> tuple[Identity, ...]:
        looks = []
        for track, entry in sorted(sums.items()):
            best = portraits.best(of_track.get(track, []))
            looks.append(
                TrackLooks(
                    track=track,
                    frames=entry.rows,
                    first=entry.first,
                    quality=portraits.qualities[best[0]] if best else 0.0,
                    embedding=portraits.mean(best) if best else None,
                )
            )
        return find_identities(looks, together, portraits.space)


def _by_frame(frames: NDArray[np.int64]) -> Iterator[tuple[int, list[int]]]:
    """(frame, rows) of each frame that has any."""
    for frame, rows in groupby(enumerate(frames.tolist()), lambda row: row[1]):
        yield frame, [at for at, _ in rows]


def _facts(values: NDArray[np.float64]) -> TrackFacts:
    x, y, area, score = values.tolist()
    return TrackFacts(x=x, y=y, area=area, score=score)


def _numbered(table: pa.Table, tracks: NDArray[np.int32]) -> pa.Table:
    at = SCHEMA.get_field_index("track")
    return table.select(SCHEMA.names).set_column(at, SCHEMA.field(at), pa.array(tracks, pa.int32()))


def _samples(
    identities: Sequence[Identity],
    portraits: Portraits,
    of_track: dict[int, list[int]],
    where: dict[Key, NDArray[np.float64]],
) -> dict[str, tuple[tuple[int, tuple[float, ...]], ...]]:
    samples = {}
    for identity in identities:
        # The best of each track first: a person is seen best in different shots.
        best = [portraits.best(of_track.get(track, [])) for track in identity.tracks]
        firsts = [ats[0] for ats in best if ats]
        more = [at for ats in best for at in ats[1:]]
        ranked = [
            *sorted(firsts, key=lambda at: (-portraits.qualities[at], at)),
            *sorted(more, key=lambda at: (-portraits.qualities[at], at)),
        ]
        samples[identity.letter] = tuple(
            (portraits.keys[at][0], tuple(where[portraits.keys[at]].tolist())) for at in ranked[:6]
        )
    return samples
