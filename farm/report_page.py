"""The report as one HTML page: no scripts, nothing fetched, readable by light, dark and ear."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import cv2

from actors.whole_file import whole_file
from farm.charts import Bar, Line, TimeAxis, line_chart, timeline
from farm.progress import duration
from farm.report import Image, Report
from farm.report_facts import REASONS
from farm.report_verdicts import Verdict, verdicts
from scheduler.outcomes import Outcome

ROWS: Final = 60
"""Tracks in the timeline and the table; the JSON has all."""


def write_page(report: Report, path: Path) -> None:
    """Write the page as a file that appears whole.

    Raises:
        StorageUnwritable, DiskFull: it cannot be written.
    """
    with whole_file(path) as file:
        file.write(page(report).encode("utf-8", errors="replace"))


def page(report: Report) -> str:
    """The whole page as text."""
    facts = report.facts
    name = Path(facts["output"]).name
    style = files("farm").joinpath("report.css").read_text("utf-8")
    axis = TimeAxis(
        frames=facts["frames"],
        seconds=facts["seconds"],
        borders=facts["borders"],
        cuts=facts["cuts"],
    )
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Report: {escape(name)}</title><style>{style}</style></head><body>",
            _hatches(),
            _header(facts, name),
            "<main>",
            *(_body(report, axis) if facts["tracks"] else [NOBODY]),
            "</main></body></html>\n",
        ]
    )


def _body(report: Report, axis: TimeAxis) -> list[str]:
    facts = report.facts
    return [
        _tiles(verdicts(facts)),
        _places(facts["look_at"]),
        _charts(facts, axis),
        _faces(facts, axis),
        _tracks(facts, report.portraits),
        _times(facts),
        _meanings(),
    ]


NOBODY: Final = (
    "<h2>No face was found</h2><p>There is nothing to measure: the result is the film as it was, "
    "encoded anew.</p>"
)


def _header(facts: Mapping[str, Any], name: str) -> str:
    words = (
        f"{facts['frames']} frames, {duration(facts['seconds'])}, "
        f"{facts['width']}×{facts['height']}; {len(facts['borders']) + 1} chunks, "
        f"{len(facts['cuts'])} cuts; swapper {facts['swapper']}, {facts['encoder']}; made in "
        f"{duration(facts['job_seconds'])} by {facts['program']}, "
        f"{facts['finished'][:16].replace('T', ' ')} UTC"
    )
    if facts["passed"]:
        frames = ", ".join(f"{start} to {stop - 1}" for start, stop in facts["passed"])
        words += f". Not worked on, for every attempt failed: frames {frames}"
    return (
        f"<header><p class=kicker>Job report</p><h1>{escape(name)}</h1>"
        f"<p>from {escape(facts['film'])}</p><p class=quiet>{escape(words)}</p></header>"
    )


def _tiles(found: Sequence[Verdict]) -> str:
    tiles = "".join(
        f'<div class="tile {verdict.grade}"><dt>{escape(verdict.name)}</dt>'
        f"<dd><strong>{escape(verdict.value)}</strong>"
        f"<span class=grade>{escape(verdict.grade_word)}</span>"
        f"<small>{escape(verdict.words)}</small></dd></div>"
        for verdict in found
    )
    return f'<section aria-label="Overview"><dl class=tiles>{tiles}</dl></section>'


def _places(places: Sequence[Mapping[str, Any]]) -> str:
    if not places:
        return ""
    rows = "".join(
        f"<li><b>{escape(place['time'])}</b> <span class=quiet>frame {place['frame']}, track "
        f"{place['track']}</span> {escape(place['why'])}</li>"
        for place in places
    )
    return f"<section><h2>Look here first</h2><ol class=places>{rows}</ol></section>"


def _charts(facts: Mapping[str, Any], axis: TimeAxis) -> str:
    series = facts["series"]
    samples = [
        (frame, value, f"track {track['track']}, frame {frame}: {value:.2f}")
        for track in facts["tracks"]
        for frame, value in track["samples"]
    ]

    def both(title: str, name: str) -> str:
        lines = [
            Line(name="film", style="line own", values=series[f"own_{name}"]),
            Line(name="result", style="line made", values=series[name]),
        ]
        return line_chart(title, axis, lines)

    key = (
        "<p class=key><span><i class=made></i>result</span><span><i class=own></i>film</span>"
        "<span><i class=border></i>chunk begins</span><span><i class=cut></i>cut</span></p>"
    )
    jitter = [Line(name="landmarks", style="line made", values=series["jitter_pct"])]
    figures = [
        ("Warping error", "luma codes a frame", both("Warping error over time", "warp")),
        ("Luma flicker", "luma codes a frame", both("Luma flicker over time", "flicker")),
        (
            "Landmark jitter",
            "% of the distance between the eyes; true motion counts, too",
            line_chart("Landmark jitter over time", axis, jitter),
        ),
    ]
    if samples:
        chart = line_chart("Likeness over time", axis, dots=samples, threshold=0.4)
        words = "similarity to the new face; from the dashed line up it is the same person"
        figures.append(("Likeness", words, chart))
    shown = "".join(
        f"<figure><figcaption><b>{title}</b> <span class=quiet>{words}</span></figcaption>"
        f'<div class=scroll tabindex=0 role=region aria-label="{title}">{chart}</div></figure>'
        for title, words, chart in figures
    )
    return f"<section><h2>Over time</h2>{key}{shown}</section>"


def _kind(outcome: Outcome) -> str:
    """CSS class of an outcome."""
    if outcome.by_choice:
        return "choice"
    if outcome is Outcome.FADED:
        return "weak"
    if outcome is Outcome.COVERED:
        return "part"
    return "swapped" if outcome.swapped else "left"


def _faces(facts: Mapping[str, Any], axis: TimeAxis) -> str:
    rows = []
    for track in facts["tracks"][:ROWS]:
        bars = [
            Bar(
                start=start,
                stop=stop,
                style=_kind(Outcome(outcome)),
                title=f"frames {start} to {stop - 1}: {REASONS[Outcome(outcome)]}",
            )
            for start, stop, outcome in track["spans"]
        ]
        rows.append((_name(track), bars))
    counts: dict[Outcome, int] = {}
    for track in facts["tracks"]:
        for outcome, frames in track["outcomes"].items():
            counts[Outcome(outcome)] = counts.get(Outcome(outcome), 0) + frames
    whole = max(sum(counts.values()), 1)
    lines = "".join(
        f"<tr><td><i class={_kind(outcome)}></i></td><td>{escape(REASONS[outcome])}</td>"
        f"<td class=num>{frames}</td><td class=num>{100 * frames / whole:.1f} %</td></tr>"
        for outcome, frames in counts.items()
    )
    chart = timeline("What became of each face over time", axis, rows)
    return (
        "<section><h2>What became of the faces</h2>"
        f'<figure><div class=scroll tabindex=0 role=region aria-label="Timeline">{chart}</div>'
        "</figure>"
        "<table class=reasons><thead><tr><th></th><th scope=col>outcome</th>"
        "<th scope=col class=num>frames</th><th scope=col class=num>share</th></tr></thead>"
        f"<tbody>{lines}</tbody></table></section>"
    )


def _tracks(facts: Mapping[str, Any], portraits: Mapping[int, tuple[Image, Image]]) -> str:
    head = "".join(
        f"<th scope=col{' class=num' if number else ''}>{name}</th>"
        for name, number in (
            ("track", 0), ("before, after", 0), ("frames", 1), ("swapped", 1),
            ("likeness<br><small>mean, least ± spread</small>", 1), ("jitter", 1),
            ("warping<br><small>over film’s</small>", 1),
            ("flicker<br><small>over film’s</small>", 1), ("seam", 1), ("switches", 1),
        )
    )  # fmt: skip
    rows = "".join(_row(track, portraits) for track in facts["tracks"][:ROWS])
    more = len(facts["tracks"]) - ROWS
    rest = f"<p class=quiet>{more} more tracks are in the JSON.</p>" if more > 0 else ""
    return (
        "<section><h2>Tracks</h2><div class=scroll tabindex=0 role=region aria-label=Tracks>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{rest}</section>"
    )


def _times(facts: Mapping[str, Any]) -> str:
    """Where the lanes' time went; nothing of jobs that left no times."""
    times, frames = facts.get("times", {}), max(facts["frames"], 1)
    if not times:
        return ""
    gpu = any(spent["device_ms"] is not None for spent in times.values())
    clocks = {"wall_ms": "time", "cpu_ms": "CPU", **({"device_ms": "GPU"} if gpu else {})}
    head = "".join(f"<th scope=col class=num>{name}</th>" for name in clocks.values())
    rows = "".join(
        f"<tr><th scope=row>{escape(part.replace('.', ' · '))}</th>"
        + "".join(f"<td class=num>{_per_frame(spent[key], frames)}</td>" for key in clocks)
        + "</tr>"
        for part, spent in times.items()
    )
    return (
        "<section><h2>Where the time went</h2><p class=quiet>Milliseconds of a lane for each frame "
        "of the film; a part’s time is without that of its parts.</p>"
        "<div class=scroll tabindex=0 role=region aria-label=Times><table><thead><tr>"
        f"<th scope=col>part</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _per_frame(ms: float | None, frames: int) -> str:
    return "–" if ms is None else f"{ms / frames:.2f}"


def _row(track: Mapping[str, Any], portraits: Mapping[int, tuple[Image, Image]]) -> str:
    like = track["similarity"]
    likeness = "–" if like is None else f"{like['mean']:.2f}, {like['min']:.2f} ± {like['std']:.2f}"
    pictures = "".join(
        f'<img src="{_data(image)}" width=72 height=72 alt="{word}">'
        for image, word in zip(portraits.get(track["track"], ()), ("before", "after"), strict=False)
    )
    put_on = f"<br><small>{escape(track['person'])}</small>" if track["person"] else ""
    cells = [
        f"<th scope=row>{escape(_name(track))}{put_on}<br><small>from "
        f"{escape(track['first_time'])}</small></th>",
        f"<td class=pair>{pictures}</td>",
    ]
    values = [
        str(track["frames"]),
        f"{track['swapped']}<br><small>{100 * track['swapped'] / track['frames']:.0f} %</small>",
        likeness,
        _number(track["jitter"]["pct"], " %"),
        _number(track["warp"]["ratio"], "×"),
        _number(track["flicker"]["ratio"], "×"),
        _number(track["seam"], "×"),
        str(track["switches"]),
    ]
    cells += [f"<td class=num>{value}</td>" for value in values]
    return f"<tr>{''.join(cells)}</tr>"


def _name(track: Mapping[str, Any]) -> str:
    return f"{track['identity']} · {track['track']}" if track["identity"] else str(track["track"])


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.2f}{unit}"


