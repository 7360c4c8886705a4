from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.decoder import Decoder
from actors.encoder import Encoder
from actors.prober import probe
from actors.stills import Still, check_still, read_still, write_still, write_target
from actors.tiff import encode_tiff
from scheduler.errors import (
    MediaMissing,
    MediaUnreadable,
    MediaUnsupported,
    OutputInvalid,
    SegmentMismatch,
)
from scheduler.jobs import EncoderSettings, Segment
from scheduler.output import ImageSettings
from tests.unit.actors.films import ring_for, segment_of

MARKING = {"comment": "Faces in this picture were altered & marked.", "swapfarm": '{"a": "<b>"}'}


def picture(
    kind: str = "uint8", channels: int = 3, size: tuple[int, int] = (48, 70)
) -> NDArray[Any]:
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [np.sin(x / (5 + c)) + np.cos(y / (7 + c)) for c in range(max(1, channels))]
    values = np.stack(waves, axis=-1) / 4.2 + 0.5
    top = np.iinfo(kind).max
    if channels == 4:
        values[..., 3] = (x + y) / (x + y).max()
    pixels = np.rint(values * top).astype(kind)
    return pixels[..., 0] if channels == 1 else pixels


def saved(path: Path, pixels: NDArray[Any], orientation: int = 1, profile: bytes = b"") -> Path:
    exif = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    kinds, values = [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(exif + bytes(4), np.uint8)]
    if profile:
        kinds.append(cv2.IMAGE_METADATA_ICCP)
        values.append(np.frombuffer(profile, np.uint8))
    done, data = cv2.imencodeWithMetadata(path.suffix, pixels, kinds, values)
    assert done
    path.write_bytes(data.tobytes())
    return path


def through(still: Still, out: Path, settings: ImageSettings | None = None) -> Path:
    """The picture through decoder and encoder, without a swap."""
    target = out.with_name("target.png")
    write_target(still, target)
    index = probe(target)
    assert index.frames == 1
    with Encoder(index, EncoderSettings(codec="ffv1"), out.with_name("segment.mp4")) as encoder:
        for frame in Decoder(index).decode(0, 1, ring_for(index)):
            encoder.encode(frame)
        made = encoder.close()
    segment = segment_of(0, made)
    write_still(still, [segment], out, settings or ImageSettings(), MARKING)
    return out


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp"])
@pytest.mark.parametrize(
    ("kind", "channels"),
    [("uint8", 3), ("uint8", 1), ("uint16", 3), ("uint16", 1), ("uint8", 4), ("uint16", 4)],
)
def test_what_is_not_touched_comes_out_as_it_was(
    suffix: str, kind: str, channels: int, tmp_path: Path
) -> None:
    pixels = picture(kind, channels)
    cv2.imwrite(str(tmp_path / "in.png"), pixels)
    out = through(read_still(tmp_path / "in.png"), tmp_path / f"out{suffix}")
    got = read_still(out).pixels
    if suffix == ".bmp":
        if kind == "uint16":
            pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        np.testing.assert_array_equal(
            got[..., :3] if got.ndim == 3 else got, pixels[..., :3] if channels > 1 else pixels
        )
    else:
        np.testing.assert_array_equal(got, pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_formats_with_loss_are_as_good_as_asked(suffix: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), picture())
    still = read_still(tmp_path / "in.png")
    off, sizes = [], []
    for quality in (20, 95):
        out = through(still, tmp_path / f"out{quality}{suffix}", ImageSettings(quality=quality))
        sizes.append(out.stat().st_size)
        off.append(np.abs(cv2.imread(str(out)).astype(float) - picture()).mean())
    assert off[1] < 1.5 < off[0] * 2
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_worked_on_and_written_upright(
    suffix: str, orientation: int, tmp_path: Path
) -> None:
    path = saved(tmp_path / f"in{suffix}", picture(), orientation)
    upright = cv2.imread(str(path), cv2.IMREAD_COLOR)
    still = read_still(path)
    np.testing.assert_array_equal(still.pixels, upright)
    out = through(still, tmp_path / "out.png")
    np.testing.assert_array_equal(cv2.imread(str(out), cv2.IMREAD_COLOR), upright)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_the_file_says_that_faces_were_altered(suffix: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), picture())
    out = through(read_still(tmp_path / "in.png"), tmp_path / f"out{suffix}")
    data = out.read_bytes()
    assert b"Faces in this picture were altered & marked." in data
    assert b"altered &amp; marked." in data
    assert b"digitalsourcetype/compositeSynthetic" in data


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tiff"])
def test_the_colour_profile_stays(suffix: str, tmp_path: Path) -> None:
    profile = bytes(range(200)) * 3
    path = saved(tmp_path / "in.jpg", picture(), profile=profile)
    still = read_still(path)
    assert still.profile == profile
    assert profile in through(still, tmp_path / f"out{suffix}").read_bytes()


