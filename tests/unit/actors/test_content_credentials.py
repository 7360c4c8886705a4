"""What is signed into a result and beside it, and what is read from it again."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from actors.content_credentials import Statement, _Noting, attach, read, sidecar_of, signed_of
from actors.credential import Credential
from scheduler.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    MediaMissing,
    StorageError,
    SwapfarmError,
)

FACTS = {"altered": "faces", "program": "swapfarm 0.1.0", "consent": "A. told B., 3 May"}
FILMS = ("mp4", "mov", "m4v", "avi", "mkv", "webm")
PICTURES = ("png", "jpg", "webp", "tiff", "bmp")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Credential:
    return Credential.of_machine(tmp_path_factory.mktemp("credentials"))


def film(path: Path, frames: int = 12) -> Path:
    rng = np.random.default_rng(0)
    codec = "libvpx-vp9" if path.suffix == ".webm" else "libx264"
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for _ in range(frames):
            noise = rng.integers(0, 255, (96, 160, 3), np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(noise, "rgb24")))
        output.mux(stream.encode())
    return path


def picture(path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
    assert cv2.imwrite(str(path), noise)
    return path


def decoded(path: Path) -> list[bytes]:
    with av.open(str(path)) as source:
        return [frame.to_ndarray().tobytes() for frame in source.decode(video=0)]


@pytest.mark.parametrize("ending", [*FILMS, *PICTURES])
def test_every_format_is_signed_and_keeps_its_pictures(
    tmp_path: Path, signer: Credential, ending: str
) -> None:
    make = film if ending in FILMS else picture
    made, original = make(tmp_path / f"out.{ending}"), make(tmp_path / f"in.{ending}")
    before, shown = made.read_bytes(), decoded(made)
    attach(made, original, signer, FACTS, title="result")
    found = read(made)
    beside = sidecar_of(made)
    assert found == Statement(
        valid=True,
        signer=signer.name,
        issuer="self-signed, made by swapfarm",
        time="",
        embedded=beside is None,
        actions=("c2pa.opened", "c2pa.edited"),
        facts=FACTS,
        wrong=("signingCredential.untrusted",),
    )
    assert decoded(made) == shown
    size = (made if beside is None else beside).stat().st_size
    assert size - (len(before) if beside is None else 0) < 20_000, "no picture is in it"
    if ending in PICTURES:
        assert cv2.imread(str(made), cv2.IMREAD_UNCHANGED) is not None
    if beside is None:
        assert sorted(tmp_path.iterdir()) == sorted([made, original])
    else:
        assert made.read_bytes() == before
        assert ending in ("mkv", "webm", "bmp")
        assert sorted(tmp_path.iterdir()) == sorted([made, original, beside])


@pytest.mark.parametrize("ending", ["mp4", "mkv", "png"])
def test_a_changed_file_is_not_what_was_signed(
    tmp_path: Path, signer: Credential, ending: str
) -> None:
    made = (film if ending in FILMS else picture)(tmp_path / f"out.{ending}")
    attach(made, made, signer, FACTS, title="result")
    changed = bytearray(made.read_bytes())
    changed[len(changed) * 2 // 3] ^= 1
    made.write_bytes(changed)
    assert not read(made).valid


def test_the_films_own_statement_stays(tmp_path: Path, signer: Credential) -> None:
    """What is made of a result names it: the chain goes back to the first film."""
    import c2pa

    first, second = film(tmp_path / "first.mp4"), film(tmp_path / "second.mp4")
    attach(first, film(tmp_path / "camera.mp4"), signer, FACTS, title="first")
    attach(second, first, signer, FACTS | {"job": "second"}, title="second")
    with second.open("rb") as stream, c2pa.Reader("video/mp4", stream) as reader:
        (parent,) = reader.get_active_manifest()["ingredients"]
        older = reader.get_manifest(parent["active_manifest"])
    assert (parent["title"], parent["relationship"]) == ("first.mp4", "parentOf")
    assert older["ingredients"][0]["title"] == "camera.mp4"
    assert read(second).valid


def test_what_has_none_says_so(tmp_path: Path) -> None:
    for path in (film(tmp_path / "a.mp4"), film(tmp_path / "a.mkv"), picture(tmp_path / "a.png")):
        with pytest.raises(CredentialsMissing):
            read(path)
    with pytest.raises(MediaMissing):
        read(tmp_path / "nowhere.mp4")
    (tmp_path / "a.c2pa").write_bytes(b"what is this")
    with pytest.raises(SwapfarmError) as caught:
        read(tmp_path / "a.mkv")
    assert isinstance(caught.value, CredentialsInvalid | CredentialsMissing)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_where_there_is_no_room_the_film_stays_as_it_was(
    tmp_path: Path, signer: Credential, ending: str
) -> None:
    made = film(tmp_path / f"out.{ending}")
    before = made.read_bytes()
    with (
        files_of_at_most(len(before) // 2 if ending == "mp4" else 1000),
        pytest.raises(StorageError),
    ):
        attach(made, made, signer, FACTS, title="result")
    assert made.read_bytes() == before
    assert list(tmp_path.iterdir()) == [made]
    assert not signed_of(made).exists()


def test_the_disks_own_words_are_kept() -> None:
    with _Noting("/dev/full", "r+b") as target:
        with pytest.raises(OSError, match="No space"):
            target.write(b"a film")
        assert target.refusal is not None
        assert target.refusal.errno == 28
