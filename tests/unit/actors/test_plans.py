"""Engines are kept under all that they depend on; what is not right is made once more."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from actors.inference.engines import BuildFlags, Platform
from actors.inference.plans import PlanKey, Plans
from scheduler.errors import GpuFailed, StorageUnwritable

ROOT = Path(__file__).resolve().parents[3]
KEY = PlanKey(
    network="ab" * 32,
    platform=Platform(tensorrt="11.4", cuda="13020", gpu="A GPU", capability="9.0"),
    batches=(1, 2),
    sizes=(),
    flags=BuildFlags(),
)


class Builder:
    """Counts what it does; its plans are words."""

    def __init__(self, plan: bytes = b"plan " * 1000) -> None:
        self.plan = plan
        self.timings: list[bytes] = []

    def build(self, timing: bytes) -> tuple[bytes, bytes]:
        self.timings.append(timing)
        return self.plan, timing + b"+"

    def load(self, plan: bytes) -> str | None:
        return f"engine of {plan[:4].decode()}" if plan == self.plan else None


def test_it_is_built_once(tmp_path: Path) -> None:
    builder = Builder()
    for _ in range(3):
        assert Plans(tmp_path / "new").get(KEY, builder.load, builder.build) == "engine of plan"
    assert builder.timings == [b""]
    assert not [each for each in (tmp_path / "new").iterdir() if each.suffix == ".part"]


@pytest.mark.parametrize(
    "other",
    [
        {"network": "cd" * 32},
        {"platform": replace(KEY.platform, tensorrt="11.5")},
        {"platform": replace(KEY.platform, cuda="12080")},
        {"platform": replace(KEY.platform, gpu="Another GPU")},
        {"platform": replace(KEY.platform, capability="8.9")},
        {"batches": (1, 2, 4)},
        {"sizes": (("input", (3, 640, 640)),)},
        {"flags": BuildFlags(tf32=True)},
        {"flags": BuildFlags(effort=5)},
        {"schema": 2},
    ],
    ids=lambda other: next(iter(other)),
)
def test_all_that_it_depends_on_is_in_its_name(other: dict[str, object], tmp_path: Path) -> None:
    plans, builder = Plans(tmp_path), Builder()
    changed = replace(KEY, **other)  # type: ignore[arg-type]
    assert plans.path(changed) != plans.path(KEY)
    for key in (KEY, changed):
        plans.get(key, builder.load, builder.build)
    assert len(builder.timings) == 2


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


DAMAGES: list[Callable[[bytes], bytes]] = [
    cut,
    flipped,
    lambda content: b"",
    lambda content: b"something else",
    lambda content: content.replace(b"A GPU", b"B GPU"),
    lambda content: content + b"more",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_made_again_once(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    plans, builder = Plans(tmp_path), Builder()
    plans.get(KEY, builder.load, builder.build)
    path = plans.path(KEY)
    right = path.read_bytes()
    path.write_bytes(damage(right))
    assert plans.get(KEY, builder.load, builder.build) == "engine of plan"
    assert len(builder.timings) == 2
    assert path.read_bytes() == right


def test_what_only_the_gpu_can_tell_is_foreign_is_made_again_once(tmp_path: Path) -> None:
    plans, builder = Plans(tmp_path), Builder(b"old")
    plans.get(KEY, builder.load, builder.build)
    builder.plan = b"new"  # as after a change of the driver
    assert plans.get(KEY, builder.load, builder.build) == "engine of new"
    assert len(builder.timings) == 2


def test_a_plan_that_never_loads_is_not_tried_for_ever(tmp_path: Path) -> None:
    plans, builder = Plans(tmp_path), Builder()
    with pytest.raises(GpuFailed, match="just made"):
        plans.get(KEY, lambda plan: None, builder.build)
    assert len(builder.timings) == 1
    assert not plans.path(KEY).exists()


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    plans, builder = Plans(tmp_path), Builder()

    def broken(timing: bytes) -> tuple[bytes, bytes]:
        raise RuntimeError("no kernel fits")

    with pytest.raises(RuntimeError, match="no kernel"):
        plans.get(KEY, builder.load, broken)
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]
    assert plans.get(KEY, builder.load, builder.build) == "engine of plan"


def test_a_writer_that_died_does_no_harm(tmp_path: Path) -> None:
    plans, builder = Plans(tmp_path), Builder()
    plans.path(KEY).with_suffix(".part").write_bytes(b"half of a pl")
    assert plans.get(KEY, builder.load, builder.build) == "engine of plan"
    assert plans.get(KEY, builder.load, builder.build) == "engine of plan"
    assert len(builder.timings) == 1


def test_what_was_measured_is_passed_on_within_a_platform(tmp_path: Path) -> None:
    plans, builder = Plans(tmp_path), Builder()
    for key in (KEY, replace(KEY, network="cd" * 32)):
        plans.get(key, builder.load, builder.build)
    plans.get(
        replace(KEY, platform=replace(KEY.platform, cuda="12080")), builder.load, builder.build
    )
    assert builder.timings == [b"", b"+", b""]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    builder = Builder()
    with pytest.raises(StorageUnwritable):
        Plans(tmp_path / "file" / "engines").get(KEY, builder.load, builder.build)


def test_threads_build_once(tmp_path: Path) -> None:
    builder, waiting, found = Builder(), threading.Event(), []
    everyone = threading.Barrier(4)

    def slow(timing: bytes) -> tuple[bytes, bytes]:
        waiting.wait(0.3)
        return builder.build(timing)

    def ask() -> None:
        everyone.wait()
        found.append(Plans(tmp_path).get(KEY, builder.load, slow))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["engine of plan"] * 4
    assert len(builder.timings) == 1


PROCESS = """
import json, os, sys, time
from pathlib import Path
from actors.inference.engines import BuildFlags, Platform
from actors.inference.plans import PlanKey, Plans

folder = Path(sys.argv[1])
facts = json.loads(sys.argv[2])
key = PlanKey(**facts | {"platform": Platform(**facts["platform"]),
    "flags": BuildFlags(**facts["flags"]), "batches": tuple(facts["batches"]), "sizes": ()})

def build(timing):
    with (folder / "builds").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(0.5)
    return b"plan", b""

(folder / f"{os.getpid()}.here").touch()
while len(list(folder.glob("*.here"))) < 2:
    time.sleep(0.01)
print(Plans(folder / "engines").get(key, lambda plan: plan.decode(), build))
"""


def test_two_processes_build_once(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROCESS, str(tmp_path), KEY.text.decode()]
    assert json.loads(KEY.text)["network"] == KEY.network
    both = [subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate(timeout=120)[0] for each in both]
    assert said == ["plan\n"] * 2
    assert len((tmp_path / "builds").read_text().splitlines()) == 1
