"""What a finished job is worth: reads what it left behind, compares the two films, and counts."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.fingerprint import file_fingerprint
from actors.inspector import FaceLook, Inspector
from actors.masks import pasted_faces
from actors.models import ModelStore
from actors.prober import probe
from actors.sources import embed_sources, load_sources
from actors.threads import limit_threads
from actors.toolbox import EMBEDDED, HANDS, RECOGNIZER, LaneKit, Toolbox
from cluster.records import KeptJob
from farm.config import Settings
from farm.contact_sheet import evenly, time_code
from kernels.dense_flow import DisFlow
from kernels.metrics import seam_ratio
from scheduler import report as numbers
from scheduler.errors import MediaMissing, ReportOutdated, SourceUnreadable
from scheduler.jobs import SwapSettings
from scheduler.media import VideoIndex
from scheduler.outcomes import (
    Outcome,
    Pasted,
    Span,
    Switch,
    TrackEnd,
    handovers,
    looks_switch,
    outcome_of,
    person_switches,
    spans,
)
from scheduler.records import FileMark, JobRecord

PORTRAITS: Final = 24
"""Tracks of which pictures are shown."""
SPREAD: Final = 12
"""Frames of a track for each of its samples at least: neighbours say the same about a face."""
Image = NDArray[np.uint8]
"""[h, w, 3] R'G'B'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """How closely the report looks."""

    identity_frames: int = 6
    """Faces of each track that the recogniser looks at, at most; 0: none, and it is not loaded."""
    frames: int = 3000
    """Pairs of frames whose steadiness is measured, about; 0: all."""
    film: Path | None = None
    """Where the film is now; None: where it was."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """All that is known of a result."""

    facts: dict[str, Any]
    """As JSON can hold it (docs/report.md)."""
    portraits: Mapping[int, tuple[Image, Image]]
    """By track: before and after."""


@dataclass(slots=True)
class _Track:
    """What is known of a track before pictures are looked at."""

    number: int
    letter: str
    rows: list[int] = field(default_factory=list)
    """Places in the table of faces."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    distances: list[tuple[int, float]] = field(default_factory=list)
    """(frame, distance to the person that is put on) after the swap."""
    before: list[tuple[int, float]] = field(default_factory=list)
    looks: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)
    """(frame, embedding of the source's face)."""


class _Faces:
    """The table of faces as columns."""

    def __init__(self, path: Path) -> None:
        table = pq.read_table(path).combine_chunks()
        self.frame: NDArray[np.int64] = table.column("frame").to_numpy()
        self.track: NDArray[np.int32] = table.column("track").to_numpy()
        self.person: NDArray[np.int32] = table.column("person").to_numpy()
        self.eyes: NDArray[np.float32] = table.column("eyes").to_numpy()
        self.jitter: NDArray[np.float32] = table.column("jitter").to_numpy()
        count = table.num_rows
        self.box = _flat(table, "box").reshape(count, 4)
        self.points = _flat(table, "points").reshape(count, -1, 2)


def make_report(
    kept: KeptJob,
    settings: Settings,
    options: ReportOptions,
    *,
    output: Path,
    note: Callable[[str], None],
    watch: Callable[[int, int, float], None],
) -> Report:
    """Measure a result against its film.

    Args:
        kept: the job that made it.
        output: where the result is now.
        note: is told what the user should know.
        watch: is told (frames done, frames, frames a second) now and then.

    Raises:
        MediaMissing, ReportOutdated, SourceUnreadable: a file of the job is gone or another one.
        SwapfarmError: a film cannot be read to its end.
    """
    record = kept.record
    film = _film(record, options.film)
    if options.identity_frames:
        _check_pictures(record)
    source, result = probe(film), probe(output)
    faces, pasted = _Faces(kept.faces), _pasted(kept.masks)
    tracks = _tracks(record, faces, pasted, (source.width, source.height))
    touched = sorted({frame for (frame, _), p in pasted.items() if p.touched})
    pairs = numbers.pairs_to_measure(touched, record.cuts, record.borders, options.frames)
    limit_threads(1)
    tools = Toolbox(LaneKit(cache_dir=settings.cache_dir))
    recognizer, people = None, {}
    if options.identity_frames and touched:
        people = _people(record, faces, settings, tools, note)
        recognizer = tools.recognizer
    looks = _looks(tracks, faces, options.identity_frames)
    inspector = Inspector(tools.kernels, DisFlow(), recognizer)
    found: dict[str, list[float]] = {name: [] for name in _COLUMNS}
    portraits: dict[int, tuple[Image, Image]] = {}
    person_at = {
        (int(f), int(t)): int(p) for f, t, p in zip(faces.frame, faces.track, faces.person)
    } if looks else {}
    began = time.monotonic()
    seen = inspector.inspect(source, result, pasted_faces(kept.masks), pairs=pairs, looks=looks)
    for done, frame in enumerate(seen, 1):
        for each in frame.steadiness:
            row = (frame.frame, each.track, each.warp, each.own_warp, each.flicker,
                   each.own_flicker)
            for name, value in zip(_COLUMNS, row, strict=True):
                found[name].append(value)
        for like in frame.likenesses:
            if like.portraits is not None:
                portraits[like.track] = like.portraits
            if like.before is None or like.after is None:
                continue
            wanted = people[person_at[frame.frame, like.track]]
            track = tracks[like.track]
            track.looks.append((frame.frame, like.before))
            track.before.append((frame.frame, _nearest(wanted, like.before)))
            track.distances.append((frame.frame, _nearest(wanted, like.after)))
        watch(done, source.frames, done / max(time.monotonic() - began, 1e-6))
    rows = {name: np.array(values) for name, values in found.items()}
    facts = _facts(record, output, film, source, faces, tracks, rows, portraits)
    return Report(facts=facts, portraits=portraits)


