"""Reports on a real job: what they say of the result, of planted faults, of files that are gone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.models import ModelStore
from actors.toolbox import RECOGNIZER
from farm.cli import main
from farm.config import load_settings
from farm.report import ReportOptions, make_report
from farm.runner import record_book
from tests.integration.films import trim

FRAMES = 60
BORDER = 30
"""Of the clip's 30 frames a second, in chunks of one second."""


@dataclass(frozen=True)
class Job:
    film: Path
    face: Path
    output: Path


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Records are kept, away from the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPFARM_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        patch.setenv("SWAPFARM_REPORT_GB", "1")
        yield


@pytest.fixture(scope="module")
def job(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path], models: ModelStore
) -> Job:
    models.path(RECOGNIZER)
    folder = tmp_path_factory.mktemp("job")
    film = trim(samples["single_face"], folder / "film.mp4", FRAMES)
    face = folder / "face.png"
    face.write_bytes(samples["astronaut"].read_bytes())
    done = Job(film, face, folder / "out.mkv")
    typed = ["submit", film, "-s", face, "-o", done.output, "--no-ray", "--chunk-seconds", "1"]
    assert main([*map(str, typed), "--encoder", "ffv1", "--json"]) == 0
    return done


def report(capsys: pytest.CaptureFixture[str], *options: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["report", *map(str, options), "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


class Page(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_real_job_has_a_report(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    facts = report(capsys, job.output)
    total, (track,) = facts["total"], facts["tracks"]
    assert (facts["film"], facts["frames"], facts["borders"]) == (str(job.film), FRAMES, [BORDER])
    assert total["swapped"] == total["wanted"] == track["outcomes"]["swapped"] == FRAMES
    assert total["unswapped"] == {}
    assert total["identity_switches"] == 0
    assert track["similarity"]["frames"] == FRAMES // 12
    assert track["similarity"]["mean"] > track["similarity_before"]["mean"] + 0.1
    assert track["similarity"]["min"] <= track["similarity"]["mean"]
    assert total["pairs"] == FRAMES - 1
    assert 0.7 < total["warp"]["ratio"] < 1.6
    assert 0.7 < total["flicker"]["ratio"] < 1.6
    assert 0.3 < total["seam"] < 2.5
    assert 0.05 < total["jitter"]["pct"] < 1.0
    assert all(len(facts["series"][name]) == FRAMES for name in ("warp", "own_warp", "jitter_pct"))

    path = job.output.with_suffix(".report.html")
    assert facts["page"] == str(path)
    text = path.read_text("utf-8")
    page = Page(text)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("img") == 2, "before and after"
    assert tags.count("svg") == 6, "four charts, the timeline, the patterns"
    assert not {"script", "link", "iframe", "object"} & set(tags)
    addresses = [v for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href")]
    assert all(address is not None and address.startswith("data:") for address in addresses)
    assert not re.findall(r"https?://(?!www\.w3\.org)", text), "nothing is fetched"
    assert len(text) < 200_000


def test_the_last_job_is_meant_where_none_is_named(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    last = next(record_book(load_settings()).jobs()).record
    facts = report(capsys, "--no-page", "--identity-frames", "0", "--frames", "10")
    assert (facts["job"], facts["output"]) == (last.job_id, last.output.path)
    assert facts["total"]["similarity"] is None
    assert 9 <= facts["total"]["pairs"] <= 12
    assert "page" not in facts


def test_a_hand_before_the_face_is_told_from_the_render_itself(
    samples: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = trim(samples["wolfgang_langer"], tmp_path / "film.mp4", 70)
    output = tmp_path / "out.mp4"
    typed = ["submit", film, "-s", samples["astronaut"], "-o", output, "--no-ray", "--json"]
    assert main(list(map(str, typed))) == 0
    facts = report(capsys, output, "--no-page", "--identity-frames", "0", "--frames", "5")
    (track,) = facts["tracks"]
    assert set(track["outcomes"]) == {"swapped", "covered"}
    first, second = track["spans"]
    assert (first[0], first[2], second[1], second[2]) == (0, "swapped", 70, "covered")
    assert 54 <= second[0] <= 62, "the hand comes at frame 58"


def test_a_film_without_faces_has_a_report_too(
    samples: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, output = trim(samples["no_face"], tmp_path / "film.mp4", 20), tmp_path / "out.mp4"
    typed = ["submit", film, "-s", samples["astronaut"], "-o", output, "--no-ray", "--json"]
    assert main(list(map(str, typed))) == 0
    facts = report(capsys, output)
    assert facts["tracks"] == facts["look_at"] == facts["switches"] == []
    assert facts["total"]["similarity"] is facts["total"]["warp"]["ratio"] is None
    assert "No face was found" in Path(facts["page"]).read_text("utf-8")
    assert main(["report", str(output), "--no-page"]) == 0
    assert "No face was found" in capsys.readouterr().out


def spoiled(job: Job, path: Path, change: Callable[[int, NDArray[np.uint8]], None]) -> Path:
    """The result with a fault in the middle of the picture, where the face is; without loss."""
    with av.open(str(job.output)) as film, av.open(str(path), "w") as copy:
        source = film.streams.video[0]
        target = copy.add_stream("ffv1", rate=30)
        target.width, target.height, target.pix_fmt = source.width, source.height, source.pix_fmt
        target.codec_context.time_base = source.time_base
        for at, frame in enumerate(film.decode(source)):
            picture = frame.to_ndarray()
            change(at, picture[: source.height])
            changed = av.VideoFrame.from_ndarray(picture, str(source.pix_fmt))
            changed.pts, changed.time_base = frame.pts, frame.time_base
            copy.mux(target.encode(changed))
        copy.mux(target.encode(None))
    return path


def measure(job: Job, output: Path) -> dict[str, Any]:
    """The totals for another result of the same job."""
    settings = load_settings()
    made = make_report(
        record_book(settings).find(job.output),
        settings,
        ReportOptions(identity_frames=0),
        output=output,
        note=print,
        watch=lambda done, frames, fps: None,
    )
    total: dict[str, Any] = made.facts["total"]
    return total


def test_planted_faults_are_found(job: Job, tmp_path: Path) -> None:
    def flicker(at: int, luma: NDArray[np.uint8]) -> None:
        luma[...] = np.clip(luma.astype(int) + 8 * (at % 2), 0, 255)

    def seam(at: int, luma: NDArray[np.uint8]) -> None:
        luma[...] = np.clip(luma.astype(int) + 8 * (at >= BORDER), 0, 255)

    def noise(at: int, luma: NDArray[np.uint8]) -> None:
        grain = np.random.default_rng(at).integers(-8, 9, luma.shape)
        luma[...] = np.clip(luma + grain, 0, 255)

    good = measure(job, job.output)
    same = measure(job, spoiled(job, tmp_path / "same.mkv", lambda at, luma: None))
    assert same == good
    flickers = measure(job, spoiled(job, tmp_path / "flicker.mkv", flicker))
    assert flickers["flicker"]["codes"] > good["flicker"]["codes"] + 6
    assert flickers["warp"]["ratio"] > 3 * good["warp"]["ratio"]
    seams = measure(job, spoiled(job, tmp_path / "seam.mkv", seam))
    assert seams["seam"] > 4 * good["seam"]
    assert seams["flicker"]["ratio"] < 1.5 * good["flicker"]["ratio"], "one frame in sixty"
    noisy = measure(job, spoiled(job, tmp_path / "noise.mkv", noise))
    assert noisy["warp"]["ratio"] > 2 * good["warp"]["ratio"]
    assert noisy["flicker"]["ratio"] < noisy["warp"]["ratio"], "noise is too fine to flicker"


def refused(capsys: pytest.CaptureFixture[str], *options: object) -> tuple[int, str, str]:
    """(exit code, error code, next step) of a report that cannot be made."""
    capsys.readouterr()
    code = main(["report", *map(str, options), "--json"])
    event = json.loads(capsys.readouterr().out.splitlines()[-1])
    return code, event["code"], event["next"]


def test_files_that_are_gone_or_changed_are_said_clearly(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = tmp_path / "stranger.mp4"
    stranger.write_bytes(job.film.read_bytes())
    assert refused(capsys, stranger)[:2] == (3, "report.missing")
    assert refused(capsys, tmp_path / "gone.mp4")[:2] == (3, "media.missing")
    assert refused(capsys, job.output, "-o", tmp_path / "page.pdf")[:2] == (2, "setting.invalid")
    assert refused(capsys, job.output, "-o", "/nowhere/page.html")[:2] == (5, "storage.unwritable")

    quick = ("--no-page", "--identity-frames", "0", "--frames", "5")
    copy = tmp_path / "renamed.mkv"
    copy.write_bytes(job.output.read_bytes())
    assert report(capsys, copy, *quick)["output"] == str(copy), "a copy is as good"

    moved = tmp_path / "elsewhere.mp4"
    job.film.rename(moved)
    try:
        code, error, step = refused(capsys, job.output, *quick)
        assert (code, error) == (3, "media.missing")
        assert "--film" in step
        assert report(capsys, job.output, *quick, "--film", moved)["film"] == str(moved)
        job.film.write_bytes(moved.read_bytes()[:-1] + b"x")
        assert refused(capsys, job.output, *quick)[:2] == (3, "report.outdated")
    finally:
        moved.rename(job.film)

    hidden = job.face.rename(tmp_path / "hidden.png")
    try:
        code, error, step = refused(capsys, job.output, "--no-page")
        assert (code, error) == (3, "source.unreadable")
        assert "--identity-frames 0" in step
        assert report(capsys, job.output, *quick)["total"]["similarity"] is None
    finally:
        hidden.rename(job.face)

    whole = job.output.read_bytes()
    job.output.write_bytes(whole + b"appended")
    try:
        assert refused(capsys, job.output)[:2] == (3, "report.outdated")
    finally:
        job.output.write_bytes(whole)
