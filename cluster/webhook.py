"""Tells others of a job's states by HTTP: signed, again until it is heard, and never in the way.

What is to be told is a file before it is sent, and goes when it was heard, so that it survives the
process; whoever starts next sends what is left. It may therefore come twice: each has an id.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid4, uuid5

from actors.whole_file import whole_file
from cluster.job_shelf import utc_now
from scheduler.errors import StorageError
from scheduler.failure import Failure
from scheduler.jobs import JobSpec

_LOOK: Final = 0.05
ID: Final = "Swapfarm-Event-Id"
SIGNATURE: Final = "Swapfarm-Signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one tries. Times in seconds."""

    answer: float = 10.0
    """For an answer."""
    again: float = 1.0
    """Before the second attempt; doubles with each further one."""
    again_most: float = 300.0
    give_up: float = 86400.0
    """What nobody heard for so long is dropped."""
    most: int = 1000
    """Events that may wait; older ones are dropped for newer ones."""


class Webhook:
    """Sends events, one after the other, from a thread of its own.

    Args:
        folder: where what was not heard yet waits; all who share it send all of it.
        secret: signs; empty: nothing is signed.
        note: is told what was dropped.
    """

    def __init__(
        self,
        folder: Path,
        secret: str,
        *,
        patience: Patience | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._secret = secret.encode()
        self._patience = patience or Patience()
        self._note = note
        self._wake = threading.Condition()
        self._told = False
        self._closing = False
        self._failures: dict[str, int] = {}
        """Of addresses, since they last heard."""
        self._due: dict[str, float] = {}
        """When an address is tried again."""
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()

    def tell(self, urls: Sequence[str], facts: Mapping[str, Any], which: str = "") -> None:
        """Have facts told to addresses; returns at once, and what goes wrong is only noted.

        Args:
            which: a name of the event, for who may tell it again after a death: the same name gives
                the same id. Empty: it is told once.
        """
        for url in urls:
            event = (uuid5(NAMESPACE_URL, f"{url} {which}") if which else uuid4()).hex
            body = json.dumps({"id": event, "time": utc_now(), **facts}, sort_keys=True)
            name = f"{time.time_ns():020}-{event}.json"
            try:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                with whole_file(self._folder / name) as file:
                    file.write(json.dumps({"id": event, "url": url, "body": body}).encode())
            except (OSError, StorageError) as error:
                self._note(f"{url} is not told ({error})")
        with self._wake:
            self._told = True
            self._wake.notify()

    def close(self, seconds: float = 5.0) -> None:
        """Give what waits so much time; what is left waits for whoever starts next."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            waits = self._send_all()
            with self._wake:
                if self._told:
                    self._told = False
                    continue
                if self._closing and not waits:
                    return
                self._wake.wait(self._pause() if waits else None)

    def _pause(self) -> float:
        """Until an address is due. What another process sends now is looked at again, too."""
        due = min(self._due.values(), default=0.0)
        return max(due - time.monotonic(), _LOOK)

    def _send_all(self) -> bool:
        """Try what is due. Returns: something still waits."""
        files = sorted(self._folder.glob("[!.]*.json"))
        for path in files[: max(0, len(files) - self._patience.most)]:
            self._drop(path, "too many wait")
        waits = False
        for path in files[-self._patience.most :]:
            waits = not self._try(path) or waits
        return waits

    def _try(self, path: Path) -> bool:
        """Send one, if its address is due. Returns: it is over."""
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return not path.exists() or self._send(path, json.loads(file.read()))
        except FileNotFoundError:
            return True  # another process has sent it
        except BlockingIOError:
            return False  # another process is sending it
        except (OSError, ValueError) as error:
            self._drop(path, str(error))
            return True

    def _send(self, path: Path, event: Mapping[str, str]) -> bool:
        url = event["url"]
        if time.time() - int(path.name.partition("-")[0]) / 1e9 > self._patience.give_up:
            self._drop(path, f"{url} does not hear it")
            return True
        if self._due.get(url, 0.0) > time.monotonic():
            return False
        if self._post(event):
            self._failures.pop(url, None)
            self._due.pop(url, None)
            path.unlink(missing_ok=True)
            return True
        failures = self._failures[url] = self._failures.get(url, 0) + 1
        pause = self._patience.again * 2.0 ** min(failures - 1, 30)
        self._due[url] = time.monotonic() + min(pause, self._patience.again_most)
        return False

    def _post(self, event: Mapping[str, str]) -> bool:
        body = event["body"].encode()
        headers = {"Content-Type": "application/json", ID: event["id"]}
        if self._secret:
            headers[SIGNATURE] = signature(self._secret, body, int(time.time()))
        # No proxies of the environment, and no redirects: a POST would become a GET.
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPErrorProcessor,
            urllib.request.HTTPDefaultErrorHandler,
        ):
            opener.add_handler(handler())
        try:
            order = urllib.request.Request(event["url"], data=body, headers=headers, method="POST")
            with opener.open(order, timeout=self._patience.answer) as answer:
                return bool(200 <= answer.status < 300)
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def _drop(self, path: Path, why: str) -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        self._note(f"an event for a webhook is dropped: {why}")


def signature(secret: bytes, body: bytes, at: int) -> str:
    """``t=SECONDS,v1=HEX``: HMAC-SHA256 of "SECONDS.BODY". The time lets a receiver refuse what
    somebody sends again later."""
    signed = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={signed.hexdigest()}"


def state_facts(job: JobSpec, state: str, failure: Failure | None = None) -> dict[str, Any]:
    """What is told of a job: its state (``scheduler.instructions.JobState``), and why it failed."""
    return {
        "event": "job.state",
        "job": job.job_id,
        "state": state,
        "video": job.media,
        "output": job.goal,
        "error": asdict(failure) if failure else None,
    }
