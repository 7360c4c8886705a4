"""All that the ledger remembers: plain values, so that it can be written down and read again."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.fair_share import Accounts
from scheduler.leases import Lease, LeaseBook
from scheduler.nodes import Roster
from scheduler.pace import Pace
from scheduler.standing import Job
from scheduler.tasks import Kind, Task


@dataclass(slots=True, kw_only=True)
class FarmState:
    now: float = 0.0
    """Time of the latest event."""
    jobs: dict[str, Job] = field(default_factory=dict)
    book: LeaseBook = field(default_factory=LeaseBook)
    roster: Roster = field(default_factory=Roster)
    accounts: Accounts = field(default_factory=Accounts)
    paces: dict[Kind, Pace] = field(default_factory=dict)
    """Over all jobs."""
    dropped: int = 0
    """Deliveries under leases that did not count."""

    def task_of(self, lease: Lease) -> Task:
        return self.jobs[lease.job].task(lease.step, lease.kind, lease.chunk)

    def pace_of(self, job: Job, kind: Kind) -> Pace:
        """The job's own pace where it has one, the farm's where not."""
        own = job.paces.get(kind)
        return own if own and own.latest else self.paces.setdefault(kind, Pace())
