"""A short job in a process of its own, again and again, on a disk that can be looked at whole."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from actors.credential import CERTIFICATES, KEY
from actors.models import ModelStore
from tests.support.crashing import DIED, Crasher, Life
from tests.support.faces import SHOTS, face_of_film
from tests.support.numbered import even_pts, make_film
from tests.support.oracle import Seen, faults, look

FRAMES = 8
QUIET = ("--no-ray", "--json", "--overwrite", "--no-stabilize", "--no-occlusion", "--no-objects")
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
        life = self.live(die_at, stopped)
        assert life.code == (0 if die_at is None else DIED), (life.steps[-3:], life.said)
        return life.steps

    def live(
        self,
        die_at: int | None = None,
        stopped: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Life:
        """The same, however it ends.

        Args:
            environment: variables of this run alone.
        """
        dead = [*self._jobs.iterdir()] if self._jobs.exists() else []
        life = self.crasher.run(self.argv(), self.under, die_at, stopped, environment or {})
        # `state` is not to say what is in there.
        for path in life.reads:
            assert path.name in _OWNER or not any(path.is_relative_to(job) for job in dead), path
        return life

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
        (`live` looks) and removes them whole.
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
        if path.name in _TIMES or ".partial.mp4" in path.name:  # signed, and never read
            return str(len(said) > 0)
        if path.name == "record.json":
            said = _RECORD.sub("#", _CHANCE.sub("#", said.decode())).encode()
        digest = hashlib.sha256(said).hexdigest()
        return "whole" if path == self.under / "out.mp4" and digest in self.good else digest

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


@contextmanager
def short_job(
    folder: Path, samples: Mapping[str, Path], models: ModelStore, environment: Mapping[str, str]
) -> Iterator[Stage]:
    """A job of two chunks.

    Args:
        environment: variables on top of this process's.
    """
    shot = face_of_film(samples["single_face"], *SHOTS["single_face"])
    film = make_film(folder / "film.mp4", [shot], even_pts(FRAMES))
    under = folder / "run"
    own = {
        "XDG_STATE_HOME": str(under / "state"),
        "SWAPFARM_CACHE_DIR": str(under / "cache"),
        "SWAPFARM_REPORT_GB": "1",
        "SWAPFARM_ANALYSIS_GB": "1",
    }
    with Crasher({**os.environ, **own, **environment}) as crasher:
        yield Stage(
            crasher=crasher,
            film=film,
            face=samples["astronaut"],
            models=models,
            source=look(film),
            under=under,
        )
