"""What a farm keeps of each job beside the journal: its wishes, its results, its log.

One folder a job, on the disk of the service. An entry is there before the ledger hears of the job,
and a result before the ledger hears that it was delivered, so that the journal never names what is
not there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from actors.segments import sync_folder
from scheduler.jobs import Analysis, JobSpec, JobSummary, Segment

_ENTRY: Final = "entry.json"
_LOG: Final = "log.jsonl"
_RESULTS: Final = "results"
_SUMMARY: Final = "summary"
_CACHED: Final = "cached"
_TOLD: Final = "told.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A job as it was submitted."""

    spec: JobSpec
    """Of its first step. Each step has a name and a folder of its own."""
    later: tuple[JobSpec, ...] = ()
    """Of the steps after it; each may take the result of one before."""
    name: str = ""
    """Empty: the first step's."""
    user: str
    priority: int
    key: str = ""
    """The same key is the same job."""
    group: str = ""
    """Of the jobs that were submitted together; empty: it is on its own."""
    submitted: str
    """UTC, ISO 8601."""

    @property
    def job(self) -> str:
        """The name under which the farm knows it."""
        return self.name or self.spec.job_id

    @property
    def steps(self) -> tuple[JobSpec, ...]:
        return (self.spec, *self.later)

    @property
    def webhooks(self) -> tuple[str, ...]:
        """Who is told of its states: whom any of its steps names."""
        return tuple(dict.fromkeys(url for step in self.steps for url in step.webhooks))


def entry_of(
    steps: Sequence[JobSpec],
    *,
    user: str,
    name: str = "",
    key: str = "",
    group: str = "",
    priority: int = 50,
) -> Entry:
    """A job as it is submitted now."""
    first, *later = steps
    return Entry(
        spec=first,
        later=tuple(later),
        name=name,
        user=user,
        priority=priority,
        key=key,
        group=group,
        submitted=utc_now(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The last word to a job's webhooks."""

    count: int = 0
    """Of words so far."""
    state: str = ""


_AS_ENTRY: Final = TypeAdapter(Entry)
_AS_TOLD: Final = TypeAdapter(Told)
_AS_RESULT: Final[TypeAdapter[Analysis | Segment]] = TypeAdapter(Analysis | Segment)


class JobShelf:
    """The folders of all jobs of a farm.

    Args:
        folder: made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, entry: Entry) -> None:
        """Keep a job; it is durable when this returns."""
        place = self._folder / entry.job
        (place / _RESULTS).mkdir(parents=True, exist_ok=True)
        _write(place / _ENTRY, _AS_ENTRY.dump_json(entry, indent=1))
        sync_folder(self._folder)

    def entry(self, job: str) -> Entry:
        """A job as it was submitted."""
        return _AS_ENTRY.validate_json((self._folder / job / _ENTRY).read_bytes())

    def jobs(self) -> list[str]:
        """Names of all jobs, the oldest first."""
        return sorted(path.parent.name for path in self._folder.glob(f"*/{_ENTRY}"))

    def folders(self) -> frozenset[str]:
        """Names of the folders in which steps of these jobs keep their tables and segments.

        Of a job whose entry cannot be read, the name: a job of one step has that folder.
        """
        names = set(self.jobs())
        for job in self.jobs():
            with suppress(FileNotFoundError, ValidationError):
                names |= {Path(step.folder).name for step in self.entry(job).steps}
        return frozenset(names)

    def with_key(self, key: str) -> Entry | None:
        """The job that was submitted under a key."""
        for job in self.jobs():
            entry = self.entry(job)
            if entry.key == key:
                return entry
        return None

    def remove(self, job: str) -> None:
        """Forget a job."""
        shutil.rmtree(self._folder / job, ignore_errors=True)

    # Results

    def put_result(self, job: str, lease: int, result: Analysis | Segment) -> None:
        """Keep what was delivered under a lease; it is durable when this returns."""
        _write(self._result(job, str(lease)), _AS_RESULT.dump_json(result))

    def result(self, job: str, lease: int) -> Analysis | Segment | None:
        """What was delivered under a lease; None: it is not there, or its files are not."""
        return self._read(self._result(job, str(lease)))

    def drop_result(self, job: str, lease: int) -> None:
        self._result(job, str(lease)).unlink(missing_ok=True)

    def put_cached(self, job: str, step: int, analysis: Analysis) -> None:
        """Keep which analysis of the whole film a step goes by."""
        _write(self._result(job, _of_step(_CACHED, step)), _AS_RESULT.dump_json(analysis))

    def cached(self, job: str, step: int) -> Analysis | None:
        found = self._read(self._result(job, _of_step(_CACHED, step)))
        return found if isinstance(found, Analysis) else None

    def core_seconds(self, job: str) -> float:
        """CPU time of all that was delivered."""
        total = 0.0
        for path in (self._folder / job / _RESULTS).glob("*.json"):
            times = json.loads(path.read_bytes()).get("times", {})
            total += sum(spent["cpu_ms"] for spent in times.values())
        return total / 1000

    def _result(self, job: str, name: str) -> Path:
        return self._folder / job / _RESULTS / f"{name}.json"

    def _read(self, path: Path) -> Analysis | Segment | None:
        try:
            result = _AS_RESULT.validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        files = (
            (result.faces_path, result.frames_path)
            if isinstance(result, Analysis)
            else (result.path,)
        )
        return result if all(Path(file).exists() for file in files) else None

    # What webhooks were told

    def told(self, job: str) -> Told:
        """The last state that the job's webhooks were told."""
        try:
            return _AS_TOLD.validate_json((self._folder / job / _TOLD).read_bytes())
        except FileNotFoundError:
            return Told()

    def put_told(self, job: str, told: Told) -> None:
        """Keep it; it is durable when this returns."""
        _write(self._folder / job / _TOLD, _AS_TOLD.dump_json(told))

    # What people read

    def put_summary(self, job: str, step: int, summary: JobSummary) -> None:
        path = self._folder / job / f"{_of_step(_SUMMARY, step)}.json"
        _write(path, json.dumps(asdict(summary)).encode())

    def summary(self, job: str, step: int) -> dict[str, Any] | None:
        """What a step of the job did, once it is done."""
        path = self._folder / job / f"{_of_step(_SUMMARY, step)}.json"
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        return found

    def log(self, job: str, event: str, message: str, **facts: Any) -> None:
        """Add a line to a job's log."""
        if not (self._folder / job).is_dir():
            return  # removed meanwhile
        line = {"time": utc_now(), "event": event, "message": message, **facts}
        with (self._folder / job / _LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read_log(self, job: str, chunk: int | None = None) -> Iterator[dict[str, Any]]:
        """The lines of a job's log, all or those of one chunk."""
        path = self._folder / job / _LOG
        if not path.exists():
            return
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found: dict[str, Any] = json.loads(line)
            except ValueError:
                continue  # half a line: the service was killed while it wrote
            if chunk is None or found.get("chunk") == chunk:
                yield found


def _of_step(name: str, step: int) -> str:
    return f"{name}-{step}" if step else name


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(path: Path, data: bytes) -> None:
    """A file that appears whole: temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
