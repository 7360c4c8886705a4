"""`farm bench scaling` on one lane in this process, and as a command on emulated nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import farm.scaling
from actors.models import ModelStore
from cluster.inline import InlineExecutor
from cluster.layout import NodeRoom
from farm.config import load_settings
from farm.scaling import CHUNK, ScalingPlan, measure
from scheduler.errors import SettingInvalid


class Nodes:
    """A session of two nodes that nobody asks for more."""

    def nodes(self) -> tuple[NodeRoom, ...]:
        return tuple(NodeRoom(name=name, cpus=1.0, gpus=1.0) for name in "ab")


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch, models: ModelStore) -> None:
    """One lane in this process for any number of nodes."""

    @contextmanager
    def cluster(plan: ScalingPlan, most: int) -> Iterator[tuple[Nodes, str]]:
        yield Nodes(), "this process"

    monkeypatch.setattr(farm.scaling, "_cluster", cluster)
    monkeypatch.setattr(
        farm.scaling, "RayExecutor", lambda session, kit, *_, **__: InlineExecutor(kit)
    )


def plan(**other: Any) -> ScalingPlan:
    return ScalingPlan(**{"nodes": (1, 2), "repeats": 2, "chunks": 2, "wait_ms": 1} | other)


@pytest.mark.usefixtures("inline")
def test_a_film_is_measured_on_each_number_of_nodes() -> None:
    said: list[tuple[str, int, int]] = []
    rows, about = measure(plan(), load_settings(), lambda *words: said.append(words))
    assert [(row.nodes, row.chunks, row.repeats) for row in rows] == [(1, 2, 2), (2, 4, 2)]
    assert about["swap"] == "stand-in-waits-1ms"
    assert about["standin"] is True
    assert (about["chunk_frames"], about["chunks_a_node"]) == (CHUNK, 2)
    assert [run["frames"] for run in about["seconds"]] == [24, 24, 48, 48]
    for row in rows:
        assert row.fps > 0
        assert 0.0 <= row.idle < 1.0
        assert 0.0 <= row.film < 1.0
        assert row.halo == 0.0
    assert ("2 nodes, 2 of 2", 48, 48) in said


@pytest.mark.usefixtures("inline")
def test_real_swappers_and_a_film_of_ones_own(samples: dict[str, Path]) -> None:
    rows, about = measure(
        plan(
            nodes=(1,),
            repeats=1,
            film=samples["single_face"],
            source=samples["astronaut"],
        ),
        load_settings(flags={"trim_frame": {}}),
    )
    assert (about["swap"], about["standin"], about["wait_ms"]) == ("mesh", False, None)
    assert about["film"].endswith(samples["single_face"].name)
    assert rows[0].halo == 0.0, "one lane goes on where it is"


@pytest.mark.usefixtures("inline")
def test_too_few_nodes_are_one_clear_error() -> None:
    with pytest.raises(SettingInvalid, match="2 nodes that bear lanes"):
        measure(plan(nodes=(1, 3)), load_settings())


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_the_command_on_emulated_nodes(tmp_path: Path, models: ModelStore) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "farm.cli", "bench", "scaling", "--quick", "--wait", "20", "--json"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [(row["nodes"], row["lanes"]) for row in result["nodes"]] == [(1, 1), (2, 2)]
    assert result["standin"] is True
    assert sorted(path.name for path in (tmp_path / "scaling").iterdir()) == [
        *("scaling.csv", "scaling.json", "scaling.png"),
    ]
