"""Whose turn it is: the highest priority first, then the user who had least for his weight.

Start-time fair queuing (Goyal, Vin, Cheng 1996) over lane seconds: each user has a virtual time
that grows by the seconds used, divided by the weight. Who comes back after a pause begins at the
present virtual time, so that nobody saves up a claim, and what others leave idle is shared out.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

Rank = tuple[float, float, str]
"""Deadline, turn among the user's jobs, job."""


@dataclass(slots=True, kw_only=True)
class Account:
    """One user's."""

    weight: float = 1.0
    virtual: float = 0.0
    running: int = 0
    """Leases on chunks."""
    seconds: float = 0.0
    """Lane seconds used so far."""
    jobs: int = 0
    """Submitted so far."""


@dataclass(slots=True, kw_only=True)
class Accounts:
    users: dict[str, Account] = field(default_factory=dict)
    virtual: float = 0.0
    """Of the user who was served last."""

    def of(self, user: str) -> Account:
        return self.users.setdefault(user, Account())

    def charge(self, user: str, seconds: float) -> None:
        """Before a lease begins, with what it will take as far as one can tell."""
        account = self.of(user)
        self.virtual = max(self.virtual, account.virtual)
        account.virtual += seconds / account.weight
        account.running += 1

    def settle(self, user: str, charged: float, seconds: float) -> None:
        """After a lease ended, with what it took."""
        account = self.of(user)
        account.virtual += (seconds - charged) / account.weight
        account.seconds += seconds
        account.running -= 1

    def wake(self, user: str) -> None:
        """A user without any work gets some."""
        account = self.of(user)
        account.virtual = max(account.virtual, self.virtual)


class Queue:
    """Jobs that have a task to give, of one role: an index, made anew from the state."""

    def __init__(self) -> None:
        self._ranks: dict[int, dict[str, list[Rank]]] = {}
        self._entries: dict[str, tuple[int, str, Rank]] = {}

    def __contains__(self, job: str) -> bool:
        return job in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def has(self, user: str) -> bool:
        return any(user in users for users in self._ranks.values())

    def put(self, job: str, user: str, priority: int, deadline: float | None, turn: float) -> None:
        """Enter a job, anew where it is there with another priority."""
        rank = (inf if deadline is None else deadline, turn, job)
        entry = (priority, user, rank)
        if self._entries.get(job) == entry:
            return
        self.drop(job)
        insort(self._ranks.setdefault(priority, {}).setdefault(user, []), rank)
        self._entries[job] = entry

    def drop(self, job: str) -> None:
        entry = self._entries.pop(job, None)
        if entry is None:
            return
        priority, user, rank = entry
        ranks = self._ranks[priority][user]
        del ranks[bisect_left(ranks, rank)]
        if not ranks:
            del self._ranks[priority][user]
            if not self._ranks[priority]:
                del self._ranks[priority]

    def walk(self, accounts: Accounts) -> Iterator[str]:
        """All jobs in the order in which they are served now."""
        for priority in sorted(self._ranks, reverse=True):
            users = self._ranks[priority]
            if len(users) > 1:
                order = sorted(users, key=lambda user: (accounts.of(user).virtual, user))
            else:
                order = list(users)
            for user in order:
                for _, _, job in users[user]:
                    yield job
