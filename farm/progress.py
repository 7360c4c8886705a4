"""What a person or a program sees of a running job: live, in lines, or as JSON events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from scheduler.progress import ChunkProgress, ChunkState, JobSnapshot

Fact = str | int | float | bool | None | Sequence[str] | Mapping[str, float]
"""What an event may tell about itself."""

MAP_ROWS: Final = 4
LINE_SECONDS: Final = 5.0
JSON_SECONDS: Final = 1.0

CELLS: Final = {
    ChunkState.FAILED: ("x", "bold red"),
    ChunkState.RETRIED: ("r", "yellow"),
    ChunkState.RUNNING: ("o", "cyan"),
    ChunkState.WAITING: (".", "dim"),
    ChunkState.DONE: ("#", "green"),
}
"""Cell and style by state, the most urgent first: a cell for several chunks shows that one."""


class Display(Protocol):
    """Where news of a job goes."""

    def update(self, snapshot: JobSnapshot) -> None:
        """Show how far the job is; may be called as often as one likes."""

    def event(self, name: str, message: str = "", **facts: Fact) -> None:
        """Tell something that happened once.

        Args:
            name: an event of docs/events.md.
            message: one line for people.
            facts: what a program wants to know about it.
        """

    def close(self) -> None:
        """Leave the terminal as it was, with the last state on it."""


def printable(text: str) -> str:
    """``text`` on one line and harmless to a terminal: control characters become escapes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def duration(seconds: float) -> str:
    """Seconds as people read them: 7 s, 3:05, 1:02:09."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary_line(snapshot: JobSnapshot) -> str:
    """The snapshot in one line: "render  120/472 frames  25 %  31.2 fps  0:11 left"."""
    parts = [snapshot.phase]
    if snapshot.frames_total:
        share = 100 * snapshot.frames_done // snapshot.frames_total
        parts.append(f"{snapshot.frames_done}/{snapshot.frames_total} frames  {share} %")
    if snapshot.fps > 0:
        parts.append(f"{snapshot.fps:.1f} fps")
    if snapshot.eta_seconds is not None:
        parts.append(f"{duration(snapshot.eta_seconds)} left")
    if snapshot.retries:
        parts.append(f"{snapshot.retries} {'retry' if snapshot.retries == 1 else 'retries'}")
    if snapshot.message:
        parts.append(printable(snapshot.message))
    return "  ".join(parts)


def chunk_map(chunks: Sequence[ChunkProgress], width: int, rows: int = MAP_ROWS) -> Text:
    """One cell for each chunk, or for each run of chunks where there are more than fit.

    Args:
        chunks: rising by index.
        width: columns to use.
        rows: lines to use at most.
    """
    room = max(1, width * rows)
    per_cell = -(-len(chunks) // room) if chunks else 1
    urgency = list(CELLS)
    cells = [
        min({chunk.state for chunk in chunks[start : start + per_cell]}, key=urgency.index)
        for start in range(0, len(chunks), per_cell)
    ]
    lines = [cells[start : start + width] for start in range(0, len(cells), width)]
    return Text("\n", no_wrap=True, overflow="crop").join(_paint(line) for line in lines)


def _paint(cells: Sequence[ChunkState]) -> Text:
    runs = ((state, len(list(run))) for state, run in groupby(cells))
    return Text.assemble(*((CELLS[state][0] * length, CELLS[state][1]) for state, length in runs))


def bar(snapshot: JobSnapshot, width: int, ascii_only: bool = False) -> Text:
    """A bar of ``width`` columns filled by the share of frames done."""
    full, empty = ("=", "-") if ascii_only else ("━", "━")
    total = max(1, snapshot.frames_total)
    filled = min(width, width * snapshot.frames_done // total)
    return Text.assemble((full * filled, "green"), (empty * (width - filled), "bright_black"))


def view(snapshot: JobSnapshot, width: int, ascii_only: bool = False) -> RenderableType:
    """What the live display shows: a line of numbers, a bar and the chunk map."""
    width = max(8, width - 1)
    line = Text(summary_line(snapshot), no_wrap=True, overflow="ellipsis")
    line.stylize("bold", 0, len(snapshot.phase))
    parts: list[RenderableType] = [line]
    if snapshot.frames_total:
        parts.append(bar(snapshot, width, ascii_only))
    if len(snapshot.chunks) > 1:
        parts.append(chunk_map(snapshot.chunks, width))
        seen = [state for state in CELLS if snapshot.count(state)]
        key = "  ".join(f"{CELLS[s][0]} {snapshot.count(s)} {s.value}" for s in reversed(seen))
        parts.append(Text(key, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


class LiveDisplay:
    """Redraws in place on a terminal; events scroll by above."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._snapshot: JobSnapshot | None = None
        self._live = Live(
            get_renderable=self._view, console=console, refresh_per_second=5, transient=False
        )
        self._live.start()

    def _view(self) -> RenderableType:
        if self._snapshot is None:
            return Text("starting ...")
        console = self._console
        return view(self._snapshot, console.width, console.options.ascii_only)

    def update(self, snapshot: JobSnapshot) -> None:
        self._snapshot = snapshot

    def event(self, name: str, message: str = "", **facts: Fact) -> None:
        if message:
            self._console.print(Text(printable(message)), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()


class LineDisplay:
    """Plain lines for logs: one at each change of phase and then every few seconds."""

    def __init__(
        self,
        out: TextIO,
        every: float = LINE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._every = every
        self._clock = clock
        self._phase = ""
        self._next = 0.0
        self._shown = ""
        self._last: JobSnapshot | None = None

    def update(self, snapshot: JobSnapshot) -> None:
        self._last = snapshot
        now = self._clock()
        if snapshot.phase != self._phase or now >= self._next:
            self._phase = snapshot.phase
            self._next = now + self._every
            self._show(snapshot)

    def _show(self, snapshot: JobSnapshot) -> None:
        line = summary_line(snapshot)
        if line != self._shown:
            self._shown = line
            print(line, file=self._out, flush=True)

    def event(self, name: str, message: str = "", **facts: Fact) -> None:
        if message:
            print(printable(message), file=self._out, flush=True)

    def close(self) -> None:
        if self._last is not None:
            self._show(self._last)


class JsonDisplay:
    """One JSON object a line, each with ``event`` and ``time``; docs/events.md has the rest."""

    def __init__(
        self,
        out: TextIO,
        job: str = "",
        every: float = JSON_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._out = out
        self._job = job
        self._every = every
        self._clock = clock
        self._phase = ""
        self._next = 0.0
        self._pending: JobSnapshot | None = None

    def update(self, snapshot: JobSnapshot) -> None:
        now = self._clock()
        if snapshot.phase == self._phase and now < self._next:
            self._pending = snapshot
            return
        # The end of a phase is news that the limit on lines must not swallow.
        if snapshot.phase != self._phase:
            self._flush()
        self._phase = snapshot.phase
        self._next = now + self._every
        self._pending = None
        self._progress(snapshot)

    def _flush(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._progress(pending)

    def _progress(self, snapshot: JobSnapshot) -> None:
        self._write(
            "progress",
            {
                "phase": snapshot.phase,
                "frames_done": snapshot.frames_done,
                "frames_total": snapshot.frames_total,
                "fps": round(snapshot.fps, 3),
                "eta_seconds": (
                    None if snapshot.eta_seconds is None else round(snapshot.eta_seconds, 1)
                ),
                "retries": snapshot.retries,
                "message": snapshot.message,
                "chunks": {state.value: snapshot.count(state) for state in ChunkState},
            },
        )

    def event(self, name: str, message: str = "", **facts: Fact) -> None:
        self._flush()
        self._write(name, {"message": message, **facts} if message else facts)

    def _write(self, name: str, facts: Mapping[str, object]) -> None:
        moment = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        line = {"event": name, "time": moment.replace("+00:00", "Z")}
        if self._job:
            line["job"] = self._job
        print(json.dumps(line | dict(facts)), file=self._out, flush=True)

    def close(self) -> None:
        self._flush()


def open_display(as_json: bool, out: TextIO, err: TextIO, job: str = "") -> Display:
    """The display that fits: JSON on ``out``, else live or lines on ``err``.

    People's progress goes to stderr so that stdout keeps only the result. ``job`` names the job
    in every JSON event.
    """
    if as_json:
        return JsonDisplay(out, job)
    console = Console(file=err)
    return LiveDisplay(console) if console.is_terminal else LineDisplay(err)
