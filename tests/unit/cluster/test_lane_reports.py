"""What an executor tells comes to the ledger in its own words, and only what is news."""

from __future__ import annotations

import pytest

from cluster.lane_reports import LaneReports
from scheduler.errors import LaneDied, LaneError
from scheduler.events import LaneLost, LaneReady, TaskDone, TaskFailed, TaskProgress
from scheduler.history import Delivered, Failed, LaneDown, LaneUp, Progressed, Submitted, Terms
from scheduler.instructions import Start
from scheduler.jobs import Analysis
from scheduler.ledger import Ledger

DIED = LaneDied("lane 3 is gone", "a lane", "none")


@pytest.fixture
def ledger() -> Ledger:
    """One chunk of a film runs on lane 3, under lease 2."""
    ledger = Ledger()
    ledger.handle(LaneUp(lane="desk", life=1, node="desk", role="film"), 0.0)
    ledger.handle(Submitted(terms=Terms(job="film")), 0.0)
    ledger.handle(Delivered(lease=1, chunks=((0, 10),)), 0.0)
    return ledger


@pytest.fixture
def reports(ledger: Ledger) -> LaneReports:
    reports = LaneReports(ledger)
    up = reports.told(LaneReady(lane=3))
    assert up is not None
    (start,) = ledger.handle(up, 1.0)
    assert isinstance(start, Start)
    assert (start.lane, start.lease) == ("3", 2)
    return reports


def test_a_lanes_gpu_memory_is_told(ledger: Ledger) -> None:
    up = LaneReports(ledger).told(LaneReady(lane=4, node="n", gpu_memory=8 << 30))
    assert up == LaneUp(lane="4", life=1, node="n", gpu_memory=8 << 30)


def test_results_and_progress_keep_the_number_of_the_lease(reports: LaneReports) -> None:
    progress = TaskProgress(key="analyse/0", attempt=2, frames=4)
    assert reports.told(progress) == Progressed(lease=2, frames=4)
    result = Analysis(chunk=0, faces_path="", frames_path="", frames=10, faces=0)
    done = TaskDone(key="analyse/0", attempt=2, lane=3, result=result)
    assert reports.told(done) == Delivered(lease=2, frames=10)


def test_a_failed_task_leaves_its_lane_idle_but_not_when_the_lane_died(
    reports: LaneReports, ledger: Ledger
) -> None:
    soft = TaskFailed(key="analyse/0", attempt=2, lane=3, error=LaneError("a", "b", "c"))
    assert isinstance(reports.told(soft), Failed)
    hard = TaskFailed(key="analyse/0", attempt=2, lane=3, error=DIED)
    down = reports.told(hard)
    assert isinstance(down, LaneDown)
    assert ledger.handle(down, 2.0) == []
    assert reports.told(hard) is None, "what was refused later says nothing new"
    lost = reports.told(LaneLost(lane=3, error=DIED))
    assert lost == down
    assert ledger.handle(lost, 2.0) == []


def test_each_life_of_a_lane_has_its_number(reports: LaneReports) -> None:
    up = reports.told(LaneReady(lane=3))
    assert up == LaneUp(lane="3", life=2, node="lanes")
    down = reports.told(LaneLost(lane=3, error=DIED))
    assert isinstance(down, LaneDown)
    assert down.life == 2


def test_a_lane_that_never_comes_up_is_an_error(reports: LaneReports) -> None:
    lost = LaneLost(lane=3, error=LaneDied("out of memory", "memory", "free some"))
    reports.told(lost)
    reports.told(lost)
    reports.told(LaneReady(lane=3))
    reports.told(lost)
    reports.told(lost)
    with pytest.raises(LaneDied, match="3 times in a row: out of memory"):
        reports.told(lost)


def test_a_lane_that_never_comes_up_does_no_harm_while_another_is_up(reports: LaneReports) -> None:
    """As those of a node that has just died, until its cluster has noticed."""
    lost = LaneLost(lane=4, error=DIED)
    for _ in range(5):
        assert reports.told(lost) is not None
    reports.told(LaneLost(lane=3, error=DIED))
    with pytest.raises(LaneDied, match="lane 4 did not come up"):
        reports.told(lost)