def test_a_picture_can_be_made_smaller_and_larger(tmp_path: Path) -> None:
    pixels = picture("uint16", 4)
    cv2.imwrite(str(tmp_path / "in.png"), pixels)
    still = read_still(tmp_path / "in.png")
    for scale, shape in ((0.5, (24, 35, 4)), (2.0, (96, 140, 4))):
        out = through(still, tmp_path / f"{scale}.png", ImageSettings(scale=scale))
        got = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
        assert got.shape == shape
        assert abs(got.mean() - pixels.mean()) < 900


def test_transparent_pixels_lend_no_colour_when_a_picture_shrinks(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, :, 2] = 255
    pixels[:, ::2] = (0, 255, 0, 255)
    cv2.imwrite(str(tmp_path / "in.png"), pixels)
    out = through(read_still(tmp_path / "in.png"), tmp_path / "out.png", ImageSettings(scale=0.5))
    got = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(got[..., :3], np.broadcast_to([0, 255, 0], (8, 8, 3)))
    assert set(np.unique(got[..., 3])) <= {127, 128}


def test_what_a_format_cannot_keep_is_said_before(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), picture("uint16", 4))
    still = read_still(tmp_path / "in.png")

    def notes(name: str, scale: float = 1.0) -> str:
        return " / ".join(check_still(still, tmp_path / name, ImageSettings(scale=scale)))

    assert notes("o.png") == notes("o.tif") == ""
    assert "8 bits" in notes("o.webp")
    assert "transparency" in notes("o.jpg")
    assert "cannot say" in notes("o.bmp")
    wide = Still(pixels=np.zeros((2, 9000, 3), np.uint8), profile=b"")
    with pytest.raises(OutputInvalid, match="18000x4"):
        check_still(wide, tmp_path / "o.webp", ImageSettings(scale=2.0))


def test_what_is_no_single_picture_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MediaMissing):
        read_still(tmp_path / "absent.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(MediaUnreadable):
        read_still(tmp_path / "text.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(MediaUnreadable):
        read_still(tmp_path / "empty.png")
    with pytest.raises(MediaUnreadable):
        read_still(tmp_path)
    cv2.imwritemulti(str(tmp_path / "two.tiff"), [picture(), picture()])
    with pytest.raises(MediaUnsupported, match="2 pictures"):
        read_still(tmp_path / "two.tiff")
    cv2.imwrite(str(tmp_path / "float.tiff"), picture().astype(np.float32))
    with pytest.raises(MediaUnsupported, match="float32"):
        read_still(tmp_path / "float.tiff")


def test_a_segment_of_another_picture_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), picture())
    through(read_still(tmp_path / "in.png"), tmp_path / "out.png")
    cv2.imwrite(str(tmp_path / "other.png"), picture(size=(20, 30)))
    segment = Segment(
        chunk=0,
        path=str(tmp_path / "segment.mp4"),
        frames=1,
        first_pts=0,
        sha256="",
        extradata_sha256="",
        swapped_frames=0,
    )
    with pytest.raises(SegmentMismatch):
        write_still(
            read_still(tmp_path / "other.png"), [segment], tmp_path / "o.png", ImageSettings(), {}
        )


def test_other_readers_understand_the_tiff(tmp_path: Path) -> None:
    pixels = picture("uint8", 3)
    path = tmp_path / "out.tiff"
    path.write_bytes(encode_tiff(pixels, description="words", xmp=b"", profile=b""))
    with av.open(str(path)) as film:
        (frame,) = film.decode(video=0)
        np.testing.assert_array_equal(frame.to_ndarray(format="bgr24"), pixels)
