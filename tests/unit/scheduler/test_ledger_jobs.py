"""What people ask of the ledger: order, shares, limits, pauses, and doing things again."""

from __future__ import annotations

from scheduler.errors import OutputMissing
from scheduler.failure import Failure
from scheduler.history import (
    CancelAsked,
    Delivered,
    Held,
    LaneDown,
    LaneUp,
    Limited,
    Measured,
    Needs,
    NodeDrained,
    NodeForgiven,
    OutputLost,
    Paused,
    Prioritised,
    Released,
    Removed,
    Requeued,
    Restarted,
    Resumed,
    Retried,
    Submitted,
    Terms,
    Ticked,
    Weighted,
)
from scheduler.instructions import Drop, Instruction, JobChanged, JobState, Stop
from scheduler.retries import Rules
from scheduler.tasks import TaskState
from tests.unit.scheduler.told_farm import DIED, ToldFarm, plan, starts


def test_the_higher_priority_goes_first_and_may_change() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit("low", priority=10)
    farm.submit("high", priority=90)
    assert starts(farm.deliver("low", "analyse"))[0] == ("analyse", 0, "a/0")
    assert farm.start("high", "analyse").lane == "a/0"
    farm.tell(Prioritised(job="low", priority=1000))
    farm.deliver("high", "analyse")
    assert farm.start("low", "analyse", 1).lane == "a/0"
    assert farm.ledger.state.jobs["low"].priority == 100


def test_deadlines_order_the_jobs_of_a_user() -> None:
    farm = ToldFarm()
    farm.lanes()
    farm.submit("none", chunks=1)
    farm.submit("later", chunks=1, deadline=900.0)
    farm.submit("soon", chunks=1, deadline=300.0)
    farm.tell(LaneUp(lane="a/0", life=1, node="a"))
    order = []
    while farm.running:
        (start,) = [s for s in farm.running.values() if s.kind == "analyse"]
        order.append(start.job)
        farm.deliver(start.job, "analyse")
        for job in ("none", "later", "soon"):
            if farm.task("stitch", job=job) is TaskState.RUNNING:
                farm.deliver(job, "stitch", plan(1))
                farm.tell(CancelAsked(job=job))
                farm.running = {k: s for k, s in farm.running.items() if s.job != job}
    assert order == ["soon", "later", "none"]


def test_users_share_by_weight_and_take_what_others_leave() -> None:
    farm = ToldFarm()
    farm.lanes()
    farm.tell(Weighted(user="ann", weight=3.0))
    for user in ("ann", "bob"):
        farm.submit(user, chunks=60, user=user)
    for lane in range(8):
        farm.tell(LaneUp(lane=f"a/{lane}", life=1, node="a"))

    def counts() -> tuple[int, int]:
        jobs = [s.job for s in farm.running.values()]
        return jobs.count("ann"), jobs.count("bob")

    assert counts() == (6, 2)
    farm.tell(Paused(job="ann"))
    for start in list(farm.running.values()):
        farm.deliver(start.job, start.kind, chunk=start.chunk, after=1.0)
    assert counts() == (0, 8), "what ann does not take is bob's"
    farm.tell(Resumed(job="ann"))
    for _ in range(3):
        for start in list(farm.running.values()):
            farm.deliver(start.job, start.kind, chunk=start.chunk, after=1.0)
    assert counts()[0] in (5, 6, 7), "and bob owes nothing for it"


def test_a_job_keeps_to_its_lanes_and_gets_those_it_needs() -> None:
    farm = ToldFarm()
    farm.lanes("cpu/0", "cpu/1")
    farm.submit("film", chunks=4, lane_limit=1, needs=Needs(gpu_memory=8, labels=("nvenc",)))
    assert farm.ledger.why_waiting("film") == (
        "no lane is up that has 0.0 GiB of GPU memory, label nvenc"
    )
    for lane in ("gpu/0", "gpu/1"):
        farm.tell(LaneUp(lane=lane, life=1, node="gpu", gpu_memory=16, labels=("nvenc", "b")))
    assert [s.lane for s in farm.running.values()] == ["gpu/0"]
    assert len(starts(farm.tell(Limited(job="film", lane_limit=None)))) == 1
    farm.submit("any", chunks=2)
    assert {s.lane for s in farm.running.values() if s.job == "any"} == {"cpu/0", "cpu/1"}


def test_a_paused_job_finishes_what_runs_and_begins_nothing() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit()
    assert farm.tell(Paused(job="film")) == [JobChanged(job="film", state=JobState.PAUSED)]
    assert starts(farm.deliver("film", "analyse")) == []
    assert farm.task("analyse") is TaskState.DONE
    assert farm.ledger.why_waiting("film") == "paused"
    assert starts(farm.tell(Resumed(job="film"))) == [("analyse", 1, "a/0")]


