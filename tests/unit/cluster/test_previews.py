"""Previews of jobs that are paused, killed, failed: the first frames of the film to come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cluster.farm
from actors.credential import Credential
from actors.models import ModelStore
from cluster.farm_disk import FarmDisk
from cluster.previews import Preview, preview
from scheduler.errors import JobUnknown, NothingYet, SettingInvalid, StorageUnwritable
from scheduler.jobs import EncoderSettings, JobSpec, SwapSettings
from scheduler.output import CutSettings
from tests.support.numbered import HEIGHT, SCENE, SWAY, make_film, uneven_pts
from tests.support.oracle import look
from tests.unit.cluster.test_farm import TestFarm, entry, open_desk

FRAMES = 60


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestFarm]:
    monkeypatch.setattr(cluster.farm, "open_desk", open_desk)
    farm = TestFarm(tmp_path)
    yield farm
    farm.farm.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = np.random.default_rng(5).integers(60, 200, (HEIGHT + 2 * SWAY, SCENE + 2 * SWAY, 3))
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return make_film(path, [noise.astype(np.uint8)], uneven_pts(FRAMES, seed=5))


@pytest.fixture
def spec(tmp_path: Path, film: Path) -> JobSpec:
    return JobSpec(
        job_id="film",
        media=str(film),
        output=str(tmp_path / "out.mp4"),
        folder=str(tmp_path / "work"),
        swap=SwapSettings(sources=("/nobody.jpg",)),
        encoder=EncoderSettings(codec="libx264", quality=30),
        chunk_seconds=0.5,
        attempts=1,
        on_error="passthrough",
    )


def rendered(farm: TestFarm, chunks: int) -> None:
    """Go on until so many chunks are rendered, and no further."""

    def done() -> int:
        shown: list[dict[str, Any]] = farm.ask("show", job="film")["chunks"]
        return sum(c["kind"] == "render" and c["state"] == "done" for c in shown)

    while done() < chunks:
        farm.turn()
    farm.ask("order", job="film", what="pause")
    while farm.ask("jobs")[0]["running"]:
        farm.turn()
    assert done() < 5, "it was too fast to be looked at"


def watch(farm: TestFarm, tmp_path: Path, output: Path | None = None) -> Preview:
    store, signer = ModelStore(tmp_path), Credential.of_machine(tmp_path / "credentials")
    return preview(FarmDisk(farm.folder / "farm"), "film", None, output, store, signer)


@pytest.mark.parametrize(
    "cut",
    [
        CutSettings(),
        CutSettings(start=7, stop=55),
        CutSettings(rate=Fraction(10)),
        CutSettings(start=4, rate=Fraction(60)),
    ],
    ids=["whole", "trimmed", "slower", "trimmed and faster"],
)
def test_a_preview_is_the_beginning_of_the_film(
    farm: TestFarm, spec: JobSpec, tmp_path: Path, cut: CutSettings
) -> None:
    spec = replace(spec, cut=cut)
    farm.ask("submit", entry=entry(spec))
    with pytest.raises(NothingYet):
        watch(farm, tmp_path)
    rendered(farm, 2)
    farm.die()  # what is watched is on disk
    found = watch(farm, tmp_path)
    assert (found.complete, Path(found.output)) == (False, tmp_path / "out.preview.mp4")
    part = look(Path(found.output))
    farm.ask("order", job="film", what="resume")
    farm.until("completed")
    whole = look(Path(spec.output))
    assert 0 < len(part.hashes) < len(whole.hashes)
    assert part.hashes == whole.hashes[: len(part.hashes)]
    assert part.times == whole.times[: len(part.times)]
    assert part.numbers[0] == cut.start
    assert set(part.numbers) == set(range(cut.start, cut.start + found.frames)) or cut.rate
    assert found.frames_total <= FRAMES
    assert part.clicks == pytest.approx(
        [click for click in whole.clicks if click < found.seconds], abs=0.002
    )
    end = watch(farm, tmp_path)
    assert (end.complete, end.output, end.frames) == (True, spec.output, end.frames_total)
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["out.mp4", "out.preview.mp4"]
    assert not list(tmp_path.glob(".*"))


def test_after_a_failure_and_again_where_a_death_left_half_a_preview(
    farm: TestFarm, spec: JobSpec, tmp_path: Path
) -> None:
    late = tmp_path / "late"
    late.mkdir()
    farm.ask("submit", entry=entry(replace(spec, output=str(late / "out.mp4"))))
    rendered(farm, 2)
    farm.ask("order", job="film", what="cancel")
    farm.turn(5)
    half = tmp_path / ".watch.999999999.partial.mkv"
    half.write_text("half")
    for _ in range(2):
        found = watch(farm, tmp_path, tmp_path / "watch.mkv")
        assert look(tmp_path / "watch.mkv").numbers == tuple(range(found.frames))
    assert not half.exists()
    assert not list(tmp_path.glob(".*"))
    late.rmdir()
    farm.ask("order", job="film", what="retry")
    farm.until("failed")  # all is rendered, but the film has no place
    found = watch(farm, tmp_path, tmp_path / "watch.mkv")
    assert (found.frames, found.complete) == (FRAMES, False)
    with pytest.raises(StorageUnwritable):
        watch(farm, tmp_path, tmp_path / "no" / "where.mp4")


def test_what_has_no_preview_says_so(farm: TestFarm, spec: JobSpec, tmp_path: Path) -> None:
    farm.ask("submit", entry=entry(replace(spec, media=str(tmp_path / "photo.png"))))
    with pytest.raises(SettingInvalid, match="picture"):
        watch(farm, tmp_path)
    disk, store = FarmDisk(farm.folder / "farm"), ModelStore(tmp_path)
    signer = Credential.of_machine(tmp_path / "credentials")
    with pytest.raises(SettingInvalid, match="step 3"):
        preview(disk, "film", 3, None, store, signer)
    with pytest.raises(JobUnknown):
        preview(disk, "nobody", None, None, store, signer)
