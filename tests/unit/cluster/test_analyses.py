from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.analyses import HANDS, AnalysisCache
from scheduler import hands as hand_tables
from scheduler.detection import DetectorSettings, LandmarkerSettings
from scheduler.hands import HandObservation
from scheduler.jobs import (
    AnalyseSettings,
    Analysis,
    EncoderSettings,
    JobSpec,
    PortraitSettings,
    SwapSettings,
)
from scheduler.timing import Spent
from scheduler.tracks import FRAMES_SCHEMA, PORTRAITS_SCHEMA, to_table

NOBODY = PortraitSettings()
WHO = PortraitSettings(recognizer="dlib")


def analysis(
    folder: Path, chunk: int, frames: int, *, portraits: bool = False, hands: bool = False
) -> Analysis:
    folder.mkdir(exist_ok=True)
    start = 10 * chunk
    changes = pa.table(
        {"frame": list(range(start, start + frames)), "change": [1.5] * frames},
        schema=FRAMES_SCHEMA,
    )
    pq.write_table(to_table([]), folder / f"{chunk}.faces.parquet")
    pq.write_table(changes, folder / f"{chunk}.frames.parquet")
    if portraits:
        pq.write_table(PORTRAITS_SCHEMA.empty_table(), folder / f"{chunk}.portraits.parquet")
    if hands:
        joints = np.full((21, 2), start, np.float32)
        seen = hand_tables.to_table([HandObservation(frame=start, landmarks=joints, presence=1.0)])
        pq.write_table(seen, folder / f"{chunk}.hands.parquet")
    return Analysis(
        chunk=chunk,
        faces_path=str(folder / f"{chunk}.faces.parquet"),
        frames_path=str(folder / f"{chunk}.frames.parquet"),
        frames=frames,
        faces=0,
        hands_path=str(folder / f"{chunk}.hands.parquet") if hands else "",
        times={"decoder": Spent(calls=1, cpu_ms=1.0)},
        portraits_path=str(folder / f"{chunk}.portraits.parquet") if portraits else "",
    )


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    return folder


