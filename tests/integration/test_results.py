"""Trims, rates, sizes, sounds, pictures and batches on real films, through the whole program."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from actors.models import ModelStore
from actors.prober import probe
from farm.cli import main
from farm.config import load_settings
from farm.contact_sheet import write_contact_sheet
from farm.progress import JsonDisplay
from farm.runner import FarmOptions, run_job
from farm.submission import build_job
from scheduler.errors import OutputInvalid
from scheduler.jobs import JobSpec, JobSummary
from scheduler.timeline import source_frames

FAST = {"preset": "ultrafast"}


def run(
    target: Path, face: Path, output: Path, flags: dict[str, Any]
) -> tuple[JobSpec, JobSummary, list[str]]:
    """(the job, what it did, the notes to the user)."""
    settings = load_settings(flags={"encoder": FAST, "work_dir": output.parent / "jobs"} | flags)
    job = build_job(settings, video=target, sources=[face], output=output)
    news = io.StringIO()
    summary = run_job(job, settings, FarmOptions(ray=False), JsonDisplay(news))
    events = [json.loads(line) for line in news.getvalue().splitlines()]
    return job, summary, [e["message"] for e in events if e["event"] == "note"]


def test_a_trimmed_film_is_swapped_and_keeps_its_sound_in_step(
    models: ModelStore, samples: dict[str, Path], tmp_path: Path
) -> None:
    film = samples["face_noface"]
    flags = {"trim_frame": {"start": 60, "end": 90}, "chunk_seconds": 0.4}
    job, summary, _ = run(film, samples["astronaut"], tmp_path / "out.mov", flags)
    assert summary.frames == 30
    assert summary.swapped_frames > 10
    assert summary.chunks > 1
    before, after = probe(film), probe(job.output)
    assert after.frames == 30
    start = before.time(60)
    assert [after.time(n) for n in range(30)] == [before.time(60 + n) - start for n in range(30)]
    with av.open(str(film)) as one, av.open(job.output) as two:
        base = one.streams.audio[0].time_base
        theirs = {bytes(p): p.pts * base for p in one.demux(audio=0) if p.size}
        ours = [(bytes(p), p.pts * p.time_base) for p in two.demux(audio=0) if p.size]
    assert len(ours) > 20
    for payload, time in ours:
        assert abs(theirs[payload] - start - time) < Fraction(1, 40000)
    sheet = tmp_path / "sheet.png"
    write_contact_sheet(film, Path(job.output), sheet, frames=2, cut=job.cut)
    assert sheet.exists()


def test_a_rate_of_its_own_works_on_shown_frames_only_and_keeps_the_length(
    models: ModelStore, samples: dict[str, Path], tmp_path: Path
) -> None:
    film = samples["single_face"]
    whole = probe(film)
    flags: dict[str, Any] = {"output_video": {"fps": "10"}, "trim_frame": {"end": 36}}
    job, summary, _ = run(film, samples["astronaut"], tmp_path / "slow.mp4", flags)
    slow = probe(job.output)
    assert summary.frames == slow.frames == len(set(source_frames(whole, job.cut))) < 20
    assert slow.average_rate == 10
    assert slow.seconds == pytest.approx(36 / float(whole.average_rate), abs=1e-4)

    flags["output_video"] = {"fps": "60"}
    job, summary, _ = run(film, samples["astronaut"], tmp_path / "fast.mp4", flags)
    fast = probe(job.output)
    assert summary.frames == 36
    assert fast.frames == round(36 / whole.average_rate * 60)
    assert fast.seconds == pytest.approx(slow.seconds, abs=1e-4)


def test_another_size_another_codec_and_another_sound(
    models: ModelStore, samples: dict[str, Path], tmp_path: Path
) -> None:
    film = samples["single_face"]
    flags: dict[str, Any] = {
        "trim_frame": {"end": 12},
        "encoder": {"codec": "libvpx-vp9", "preset": "ultrafast"},
        "output_video": {"scale": 0.5},
        "output_audio": {"encoder": "libopus", "quality": 50},
    }
    job, _, notes = run(film, samples["astronaut"], tmp_path / "out.webm", flags)
    index = probe(job.output)
    assert (index.width, index.height) == (probe(film).width // 2, probe(film).height // 2)
    with av.open(job.output) as out:
        assert out.streams.video[0].codec_context.codec.canonical_name == "vp9"
        assert out.streams.audio[0].codec_context.codec.canonical_name == "opus"
        samples_heard = sum(frame.samples for frame in out.decode(audio=0))
    assert samples_heard / 48000 == pytest.approx(index.seconds, abs=0.03)
    assert any("48000 Hz" in note for note in notes)
    flags["output_audio"] = {"encoder": "flac"}
    with pytest.raises(OutputInvalid, match="flac cannot be put into a webm"):
        run(film, samples["astronaut"], tmp_path / "no.webm", flags)
    assert not (tmp_path / "no.webm").exists()
    assert not list((tmp_path / "jobs").glob("*")), "nothing of a refused job is left"


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.webp", "out.tiff", "out.bmp"])
def test_a_picture_gets_the_face_and_nothing_else(
    name: str, models: ModelStore, samples: dict[str, Path], tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    pixels = cv2.imread(str(samples["multi_face"]), cv2.IMREAD_COLOR)
    cv2.imwrite(str(photo), pixels)
    pixels = cv2.imread(str(photo), cv2.IMREAD_COLOR)
    job, summary, notes = run(photo, samples["astronaut"], tmp_path / name, {})
    assert summary.frames == summary.swapped_frames == 1
    assert summary.swaps >= 4
    got = cv2.imread(job.output, cv2.IMREAD_COLOR)
    changed = np.abs(got.astype(int) - pixels).max(axis=2)
    if name in ("out.png", "out.tiff", "out.bmp"):
        assert 0.01 < (changed > 0).mean() < 0.3, "outside the faces not a pixel may change"
    else:
        assert np.percentile(changed, 60) < 12 < changed.max()
    assert any("altered" in note for note in notes) == (name == "out.bmp")
    beside = ["out.c2pa"] if name == "out.bmp" else []  # what is signed of a format without room
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == sorted(["jobs", name, "photo.jpg", *beside])


def test_a_picture_of_16_bits_with_transparency_lying_on_its_side(
    models: ModelStore, samples: dict[str, Path], tmp_path: Path
) -> None:
    pixels = cv2.imread(str(samples["astronaut"]), cv2.IMREAD_COLOR).astype(np.uint16) * 257
    alpha = np.linspace(0, 65535, pixels.shape[0] * pixels.shape[1]).astype(np.uint16)
    pixels = np.dstack([pixels, alpha.reshape(pixels.shape[:2])])
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    lying = np.ascontiguousarray(np.rot90(pixels))
    done, data = cv2.imencodeWithMetadata(
        ".png", lying, [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(exif, np.uint8)]
    )
    assert done
    (tmp_path / "photo.png").write_bytes(data.tobytes())
    photo = tmp_path / "photo.png"
    job, summary, _ = run(photo, samples["astronaut"], tmp_path / "out.png", {})
    assert summary.swapped_frames == 1
    got = cv2.imread(job.output, cv2.IMREAD_UNCHANGED)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got[..., 3], pixels[..., 3])
    np.testing.assert_array_equal(got[-40:], pixels[-40:])


def test_a_batch_goes_on_after_a_failure_and_says_what_failed(
    models: ModelStore,
    samples: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    small = cv2.resize(cv2.imread(str(samples["astronaut"])), (256, 256))
    cv2.imwrite(str(photos / "a.png"), small)
    (photos / "b.png").write_text("no picture")
    cv2.imwrite(str(photos / "c.png"), np.full((64, 64, 3), 90, np.uint8))
    line = ["batch", "-s", str(samples["astronaut"]), "-t", str(photos / "*.png")]
    line += ["-o", str(tmp_path / "{index}-{source_name}-{target_name}{target_extension}")]
    assert main([*line, "--no-ray", "--json"]) == 9
    events = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    ends = [e for e in events if e["event"] in ("done", "failed", "batch")]
    assert [e["event"] for e in ends] == ["done", "failed", "done", "batch"]
    assert ends[1]["code"] == "media.unreadable"
    stem = samples["astronaut"].stem
    assert sorted(p.name for p in tmp_path.glob("*.png")) == [f"0-{stem}-a.png", f"2-{stem}-c.png"]
    assert main([*line, "--no-ray", "--json", "--overwrite", "--halt-on-error"]) == 9
    last = [json.loads(each) for each in capsys.readouterr().out.splitlines()][-2]
    assert (last["event"], last["done"], last["not_started"]) == ("batch", 1, 1)
