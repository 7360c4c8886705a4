"""Whole films through the whole program: nothing lost, nothing touched that is not face."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from actors.formats import picture_format
from actors.hashes import frame_hash
from actors.masks import RecordedMasks
from actors.prober import probe
from farm.cli import main
from kernels.picture import Picture
from tests.integration.films import packets, planes, shown_pts, trim


@dataclass(frozen=True)
class Result:
    source: Path
    output: Path
    done: dict[str, object]


@pytest.fixture(scope="session")
def submit(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> object:
    """Submits a film with the astronaut's face on it; the same job is run only once."""
    results: dict[tuple[object, ...], Result] = {}

    def once(film: Path, *options: str, suffix: str = ".mp4") -> Result:
        key = (film, *options, suffix)
        if key not in results:
            folder = tmp_path_factory.mktemp("film")
            output, log = folder / f"out{suffix}", folder / "log"
            with log.open("w") as file, pytest.MonkeyPatch.context() as patch:
                patch.setattr("sys.stdout", file)
                patch.setenv("XDG_STATE_HOME", str(folder))
                typed = [film, "-s", samples["astronaut"], "-o", output, *options, "--json"]
                assert main(["submit", *map(str, typed)]) == 0, log.read_text()
            events = [json.loads(line) for line in log.read_text().splitlines()]
            (done,) = [event for event in events if event["event"] == "done"]
            assert [p.name for p in folder.rglob("*") if "partial" in p.name] == []
            results[key] = Result(film, output, done)
        return results[key]

    return once


CLIPS = ("wolfgang_langer", "face_noface", "noface_face", "no_face")


@pytest.mark.ray
@pytest.mark.parametrize("clip", CLIPS)
def test_every_frame_keeps_its_time_and_every_sound_its_bytes(
    clip: str,
    submit,  # type: ignore[no-untyped-def]
    samples: dict[str, Path],
) -> None:
    film = samples[clip]
    result = submit(film, suffix=film.suffix)
    assert shown_pts(result.output) == shown_pts(film)
    assert packets(result.output, "audio") == packets(film, "audio")
    with av.open(str(result.output)) as file:
        words = " ".join(file.metadata.values())
    assert "altered by swapfarm" in words
    found = result.done["frames_with_faces"]
    assert found == 0 if clip == "no_face" else found > 0


@pytest.mark.ray
def test_a_film_without_faces_comes_back_as_it_was(
    submit,  # type: ignore[no-untyped-def]
    samples: dict[str, Path],
) -> None:
    film = samples["no_face"]
    result = submit(film, "--encoder", "ffv1")
    assert result.done["swapped_frames"] == 0
    for before, after in zip(planes(film), planes(result.output), strict=True):
        assert all(np.array_equal(b, a) for b, a in zip(before, after, strict=True))


@pytest.mark.ray
def test_untouched_stays_untouched(
    submit,  # type: ignore[no-untyped-def]
    samples: dict[str, Path],
    tmp_path: Path,
) -> None:
    """Outside the recorded blend mask every sample has the decoder's bytes."""
    film = trim(samples["wolfgang_langer"], tmp_path / "film.mp4", 60)
    masks, hashes = tmp_path / "masks.parquet", tmp_path / "hashes.tsv"
    result = submit(
        film, "--encoder", "ffv1", "--record-masks", str(masks), "--frame-hashes", str(hashes),
        "--chunk-seconds", "1",
    )  # fmt: skip
    reader = RecordedMasks(masks)
    fmt = picture_format(probe(result.output))
    listed = [line.split("\t")[2] for line in hashes.read_text().splitlines()]
    touched_share = []
    for frame, (before, after) in enumerate(zip(planes(film), planes(result.output), strict=True)):
        shown = Picture(format=fmt, planes=after)
        assert frame_hash(shown) == listed[frame], "what was encoded is what is decoded"
        touched = reader.mask(frame, fmt.width, fmt.height)
        blocks = touched.reshape(touched.shape[0] // 2, 2, touched.shape[1] // 2, 2).any((1, 3))
        for plane, mask in zip(range(3), (touched, blocks, blocks), strict=True):
            assert np.array_equal(before[plane][~mask], after[plane][~mask])
        assert (before[0] != after[0]).any(), "the face was swapped"
        touched_share.append(touched.mean())
    assert 0.01 < np.mean(touched_share) < 0.5


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_chunks_lanes_and_processes_do_not_change_a_frame(
    submit,  # type: ignore[no-untyped-def]
    samples: dict[str, Path],
    tmp_path: Path,
) -> None:
    film = trim(samples["wolfgang_langer"], tmp_path / "film.mp4", 96)
    layouts = {
        "one process, one chunk": ["--no-ray", "--chunk-seconds", "60"],
        "one process, short chunks": ["--no-ray", "--chunk-seconds", "0.7"],
        "two lanes": ["--lanes", "2", "--processes", "1", "--chunk-seconds", "1"],
        "five processes": ["--lanes", "1", "--processes", "5", "--chunk-seconds", "2"],
        "three lanes of two": ["--lanes", "3", "--processes", "2", "--chunk-seconds", "1.3"],
    }
    # Without filters in time each frame is for itself (with them: test_steady.py).
    listed = _hashes(submit, film, tmp_path / "plain", layouts, "--no-stabilize")
    assert len(listed["one process, one chunk"].splitlines()) == 96
    assert set(listed.values()) == {listed["one process, one chunk"]}


@pytest.mark.ray
def test_steadied_frames_are_the_same_on_any_layout(
    submit,  # type: ignore[no-untyped-def]
    samples: dict[str, Path],
    tmp_path: Path,
) -> None:
    """With filters in time the plan decides what is drawn, and lanes and processes do not."""
    film = trim(samples["wolfgang_langer"], tmp_path / "film.mp4", 72)
    layouts = {
        "one process": ["--no-ray"],
        "two lanes": ["--lanes", "2", "--processes", "1"],
        "three lanes of five": ["--lanes", "3", "--processes", "5"],
    }
    listed = _hashes(submit, film, tmp_path / "steady", layouts, "--chunk-seconds", "1")
    assert set(listed.values()) == {listed["one process"]}


def _hashes(
    submit,  # type: ignore[no-untyped-def]
    film: Path,
    folder: Path,
    layouts: dict[str, list[str]],
    *options: str,
) -> dict[str, str]:
    """The frame hashes of a film for each layout."""
    folder.mkdir()
    listed = {}
    for number, (name, layout) in enumerate(layouts.items()):
        hashes = folder / f"{number}.tsv"
        submit(film, *layout, *options, "--frame-hashes", str(hashes), "--encoder", "ffv1")
        listed[name] = hashes.read_text()
    return listed
