"""Jobs that are still being put together: their steps, one small file a job."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from actors.whole_file import whole_file
from scheduler.errors import (
    JobUnknown,
    MediaMissing,
    OutputInvalid,
    SettingInvalid,
    StorageUnwritable,
    storage_error,
)
from scheduler.jobs import JobSpec

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOCK: Final = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftStep:
    """One film of a job."""

    spec: JobSpec
    overwrite: bool
    """A result that is there already may be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A job that nobody works on yet."""

    name: str
    created: str
    """UTC, ISO 8601."""
    steps: tuple[DraftStep, ...] = ()

    @property
    def specs(self) -> tuple[JobSpec, ...]:
        return tuple(step.spec for step in self.steps)

    def output(self, index: int) -> Path:
        """The result of a step, for another one to take.

        Raises:
            SettingInvalid: there is no such step, or its result goes to an object store.
        """
        spec = self.steps[self._place(index)].spec
        if spec.destination is not None:
            raise SettingInvalid(
                f"step {index}, whose result goes to {spec.goal}",
                "a step whose result stays on this machine",
                "give that step an -o on this machine",
            )
        return Path(spec.output)

    def inserted(self, index: int, step: DraftStep) -> Draft:
        """With a step before another one.

        Args:
            index: negative: counted from the end; the number of steps: behind the last.

        Raises:
            SettingInvalid: there is no such place.
            OutputInvalid: another step has this result.
        """
        at = len(self.steps) if index == len(self.steps) else self._place(index)
        for number, other in enumerate(self.steps):
            if other.spec.goal == step.spec.goal:
                raise OutputInvalid(
                    f"{step.spec.goal!r} is the result of step {number} already",
                    "a result of its own for each step",
                    "choose another -o",
                )
        if step.spec.output == step.spec.media:
            raise OutputInvalid(
                f"the output is the input {step.spec.media!r}", "another file", "choose another -o"
            )
        return replace(self, steps=(*self.steps[:at], step, *self.steps[at:]))

    def without(self, index: int) -> Draft:
        """Without a step.

        Raises:
            SettingInvalid: there is no such step.
        """
        at = self._place(index)
        return replace(self, steps=(*self.steps[:at], *self.steps[at + 1 :]))

    def check(self) -> None:
        """Whether work on it can begin.

        Raises:
            SettingInvalid: it has no step.
            MediaMissing: a step's film is neither there nor the result of a step before.
            OutputInvalid: a result is there already.
        """
        if not self.steps:
            raise SettingInvalid(
                f"job {self.name!r} without a step", "one at least", "add one: farm job add-step"
            )
        made: set[str] = set()
        for number, step in enumerate(self.steps):
            spec = step.spec
            if spec.media not in made and not Path(spec.media).exists():
                raise MediaMissing(
                    f"step {number} takes {spec.media!r}, which is not there and no step before "
                    "makes it",
                    "a film, or the result of an earlier step",
                    "see the steps with `farm job list --json`; remove this one or add that one",
                )
            if not step.overwrite and Path(spec.output).exists():
                raise OutputInvalid(
                    f"{spec.output!r}, the result of step {number}, is there already",
                    "a new file",
                    "move it away, or add the step with --overwrite",
                )
            made.add(spec.output)

    def _place(self, index: int) -> int:
        count = len(self.steps)
        if not -count <= index < count:
            raise SettingInvalid(
                f"step {index} of {self.name!r}, which has {count}",
                f"a number from 0 to {count - 1}, or from the end: -1 is the last"
                if count
                else "a job with steps",
                "see them with `farm job list --json`",
            )
        return index % count


_AS_DRAFT: Final = TypeAdapter(Draft)


class DraftBook:
    """The drafts of one user.

    Args:
        folder: made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[Draft]:
        """By name."""
        names = sorted(path.stem for path in self._folder.glob("[!.]*.json"))
        return [draft for draft in map(self.get, names) if draft is not None]

    def get(self, name: str) -> Draft | None:
        """A draft; None: there is none of this name.

        Raises:
            StorageUnwritable: its file is damaged.
        """
        path = self._path(name)
        try:
            return _AS_DRAFT.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise StorageUnwritable(
                f"the draft {str(path)!r} cannot be read ({error.error_count()} errors)",
                "the file as it was written",
                f"remove it with `farm job delete {name}` and put the job together again",
            ) from error

    def put(self, draft: Draft) -> None:
        """Keep a draft; it is durable when this returns, and whole whatever dies.

        Raises:
            StorageUnwritable, DiskFull: it cannot be written.
        """
        with whole_file(self._path(draft.name)) as file:
            file.write(_AS_DRAFT.dump_json(draft, indent=1))

    def remove(self, name: str) -> bool:
        """Forget a draft. False: there was none."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def editing(self) -> Iterator[None]:
        """Keep others from changing drafts meanwhile.

        Raises:
            StorageUnwritable, DiskFull: the folder cannot be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, str(self._folder)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _path(self, name: str) -> Path:
        return self._folder / f"{checked(name)}.json"


def checked(name: str) -> str:
    """A name that can be a file's.

    Raises:
        SettingInvalid: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise SettingInvalid(
            f"the name {name!r}",
            "up to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
            "choose another",
        )
    return name


def unknown(name: str) -> JobUnknown:
    """What is said of a name that nobody knows."""
    return JobUnknown(
        f"there is no job {name!r}", "a job that was created", "see them with `farm job list`"
    )
