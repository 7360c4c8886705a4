"""Where rings lie in the tests of transport, and a lane on a fake GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.media import VideoIndex
from tests.support.rings import GpuPlace, HostPlace, Place
from tests.unit.actors.gpu_lane import Lane, make_films


@pytest.fixture(params=["host", "gpu"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Makes rings in host memory, and on a fake GPU that checks how it is used."""
    made: Place = HostPlace() if request.param == "host" else GpuPlace(tmp_path / "gpu")
    yield made
    made.close()
    if isinstance(made, GpuPlace):
        assert made.used() == (0, 0), "memory or events of the GPU are still taken"


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    """One process on a fake GPU, which has nothing of it left in the end."""
    lane = Lane(tmp_path / "gpu")
    yield lane
    lane.close()


@pytest.fixture(scope="session")
def gpu_films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoIndex]:
    """Films of several pixel formats, by name."""
    return make_films(tmp_path_factory.mktemp("gpu_films"))
