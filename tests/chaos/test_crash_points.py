"""The command dies before each of its steps on disk; the next start makes the film as it is.

What a step is, and how it gets its name, is told in ``tests.support.crashing``.

All pairs of deaths lead to few states of the disk, as the second start clears away what the first
has left. What comes of a state is looked at once: the next start knows nothing but the disk.

For all pairs a run is not killed at each of its steps but stopped there, and the disk copied: the
copy is what a death at that step leaves.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.models import ModelStore
from tests.support.oracle import Seen, look
from tests.support.record import part
from tests.support.short_job import FRAMES, Stage, short_job

PAIRS = 6
"""In the default run; drawn by ``SEED``."""
SEED = 20261122
PARTS = 16
"""Of the long proof; there are at least so many states after one death."""


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path], models: ModelStore
) -> Iterator[Stage]:
    with short_job(tmp_path_factory.mktemp("crashes"), samples, models, {}) as stage:
        yield stage


@pytest.fixture(scope="module")
def undisturbed(stage: Stage) -> tuple[list[str], Seen, str]:
    """The steps of a run that nothing disturbs, its film, and its list of hashes."""
    stage.empty()
    steps = stage.run()
    assert stage.wrong() == []
    assert stage.left() == []
    listing = (stage.under / "hashes.tsv").read_text()
    assert len(listing.splitlines()) == FRAMES
    return steps, look(stage.under / "out.mp4"), listing


@pytest.fixture(scope="module")
def firsts(undisturbed: tuple[list[str], Seen, str]) -> dict[str, int]:
    """{name of a step: its number}; of steps with one name the first."""
    steps = undisturbed[0]
    return {name: steps.index(name) + 1 for name in steps}


@pytest.fixture(scope="module")
def looked_at() -> set[str]:
    """States of the disk of which it is known what comes of them."""
    return set()


def converges(stage: Stage, calm: Seen, listing: str, looked_at: set[str]) -> bool:
    """The next start makes the same film and clears away what the dead have left.

    Returns: False: it is known already what comes of what is on the disk.
    """
    stage.age()
    state = stage.state()
    if state in looked_at:
        return False
    stage.run()
    all_is_well(stage, calm, listing)
    looked_at.add(state)
    return True


def all_is_well(stage: Stage, calm: Seen, listing: str) -> None:
    no_half_result(stage, calm, listing)
    assert (stage.under / "out.mp4").exists()
    assert (stage.under / "hashes.tsv").exists()
    assert stage.left() == []


def no_half_result(stage: Stage, calm: Seen, listing: str) -> None:
    """A result is whole or not there."""
    if (stage.under / "out.mp4").exists() and stage.digest not in stage.good:
        assert stage.wrong(calm) == []
        stage.good.add(stage.digest)
    if (stage.under / "hashes.tsv").exists():
        assert (stage.under / "hashes.tsv").read_text() == listing


def test_every_step_has_a_name(undisturbed: tuple[list[str], Seen, str]) -> None:
    steps = undisturbed[0]
    assert [name for name in steps if name.startswith("outside")] == []
    for known in (
        "cluster.folders.claim: rename to owner.json",
        "actors.lane_files.write_table: rename to #.a#.faces.parquet",
        "actors.encoder.close: rename to #.a#.mp#",
        "cluster.publish.publish_film: rename to out.mp#",
        "cluster.records.keep: rename to #",
    ):
        assert known in steps


@pytest.mark.timeout(900)
def test_killed_at_each_kind_of_step(
    stage: Stage, undisturbed: tuple[list[str], Seen, str], looked_at: set[str]
) -> None:
    """Once where several files are made, renamed or removed by one function."""
    kinds = [name.rpartition(" ")[0] for name in undisturbed[0]]
    for kind in dict.fromkeys(kinds):
        kill_once(stage, undisturbed, kinds.index(kind) + 1, looked_at)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_each_step(
    stage: Stage, undisturbed: tuple[list[str], Seen, str], looked_at: set[str]
) -> None:
    for number in range(1, len(undisturbed[0]) + 1):
        kill_once(stage, undisturbed, number, looked_at)


def kill_once(
    stage: Stage, undisturbed: tuple[list[str], Seen, str], number: int, looked_at: set[str]
) -> None:
    steps, calm, listing = undisturbed
    stage.empty()
    assert stage.run(number) == steps[:number], "the runs are not the same"
    no_half_result(stage, calm, listing)
    converges(stage, calm, listing, looked_at)


def test_killed_twice(
    stage: Stage,
    undisturbed: tuple[list[str], Seen, str],
    firsts: dict[str, int],
    looked_at: set[str],
) -> None:
    """In a run, and again in the one that was to put it right."""
    drawn = random.Random(SEED)
    for first in drawn.sample(sorted(firsts), PAIRS):
        begun = begun_after(stage, firsts[first])
        second = drawn.randint(1, len(begun))
        kill_twice(stage, undisturbed, firsts[first], second, looked_at)


def test_a_run_that_is_stopped_shows_what_a_death_leaves(
    stage: Stage, undisturbed: tuple[list[str], Seen, str]
) -> None:
    steps = undisturbed[0]
    shown: list[list[str]] = []
    for _ in range(2):
        stage.empty()
        shown.append([])
        assert stage.run(stopped=lambda: shown[-1].append(stage.state())) == steps
    for number in random.Random(SEED).sample(range(1, len(steps) + 1), 4):
        stage.empty()
        stage.run(number)
        one, other = (each[number - 1].splitlines() for each in shown)
        dead = stage.state().splitlines()
        name = steps[number - 1]
        assert [line.split()[0] for line in dead] == [line.split()[0] for line in one], name
        # But for what two calm runs do not have in common: the time of a signature, say.
        assert {*one} & {*other} <= {*dead}, name


@pytest.fixture(scope="module")
def once_dead(
    stage: Stage, undisturbed: tuple[list[str], Seen, str], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """What a death at any step leaves on the disk; each state once."""
    stage.empty()
    _, calm, listing = undisturbed
    copies = tmp_path_factory.mktemp("once") / "dead"
    found, _ = stage.deaths(copies, lambda: no_half_result(stage, calm, listing))
    return [*found.values()]


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("place", range(PARTS))
def test_killed_at_each_pair(
    place: int,
    stage: Stage,
    undisturbed: tuple[list[str], Seen, str],
    once_dead: list[Path],
    looked_at: set[str],
    tmp_path: Path,
) -> None:
    """At each step, and at each step of the start after it."""
    _, calm, listing = undisturbed
    assert len(once_dead) >= PARTS
    with part(f"crashes-{place:02}") as facts:
        facts |= {"first": [*range(place, len(once_dead), PARTS)], "pairs": 0, "states": 0}
        for first in facts["first"]:
            stage.restore(once_dead[first])
            copies = tmp_path / f"{first:04}"
            dead_again, steps = stage.deaths(copies, lambda: no_half_result(stage, calm, listing))
            all_is_well(stage, calm, listing)
            facts["pairs"] += steps
            for state, copy in dead_again.items():
                if state not in looked_at:
                    stage.restore(copy)
                    assert stage.state() == state
                    assert converges(stage, calm, listing, looked_at)
                    facts["states"] += 1
                shutil.rmtree(copy)


def begun_after(stage: Stage, first: int) -> list[str]:
    """The steps of the run that puts right what a death at a step has left."""
    stage.empty()
    stage.run(first)
    stage.age()
    return stage.run()


def kill_twice(
    stage: Stage,
    undisturbed: tuple[list[str], Seen, str],
    first: int,
    second: int,
    looked_at: set[str],
) -> None:
    _, calm, listing = undisturbed
    stage.empty()
    stage.run(first)
    stage.age()
    stage.run(second)
    no_half_result(stage, calm, listing)
    converges(stage, calm, listing, looked_at)
