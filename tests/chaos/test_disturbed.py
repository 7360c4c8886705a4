"""Real commands on real lanes, killed, frozen and starved: the film comes out the same.

A failure prints the seed and what was done. The same seed draws the same faults again. The long run
can be stopped, and shared out to several at once (``tests.support.record``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Farm
from tests.support.disturbing import Fault, disturb, draw
from tests.support.faces import SHOTS, face_of_film
from tests.support.numbered import make_film, uneven_pts
from tests.support.oracle import Seen, faults, look
from tests.support.record import part
from tests.support.scene import Scene

pytestmark = pytest.mark.ray

SEED = 20261122
JOBS = draw(SEED, 20, 5, longest=6.0)
"""The faults of the default run."""
MORE = draw(SEED + 1, 1000, 5, longest=60.0)
"""Those of the long one."""
FRAMES = 96
LANES = ("--lanes", "2", "--processes", "2", "--overwrite")


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
        assert farm.events[-1]["swapped_frames"] == FRAMES
        seen = look(farm.output)
        assert faults(seen, look(film)) == []
        assert scene.leftovers([farm.output.name]) == []
        return seen


def story(
    todo: list[Fault],
    where: Path,
    film: Path,
    face: Path,
    calm: Seen,
    patience: float,
    facts: dict[str, Any],
) -> None:
    """One job and its faults, and all that must hold at its end.

    Args:
        facts: gets what was done.
    """
    with Scene(where) as scene:
        told = disturb(lambda: Farm(scene, film, face, LANES), todo, patience=patience)
        facts |= {"drawn": [fault.kind for fault in todo], "struck": told.struck}
        facts["lives"] = told.lives
        wrong = list(told.wrong)
        if not wrong:
            wrong += faults(look(scene.folder / "out.mp4"), look(film), calm)
            wrong += scene.leftovers(["out.mp4"], seconds=60)
        assert wrong == [], "\n".join(
            [f"faults drawn: {todo}", f"struck in {told.lives} lives:", *told.struck]
        )


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", range(len(JOBS)))
def test_disturbed_at_random(
    number: int, film: Path, samples: dict[str, Path], undisturbed: Seen, tmp_path: Path
) -> None:
    """20 faults, five in a job."""
    story(JOBS[number], tmp_path / "job", film, samples["astronaut"], undisturbed, 240, {})


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(len(MORE)))
def test_disturbed_a_thousand_times(
    number: int, film: Path, samples: dict[str, Path], undisturbed: Seen, tmp_path: Path
) -> None:
    """1,000 faults, five in a job, frozen for up to a minute."""
    with part(f"disturbed-{SEED + 1}-{number:03}") as facts:
        face = samples["astronaut"]
        story(MORE[number], tmp_path / "job", film, face, undisturbed, 600, facts)
