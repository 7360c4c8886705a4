"""Several people: who is who over cuts and crossings, and each gets the right face."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from actors.decoder import Decoder
from actors.formats import picture_format
from actors.models import ModelStore
from actors.one_slot import OneSlot
from actors.prober import probe
from actors.recognizer import cut
from actors.sources import embed_pictures, read_picture
from actors.toolbox import LaneKit, Toolbox
from farm.cli import main
from scheduler.tracks import FaceObservation, from_table
from tests.integration.two_people import HEADS, Truth, head, two_people

DONORS = {"left": (260, 113, 70, 100), "right": (741, 347, 80, 110)}
"""Two more people of the group photo: centre x, y and half sizes."""


QUICK = ("--crop-size", "128", "--preset", "ultrafast")
"""For tests that look at tables only."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, models: ModelStore) -> Iterator[Path]:
    """A cache that keeps analyses, for the tests that are about something else."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "models").symlink_to(models.cache / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPFARM_CACHE_DIR", str(folder))
        patch.setenv("SWAPFARM_STATE_DIR", str(folder / "state"))
        patch.setenv("SWAPFARM_ANALYSIS_GB", "1")
        yield folder


@pytest.fixture(scope="module")
def film(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]
) -> tuple[Path, list[Truth]]:
    path = tmp_path_factory.mktemp("film") / "two.mp4"
    heads = {name: head(samples[name], box, 230) for name, box in HEADS.items()}
    return path, two_people(path, heads["multi_face"], heads["astronaut"])


@pytest.fixture(scope="module")
def donors(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("donors")
    group = read_picture(samples["multi_face"])
    paths = {}
    for name, (x, y, w, h) in DONORS.items():
        paths[name] = folder / f"{name}.png"
        cut = group[max(y - h, 0) : y + h, x - w : x + w]
        cv2.imwrite(str(paths[name]), np.ascontiguousarray(cut[..., ::-1]))
    return paths


def submit(work: Path, film: Path, *options: object) -> tuple[pa.Table, Path]:
    """(the stitched table, the result) of a job without Ray."""
    out = work / "out.mp4"
    typed = ["submit", film, *options, "--no-ray", "-o", out, "--overwrite", "--json"]
    assert main([*map(str, typed), "--keep", "--work-dir", str(work / "jobs")]) == 0
    (tracks,) = (work / "jobs").glob("*/tracks.parquet")
    return pq.read_table(tracks), out


def who_is(face: FaceObservation, truth: Truth) -> str:
    """Whose head a face is in."""
    x, y = face.box.reshape(2, 2).mean(axis=0)
    return min(
        truth.centres,
        key=lambda name: np.hypot(x - truth.centres[name][0], y - truth.centres[name][1]),
    )


@pytest.fixture(scope="module")
def swapped(
    tmp_path_factory: pytest.TempPathFactory,
    film: tuple[Path, list[Truth]],
    donors: dict[str, Path],
) -> tuple[pa.Table, Path]:
    swaps = ("--swap", f"A={donors['left']}", "--swap", f"b={donors['right']}")
    return submit(tmp_path_factory.mktemp("job"), film[0], *swaps, "--encoder", "ffv1")


def test_nobody_is_taken_for_somebody_else(
    film: tuple[Path, list[Truth]], swapped: tuple[pa.Table, Path]
) -> None:
    faces = from_table(swapped[0])
    tracks: dict[int, set[str]] = {}
    people: dict[str, set[int]] = {"first": set(), "second": set()}
    for face in faces:
        name = who_is(face, film[1][face.frame])
        tracks.setdefault(face.track, set()).add(name)
        people[name].add(face.person)
    assert len(tracks) == 4, "two people in each of two shots; a crossing splits nobody"
    assert all(len(names) == 1 for names in tracks.values()), "no track changes its person"
    assert people == {"first": {0}, "second": {1}}
    seen = {(face.frame, face.person) for face in faces}
    wanted = {
        (at, person)
        for at, truth in enumerate(film[1])
        for person, name in enumerate(("first", "second"))
        if name in truth.centres and apart(truth)
    }
    assert wanted - seen == set(), "every face that is not half hidden gets its person"


def apart(truth: Truth) -> bool:
    """Whether the two heads do not overlap."""
    centres = list(truth.centres.values())
    return len(centres) < 2 or abs(centres[0][0] - centres[1][0]) > 150


def test_each_person_gets_the_right_face_in_every_frame(
    film: tuple[Path, list[Truth]],
    swapped: tuple[pa.Table, Path],
    donors: dict[str, Path],
    models: ModelStore,
) -> None:
    tools = Toolbox(LaneKit(cache_dir=models.cache))
    pictures = [str(donors["left"]), str(donors["right"])]
    wanted = embed_pictures(
        pictures, tools.recognizer, tools.detector, tools.landmarker, tools.kernels
    )
    faces: dict[int, list[FaceObservation]] = {}
    for face in from_table(swapped[0]):
        faces.setdefault(face.frame, []).append(face)
    index = probe(swapped[1])
    upright = np.eye(2, 3)
    wrong, looked = [], 0
    for frame in Decoder(index).decode(0, index.frames, OneSlot(picture_format(probe(swapped[1])))):
        at = frame.handle.frame_index
        if not apart(film[1][at]):
            continue
        for face in faces.get(at, []):
            chip = cut(tools.recognizer, frame.picture, face.landmarks, upright, tools.kernels)
            away: NDArray[np.float64] = np.linalg.norm(
                wanted - tools.recognizer.embed(chip), axis=1
            )
            looked += 1
            if int(np.argmin(away)) != face.person:
                wrong.append((at, face.person, away.tolist()))
    assert looked > 100
    assert wrong == []


@pytest.mark.parametrize("seconds", [0.44, 1, 600])
def test_where_chunks_begin_cannot_be_seen(
    film: tuple[Path, list[Truth]],
    swapped: tuple[pa.Table, Path],
    donors: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    monkeypatch.setenv("SWAPFARM_ANALYSIS_GB", "0")
    swaps = ("--swap", f"A={donors['left']}", "--swap", f"B={donors['right']}")
    table, _ = submit(tmp_path, film[0], *swaps, "--chunk-seconds", seconds, *QUICK)
    assert table.equals(swapped[0])


def test_a_table_of_everybody(
    film: tuple[Path, list[Truth]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SWAPFARM_ANALYSIS_GB", "0")
    sheet = tmp_path / "who.png"
    assert main(["faces", str(film[0]), "--no-ray", "--json", "-o", str(sheet)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [who["letter"] for who in facts["identities"]] == ["A", "B"]
    assert facts["identities"][0]["frames"] == 75
    assert 0 < facts["embedded"] <= 20, "the best few of each face, not every frame"
    assert read_picture(sheet).shape[0] > 300
    monkeypatch.setenv("SWAPFARM_ANALYSIS_GB", "1")
    assert main(["faces", str(film[0]), "--no-ray", "--no-sheet"]) == 0
    assert "--swap A=FACE.jpg" in capsys.readouterr().out


def persons(table: pa.Table, truths: list[Truth]) -> dict[str, set[int]]:
    people: dict[str, set[int]] = {"first": set(), "second": set()}
    for face in from_table(table):
        people[who_is(face, truths[face.frame])].add(face.person)
    return people


def test_a_reference_finds_one_of_them(
    film: tuple[Path, list[Truth]],
    donors: dict[str, Path],
    samples: dict[str, Path],
    tmp_path: Path,
) -> None:
    options = ("-s", donors["left"], "--reference", samples["astronaut"])
    table, _ = submit(tmp_path, film[0], *options, *QUICK)
    assert persons(table, film[1]) == {"first": {-1}, "second": {0}}


def test_of_two_the_larger_one(
    film: tuple[Path, list[Truth]], donors: dict[str, Path], tmp_path: Path
) -> None:
    table, _ = submit(tmp_path, film[0], "-s", donors["left"], "--faces", "one", *QUICK)
    assert persons(table, film[1]) == {"first": {0}, "second": {-1}}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--swap", "C=DONOR"], "identity.unknown"),
        (["-s", "DONOR", "--reference", "STRANGER"], "identity.unknown"),
        (["-s", "DONOR", "--swap", "A=DONOR"], "setting.invalid"),
        (["--swap", "DONOR"], "setting.invalid"),
        (
            ["-s", "DONOR", "--faces", "reference", "--reference-face-position", "9"],
            "identity.unknown",
        ),
        (["-s", "DONOR", "--faces", "all"], "setting.invalid"),
        (["-s", "DONOR", "--face-order", "left-right"], "setting.invalid"),
        (["-s", "DONOR", "--faces", "one", "--face-order", "up"], "setting.invalid"),
        (["-s", "DONOR", "--reference-distance", "0.5"], "setting.invalid"),
        (["--swap", "A=missing.png"], "source.unreadable"),
    ],
)
def test_people_who_are_not_there(
    film: tuple[Path, list[Truth]],
    donors: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: str,
) -> None:
    names = {"DONOR": str(donors["left"]), "STRANGER": str(donors["right"])}
    typed = [
        word.replace("DONOR", names["DONOR"]).replace("STRANGER", names["STRANGER"])
        for word in options
    ]
    assert (
        main(["submit", str(film[0]), *typed, "--no-ray", "-o", str(tmp_path / "o.mp4"), "--json"])
        > 0
    )
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] == code
    assert list(tmp_path.iterdir()) == []


def test_the_second_time_nothing_is_analysed(
    film: tuple[Path, list[Truth]],
    cache: Path,
    donors: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.rmtree(cache / "analysis")
    assert main(["faces", str(film[0]), "--no-ray", "--no-sheet", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(["faces", str(film[0]), "--no-ray", "--no-sheet", "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert (first.pop("analysis_cached"), second.pop("analysis_cached")) == (False, True)
    assert first.pop("embedded") > 0
    assert second.pop("embedded") == 0
    assert first == second
    # Other chunks, another face, no question who is who: the film is still known.
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(film[0].read_bytes())
    submit(tmp_path, copy, "-s", donors["left"], "--chunk-seconds", "1", *QUICK)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["analysis_cached"] is True
    assert "analyse" not in {event.get("phase") for event in events}
    assert "analysis from cache" in {event.get("message") for event in events}


def test_a_plan_says_what_there_is_to_do(
    film: tuple[Path, list[Truth]],
    swapped: tuple[pa.Table, Path],
    donors: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.mp4"
    typed = ["submit", str(film[0]), "--swap", f"B={donors['left']}", "-o", str(out), "--no-ray"]
    assert main([*typed, "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert plan["event"] == "plan"
    faces = from_table(swapped[0])
    seconds = sum(face.person == 1 for face in faces)
    assert (plan["frames"], plan["faces"], plan["swaps"]) == (87, len(faces), seconds)
    assert len(faces) > seconds > 50
    assert (plan["chunks"], plan["lanes"], plan["cuts"]) == (2, 1, 2)
    assert plan["estimated_seconds"] > 0
    assert main([*typed, "--plan"]) == 0
    assert "nothing was rendered" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