def test_what_is_kept_is_found(tmp_path: Path, job: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", 10**9, "v1")
    assert cache.find("k", portraits=NOBODY, occlusion=False, objects=False, folder=job) is None
    cache.keep("k", [analysis(tmp_path / "a", n, 10) for n in range(3)], NOBODY)
    found = cache.find("k", portraits=NOBODY, occlusion=False, objects=False, folder=job)
    assert found is not None
    assert (found.frames, found.faces, found.portraits_path) == (30, 0, "")
    frames = pq.read_table(found.frames_path)
    assert frames.column("frame").to_pylist() == list(range(30))
    assert cache.find("k", portraits=WHO, occlusion=False, objects=False, folder=job) is None, (
        "nobody was asked who is who"
    )
    cache.keep("k", [analysis(tmp_path / "a", 0, 30, portraits=True)], WHO)
    for asked in (WHO, NOBODY):
        found = cache.find("k", portraits=asked, occlusion=False, objects=False, folder=job)
        assert found is not None
        assert found.portraits_path, "who knows more serves those who ask less"
    assert sorted(path.name[0] for path in (tmp_path / "cache").iterdir()) == ["k", "k"]


def test_hands_are_kept_and_found(tmp_path: Path, job: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", 10**9, "v1")
    cache.keep("k", [analysis(tmp_path / "a", n, 10, hands=True) for n in range(3)], NOBODY)
    found = cache.find("k", portraits=NOBODY, occlusion=True, objects=False, folder=job)
    assert found is not None
    hands = hand_tables.from_table(pq.read_table(found.hands_path))
    assert [(hand.frame, hand.landmarks[20, 1]) for hand in hands] == [(0, 0), (10, 10), (20, 20)]
    cache.keep("blind", [analysis(tmp_path / "a", 0, 10)], NOBODY)
    other = tmp_path / "other"
    other.mkdir()
    assert (
        cache.find("blind", portraits=NOBODY, occlusion=True, objects=False, folder=other) is None
    )


def test_a_jobs_own_hands_are_not_the_caches(tmp_path: Path) -> None:
    spec = JobSpec(
        job_id="j",
        media="f",
        output="o",
        folder=str(tmp_path),
        swap=SwapSettings(),
        encoder=EncoderSettings(),
    )
    assert Path(spec.hands) != tmp_path / HANDS, "writing it would write through the link"


def test_the_name_is_of_the_content_and_the_program(tmp_path: Path) -> None:
    film, same, other = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4"))
    film.write_bytes(b"film")
    same.write_bytes(b"film")
    other.write_bytes(b"another")
    one, two = (AnalysisCache(tmp_path, 1, program) for program in ("v1", "v2"))
    plain, dense = AnalyseSettings(), AnalyseSettings(interval=1)
    blind = AnalyseSettings(occlusion=False)
    assert one.key(film, plain) == one.key(same, plain)
    names = {
        one.key(film, plain),
        one.key(other, plain),
        two.key(film, plain),
        one.key(film, dense),
        one.key(film, blind),
        one.key(film, AnalyseSettings(detector=DetectorSettings(model="scrfd"))),
        one.key(film, AnalyseSettings(detector=DetectorSettings(angles=(0, 90)))),
        one.key(film, AnalyseSettings(landmarker=LandmarkerSettings(model="2dfan4"))),
        one.key(film, AnalyseSettings(landmarker=LandmarkerSettings(score=0.6))),
        one.key(film, plain, device="cuda"),
    }
    assert len(names) == 10


def test_those_not_used_for_longest_go(tmp_path: Path, job: Path) -> None:
    probe = AnalysisCache(tmp_path / "cache", 10**9, "v1")
    probe.keep("a", [analysis(tmp_path / "a", 0, 10)], NOBODY)
    size = sum(path.stat().st_size for path in (tmp_path / "cache" / "a-nobody").iterdir())
    cache = AnalysisCache(tmp_path / "cache", int(2.5 * size), "v1")
    cache.keep("b", [analysis(tmp_path / "a", 0, 10)], NOBODY)
    for at, name in enumerate(("a-nobody", "b-nobody")):
        os.utime(tmp_path / "cache" / name, (at + 1, at + 1))
    assert (
        cache.find("a", portraits=NOBODY, occlusion=False, objects=False, folder=job) is not None
    ), "used again: now the newest"
    cache.keep("c", [analysis(tmp_path / "a", 0, 10)], NOBODY)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["a-nobody", "c-nobody"]
    tiny = AnalysisCache(tmp_path / "cache", 1, "v1")
    tiny.keep("d", [analysis(tmp_path / "a", 0, 10)], NOBODY)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["d-nobody"]


def test_entries_that_were_never_finished_go_after_an_hour(tmp_path: Path, job: Path) -> None:
    """Also where nothing is kept any more, since the analysis is there."""
    cache = AnalysisCache(tmp_path / "cache", 1 << 30, "swapfarm 1")
    cache.keep("key", [analysis(job, 0, 10)], NOBODY)
    for name in (".dead.partial", ".busy.partial"):
        (tmp_path / "cache" / name).mkdir(parents=True)
    os.utime(tmp_path / "cache" / ".dead.partial", (1, 1))
    assert cache.find("key", portraits=NOBODY, occlusion=False, objects=False, folder=job)
    names = {path.name for path in (tmp_path / "cache").iterdir()}
    assert names == {".busy.partial", "key-nobody"}


def test_half_an_entry_is_none(tmp_path: Path, job: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", 10**9, "v1")
    cache.keep("k", [analysis(tmp_path / "a", 0, 10)], NOBODY)
    (tmp_path / "cache" / "k-nobody" / "frames.parquet").unlink()
    assert cache.find("k", portraits=NOBODY, occlusion=False, objects=False, folder=job) is None


def test_what_a_job_found_stays_when_the_entry_goes(tmp_path: Path, job: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", 10**9, "v1")
    cache.keep("k", [analysis(tmp_path / "a", 0, 10)], NOBODY)
    found = cache.find("k", portraits=NOBODY, occlusion=False, objects=False, folder=job)
    AnalysisCache(tmp_path / "cache", 0, "v1").keep("l", [analysis(tmp_path / "a", 0, 10)], NOBODY)
    assert not (tmp_path / "cache" / "k-nobody").exists()
    assert found is not None
    assert pq.read_table(found.frames_path).num_rows == 10


@pytest.mark.parametrize(
    ("kept", "asked", "serves"),
    [
        (("dlib", False), ("arcface", False), False),
        (("dlib", False), ("dlib", True), False),
        (("arcface", True), ("arcface", False), True),
        (("arcface", True), ("", True), True),
        (("", True), ("", False), True),
        (("", True), ("dlib", False), False),
    ],
)
def test_only_portraits_that_tell_all_that_is_asked_serve(
    tmp_path: Path, job: Path, kept: tuple[str, bool], asked: tuple[str, bool], serves: bool
) -> None:
    cache = AnalysisCache(tmp_path / "cache", 10**9, "v1")
    have, want = (PortraitSettings(recognizer=r, classes=c) for r, c in (kept, asked))
    cache.keep("k", [analysis(tmp_path / "a", 0, 10, portraits=True)], have)
    found = cache.find("k", portraits=want, occlusion=False, objects=False, folder=job)
    assert (found is not None) == serves
