"""Disks that fill up, turn read-only or fail at times: a clear end, and the film once they heal."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.models import ModelStore
from tests.support.command import Farm
from tests.support.disks import SmallDisk, failing_writes
from tests.support.faces import SHOTS, face_of_film
from tests.support.numbered import even_pts, make_film
from tests.support.oracle import Seen, faults, look
from tests.support.record import part
from tests.support.scene import Scene
from tests.support.short_job import Stage, short_job

SEED = 20261122
SHARE = 25
"""Seeds of a part of the long proof."""
FRAMES = 96
INLINE = ("--no-ray", "--overwrite", "--no-occlusion", "--no-objects")
LANES = (*INLINE[1:], "--lanes", "2", "--processes", "2")
LAYOUTS = pytest.mark.parametrize(
    "layout",
    [pytest.param(INLINE, id="inline"), pytest.param(LANES, id="lanes", marks=pytest.mark.ray)],
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Path:
    shot = face_of_film(samples["single_face"], *SHOTS["single_face"])
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4", [shot], even_pts(FRAMES))


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, film: Path, samples: dict[str, Path]
) -> Seen:
    with Scene(tmp_path_factory.mktemp("calm") / "job") as scene:
        farm = Farm(scene, film, samples["astronaut"], INLINE)
        assert farm.end() == 0, farm.complaints
        assert faults(look(farm.output), look(film)) == []
        return look(farm.output)


def moment(farm: Farm, drawn: random.Random) -> tuple[str, int]:
    """Waits for some moment of the work."""
    phase = drawn.choice(["analyse", "render"])
    # Progress is told once a second, in which lanes can render all there is.
    frames = drawn.randint(1, FRAMES // 2) if phase == "analyse" else 0
    farm.wait_for(phase, frames)
    return phase, frames


@pytest.mark.timeout(600)
@LAYOUTS
def test_a_disk_that_turns_read_only_ends_the_job_clearly(
    layout: tuple[str, ...],
    film: Path,
    samples: dict[str, Path],
    undisturbed: Seen,
    tmp_path: Path,
) -> None:
    drawn = random.Random(f"{SEED}read-only{layout}")
    work = tmp_path / "disk"
    work.mkdir()
    options = (*layout, "--work-dir", str(work))
    with SmallDisk(work, 8192) as disk, Scene(tmp_path / "job") as scene:
        farm = Farm(scene, film, samples["astronaut"], options, before=disk.before)
        when = moment(farm, drawn)
        disk.read_only()
        assert farm.end() == 5, (when, farm.complaints)
        assert farm.events[-1]["code"] == "storage.unwritable", when
        assert not farm.output.exists()
        disk.writable()  # what could not be removed goes at the next start
        again = Farm(scene, film, samples["astronaut"], options, before=disk.before)
        assert again.end() == 0, again.complaints
        assert faults(look(again.output), look(film), undisturbed) == []
        assert disk.files() == []
        assert scene.leftovers([again.output.name], seconds=30) == []


@pytest.mark.timeout(600)
@LAYOUTS
def test_a_job_waits_until_a_full_disk_has_room(
    layout: tuple[str, ...],
    film: Path,
    samples: dict[str, Path],
    undisturbed: Seen,
    tmp_path: Path,
) -> None:
    work = tmp_path / "disk"
    work.mkdir()
    options = (*layout, "--work-dir", str(work))
    with SmallDisk(work, 8192) as disk, Scene(tmp_path / "job") as scene:
        farm = Farm(scene, film, samples["astronaut"], options, before=disk.before)
        farm.wait_for("render", 0)  # later two lanes might be done before the disk is full
        disk.fill()
        until = time.monotonic() + 60
        while not any("no room to write" in str(e.get("message")) for e in list(farm.events)):
            assert farm.running, (farm.events[-1], farm.complaints)
            assert time.monotonic() < until, farm.events[-3:]
            time.sleep(0.1)
        time.sleep(12)  # longer than the pause before it looks again
        assert farm.running
        assert not farm.output.exists()
        disk.free()
        assert farm.end() == 0, farm.complaints
        assert faults(look(farm.output), look(film), undisturbed) == []
        assert disk.files() == []
        assert scene.leftovers([farm.output.name], seconds=30) == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("layout", "seeds"),
    [
        pytest.param(INLINE, range(SEED, SEED + 4), id="inline"),
        pytest.param(LANES, range(SEED, SEED + 1), id="lanes", marks=pytest.mark.ray),
    ],
)
def test_one_write_in_ten_fails(
    layout: tuple[str, ...],
    seeds: range,
    film: Path,
    samples: dict[str, Path],
    undisturbed: Seen,
    tmp_path: Path,
) -> None:
    """Each run makes the whole film or none, and says why; the first on a sound disk makes it."""
    ended: list[int] = []
    with Scene(tmp_path / "job") as scene:
        for seed in seeds:
            harm = failing_writes(tmp_path, scene.folder, seed)
            farm = Farm(scene, film, samples["astronaut"], layout, environment=harm)
            code = farm.end()
            ended.append(code)
            if code == 0:
                assert faults(look(farm.output), look(film), undisturbed) == [], seed
            else:
                assert code == 5, (seed, farm.complaints)
                assert farm.events[-1]["code"] == "storage.unwritable", seed
                assert not farm.output.exists(), seed
            farm.output.unlink(missing_ok=True)
            assert scene.leftovers(seconds=30) == [], seed
        assert 5 in ended, "no write failed"
        farm = Farm(scene, film, samples["astronaut"], layout)
        assert farm.end() == 0, farm.complaints
        assert faults(look(farm.output), look(film), undisturbed) == []


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path], models: ModelStore
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("failing")
    library = failing_writes(folder, folder, 0)["LD_PRELOAD"]
    with short_job(folder, samples, models, {"LD_PRELOAD": library}) as stage:
        yield stage


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("one_in", "first"),
    [
        *((10, first) for first in range(SEED, SEED + 300, SHARE)),
        *((50, first) for first in range(SEED, SEED + 100, SHARE)),
        *((200, first) for first in range(SEED, SEED + 100, SHARE)),
    ],
)
def test_one_write_in_so_many_fails(one_in: int, first: int, stage: Stage, tmp_path: Path) -> None:
    """The same, of a short job, many times; where one in ten fails few come far."""
    with part(f"storage-{one_in}-{first}") as facts:
        facts |= {"whole": 0, "refused": 0, "steps": 0}
        stage.empty()
        stage.run()
        calm = look(stage.under / "out.mp4")
        stage.empty()
        harm = failing_writes(tmp_path, stage.under, first, one_in) | {"FAILING_ALIKE": "1"}
        for seed in range(first, first + SHARE):
            life = stage.live(environment=harm | {"FAILING_SEED": str(seed)})
            facts["steps"] = max(facts["steps"], len(life.steps))
            if life.code == 0:
                facts["whole"] += 1
                assert stage.wrong(calm) == [], seed
            else:
                facts["refused"] += 1
                last = json.loads(life.said.splitlines()[-1])
                assert (life.code, last["code"]) == (5, "storage.unwritable"), (seed, life.said)
                assert not (stage.under / "out.mp4").exists(), seed
            assert stage.left() == [], seed
            (stage.under / "out.mp4").unlink(missing_ok=True)
        stage.run()
        assert stage.wrong() == []
        assert stage.left() == []
