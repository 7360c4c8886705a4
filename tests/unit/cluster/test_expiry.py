"""What nobody used for long goes, and nothing else does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cluster.expiry import Kept, expire
from cluster.folders import claim, release

DAY = 86400.0
NOW = time.time()
OLD = "20260101-120000-00aa11"
NEW = "20260102-120000-00aa22"


def age(path: Path, days: float) -> None:
    for each in (*path.rglob("*"), path):
        os.utime(each, (NOW - days * DAY,) * 2)


def job(root: Path, name: str, days: float) -> Path:
    folder = root / name
    claim(folder, [])
    release(folder, [], keep=True)
    age(folder, days)
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(jobs=tmp_path / "jobs", folders=(tmp_path / "analysis", tmp_path / "outputs"))


def test_kept_job_folders_go_by_their_last_use(kept: Kept) -> None:
    old, new = job(kept.jobs, OLD, 31), job(kept.jobs, NEW, 29)
    assert expire(kept, 30 * DAY, now=NOW) == (OLD,)
    assert not old.exists()
    assert new.exists()


def test_what_is_at_work_or_needed_or_not_ours_stays(kept: Kept) -> None:
    owned, needed = kept.jobs / OLD, job(kept.jobs, NEW, 99)
    claim(owned, [])
    age(owned, 99)
    other = kept.jobs / "holiday"
    other.mkdir()
    age(other, 99)
    assert expire(kept, 30 * DAY, now=NOW, needed=lambda name: name == NEW) == ()
    assert owned.exists()
    assert needed.exists()
    assert other.exists()


def test_a_folder_in_which_something_is_newer_stays(kept: Kept) -> None:
    folder = job(kept.jobs, OLD, 99)
    os.utime(folder / "segments", (NOW, NOW))
    assert expire(kept, 30 * DAY, now=NOW) == ()


def test_entries_and_files_go_and_half_made_ones_are_not_ours_to_judge(kept: Kept) -> None:
    analysis, outputs = kept.folders
    for path in (analysis / "abc", analysis / ".def.partial"):
        path.mkdir(parents=True)
        (path / "faces.parquet").write_text("")
        age(path, 40)
    outputs.mkdir()
    film = outputs / "1-film.mp4"
    film.write_text("")
    age(film, 40)
    assert expire(kept, 30 * DAY, now=NOW) == ("abc", "1-film.mp4")
    assert [path.name for path in analysis.iterdir()] == [".def.partial"]


def test_no_days_means_for_ever(kept: Kept) -> None:
    folder = job(kept.jobs, OLD, 9999)
    assert expire(kept, 0, now=NOW) == ()
    assert folder.exists()