_COLUMNS: Final = ("frame", "track", "warp", "own_warp", "flicker", "own_flicker")


def _film(record: JobRecord, named: Path | None) -> Path:
    film = named or Path(record.media.path)
    if not film.is_file():
        raise MediaMissing(
            f"the film {film} is not there (any more)",
            "the film that the result was made of, to compare with",
            "put it back, or say where it is now with --film FILM",
        )
    _unchanged(film, record.media, "the film", "give the film as it was with --film FILM")
    return film


def _check_pictures(record: JobRecord) -> None:
    for mark in (mark for marks in record.people for mark in marks):
        path = Path(mark.path)
        if not path.is_file():
            raise SourceUnreadable(
                f"the picture of the face {mark.path} is not there (any more)",
                "the picture that was put on, to compare with",
                "put it back, or leave likeness out with --identity-frames 0",
            )
        _unchanged(
            path, mark, "the picture of the face",
            "put the old one back, or leave likeness out with --identity-frames 0",
        )  # fmt: skip


def _unchanged(path: Path, mark: FileMark, what: str, next_step: str) -> None:
    if file_fingerprint(path) != mark.fingerprint:
        raise ReportOutdated(
            f"{what} {path} is not what it was when the job ended",
            "the same file",
            next_step,
        )


def _pasted(masks: Path) -> dict[tuple[int, int], Pasted]:
    """What the render did with each face, by frame and track."""
    names = ["frame", "track", "x0", "x1", "strength", "hidden"]
    columns = pq.read_table(masks, columns=names).to_pydict()
    rows = zip(*(columns[name] for name in names), strict=True)
    return {
        (frame, track): Pasted(touched=x1 > x0, strength=strength, hidden=hidden)
        for frame, track, x0, x1, strength, hidden in rows
    }


def _tracks(
    record: JobRecord,
    faces: _Faces,
    pasted: Mapping[tuple[int, int], Pasted],
    size: tuple[int, int],
) -> dict[int, _Track]:
    tracks: dict[int, _Track] = {}
    for row, (frame, number) in enumerate(zip(faces.frame.tolist(), faces.track.tolist())):
        letter = record.letters.get(number, "")
        track = tracks.setdefault(number, _Track(number, letter))
        track.rows.append(row)
        track.outcomes[frame] = outcome_of(
            pasted.get((frame, number)),
            int(faces.person[row]),
            letter,
            faces.box[row].tolist(),
            size,
            record,
        )
    for track in tracks.values():
        track.spans = spans(track.outcomes)
    return dict(sorted(tracks.items()))


