"""What the webhooks of a farm's jobs are told, across the farm's deaths.

A word is a file before it is noted as said. Whoever dies between the two says it again in the next
life, under the same id; whoever dies before both says in the next life how the job stands then.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from cluster.job_shelf import JobShelf, Told
from cluster.webhook import Webhook, state_facts
from scheduler.failure import Failure
from scheduler.instructions import JobState


class FarmNews:
    """Tells of the jobs of one shelf.

    Args:
        webhook: None: nobody is told.
    """

    def __init__(self, shelf: JobShelf, webhook: Webhook | None) -> None:
        self._shelf = shelf
        self._webhook = webhook

    def tell(self, job: str, state: JobState, failure: Failure | None) -> None:
        """Tell a job's state, unless it was the last that was told."""
        if self._webhook is None:
            return
        try:
            entry = self._shelf.entry(job)
        except FileNotFoundError:
            return  # removed meanwhile
        urls = entry.webhooks
        if not urls:
            return
        told = self._shelf.told(job)
        if told.state == state.value:
            return
        count = told.count + 1
        whole = replace(entry.steps[-1], job_id=job, media=entry.spec.media)
        facts = state_facts(whole, state.value, failure)
        self._webhook.tell(urls, facts, f"{job} {entry.submitted} {count} {state.value}")
        with suppress(OSError):  # a webhook is never in the way; at worst it hears a word twice
            self._shelf.put_told(job, Told(count=count, state=state.value))
