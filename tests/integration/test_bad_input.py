"""Bad input: one clear error with a stable code, or it works; never anything half-written.

Each case runs the real command line in this process. The films are made here with PyAV.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from farm.cli import main


def make_film(
    path: Path, *, frames: int = 5, size: tuple[int, int] = (96, 64), audio: bool = False
) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(25), options={"preset": "ultrafast"})
        stream.width, stream.height = size
        odd = any(side % 2 for side in size)
        stream.pix_fmt = "yuv444p" if odd else "yuv420p"
        sound = file.add_stream("aac", rate=48000) if audio else None
        for n in range(frames):
            rgb = np.full((size[1], size[0], 3), 20 * (n % 10), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        file.mux(stream.encode(None))
        if sound:
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            silence.sample_rate, silence.pts = 48000, 0
            file.mux([*sound.encode(silence), *sound.encode(None)])
    return path


def make_sound(path: Path) -> Path:
    with av.open(str(path), "w") as file:
        sound = file.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate, silence.pts = 48000, 0
        file.mux([*sound.encode(silence), *sound.encode(None)])
    return path


@dataclass
class Place:
    """A folder of its own for one case, with a good film and a good face to start from."""

    folder: Path
    film: Path
    face: Path
    samples: dict[str, Path]
    out: Path = field(init=False)

    def __post_init__(self) -> None:
        self.out = self.folder / "out.mp4"


@pytest.fixture
def place(tmp_path: Path, samples: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "case"
    folder.mkdir()
    return Place(folder, make_film(folder / "film.mp4"), samples["astronaut"], samples)


def two_faces(place: Place) -> Path:
    one = cv2.imread(str(place.face))
    path = place.folder / "two.png"
    cv2.imwrite(str(path), np.hstack([one, one[:, ::-1]]))
    return path


def text(place: Place, name: str, content: str = "this is no film\n" * 50) -> Path:
    path = place.folder / name
    path.write_text(content)
    return path


def truncated(place: Place, share: float) -> Path:
    path = place.folder / "cut-off.mp4"
    data = place.samples["wolfgang_langer"].read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def no_video_stream(place: Place) -> Path:
    return make_sound(place.folder / "sound.m4a").rename(place.folder / "sound.mp4")


def zero_frames(place: Place) -> Path:
    """A well-formed film whose video track holds no sample."""
    path = place.folder / "empty.mp4"
    with av.open(str(path), "w", container_options={"movflags": "empty_moov"}) as file:
        stream = file.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.open()
        file.start_encoding()
    return path


Arguments = list[str | Path]
BAD: dict[str, tuple[str, Callable[[Place], Arguments]]] = {
    "missing file": ("media.missing", lambda p: [p.folder / "none.mp4", "-s", p.face]),
    "folder": ("media.unreadable", lambda p: [p.folder, "-s", p.face, "-o", p.out]),
    "text named mp4": ("media.unreadable", lambda p: [text(p, "t.mp4"), "-s", p.face]),
    "empty file": ("media.unreadable", lambda p: [text(p, "e.mp4", ""), "-s", p.face]),
    "truncated mp4": ("media.truncated", lambda p: [truncated(p, 0.5), "-s", p.face]),
    "sound only": ("media.no-video", lambda p: [no_video_stream(p), "-s", p.face]),
    "zero frames": ("media.no-frames", lambda p: [zero_frames(p), "-s", p.face]),
    "missing source": ("source.unreadable", lambda p: [p.film, "-s", p.folder / "no.jpg"]),
    "source is text": ("source.unreadable", lambda p: [p.film, "-s", text(p, "f.jpg")]),
    "source is a folder": ("source.unreadable", lambda p: [p.film, "-s", p.folder]),
    "source without a face": (
        "source.no-face",
        lambda p: [p.film, "-s", flat_picture(p)],
    ),
    "source with two faces": ("source.ambiguous", lambda p: [p.film, "-s", two_faces(p)]),
    "third of two faces": (
        "source.no-face",
        lambda p: [p.film, "-s", two_faces(p), "--source-face", "3"],
    ),
    "no source": ("setting.invalid", lambda p: [p.film]),
    "unknown option": ("setting.invalid", lambda p: [p.film, "-s", p.face, "--face", "x"]),
    "unknown swapper": ("setting.invalid", lambda p: [p.film, "-s", p.face, "--swapper", "x"]),
    "unknown encoder": ("setting.invalid", lambda p: [p.film, "-s", p.face, "--encoder", "x"]),
    "unknown preset": ("setting.invalid", lambda p: [p.film, "-s", p.face, "--preset", "x"]),
    "unknown pixel format": ("setting.invalid", lambda p: [p.film, "-s", p.face, "--pix-fmt", "x"]),
    "quality off the scale": ("setting.invalid", lambda p: [p.film, "-s", p.face, "-q", "99"]),
    "output folder missing": (
        "storage.unwritable",
        lambda p: [p.film, "-s", p.face, "-o", p.folder / "no" / "out.mp4"],
    ),
    "output in a file": (
        "storage.unwritable",
        lambda p: [p.film, "-s", p.face, "-o", p.film / "out.mp4"],
    ),
    "output is a folder": ("output.invalid", lambda p: [p.film, "-s", p.face, "-o", folder_mp4(p)]),
    "output is the input": ("output.invalid", lambda p: [p.film, "-s", p.face, "-o", p.film]),
    "output is a source": (
        "output.invalid",
        lambda p: [p.film, "-s", copied(p, "face.mp4"), "-o", p.folder / "face.mp4"],
    ),
    "output is there": ("output.invalid", lambda p: [p.film, "-s", p.face, "-o", text(p, "o.mp4")]),
    "output has no ending": (
        "output.invalid",
        lambda p: [p.film, "-s", p.face, "-o", p.folder / "out"],
    ),
    "codec the container cannot hold": (
        "output.invalid",
        lambda p: [p.film, "-s", p.face, "-o", p.folder / "out.webm"],
    ),
}


def flat_picture(place: Place) -> Path:
    path = place.folder / "flat.png"
    cv2.imwrite(str(path), np.full((300, 300, 3), 128, np.uint8))
    return path


def folder_mp4(place: Place) -> Path:
    path = place.folder / "folder.mp4"
    path.mkdir()
    return path


def copied(place: Place, name: str) -> Path:
    return Path(shutil.copy(place.face, place.folder / name))


def run(arguments: Arguments) -> int:
    return main(["submit", *map(str, arguments), "--no-ray", "--json"])


def error_of(output: str) -> dict[str, object]:
    events = [json.loads(line) for line in output.splitlines()]
    (error,) = [event for event in events if event["event"] == "error"]
    return dict(error)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error(
    case: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    code, arguments = BAD[case]
    typed = arguments(place)
    before = {path: path.stat().st_mtime_ns for path in sorted(place.folder.rglob("*"))}
    exit_code = run(typed)
    shown = capsys.readouterr()
    error = error_of(shown.out)
    assert error["code"] == code, error
    assert error["exit_code"] == exit_code != 0
    assert all(error[part] for part in ("found", "wanted", "next"))
    assert "Traceback" not in shown.err
    after = {path: path.stat().st_mtime_ns for path in sorted(place.folder.rglob("*"))}
    assert after == before, "something was written or changed"
    jobs = place.folder.parent / "state" / "swapfarm" / "jobs"
    assert not jobs.exists() or not list(jobs.iterdir())


GOOD: dict[str, Callable[[Place], tuple[Path, Path]]] = {
    "one frame": lambda p: (make_film(p.folder / "1.mp4", frames=1), p.face),
    "odd size": lambda p: (make_film(p.folder / "odd.mp4", size=(97, 63)), p.face),
    "space, unicode and newline": lambda p: (
        p.film.rename(p.folder / "fïlm 映画\nzwei.mp4"),
        p.face,
    ),
    "8K film": lambda p: (make_film(p.folder / "8k.mp4", frames=2, size=(7680, 4320)), p.face),
    "8K source": lambda p: (p.film, enlarged(p)),
    "symbolic links": lambda p: (link(p, p.film, "l.mp4"), link(p, p.face, "l.png")),
    "relative path": lambda p: (Path(os.path.relpath(p.film)), Path(os.path.relpath(p.face))),
}


def enlarged(place: Place) -> Path:
    path = place.folder / "8k.png"
    cv2.imwrite(str(path), cv2.resize(cv2.imread(str(place.face)), (7680, 7680)))
    return path


def link(place: Place, target: Path, name: str) -> Path:
    path = place.folder / name
    path.symlink_to(target)
    return path


@pytest.mark.parametrize("case", GOOD)
def test_unusual_input_works(case: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    film, face = GOOD[case](place)
    out = place.folder / "ergebnis ü.mp4"
    assert run([film, "-s", face, "-o", out]) == 0, capsys.readouterr()
    with av.open(str(film)) as source, av.open(str(out)) as result:
        frames = [[f.pts for f in file.decode(video=0)] for file in (source, result)]
    assert len(frames[0]) == len(frames[1]) > 0


def test_a_damaged_model_is_named(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache holds a damaged model and its source cannot be reached to mend it."""
    cache = place.folder / "cache"
    real = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "swapfarm"
    shutil.copytree(real, cache / "swapfarm")
    (model,) = (cache / "swapfarm").rglob("face_landmark*.tflite")
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 255
    model.write_bytes(data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place.folder))
    assert run([place.film, "-s", place.face, "-o", place.out]) == 4
    assert str(error_of(capsys.readouterr().out)["code"]).startswith("model.")
    assert not place.out.exists()


FULL = """
set -e
mount -t tmpfs -o size=400k none "$1"
cp "$2" "$1/film.mp4"
"$3" -m farm.cli submit "$1/film.mp4" -s "$4" --work-dir "$1/work" --no-ray --json > "$5" || code=$?
ls -A "$1" > "$5.left"
umount "$1"
exit ${code:-0}
"""


def test_a_full_disk_is_one_clear_error(place: Place) -> None:
    """On a real file system of 400 KB, in a mount namespace of its own."""
    disk, log = place.folder / "disk", place.folder / "log"
    disk.mkdir()
    private = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    done = subprocess.run(
        [*private, "sh", "-c", FULL, "sh", disk, place.samples["single_face"], sys.executable,
         place.face, log],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert error_of(log.read_text())["code"] == "storage.does-not-fit"
    assert Path(f"{log}.left").read_text().split() == ["film.mp4", "work"]
