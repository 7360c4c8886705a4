"""Webhooks against servers on loopback: one that fails, one that never answers, none at all."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from pathlib import Path

from cluster.webhook import ID, SIGNATURE, Patience, Webhook
from tests.support.hooks import Heard, genuine, server

QUICK = Patience(answer=0.3, again=0.05, again_most=0.2)


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def test_it_is_told_again_until_it_is_heard_signed_and_in_order(tmp_path: Path) -> None:
    heard = Heard([500, 302], wanted=2)
    with server(heard) as url, closing(Webhook(tmp_path, "s3cret", patience=QUICK)) as webhook:
        webhook.tell([url], {"state": "running"})
        webhook.tell([url], {"state": "completed"})
        assert heard.enough.wait(10)
    states = [json.loads(body)["state"] for _, body in heard.calls]
    assert states == ["running", "running", "running", "completed"]
    ids = [headers[ID] for headers, _ in heard.calls]
    assert len(set(ids)) == 2
    assert [json.loads(body)["id"] for _, body in heard.calls] == ids
    assert all(genuine(headers, body, b"s3cret") for headers, body in heard.calls)
    assert left(tmp_path) == []


def test_without_a_secret_nothing_is_signed(tmp_path: Path) -> None:
    heard = Heard([])
    with server(heard) as url, closing(Webhook(tmp_path, "", patience=QUICK)) as webhook:
        webhook.tell([url], {"state": "running"})
        assert heard.enough.wait(10)
    assert SIGNATURE not in heard.calls[0][0]


def test_one_that_never_answers_delays_nobody_and_what_it_missed_is_kept(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        webhook = Webhook(tmp_path, "", patience=QUICK)
        began = time.monotonic()
        webhook.tell([url], {"state": "running"})
        assert time.monotonic() - began < 0.2
        webhook.close(0.5)
        assert time.monotonic() - began < 1.5
        (event,) = left(tmp_path)
    heard = Heard([])
    with server(heard) as other:
        event.write_text(event.read_text().replace(url, other))
        with closing(Webhook(tmp_path, "", patience=QUICK)):  # the next process
            assert heard.enough.wait(10)
    assert left(tmp_path) == []


def test_what_nobody_hears_is_dropped_in_the_end(tmp_path: Path) -> None:
    dropped = []
    patience = Patience(answer=0.3, again=0.02, again_most=0.05, give_up=0.3)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    webhook = Webhook(tmp_path, "", patience=patience, note=dropped.append)
    webhook.tell([url], {"state": "failed"})
    webhook.close(10)
    assert left(tmp_path) == []
    assert len(dropped) == 1
    assert url in dropped[0]


def test_no_more_wait_than_may(tmp_path: Path) -> None:
    dropped = []
    patience = Patience(answer=0.3, again=5.0, most=3)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    webhook = Webhook(tmp_path, "", patience=patience, note=dropped.append)
    for number in range(6):
        webhook.tell([url], {"state": str(number)})
    webhook.close(1)
    kept = [json.loads(json.loads(path.read_text())["body"])["state"] for path in left(tmp_path)]
    assert sorted(kept) == ["3", "4", "5"]
    assert len(dropped) == 3


def test_a_folder_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    noted = []
    (tmp_path / "file").write_text("")
    with closing(Webhook(tmp_path / "file" / "under", "", note=noted.append)) as webhook:
        webhook.tell(["http://127.0.0.1:9/"], {"state": "running"})
    assert len(noted) == 1


def test_two_processes_send_it_once(tmp_path: Path) -> None:
    """Locks are of open files, so two in one process behave as two processes do."""
    heard = Heard([], wanted=10)
    with (
        server(heard) as url,
        closing(Webhook(tmp_path, "", patience=QUICK)) as one,
        closing(Webhook(tmp_path, "", patience=QUICK)) as two,
    ):
        for each in range(10):
            (one, two)[each % 2].tell([url], {"state": str(each)})
        assert heard.enough.wait(10)
    assert len(heard.calls) == 10