def test_a_held_job_says_why_it_waits() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit()
    (change,) = farm.tell(Held(job="film", reason="disk full"))
    assert change == JobChanged(job="film", state=JobState.RUNNING, reason="disk full")
    assert starts(farm.deliver("film", "analyse")) == []
    assert farm.ledger.why_waiting("film") == "disk full"
    assert len(starts(farm.tell(Released(job="film")))) == 1


def test_what_a_film_needs_is_known_once_it_is_probed() -> None:
    farm = ToldFarm()
    farm.lanes("small/0", memory=8 << 30)
    farm.submit()
    farm.tell(Measured(job="film", needs=Needs(gpu_memory=12 << 30)))
    assert starts(farm.deliver("film", "analyse")) == []
    assert farm.ledger.why_waiting("film") == "no lane is up that has 12.0 GiB of GPU memory"
    farm.lanes("large/0", memory=24 << 30)
    assert [lane for _, _, lane in starts(farm.told)][-1] == "large/0"


def test_a_drained_node_gets_nothing_until_it_is_forgiven() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit()
    farm.tell(NodeDrained(node="a"))
    assert starts(farm.deliver("film", "analyse")) == []
    assert starts(farm.tell(NodeForgiven(node="a"))) == [("analyse", 1, "a/0")]


def test_a_retried_job_does_nothing_twice() -> None:
    farm = ToldFarm(Rules(backoff_seconds=0.0))
    farm.lanes("a/0")
    farm.submit(attempts=1)
    farm.deliver("film", "analyse")
    farm.fail("film", "analyse", 1)
    assert farm.state() is JobState.FAILED
    assert starts(farm.tell(Retried(job="film"))) == [("analyse", 1, "a/0")]
    assert farm.task("analyse", 0) is TaskState.DONE
    assert farm.state() is JobState.RUNNING


def done_film(farm: ToldFarm) -> None:
    farm.lanes("a/0")
    farm.submit(chunks=3)
    farm.to_renders(chunks=3)
    for chunk in range(3):
        farm.deliver("film", "render", chunk=chunk)
    farm.deliver("film", "join")
    farm.deliver("film", "publish")


def test_a_time_range_is_done_again_with_what_is_made_from_it() -> None:
    farm = ToldFarm()
    done_film(farm)
    before = farm.ledger.task("film", 0, "render", 1).winner
    out = farm.tell(Requeued(job="film", step=0, kind="render", start=120, stop=121))
    assert starts(out) == [("render", 1, "a/0")]
    assert farm.state() is JobState.RUNNING
    assert farm.task("render", 0) is TaskState.DONE
    assert farm.task("publish") is TaskState.BLOCKED
    assert starts(farm.deliver("film", "render", chunk=1)) == [("join", 0, "desk")]
    assert farm.ledger.task("film", 0, "render", 1).winner != before
    farm.deliver("film", "join")
    farm.deliver("film", "publish")
    assert farm.state() is JobState.COMPLETED


def test_a_render_of_an_analysis_that_is_done_again_is_stopped() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    farm.to_renders(chunks=1)
    render = farm.start("film", "render")
    again = Requeued(job="film", step=0, kind="analyse", start=0, stop=1)
    assert Stop(lease=render.lease, lane="a/0") in farm.tell(again)
    late = farm.tell(Delivered(lease=render.lease, frames=100), 1.0)
    assert late[0] == Drop(lease=render.lease, why="the lease was given up")
    assert farm.task("join") is TaskState.BLOCKED


def test_an_analysis_done_again_takes_its_neighbourhood_with_it() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=5)
    farm.to_renders(chunks=5)
    for chunk in range(4):
        farm.deliver("film", "render", chunk=chunk)
    farm.tell(Requeued(job="film", step=0, kind="analyse", start=0, stop=1))
    states = [farm.task("render", n) for n in range(5)]
    assert states == [TaskState.BLOCKED] * 2 + [TaskState.DONE] * 2 + [TaskState.RUNNING]


def test_a_segment_that_storage_lost_is_made_again() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit()
    farm.to_renders()
    for chunk in range(2):
        farm.deliver("film", "render", chunk=chunk)
    lost = farm.ledger.task("film", 0, "render", 0).winner
    assert lost is not None
    event = OutputLost(job="film", step=0, kind="render", chunk=0, lease=lost)
    out = farm.tell(event)
    assert any(isinstance(i, Stop) for i in out), "the join that runs has nothing to join"
    assert farm.tell(event) == [], "twice"
    assert starts(farm.tell(Ticked(), 1.0)) == [("render", 0, "a/0")]


