"""The command dies before each of its steps on disk; the next start makes the film as it is.

What a step is, and how it gets its name, is told in ``tests.support.crashing``.

All pairs of deaths lead to few states of the disk, as the second start clears away what the first
has left. What comes of a state is looked at once: the next start knows nothing but the disk.

For all pairs a run is not killed at each of its steps but stopped there, and the disk copied: the
copy is what a death at that step leaves.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.credential import CERTIFICATES, KEY
from actors.models import ModelStore
from tests.support.crashing import DIED, Crasher
from tests.support.faces import SHOTS, face_of_film
from tests.support.numbered import even_pts, make_film
from tests.support.oracle import Seen, faults, look
from tests.support.record import part

PAIRS = 6
"""In the default run; drawn by ``SEED``."""
SEED = 20261122
FRAMES = 8
QUIET = ("--no-ray", "--json", "--overwrite", "--no-stabilize", "--no-occlusion", "--no-objects")
PARTS = 16
"""Of the long proof; there are at least so many states after one death."""
_CHANCE = re.compile(r"[0-9a-f]{12,}|\d{8}-\d{6}-[0-9a-f]{6}|\d+(?=\.partial)")
"""Of names of files what is another one each time."""
_OWNER = ("owner.json", "owner.json.tmp")
_TIMES = (*_OWNER, "rates.json")
"""Files that say who is at work, or how fast; of the dead nobody is, and speed changes no film."""
_KEYS = (KEY, CERTIFICATES)
"""Drawn by chance; one is as good as another. They appear whole."""
_RECORD = re.compile(r"\d+\.\d+|\d{4}-\d\d-\d\dT[\d:]+Z|[0-9a-f]{32}")
"""Of what a record says: how long it took, when it was, and of which bytes."""


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
    good: set[str] = field(default_factory=set)
    """Digests of results that were looked at and are whole. A signature has its time and is drawn
    by chance, so that they differ."""

    def argv(self) -> list[str]:
        paths = [self.film, "-s", self.face, "-o", self.under / "out.mp4"]
        listing = ["--frame-hashes", self.under / "hashes.tsv", "--chunk-seconds", "0.16"]
        return ["submit", *map(str, [*paths, *listing]), *QUIET]

    def empty(self) -> None:
        shutil.rmtree(self.under, ignore_errors=True)
        (self.under / "cache").mkdir(parents=True)
        (self.under / "cache" / "models").symlink_to(self.models.cache / "models")

    def run(
        self, die_at: int | None = None, stopped: Callable[[], None] | None = None
    ) -> list[str]:
        """One start of the command, to its end or to its death.

        Args:
            stopped: called before each step, while the command stands still.

        Returns: the names of the steps that were begun.
        """
        dead = [*self._jobs.iterdir()] if self._jobs.exists() else []
        life = self.crasher.run(self.argv(), self.under, die_at, stopped)
        assert life.code == (0 if die_at is None else DIED), (life.steps[-3:], life.said)
        # `state` is not to say what is in there.
        for path in life.reads:
            assert path.name in _OWNER or not any(path.is_relative_to(job) for job in dead), path
        return life.steps

    @property
    def _jobs(self) -> Path:
        return self.under / "state" / "swapfarm" / "jobs"

    def age(self) -> None:
        """Some hours pass."""
        then = time.time() - 10_000
        for path in self.under.rglob("*"):
            if not path.is_symlink():
                os.utime(path, (then, then))

    def save(self, copy: Path) -> None:
        """Remember what is on the disk."""
        shutil.copytree(self.under, copy, symlinks=True)

    def restore(self, copy: Path) -> None:
        """As it was when it was saved; some hours have passed."""
        shutil.rmtree(self.under)
        shutil.copytree(copy, self.under, symlinks=True)
        self.age()

    def deaths(self, copies: Path, look: Callable[[], None]) -> tuple[dict[str, Path], int]:
        """One run to its end; what a death at each of its steps would leave on the disk.

        Args:
            copies: a new folder.
            look: called before each step.

        Returns:
            {state: a copy of the disk}, each state once; and how many steps there were.
        """
        found: dict[str, Path] = {}

        def stopped() -> None:
            look()
            state = self.state()
            if state not in found:
                found[state] = copies / f"{len(found):04}"
                self.save(found[state])

        copies.mkdir()
        return found, len(self.run(stopped=stopped))

    def state(self) -> str:
        """The same for two disks from which a start does the same.

        Of the folders of dead jobs it has only whose they were: a start opens nothing else in them
        (`run` looks) and removes them whole.
        """
        found = []
        for path in self.under.rglob("*"):
            if path.is_symlink() or path.is_relative_to(self.under / "cache" / "models"):
                continue
            inside = any(job.parent == self._jobs for job in path.parents)
            if inside and path.name not in _OWNER:
                continue
            content = "" if path.is_dir() else self._content(path)
            found.append(f"{_CHANCE.sub('#', str(path.relative_to(self.under)))} {content}")
        return "\n".join(sorted(found))

    def _content(self, path: Path) -> str:
        """Of a file, but for chance and times."""
        said = path.read_bytes()
        if path.name in _KEYS:
            return ""
        if path.name in _TIMES or path.name.endswith(".partial.mp4"):  # signed, and never read
            return str(len(said) > 0)
        if path.name == "record.json":
            said = _RECORD.sub("#", _CHANCE.sub("#", said.decode())).encode()
        digest = hashlib.sha256(said).hexdigest()
        return "whole" if digest in self.good else digest

    @property
    def digest(self) -> str:
        """Of the result."""
        return hashlib.sha256((self.under / "out.mp4").read_bytes()).hexdigest()

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