def _looks(
    tracks: Mapping[int, _Track], faces: _Faces, wanted: int
) -> dict[int, list[FaceLook]]:
    """Faces to look at closely, by frame: some of each track that are swapped."""
    longest = sorted(tracks.values(), key=lambda track: (-len(track.rows), track.number))
    shown = {track.number for track in longest[:PORTRAITS]}
    looks: dict[int, list[FaceLook]] = defaultdict(list)
    for track in tracks.values():
        rows = [row for row in track.rows if track.outcomes[int(faces.frame[row])].swapped]
        count = min(wanted, 1 + len(rows) // SPREAD)
        chosen = evenly(len(rows), max(count, 1 if track.number in shown else 0))
        for place, at in enumerate(chosen):
            row = rows[at]
            looks[int(faces.frame[row])].append(
                FaceLook(
                    track=track.number,
                    points=faces.points[row],
                    portrait=track.number in shown and place == len(chosen) // 2,
                )
            )
    return dict(looks)


def _people(
    record: JobRecord,
    faces: _Faces,
    settings: Settings,
    tools: Toolbox,
    note: Callable[[str], None],
) -> dict[int, NDArray[np.float64]]:
    """[n, 128] embeddings of the pictures of each person that was put on."""
    store = ModelStore(settings.cache_dir)
    for name in (*(name for name in EMBEDDED if name not in HANDS), RECOGNIZER):
        if not store.present(name):
            note(f"fetching {name} (to compare faces)")
        store.path(name)
    people = {}
    for person in sorted(set(faces.person[faces.person >= 0].tolist())):
        paths = tuple(mark.path for mark in record.people[person])
        swap = SwapSettings(sources=paths, source_face=record.source_face)
        sources = load_sources(swap, tools.detector, tools.landmarker, tools.kernels)
        people[person] = embed_sources(sources, tools.recognizer, tools.kernels)
    return people


def _nearest(wanted: NDArray[np.float64], embedding: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(wanted - embedding, axis=1).min())


def _switches(
    record: JobRecord, faces: _Faces, tracks: Mapping[int, _Track]
) -> list[Switch]:
    found: list[Switch] = []
    firsts, lasts = {}, {}
    for number, track in tracks.items():
        frames, persons = faces.frame[track.rows].tolist(), faces.person[track.rows].tolist()
        found += person_switches(number, frames, persons)
        for ends, at in ((firsts, 0), (lasts, -1)):
            box = faces.box[track.rows[at]].astype(np.float64)
            ends[number] = TrackEnd(frame=frames[at], box=box, person=persons[at])
        if track.looks:
            at_frames, embeddings = zip(*track.looks, strict=True)
            switch = looks_switch(number, at_frames, np.stack(embeddings))
            found += [switch] if switch else []
    found += handovers(firsts, lasts, record.cuts)
    return sorted(found, key=lambda switch: (switch.frame, switch.track, switch.kind))


def _facts(
    record: JobRecord,
    output: Path,
    film: Path,
    index: VideoIndex,
    faces: _Faces,
    tracks: Mapping[int, _Track],
    rows: Mapping[str, NDArray[np.float64]],
    portraits: Mapping[int, object],
) -> dict[str, Any]:
    borders = np.isin(rows["frame"], record.borders)
    over = numbers.excess(rows)
    chosen = faces.person >= 0
    switches = _switches(record, faces, tracks)

    def of(rows_of: Mapping[str, NDArray[np.float64]], mask: NDArray[np.bool_]) -> dict[str, Any]:
        seam = seam_ratio(over[mask], borders[mask])
        steady = numbers.steadiness({name: column[mask] for name, column in rows_of.items()})
        return {**steady, "seam": None if seam is None else round(seam, 4)}

    listed = []
    for number, track in tracks.items():
        mine = rows["track"] == number
        counts = numbers.tally(track.spans)
        at = np.array(track.rows)
        listed.append(
            {
                "track": number,
                "identity": track.letter,
                "person": _person(record, faces.person[at]),
                "first": track.spans[0].start,
                "last": track.spans[-1].stop - 1,
                "first_time": time_code(float(index.time(track.spans[0].start))),
                "frames": sum(counts.values()),
                "swapped": sum(n for name, n in counts.items() if Outcome(name).swapped),
                "outcomes": counts,
                "spans": [[s.start, s.stop, s.outcome.value] for s in track.spans],
                "similarity": numbers.similarity([d for _, d in track.distances]),
                "similarity_before": numbers.similarity([d for _, d in track.before]),
                "samples": [[f, round(1 - d, 4)] for f, d in track.distances],
                "jitter": numbers.jitter(faces.jitter[at], faces.eyes[at]),
                **of(rows, mine),
                "switches": sum(number in (s.track, s.to) for s in switches),
            }
        )
    swapped = sum(track["swapped"] for track in listed)
    wanted = sum(
        n for track in listed for name, n in track["outcomes"].items() if name not in _BY_CHOICE
    )
    unswapped: Counter[str] = Counter()
    for track in listed:
        unswapped.update(
            {name: n for name, n in track["outcomes"].items() if not Outcome(name).swapped}
        )
    with np.errstate(invalid="ignore"):
        jitter_pct = 100 * faces.jitter / np.maximum(faces.eyes, 1e-6)
    length = index.frames
    facts: dict[str, Any] = {
        "version": 1,
        "job": record.job_id,
        "program": record.program,
        "finished": record.finished,
        "film": str(film),
        "output": str(output),
        "frames": length,
        "seconds": round(index.seconds, 3),
        "width": index.width,
        "height": index.height,
        "swapper": record.swapper,
        "encoder": record.codec,
        "crop_size": record.crop_size,
        "retries": record.retries,
        "job_seconds": round(record.seconds, 3),
        "borders": list(record.borders),
        "cuts": list(record.cuts),
        "total": {
            "faces": len(faces.frame),
            "tracks": len(tracks),
            "wanted": wanted,
            "swapped": swapped,
            "unswapped": dict(unswapped),
            "similarity": numbers.similarity([d for t in tracks.values() for _, d in t.distances]),
            "similarity_before": numbers.similarity(
                [d for t in tracks.values() for _, d in t.before]
            ),
            "jitter": numbers.jitter(faces.jitter[chosen], faces.eyes[chosen]),
            **of(rows, np.ones(len(over), np.bool_)),
            "identity_switches": len(switches),
        },
        "switches": [
            {"frame": s.frame, "kind": s.kind, "track": s.track, "to": s.to} for s in switches
        ],
        "tracks": listed,
        "series": {
            "bins": min(numbers.BINS, length),
            **{
                name: numbers.binned(rows["frame"], rows[name], length)
                for name in ("warp", "own_warp", "flicker", "own_flicker")
            },
            "jitter_pct": numbers.binned(faces.frame[chosen], jitter_pct[chosen], length),
        },
    }
    facts["look_at"] = _look_at(facts, index, rows, over)
    return facts


_BY_CHOICE: Final = {
    outcome.value
    for outcome in (
        Outcome.NOT_CAST, Outcome.NOT_REFERENCE, Outcome.NOT_FIRST, Outcome.UNKNOWN,
    )
}  # fmt: skip
"""Faces that nobody asked to swap."""
PLACES: Final = 8


def _look_at(
    facts: Mapping[str, Any],
    index: VideoIndex,
    rows: Mapping[str, NDArray[np.float64]],
    over: NDArray[np.float64],
) -> list[dict[str, Any]]:
    """Frames that are worth a look, by what is most likely to be seen first."""
    places: list[tuple[int, int, str]] = [
        (switch["frame"], switch["track"], f"identity switch ({switch['kind']})")
        for switch in facts["switches"]
    ]
    usual = float(np.median(over)) if len(over) else 0.0
    for at in np.argsort(-over, kind="stable")[:2].tolist():
        if over[at] > 2 * usual:
            why = f"changes {over[at]:.1f} times as much as the film itself"
            places.append((int(rows["frame"][at]), int(rows["track"][at]), why))
    gaps = [
        (stop - start, start, track["track"], outcome)
        for track in facts["tracks"]
        for start, stop, outcome in track["spans"]
        if not Outcome(outcome).swapped and outcome not in _BY_CHOICE
    ]
    for frames, start, number, outcome in sorted(gaps, key=lambda gap: (-gap[0], gap[1]))[:3]:
        word = "frame" if frames == 1 else "frames"
        places.append((start, number, f"{frames} {word} unswapped: {REASONS[Outcome(outcome)]}"))
    samples = [
        (value, frame, track["track"]) for track in facts["tracks"]
        for frame, value in track["samples"]
    ]  # fmt: skip
    if samples:
        value, frame, number = min(samples)
        places.append((frame, number, f"least like the new face (similarity {value:.2f})"))
    return [
        {"frame": frame, "time": time_code(float(index.time(frame))), "track": number, "why": why}
        for frame, number, why in places[:PLACES]
    ]


REASONS: Final = {
    Outcome.SWAPPED: "swapped",
    Outcome.FADED: "swapped, but faded: turned far aside",
    Outcome.COVERED: "swapped, but mostly behind a hand",
    Outcome.TURNED: "turned too far aside",
    Outcome.HIDDEN: "hidden by a hand",
    Outcome.OUTSIDE: "outside the picture",
    Outcome.EMPTY: "nothing of it to paste",
    Outcome.NOT_CAST: "nobody was cast for this person",
    Outcome.NOT_REFERENCE: "not the person of the reference",
    Outcome.NOT_FIRST: "another face came first (--faces one)",
    Outcome.UNKNOWN: "too unclear to say who it is",
    Outcome.LOST: "not found in this frame",
}
"""Outcomes in words."""


def _person(record: JobRecord, persons: NDArray[np.int32]) -> str:
    """Names of the pictures that were put on a track."""
    names: Iterable[Sequence[FileMark]] = (
        record.people[person] for person in sorted(set(persons[persons >= 0].tolist()))
    )
    return ", ".join(Path(marks[0].path).name for marks in names if marks)


def _flat(table: Any, name: str) -> NDArray[np.float32]:
    column = table.column(name).combine_chunks()
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32)