def _data(image: Image) -> str:
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert done, "JPEG holds any 8-bit picture"
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"


def _hatches() -> str:
    """Patterns, so that kinds differ not by colour alone."""
    return (
        '<svg width="0" height="0" aria-hidden="true" style="position:absolute"><defs>'
        '<pattern id="weak" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="swapped-ink" width="6" height="6"/>'
        '<rect class="paper-ink" width="2" height="6"/></pattern>'
        '<pattern id="left" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(-45)"><rect class="left-ink" width="6" height="6"/>'
        '<rect class="paper-ink" width="3" height="6"/></pattern></defs></svg>'
    )


def _meanings() -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{words}</dd>" for name, words in MEANINGS)
    return f"<section><h2>What the numbers mean</h2><dl class=meanings>{rows}</dl></section>"


MEANINGS: Final = (
    (
        "Likeness",
        "1 minus the distance of two embeddings of dlib’s recogniser: of the face in the result "
        "and of the picture that was put on. 1 is the same picture; from 0.4 up its author takes "
        "two pictures for one person.",
    ),
    (
        "Warping error",
        "How much the swapped region changes from a frame to the next once the film’s own motion "
        "is taken out, in luma codes. × is over the same number of the film: 1.00× is as steady "
        "as the film itself.",
    ),
    ("Luma flicker", "The same of blocks of 16 pixels: what the eye takes for flicker."),
    (
        "Seam",
        "Warping error over the film’s own at chunk borders, over its median elsewhere. 1.00× "
        "means that nothing shows where chunks meet.",
    ),
    (
        "Landmark jitter",
        "Root mean square of the landmarks’ second difference, in % of the distance between the "
        "eyes. The face’s true motion is part of it.",
    ),
    (
        "Identity switches",
        "Places where the face put on a track changes, where a face goes on under another track "
        "with another face, or where a track looks like two people.",
    ),
)
