"""The command dies before each of its steps on disk; the next start makes the film as it is.

What a step is, and how it gets its name, is told in ``tests.support.crashing``.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.credential import CERTIFICATES, KEY
from actors.models import ModelStore
from tests.support.crashing import DIED, Crasher
from tests.support.faces import SHOTS, face_of_film
from tests.support.numbered import even_pts, make_film
from tests.support.oracle import Seen, faults, look

PAIRS = 6
"""In the default run; drawn by ``SEED``."""
SEED = 20261122
FRAMES = 8
QUIET = ("--no-ray", "--json", "--overwrite", "--no-stabilize", "--no-occlusion", "--no-objects")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all runs share."""

    crasher: Crasher
    film: Path
    face: Path
    models: ModelStore
    source: Seen
    under: Path
    """Everything that a run writes; emptied before each story."""

    def argv(self) -> list[str]:
        paths = [self.film, "-s", self.face, "-o", self.under / "out.mp4"]
        listing = ["--frame-hashes", self.under / "hashes.tsv", "--chunk-seconds", "0.16"]
        return ["submit", *map(str, [*paths, *listing]), *QUIET]

    def empty(self) -> None:
        shutil.rmtree(self.under, ignore_errors=True)
        (self.under / "cache").mkdir(parents=True)
        (self.under / "cache" / "models").symlink_to(self.models.cache / "models")

    def run(self, die_at: int | None = None) -> list[str]:
        """One start of the command, to its end or to its death.

        Returns: the names of the steps that were begun.
        """
        code, steps, said = self.crasher.run(self.argv(), self.under, die_at)
        assert code == (0 if die_at is None else DIED), (steps[-3:], said)
        return steps

    def age(self) -> None:
        """Some hours pass."""
        then = time.time() - 10_000
        for path in self.under.rglob("*"):
            if not path.is_symlink():
                os.utime(path, (then, then))

    def wrong(self, calm: Seen | None = None) -> list[str]:
        """What is wrong with the result that stands there."""
        return faults(look(self.under / "out.mp4"), self.source, calm)

    def left(self) -> list[str]:
        """Files that nobody asked for: all but the results, what is kept on purpose, and models."""
        state, cache = self.under / "state" / "swapfarm", self.under / "cache"
        wanted = {self.under / "out.mp4", self.under / "hashes.tsv", state / "rates.json"}
        wanted |= {state / "credentials" / name for name in (".lock", KEY, CERTIFICATES)}
        found = [
            path
            for path in self.under.rglob("*")
            if path not in wanted
            and not path.is_relative_to(cache / "models")
            and not (path.is_dir() and not path.name.startswith(".") and not _is_job(path))
            and not _is_kept(path, state / "reports", 3)
            and not _is_kept(path, cache / "analysis", 2)
        ]
        return sorted(str(path.relative_to(self.under)) for path in found)


def _is_job(path: Path) -> bool:
    return path.parent.name == "jobs"


def _is_kept(path: Path, book: Path, files: int) -> bool:
    """A file of a whole entry of a folder of such."""
    entry = path.parent
    return entry.parent == book and entry.name[0] != "." and len(list(entry.iterdir())) == files


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path], models: ModelStore
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("crashes")
    shot = face_of_film(samples["single_face"], *SHOTS["single_face"])
    film = make_film(folder / "film.mp4", [shot], even_pts(FRAMES))
    under = folder / "run"
    environment = os.environ | {
        "XDG_STATE_HOME": str(under / "state"),
        "SWAPFARM_CACHE_DIR": str(under / "cache"),
        "SWAPFARM_REPORT_GB": "1",
        "SWAPFARM_ANALYSIS_GB": "1",
    }
    with Crasher(environment) as crasher:
        yield Stage(
            crasher=crasher,
            film=film,
            face=samples["astronaut"],
            models=models,
            source=look(film),
            under=under,
        )


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


def converges(stage: Stage, calm: Seen, listing: str) -> None:
    """The next start makes the same film and clears away what the dead have left."""
    stage.age()
    stage.run()
    assert stage.wrong(calm) == []
    assert (stage.under / "hashes.tsv").read_text() == listing
    assert stage.left() == []


def no_half_result(stage: Stage, calm: Seen, listing: str) -> None:
    """A result is whole or not there."""
    if (stage.under / "out.mp4").exists():
        assert stage.wrong(calm) == []
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
    stage: Stage, undisturbed: tuple[list[str], Seen, str]
) -> None:
    """Once where several files are made, renamed or removed by one function."""
    kinds = [name.rpartition(" ")[0] for name in undisturbed[0]]
    for kind in dict.fromkeys(kinds):
        kill_once(stage, undisturbed, kinds.index(kind) + 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_each_step(stage: Stage, undisturbed: tuple[list[str], Seen, str]) -> None:
    for number in range(1, len(undisturbed[0]) + 1):
        kill_once(stage, undisturbed, number)


def kill_once(stage: Stage, undisturbed: tuple[list[str], Seen, str], number: int) -> None:
    steps, calm, listing = undisturbed
    stage.empty()
    assert stage.run(number) == steps[:number], "the runs are not the same"
    no_half_result(stage, calm, listing)
    converges(stage, calm, listing)


def test_killed_twice(
    stage: Stage, undisturbed: tuple[list[str], Seen, str], firsts: dict[str, int]
) -> None:
    """In a run, and again in the one that was to put it right."""
    drawn = random.Random(SEED)
    for first in drawn.sample(sorted(firsts), PAIRS):
        begun = begun_after(stage, firsts[first])
        kill_twice(stage, undisturbed, firsts[first], drawn.randint(1, len(begun)))


@pytest.mark.slow
@pytest.mark.timeout(12 * 3600)
def test_killed_at_each_pair(
    stage: Stage, undisturbed: tuple[list[str], Seen, str], firsts: dict[str, int]
) -> None:
    for first in firsts.values():
        begun = begun_after(stage, first)
        for second in sorted({begun.index(name) + 1 for name in begun}):
            kill_twice(stage, undisturbed, first, second)


def begun_after(stage: Stage, first: int) -> list[str]:
    """The steps of the run that puts right what a death at a step has left."""
    stage.empty()
    stage.run(first)
    stage.age()
    return stage.run()


def kill_twice(
    stage: Stage, undisturbed: tuple[list[str], Seen, str], first: int, second: int
) -> None:
    _, calm, listing = undisturbed
    stage.empty()
    stage.run(first)
    stage.age()
    stage.run(second)
    no_half_result(stage, calm, listing)
    converges(stage, calm, listing)
