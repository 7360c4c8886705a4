"""A report's numbers and words, as JSON can hold them (docs/report.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from farm.contact_sheet import time_code
from farm.report_tables import FaceColumns, ReportTrack
from kernels.metrics import seam_ratio
from scheduler import report as numbers
from scheduler.media import VideoIndex
from scheduler.outcomes import Outcome
from scheduler.records import FileMark, JobRecord
from scheduler.switches import Switch, TrackEnd, handovers, looks_switch, person_switches


def _switches(
    record: JobRecord, faces: FaceColumns, tracks: Mapping[int, ReportTrack]
) -> list[Switch]:
    found: list[Switch] = []
    firsts: dict[int, TrackEnd] = {}
    lasts: dict[int, TrackEnd] = {}
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


def facts_of(
    record: JobRecord,
    output: Path,
    film: Path,
    index: VideoIndex,
    faces: FaceColumns,
    tracks: Mapping[int, ReportTrack],
    rows: Mapping[str, NDArray[np.float64]],
) -> dict[str, Any]:
    """All numbers of a report.

    Args:
        output, film: where the two are now.
        index: of the film.
        rows: of the pairs of frames that were measured (``scheduler.report.Rows``).
    """
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
        n
        for track in listed
        for name, n in track["outcomes"].items()
        if not Outcome(name).by_choice
    )
    unswapped: Counter[str] = Counter()
    for each in listed:
        unswapped.update({k: n for k, n in each["outcomes"].items() if not Outcome(k).swapped})
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
        "passed": [list(frames) for frames in record.passed],
        "times": {
            part: {
                "calls": spent.calls,
                "wall_ms": round(spent.wall_ms, 1),
                "cpu_ms": round(spent.cpu_ms, 1),
                "device_ms": None if spent.device_ms is None else round(spent.device_ms, 1),
            }
            for part, spent in record.times.items()
        },
        "borders": list(record.borders),
        "cuts": list(record.cuts),
        "total": {
            "faces": len(faces.frame),
            "tracks": len(tracks),
            "wanted": wanted,
            "swapped": swapped,
            "unswapped": unswapped,
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


PLACES: Final = 8
"""Frames to look at, at most."""


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
        if not Outcome(outcome).swapped and not Outcome(outcome).by_choice
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
        why = f"least like the new face (similarity {value:.2f}; {_became(facts, number, frame)})"
        places.append((frame, number, why))
    return [
        {"frame": frame, "time": time_code(float(index.time(frame))), "track": number, "why": why}
        for frame, number, why in places[:PLACES]
    ]


def _became(facts: Mapping[str, Any], number: int, frame: int) -> str:
    """What became of a track in a frame, in words."""
    spans = next(track["spans"] for track in facts["tracks"] if track["track"] == number)
    return next(REASONS[Outcome(word)] for start, stop, word in spans if start <= frame < stop)


REASONS: Final = {
    Outcome.SWAPPED: "swapped",
    Outcome.FADED: "swapped, but faded: turned far aside",
    Outcome.COVERED: "swapped, partly behind a hand",
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
