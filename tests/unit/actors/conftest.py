"""Where rings lie in the tests of transport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rings import GpuPlace, HostPlace, Place


@pytest.fixture(params=["host", "gpu"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Makes rings in host memory, and on a fake GPU that checks how it is used."""
    made: Place = HostPlace() if request.param == "host" else GpuPlace(tmp_path / "gpu")
    yield made
    made.close()
    if isinstance(made, GpuPlace):
        assert made.used() == (0, 0), "memory or events of the GPU are still taken"
