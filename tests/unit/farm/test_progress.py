import io
import json
from collections.abc import Sequence

import pytest
from rich.console import Console

from farm.progress import (
    CELLS,
    Display,
    JsonDisplay,
    LineDisplay,
    LiveDisplay,
    bar,
    chunk_map,
    duration,
    open_display,
    printable,
    summary_line,
    view,
)
from scheduler.progress import ChunkProgress, ChunkState, JobSnapshot

W, R, A, D, F = (
    ChunkState.WAITING,
    ChunkState.RUNNING,
    ChunkState.RETRIED,
    ChunkState.DONE,
    ChunkState.FAILED,
)


def chunks(states: Sequence[ChunkState]) -> tuple[ChunkProgress, ...]:
    return tuple(
        ChunkProgress(index=index, state=state, frames_total=10)
        for index, state in enumerate(states)
    )


def snapshot(
    states: Sequence[ChunkState] = (D, R, W), phase: str = "render", done: int = 118
) -> JobSnapshot:
    return JobSnapshot(
        job_id="film-1",
        phase=phase,
        chunks=chunks(states),
        frames_done=done,
        frames_total=472,
        fps=31.24,
        eta_seconds=71.0,
        retries=1,
        message="",
    )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def drawn(width: int, shown: JobSnapshot) -> list[str]:
    console = Console(record=True, width=width, file=io.StringIO(), color_system=None)
    console.print(view(shown, console.width))
    return console.export_text().splitlines()


def test_the_summary_says_phase_frames_speed_rest_and_retries() -> None:
    assert summary_line(snapshot()) == "render  118/472 frames  25 %  31.2 fps  1:11 left  1 retry"


def test_the_summary_leaves_out_what_is_not_known() -> None:
    empty = JobSnapshot(job_id="j", phase="probe", frames_done=0, frames_total=0)
    assert summary_line(empty) == "probe"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (-3, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (185, "3:05"), (3729, "1:02:09")],
)
def test_durations_read_as_people_write_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_each_state_has_its_own_cell() -> None:
    assert set(CELLS) == set(ChunkState)
    assert len({cell for cell, _ in CELLS.values()}) == len(CELLS)
    assert chunk_map(chunks([D, R, A, F, W]), width=10).plain == "#orx."


def test_the_chunk_map_breaks_lines_at_its_width() -> None:
    assert chunk_map(chunks([D] * 5 + [W] * 2), width=3).plain == "###\n##.\n."


def test_a_long_film_shares_cells_and_the_most_urgent_state_shows() -> None:
    states = [D] * 10_000
    states[5_000] = F
    text = chunk_map(chunks(states), width=50, rows=4)
    lines = text.plain.split("\n")
    assert len(lines) <= 4
    assert max(map(len, lines)) <= 50
    assert text.plain.count("x") == 1


@pytest.mark.parametrize("width", [8, 20, 33, 80, 200])
@pytest.mark.parametrize("count", [1, 7, 79, 80, 81, 4_000])
def test_nothing_is_wider_than_the_terminal(width: int, count: int) -> None:
    lines = drawn(width, snapshot([R] * count))
    assert lines[0].startswith("render")
    assert max(map(len, lines)) <= width
    assert len(lines) <= 7


def test_the_view_shows_numbers_bar_map_and_key() -> None:
    lines = drawn(80, snapshot([D, D, R, A, W]))
    assert lines[0] == "render  118/472 frames  25 %  31.2 fps  1:11 left  1 retry"
    assert set(lines[1]) == {"━"}
    assert lines[2] == "##or."
    assert lines[3] == "# 2 done  . 1 waiting  o 1 running  r 1 retried"


@pytest.mark.parametrize(("done", "filled"), [(0, 0), (236, 20), (472, 40), (9_999, 40)])
def test_the_bar_fills_with_the_frames_done(done: int, filled: int) -> None:
    drawn_bar = bar(snapshot(done=done), 40)
    assert len(drawn_bar.plain) == 40
    assert sum(each.end - each.start for each in drawn_bar.spans if each.style == "green") == filled


def test_a_terminal_without_unicode_gets_a_bar_of_ascii() -> None:
    assert bar(snapshot(done=236), 4, ascii_only=True).plain == "==--"


def test_lines_come_at_a_phase_and_then_every_few_seconds() -> None:
    out, clock = io.StringIO(), Clock()
    display = LineDisplay(out, every=5, clock=clock)
    display.update(snapshot(phase="analyse", done=0))
    for second in range(1, 5):
        clock.now = 1000 + second
        display.update(snapshot(phase="analyse", done=second))
    assert len(out.getvalue().splitlines()) == 1
    clock.now = 1005
    display.update(snapshot(phase="analyse", done=5))
    display.update(snapshot(phase="render", done=0))
    display.event("swept", "removed what job a left")
    display.update(snapshot(phase="render", done=472))
    display.close()
    words = [line.split("  ")[:2] for line in out.getvalue().splitlines()]
    assert words == [
        ["analyse", "0/472 frames"],
        ["analyse", "5/472 frames"],
        ["render", "0/472 frames"],
        ["removed what job a left"],
        ["render", "472/472 frames"],
    ]


def test_json_is_one_event_a_line_and_keeps_the_end_of_each_phase() -> None:
    out, clock = io.StringIO(), Clock()
    display = JsonDisplay(out, "film-1", every=1, clock=clock)
    display.event("submitted", video="a\nb.mp4")
    display.update(snapshot(phase="analyse", done=0))
    display.update(snapshot(phase="analyse", done=472))
    display.update(snapshot(phase="render", done=0))
    display.update(snapshot(phase="render", done=472))
    display.event("done", output="out.mp4")
    display.close()
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event["event"] for event in events] == [
        "submitted",
        "progress",
        "progress",
        "progress",
        "progress",
        "done",
    ]
    assert {event["job"] for event in events} == {"film-1"}
    assert {event["time"] for event in events} == {"1970-01-01T00:16:40.000Z"}
    assert [event["frames_done"] for event in events[1:5]] == [0, 472, 0, 472]
    assert events[0]["video"] == "a\nb.mp4"
    assert events[1]["chunks"] == {
        "waiting": 1,
        "running": 1,
        "retried": 0,
        "done": 1,
        "failed": 0,
    }


def test_json_progress_is_not_written_more_often_than_asked() -> None:
    out, clock = io.StringIO(), Clock()
    display = JsonDisplay(out, every=1, clock=clock)
    for step in range(100):
        clock.now = 1000 + step / 50
        display.update(snapshot(done=step))
    assert len(out.getvalue().splitlines()) == 2


def test_the_live_display_leaves_the_last_state_on_the_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    display = LiveDisplay(console)
    display.update(snapshot([D, D]))
    display.event("swept", "removed\x1b[2J what was left")
    display.close()
    text = out.getvalue()
    assert "render  118/472 frames" in text
    assert "removed\\x1b[2J what was left" in text
    assert "\x1b[2J" not in text


def test_without_a_terminal_there_are_lines_and_with_json_events() -> None:
    out, err = io.StringIO(), io.StringIO()
    lines: Display = open_display(False, out, err)
    events: Display = open_display(True, out, err, "j")
    assert isinstance(lines, LineDisplay)
    assert isinstance(events, JsonDisplay)
    lines.event("submitted", "for people")
    events.event("submitted", job_size=3)
    assert err.getvalue() == "for people\n"
    assert json.loads(out.getvalue())["job_size"] == 3


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\nb\x1b[31m\u202ec é 🙂") == "a\\nb\\x1b[31m\\u202ec é 🙂"
