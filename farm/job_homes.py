"""Where jobs of several steps are: being put together, worked on here, or with the farm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from cluster.farm_disk import FarmDisk
from cluster.farm_place import find_place
from farm.config import Settings
from farm.drafts import Draft, DraftBook, checked, unknown
from farm.foreground import Runs
from scheduler.errors import JobBusy
from scheduler.jobs import JobSpec

DRAFTED: Final = "drafted"
DRAFT, HERE, FARM = "draft", "here", "farm"
"""Where a job is."""


class JobHomes:
    """All jobs of one user.

    Args:
        farm: folder of the farm's journal.
    """

    def __init__(self, settings: Settings, farm: Path) -> None:
        self.drafts = DraftBook(settings.state_dir / "drafts")
        self.runs = Runs(settings.state_dir / "runs")
        self.farm = FarmDisk(farm)

    @property
    def farm_is_up(self) -> bool:
        return find_place(self.farm.folder) is not None

    def where(self, name: str) -> str:
        """One of the places; empty: there is no such job.

        A job that has begun is where it began, whatever a death has left in the other places.

        Raises:
            SettingInvalid: no job could have this name.
        """
        if checked(name) in self.farm.shelf.jobs():
            return FARM
        if self.runs.get(name) is not None:
            return HERE
        return DRAFT if self.drafts.get(name) is not None else ""

    def rows(self) -> list[dict[str, Any]]:
        """One row a job: drafts, what was begun here, what the farm has."""
        begun = [*self._begun()]
        names = {row["job"] for row in begun}
        drafts = [_draft_row(draft) for draft in self.drafts.all() if draft.name not in names]
        return drafts + begun

    def row(self, name: str) -> dict[str, Any] | None:
        return next((row for row in self.rows() if row["job"] == name), None)

    def editable(self, name: str) -> Draft:
        """A job that can still be changed.

        Raises:
            JobUnknown: there is none.
            JobBusy: it has been submitted or run.
        """
        draft, where = self.drafts.get(name), self.where(name)
        if where in (HERE, FARM):
            raise JobBusy(
                f"job {name!r} is no draft any more",
                "a job that was neither submitted nor run",
                f"see it with `farm job list`, or forget it with `farm job delete {name}`",
            )
        if draft is None:
            raise unknown(name)
        return draft

    def _begun(self) -> Iterator[dict[str, Any]]:
        for disk in self.runs.all():
            for row in disk.rows(works=disk.busy):
                yield _placed(row, HERE, disk.shelf.entry(row["job"]).steps)
        for row in self.farm.rows(works=self.farm_is_up):
            yield _placed(row, FARM, self.farm.shelf.entry(row["job"]).steps)


def _placed(row: dict[str, Any], where: str, steps: Sequence[JobSpec]) -> dict[str, Any]:
    return {
        "job": row["job"],
        "state": row["state"],
        "where": where,
        "step": row["step"],
        "steps": _steps(steps),
        "chunks_done": row["chunks_done"],
        "chunks_total": row["chunks_total"],
        "submitted": row["submitted"],
        "error": row["error"],
    }


def _draft_row(draft: Draft) -> dict[str, Any]:
    return {
        "job": draft.name,
        "state": DRAFTED,
        "where": DRAFT,
        "step": 0,
        "steps": _steps(draft.specs),
        "chunks_done": 0,
        "chunks_total": 0,
        "submitted": draft.created,
        "error": None,
    }


def _steps(specs: Sequence[JobSpec]) -> list[dict[str, Any]]:
    return [
        {
            "step": number,
            "video": spec.media,
            "sources": [picture for person in spec.swap.people for picture in person],
            "output": spec.goal,
        }
        for number, spec in enumerate(specs)
    ]
