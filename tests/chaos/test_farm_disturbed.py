"""A farm whose service, keeper, Ray and lanes are killed and frozen at random: the film comes out
the same, without anybody's help but ``farm up`` where the keeper itself is dead."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.farm_actor import check_journal
from tests.support.command import Farm
from tests.support.disturbing import disturb, draw
from tests.support.faces import SHOTS, face_of_film
from tests.support.farmed import KINDS, FarmedJob
from tests.support.numbered import make_film, uneven_pts
from tests.support.oracle import Seen, faults, look
from tests.support.record import part
from tests.support.scene import Scene

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SEED = 20261124
JOBS = draw(SEED, 110, 5, longest=20.0, kinds=KINDS)
FRAMES = 96


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Path:
    """Two people, a cut between them, frames of uneven length."""
    shots = [face_of_film(samples[name], *SHOTS[name]) for name in SHOTS]
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4", shots, uneven_pts(FRAMES, 7))


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, film: Path, samples: dict[str, Path]
) -> Seen:
    """The result of a run in one process."""
    with Scene(tmp_path_factory.mktemp("calm") / "job") as scene:
        farm = Farm(scene, film, samples["astronaut"], ["--no-ray"])
        assert farm.end() == 0, farm.complaints
        return look(farm.output)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(len(JOBS)))
def test_a_farm_disturbed_at_random(
    number: int, film: Path, samples: dict[str, Path], undisturbed: Seen, tmp_path: Path
) -> None:
    """110 faults, five in a job."""
    todo = JOBS[number]
    with part(f"farm-{SEED}-{number:03}") as facts, Scene(tmp_path / "job") as scene:
        jobs: list[FarmedJob] = []

        def begin() -> FarmedJob:
            """The job goes on; one that is completed already is submitted once more."""
            done = sum(job.end() == 0 for job in jobs)
            jobs.append(FarmedJob(scene, film, samples["astronaut"], f"{done}"))
            return jobs[-1]

        told = disturb(begin, todo, patience=600)
        facts |= {"drawn": [fault.kind for fault in todo], "struck": told.struck}
        facts["lives"] = told.lives
        wrong = list(told.wrong)
        if not wrong:
            jobs[-1].take_down()
            wrong += faults(look(jobs[-1].output), look(film), undisturbed)
            wrong += check_journal(jobs[-1].folder)
            left = scene.leftovers(["out.mp4"], seconds=60)
            wrong += [each for each in left if "file state/swapfarm/farm/" not in each]
        assert wrong == [], "\n".join(
            [f"faults drawn: {todo}", f"struck in {told.lives} lives:", *told.struck]
        )
