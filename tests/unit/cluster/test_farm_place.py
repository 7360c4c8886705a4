"""A farm's keeper and those who ask it, while its Ray is dead, slow or gone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster import farm_place
from cluster.farm_place import farm_of, find_place, take_down, watch
from scheduler.errors import ClusterUnreachable, NoFarm


class Ray:
    """Of a keeper: dies when it is told to, and may take several starts to come up again."""

    def __init__(self, *, failing: int = 0) -> None:
        self.alive = True
        self.starts = 0
        self._failing = failing

    def restart(self) -> None:
        self.starts += 1
        self.alive = self.starts > self._failing
        if not self.alive:
            raise ClusterUnreachable("Ray does not start", "a local Ray", "try again")


class Client:
    """Of a farm that answers to the first so many questions, then does what it is told to."""

    def __init__(self, answers: int, then: Callable[[], object]) -> None:
        self.asked = 0
        self._answers = answers
        self._then = then

    def ask(self, verb: str, *, timeout: float, unless: Callable[[], bool]) -> Any:
        self.asked += 1
        if self.asked > self._answers:
            self._then()
        if self.asked > self._answers or unless():
            raise NoFarm("the farm does not answer", "a farm that is up", "try again")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farm_place, "_GLANCE", 0.001)
    monkeypatch.setattr(farm_place, "_LOOK", 0.0)
    monkeypatch.setattr(farm_place, "_RENEWAL", 0.1)


def test_a_ray_that_is_slow_to_come_up_again_does_not_end_the_keeper() -> None:
    ended, session = threading.Event(), Ray(failing=2)

    def die() -> None:
        session.alive = False

    begun: list[Client] = []

    def begin() -> Client:
        """The farm is slow, too: the first start of it on a Ray that is up is not answered."""
        begun.append(Client(0, ended.set))
        if len(begun) == 1:
            raise NoFarm("the farm does not answer", "a farm that is up", "try again")
        return begun[-1]

    watch(session, Client(1, die), begin, ended)
    assert session.starts == 4, "two that failed, one on which the farm did not answer, one"
    assert len(begun) == 2


def test_a_farm_that_does_not_answer_gets_a_new_ray_though_the_old_one_lives() -> None:
    ended, session = threading.Event(), Ray()
    mute, heard = Client(3, lambda: None), Client(2, ended.set)
    watch(session, mute, lambda: heard, ended)
    assert mute.asked == 3 + farm_place._MISSES
    assert session.starts == 1
    assert heard.asked == 3


def test_one_answer_in_time_and_nothing_is_started_anew() -> None:
    ended, session, misses = threading.Event(), Ray(), farm_place._MISSES

    class Late(Client):
        def ask(self, verb: str, *, timeout: float, unless: Callable[[], bool]) -> Any:
            self.asked += 1
            if self.asked == 3 * misses:
                ended.set()
            if self.asked % misses:
                raise NoFarm("the farm does not answer", "a farm that is up", "try again")

    watch(session, Late(0, lambda: None), lambda: pytest.fail("no need"), ended)
    assert session.starts == 0


def test_a_ray_that_never_comes_up_ends_the_keeper_with_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    session = Ray(failing=1000)
    session.alive = False
    with pytest.raises(ClusterUnreachable, match="does not start"):
        watch(session, Client(9, lambda: None), lambda: Client(0, lambda: None), threading.Event())
    assert session.starts == farm_place._FALLS
    assert capsys.readouterr().err.count("cluster.unreachable") == farm_place._FALLS


@pytest.fixture
def keeper() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody who is alive, and ends when asked to."""
    words = "import sys, time; sys.stdout.write('up'); sys.stdout.flush(); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout as said:
        assert said.read(2) == b"up"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def folder(keeper: subprocess.Popen[bytes], tmp_path: Path) -> Path:
    """Of a farm whose Ray is dead, and whose keeper lives."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place = {
        "address": f"127.0.0.1:{port}",
        "token": "",
        "pid": keeper.pid,
        "started": psutil.Process(keeper.pid).create_time(),
    }
    (tmp_path / "farm.json").write_text(json.dumps(place))
    return tmp_path


def test_a_farm_whose_ray_is_dead_can_be_taken_down(
    folder: Path, keeper: subprocess.Popen[bytes]
) -> None:
    assert take_down(folder, seconds=60.0)
    assert keeper.poll() is not None
    assert not (folder / "farm.json").exists()


def test_who_asks_waits_for_the_keepers_new_ray_and_not_for_ever(
    folder: Path, keeper: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(ClusterUnreachable), farm_of(folder):
        pass
    keeper.kill()
    keeper.wait()
    assert find_place(folder) is None
    with pytest.raises(NoFarm), farm_of(folder):
        pass


_JOINS = """
import sys
from cluster.session import Session
from scheduler.errors import ClusterUnreachable
try:
    Session.open(sys.argv[1], token="a" * 64)
except ClusterUnreachable as error:
    print(error.code)
"""


def test_a_head_that_dies_while_it_is_joined_is_given_up_soon() -> None:
    """Ray's own twenty tries, even of seven seconds each, would be twice the patience."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        short = {"RAY_gcs_rpc_server_connect_timeout_s": "2", "RAY_py_gcs_connect_timeout_s": "2"}
        joins = subprocess.Popen(
            [sys.executable, "-c", _JOINS, address],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | short,
            text=True,
        )
        server.accept()[0].close()
    try:
        assert joins.communicate(timeout=70)[0] == "cluster.unreachable\n"
    finally:
        joins.kill()
        joins.wait()