def lose_segment(farm: ToldFarm) -> list[Instruction]:
    """Storage has a segment no more that was delivered."""
    lost = farm.ledger.task("film", 0, "render", 0).winner
    assert lost is not None
    return farm.tell(OutputLost(job="film", step=0, kind="render", chunk=0, lease=lost))


def test_what_storage_lost_counts_for_no_attempt() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1, attempts=1)
    farm.to_renders(chunks=1)
    wait = Rules().backoff_seconds
    for _ in range(3):
        for segment in (True, False):
            if segment:
                farm.deliver("film", "render")
                lose_segment(farm)
            else:
                farm.fail("film", "render", error=OutputMissing("gone", "tables", "nothing"))
            assert starts(farm.tell(Ticked(), 0.9 * wait)) == []
            assert starts(farm.tell(Ticked(), 0.1 * wait)) == [("render", 0, "a/0")]
            wait *= 2
    assert farm.state() is JobState.RUNNING
    task = farm.ledger.task("film", 0, "render", 0)
    assert (task.failures, task.losses) == (0, 6)


def test_a_storage_that_keeps_nothing_ends_the_job() -> None:
    farm = ToldFarm(rules=Rules(losses_most=3))
    farm.lanes("a/0")
    farm.submit(chunks=1)
    farm.to_renders(chunks=1)
    for _ in range(3):
        farm.tell(Ticked(), 60.0)
        farm.deliver("film", "render")
        lose_segment(farm)
    assert farm.state() is JobState.FAILED
    failure = farm.ledger.state.jobs["film"].failure
    assert failure is not None
    assert (failure.code, failure.transient) == ("lane.attempts-exhausted", False)
    assert "lost 3 times" in failure.found
    assert "chunk 0" in failure.found

    farm.tell(Retried(job="film"))
    assert farm.task("render", 0) is TaskState.RUNNING
    farm.deliver("film", "render")
    assert farm.task("render", 0) is TaskState.DONE


def test_what_went_with_the_folder_of_a_completed_job_is_no_loss_of_its_storage() -> None:
    """A person may have it done again as often as he likes."""
    farm = ToldFarm(rules=Rules(losses_most=3))
    farm.lanes("a/0")
    farm.submit()
    farm.to_renders()
    first, last = (farm.ledger.task("film", 0, "render", chunk) for chunk in range(2))
    farm.deliver("film", "render")
    farm.deliver("film", "render", chunk=1)
    for _ in range(4):
        lose_segment(farm)
        assert first.losses == 1
        farm.tell(Ticked(), 60.0)
        farm.deliver("film", "render")
        farm.tell(Requeued(job="film", step=0, kind="render", start=last.start, stop=last.stop))
        farm.deliver("film", "render", chunk=1)
        assert farm.state() is JobState.RUNNING


def test_after_a_restart_only_what_was_under_way_is_done_again() -> None:
    farm = ToldFarm()
    farm.lanes("a/0", "b/0")
    farm.submit(chunks=3)
    farm.deliver("film", "analyse")
    assert farm.tell(Restarted(), 5.0) == []
    assert farm.ledger.state.roster.lanes == {}
    assert farm.task("analyse", 0) is TaskState.DONE
    farm.running.clear()
    farm.tell(LaneUp(lane="a/0", life=1, node="a"))
    farm.tell(LaneUp(lane="b/0", life=1, node="b"))
    assert sorted(s.chunk for s in farm.running.values()) == [1, 2]
    assert farm.ledger.task("film", 0, "analyse", 1).failures == 0


def test_old_words_about_lanes_are_known_for_old() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.submit(chunks=1)
    up = LaneUp(lane="a/0", life=1, node="a")
    assert farm.tell(up) == []
    down = LaneDown(lane="a/0", life=1, failure=Failure.of(DIED))
    farm.tell(down)
    assert farm.tell(up) == [], "that life is over"
    farm.tell(LaneUp(lane="a/0", life=2, node="a"), 10.0)
    assert farm.task("analyse") is TaskState.RUNNING
    assert farm.tell(down) == []
    assert farm.task("analyse") is TaskState.RUNNING


def test_a_job_that_has_ended_can_be_removed() -> None:
    farm = ToldFarm()
    done_film(farm)
    farm.tell(Removed(job="film"))
    assert farm.ledger.state.jobs == {}
    farm.submit(chunks=1)
    assert farm.task("analyse") is TaskState.RUNNING


def test_a_plan_with_a_gap_ends_the_job() -> None:
    farm = ToldFarm()
    farm.lanes("a/0")
    farm.tell(Submitted(terms=Terms(job="film")))
    farm.deliver("film", "probe", ((0, 100), (101, 200)))
    assert farm.state() is JobState.FAILED
