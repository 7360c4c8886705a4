"""What may be asked of a farm. Each verb may be asked twice: the second time it changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from cluster.farm import Farm
from cluster.farm_view import list_jobs, list_nodes, show_job
from scheduler.errors import JobUnknown
from scheduler.history import (
    CancelAsked,
    NodeDrained,
    NodeForgiven,
    Paused,
    Prioritised,
    Requeued,
    Resumed,
    Retried,
)

_OfJob = Paused | Resumed | CancelAsked | Retried | Prioritised | Requeued
"""What people tell of one job."""


class FarmVerbs:
    """The verbs of one farm, for any thread."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    def ask(self, verb: str, **facts: Any) -> Any:
        """Do or tell something; the verbs are the methods below.

        Raises:
            SwapfarmError: what cannot be done.
        """
        verbs: dict[str, Callable[..., Any]] = {
            "ping": self.ping,
            "submit": self._farm.submit,
            "jobs": self.jobs,
            "show": self.show,
            "logs": self.logs,
            "order": self.order,
            "requeue": self.requeue,
            "priority": self.priority,
            "rm": self.rm,
            "nodes": self.nodes,
            "node": self.node,
            "drain": self.drain,
        }
        return verbs[verb](**facts)

    def ping(self) -> dict[str, Any]:
        """That it is up, and where."""
        return {"pid": os.getpid(), "folder": str(self._farm.folder), "busy": self._farm.busy}

    def jobs(self) -> list[dict[str, Any]]:
        return list_jobs(self._farm)

    def show(self, job: str) -> dict[str, Any]:
        return show_job(self._farm, job)

    def logs(self, job: str, chunk: int | None) -> list[dict[str, Any]]:
        with self._farm.lock:
            return list(self._farm.shelf.read_log(self._farm.job(job).id, chunk))

    def order(self, job: str, what: str) -> list[dict[str, Any]]:
        """Pause, resume, cancel or retry a job or a group; gives the rows."""
        kinds: dict[str, Callable[..., _OfJob]] = {
            "pause": Paused,
            "resume": Resumed,
            "cancel": CancelAsked,
            "retry": Retried,
        }
        with self._farm.lock:
            return self._told(*(kinds[what](job=name) for name in self._names(job)))

    def priority(self, job: str, priority: int) -> list[dict[str, Any]]:
        with self._farm.lock:
            return self._told(
                *(Prioritised(job=name, priority=priority) for name in self._names(job))
            )

    def requeue(
        self, job: str, kind: str, start: int, stop: int, step: int = 0
    ) -> list[dict[str, Any]]:
        """Do the chunks with frames in [start, stop) again, and what their step makes of them."""
        assert kind in ("analyse", "render")
        with self._farm.lock:
            name = self._farm.job(job).id
            return self._told(
                Requeued(job=name, step=step, kind=kind, start=start, stop=stop)  # type: ignore[arg-type]
            )

    def rm(self, job: str) -> bool:
        """Forget a job or a group that has ended. False: some of it goes on, or a lane still
        gives it up."""
        with self._farm.lock:
            try:
                names = self._names(job)
            except JobUnknown:
                return True  # it is gone already
            gone = [self._farm.remove(name) for name in names]
            return all(gone)

    def nodes(self) -> list[dict[str, Any]]:
        return list_nodes(self._farm)

    def node(self, node: str, what: str) -> list[dict[str, Any]]:
        """Drain a node, or let it take part again."""
        with self._farm.lock:
            known = self._farm.ledger.state.roster.nodes
            names = [name for name in known if name.startswith(node)] if node else []
            if len(names) != 1:
                raise JobUnknown(
                    f"{len(names)} nodes begin with {node!r}", "one of them", "see `farm nodes`"
                )
            self._farm.tell(
                NodeDrained(node=names[0]) if what == "drain" else NodeForgiven(node=names[0])
            )
            return list_nodes(self._farm)

    def drain(self, seconds: float) -> bool:
        """Begin nothing more and wait until what runs is done. Says whether it is."""
        self._farm.draining = True
        until = time.monotonic() + seconds
        while self._farm.busy and time.monotonic() < until:
            time.sleep(0.1)
        self._farm.finish_telling()
        return not self._farm.busy

    def _names(self, name: str) -> list[str]:
        """Of the jobs of a group, or of one job."""
        shelf, jobs = self._farm.shelf, self._farm.ledger.state.jobs
        return [job for job in jobs if name and shelf.entry(job).group == name] or [
            self._farm.job(name).id
        ]

    def _told(self, *events: _OfJob) -> list[dict[str, Any]]:
        self._farm.tell(*events)
        names = {event.job for event in events}
        return [row for row in list_jobs(self._farm) if row["job"] in names]
