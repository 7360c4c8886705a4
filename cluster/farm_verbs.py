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
    Event,
    NodeDrained,
    NodeForgiven,
    Paused,
    Prioritised,
    Requeued,
    Resumed,
    Retried,
)


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

    def order(self, job: str, what: str) -> dict[str, Any]:
        """Pause, resume, cancel or retry a job; gives its row."""
        job = self._name(job)
        events: dict[str, Event] = {
            "pause": Paused(job=job),
            "resume": Resumed(job=job),
            "cancel": CancelAsked(job=job),
            "retry": Retried(job=job),
        }
        return self._told(job, events[what])

    def priority(self, job: str, priority: int) -> dict[str, Any]:
        job = self._name(job)
        return self._told(job, Prioritised(job=job, priority=priority))

    def requeue(self, job: str, kind: str, start: int, stop: int) -> dict[str, Any]:
        """Do the chunks with frames in [start, stop) again, and what is made from them."""
        assert kind in ("analyse", "render")
        job = self._name(job)
        again = Requeued(job=job, step=0, kind=kind, start=start, stop=stop)  # type: ignore[arg-type]
        return self._told(job, again)

    def rm(self, job: str) -> bool:
        """Forget a job that has ended. False: it goes on, or a lane still gives it up."""
        try:
            return self._farm.remove(job)
        except JobUnknown:
            return True  # it is gone already

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
        return not self._farm.busy

    def _name(self, job: str) -> str:
        with self._farm.lock:
            return self._farm.job(job).id

    def _told(self, job: str, event: Event) -> dict[str, Any]:
        with self._farm.lock:
            self._farm.tell(event)
            (row,) = (row for row in list_jobs(self._farm) if row["job"] == job)
            return row
