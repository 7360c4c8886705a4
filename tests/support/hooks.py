"""A server that hears webhooks, and what docs/webhooks.md says on how to check them."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cluster.webhook import SIGNATURE


def genuine(headers: Mapping[str, str], body: bytes, secret: bytes) -> bool:
    """Whether the signature is right and fresh."""
    at, _, signed = headers[SIGNATURE].removeprefix("t=").partition(",v1=")
    wanted = hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, signed) and abs(time.time() - int(at)) < 300


@dataclass
class Heard:
    answers: list[int]
    """Statuses to give, then 200."""
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)
    wanted: int = 1
    """Good answers after which it is enough."""


@contextmanager
def server(heard: Heard, port: int = 0) -> Iterator[str]:
    """The address of a server on loopback that hears events."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.calls.append((dict(self.headers), body))
            status = heard.answers.pop(0) if heard.answers else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            if status == 200:
                heard.wanted -= 1
                if heard.wanted == 0:
                    heard.enough.set()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    found = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=found.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.server_port}/hook"
    finally:
        found.shutdown()
        thread.join()
        found.server_close()
