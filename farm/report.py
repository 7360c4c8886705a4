"""What a finished job is worth: reads what it left behind, compares the two films, and counts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
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
from farm.contact_sheet import evenly
from farm.report_facts import facts_of
from farm.report_tables import FaceColumns, ReportTrack, read_pasted, read_tracks
from kernels.dense_flow import DisFlow
from scheduler import report as numbers
from scheduler.errors import MediaMissing, ReportOutdated, SourceUnreadable
from scheduler.jobs import SwapSettings
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
    faces, pasted = FaceColumns(kept.faces), read_pasted(kept.masks)
    tracks = read_tracks(record, faces, pasted, (source.width, source.height))
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
    began = time.monotonic()
    seen = inspector.inspect(source, result, pasted_faces(kept.masks), pairs=pairs, looks=looks)
    for done, frame in enumerate(seen, 1):
        for each in frame.steadiness:
            row = (
                frame.frame,
                each.track,
                each.warp,
                each.own_warp,
                each.flicker,
                each.own_flicker,
            )
            for name, value in zip(_COLUMNS, row, strict=True):
                found[name].append(value)
        for like in frame.likenesses:
            if like.portraits is not None:
                portraits[like.track] = like.portraits
            if like.before is None or like.after is None:
                continue
            track = tracks[like.track]
            wanted = people[track.persons[frame.frame]]
            track.looks.append((frame.frame, like.before))
            track.before.append((frame.frame, _nearest(wanted, like.before)))
            track.distances.append((frame.frame, _nearest(wanted, like.after)))
        watch(done, source.frames, done / max(time.monotonic() - began, 1e-6))
    rows = {name: np.array(values) for name, values in found.items()}
    facts = facts_of(record, output, film, source, faces, tracks, rows)
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


def _looks(
    tracks: Mapping[int, ReportTrack], faces: FaceColumns, wanted: int
) -> dict[int, list[FaceLook]]:
    """Faces to look at closely, by frame: some of each track that are swapped."""
    longest = sorted(tracks.values(), key=lambda track: (-len(track.rows), track.number))
    shown = {track.number for track in longest[:PORTRAITS]}
    looks: dict[int, list[FaceLook]] = defaultdict(list)
    for track in tracks.values():
        rows = [row for row in track.rows if track.outcomes[int(faces.frame[row])].swapped]
        count = min(wanted, len(rows) // SPREAD)
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
    faces: FaceColumns,
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
