"""All that people may ask of a farm, in any order, while its service dies and comes back.

Each verb is asked twice, the second time must change nothing. In the end everything that can go on
does, and every job that was not removed is a film that is whole.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import cluster.farm
from actors.prober import probe
from actors.toolbox import LaneKit, Toolbox
from cluster.farm_actor import check_journal
from cluster.job_shelf import Entry
from scheduler.errors import JobUnknown
from scheduler.jobs import EncoderSettings, JobSpec, SwapSettings
from tests.unit.actors.films import make_film
from tests.unit.cluster.test_farm import TestFarm, open_desk

FRAMES = 8
ENDED = ("completed", "failed", "cancelled")
ORDERS = {"pause": "paused", "resume": "", "cancel": "cancelled", "retry": ""}
"""What people order, and the state of a job that has not ended before, where it must be one."""


class FarmMachine(RuleBasedStateMachine):
    """People, and a farm in this process."""

    jobs = Bundle("jobs")
    tools = Toolbox(LaneKit(cache_dir=Path("none")))
    """Of all lanes of all farms: half of the time went into making them anew."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="machine"))
        # By the frame, not by the clock: the same wishes are the same history.
        self.farm = TestFarm(self.folder, turn_seconds=0.0, tools=self.tools)
        self.film = make_film(self.folder / "film.mp4", frames=FRAMES)
        self.known: dict[str, Entry] = {}
        """Jobs that were submitted and not removed."""
        self.count = 0

    def _spec(self, name: str, film: Path, output: str) -> JobSpec:
        return JobSpec(
            job_id=f"{name}-{output}",
            media=str(film),
            output=str(self.folder / f"{name}-{output}.mkv"),
            folder=str(self.folder / "work" / f"{name}-{output}"),
            swap=SwapSettings(sources=("/nobody.jpg",)),
            encoder=EncoderSettings(codec="ffv1"),
            chunk_seconds=0.16,
            attempts=2,
            on_error="passthrough",
        )

    def _state(self, name: str) -> str:
        return str(self.farm.ask("show", job=name)["state"])

    @rule(
        target=jobs,
        key=st.sampled_from(["", "monday", "tuesday"]),
        steps=st.integers(1, 2),
        priority=st.integers(0, 100),
    )
    def submit(self, key: str, steps: int, priority: int) -> Any:
        if len(self.known) >= 4:
            return multiple()
        name = f"job{self.count}"
        self.count += 1
        first = self._spec(name, self.film, "a")
        later = (self._spec(name, Path(first.output), "b"),) if steps == 2 else ()
        entry = Entry(
            spec=first,
            later=later,
            name=name,
            user="ann",
            priority=priority,
            key=key,
            submitted="2026-01-01T00:00:00Z",
        )
        same = [known.job for known in self.known.values() if key and known.key == key]
        for _ in range(2):
            assert self.farm.ask("submit", entry=entry) == (same[0] if same else name)
        if same:
            return multiple()
        self.known[name] = entry
        return name

    @rule(job=jobs, what=st.sampled_from(sorted(ORDERS)))
    def order(self, job: str, what: str) -> None:
        if job not in self.known:
            return
        before = self._state(job)
        (once,) = self.farm.ask("order", job=job, what=what)
        (twice,) = self.farm.ask("order", job=job, what=what)
        assert once == twice
        if before in ENDED:
            goes_on = what == "retry" and before != "completed"
            assert (once["state"] not in ENDED) == goes_on
        elif ORDERS[what]:
            assert once["state"] == ORDERS[what]
        else:
            assert once["state"] not in ENDED

    @rule(job=jobs, priority=st.integers(0, 100))
    def priority(self, job: str, priority: int) -> None:
        if job in self.known:
            for _ in range(2):
                assert self.farm.ask("priority", job=job, priority=priority)[0]["priority"] == (
                    priority
                )

    @rule(
        job=jobs,
        kind=st.sampled_from(["analyse", "render"]),
        frame=st.integers(0, FRAMES - 1),
        step=st.integers(0, 1),
    )
    def requeue(self, job: str, kind: str, frame: int, step: int) -> None:
        if job not in self.known or step >= len(self.known[job].steps):
            return
        for _ in range(2):
            self.farm.ask("requeue", job=job, kind=kind, start=frame, stop=frame + 1, step=step)

    @rule(job=consumes(jobs))
    def remove(self, job: str) -> None:
        if job not in self.known:
            return
        self.farm.turn(3)  # what was stopped is given up
        if self._state(job) not in ENDED:
            assert self.farm.ask("rm", job=job) is False
            self.farm.ask("order", job=job, what="cancel")
            self.farm.turn(3)
        for _ in range(2):
            assert self.farm.ask("rm", job=job) is True
        del self.known[job]
        with pytest.raises(JobUnknown):
            self.farm.ask("show", job=job)

    @rule(turns=st.integers(1, 12))
    def turn(self, turns: int) -> None:
        self.farm.turn(turns)

    @rule()
    def die(self) -> None:
        self.farm.die()

    @invariant()
    def all_are_known(self) -> None:
        if not hasattr(self, "farm"):
            return
        rows = {row["job"]: row for row in self.farm.ask("jobs")}
        assert rows.keys() == self.known.keys() == set(self.farm.farm.shelf.jobs())
        for name, row in rows.items():
            assert row["state"] != "failed", self.farm.ask("show", job=name)["failure"]
            assert row["chunks_done"] <= row["chunks_total"]

    def teardown(self) -> None:
        if not hasattr(self, "farm"):
            return
        try:
            for name in self.known:
                for what in ("resume", "retry"):
                    self.farm.ask("order", job=name, what=what)
            for name, entry in self.known.items():
                self.farm.until("completed", name, turns=3000)
                for step in entry.steps:
                    assert probe(step.output).frames == FRAMES
                    assert not Path(step.folder).exists()
                    assert not Path(step.partial).exists()
            assert check_journal(self.folder / "farm") == []
        finally:
            self.farm.farm.close()
            shutil.rmtree(self.folder)


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        (5, 12),
        pytest.param(300, 40, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
def test_a_farm_does_what_it_is_asked(
    examples: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.farm, "open_desk", open_desk)
    run_state_machine_as_test(
        FarmMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
