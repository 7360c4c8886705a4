"""The sample films, decoded, encoded in three chunks and joined: nothing but the codec between."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from actors.decoder import Decoder
from actors.encoder import Encoder
from actors.film import open_film
from actors.formats import picture_format
from actors.hashes import frame_hash
from actors.muxer import join
from actors.prober import probe
from kernels.cuts import find_cuts, luma_change, small_luma
from scheduler.chunks import plan_chunks
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from tests.unit.actors.films import ring_for, segment_of, shown

FILMS = {
    "wolfgang_langer": (472, []),
    "face_noface": (169, [72]),
    "noface_face": (169, [96, 168]),
    "no_face": (95, []),
    "single_face": (72, []),
}


def sound(path: Path | str, video: int) -> list[tuple[Fraction, bytes]]:
    """PTS in seconds and payload of every packet that is not of the video stream."""
    with open_film(path) as film:
        rest = [s for s in film.streams if s.index != video]
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in film.demux(rest)
            if packet.size and packet.pts is not None
        ]


def hashes(index: VideoIndex) -> list[str]:
    decoder = Decoder(index)
    return [frame_hash(f.picture) for f in decoder.decode(0, index.frames, ring_for(index))]


@pytest.mark.parametrize("name", FILMS)
def test_the_index_is_what_decoding_shows(name: str, samples: dict[str, Path]) -> None:
    index = probe(samples[name])
    decoded = shown(index.path, index)
    assert [pts for pts, _ in decoded] == list(index.pts)
    assert index.frames == FILMS[name][0]
    for start in range(0, index.frames, 37):
        stop = min(start + 5, index.frames)
        frames = Decoder(index).decode(start, stop, ring_for(index))
        assert [frame_hash(f.picture) for f in frames] == [h for _, h in decoded[start:stop]]


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
@pytest.mark.parametrize("name", FILMS)
def test_three_chunks_there_and_back(
    name: str, codec: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    index = probe(samples[name])
    settings = EncoderSettings(codec=codec, preset="ultrafast")
    chunks = plan_chunks(index, seconds=index.seconds / 3)
    assert len(chunks) == 3
    handed: list[str] = []
    segments = []
    for chunk in chunks:
        with Encoder(index, settings, tmp_path / f"{chunk.index}.mp4") as encoder:
            for frame in Decoder(index).decode(chunk.start, chunk.stop, ring_for(index)):
                handed.append(frame_hash(frame.picture))
                encoder.encode(frame)
            made = encoder.close()
        segments.append(segment_of(chunk.index, made))
    assert handed == hashes(index)
    assert join(index, segments, tmp_path / "out.mp4", marking={"comment": "altered"}) == ()
    out = probe(tmp_path / "out.mp4")
    assert out.frames == index.frames
    assert [p * out.time_base for p in out.pts] == [p * index.time_base for p in index.pts]
    assert sound(out.path, out.stream) == sound(index.path, index.stream)
    if codec == "ffv1":
        assert hashes(out) == handed
    else:
        assert picture_format(out) == picture_format(index)
        assert mean_difference(out, index) < 4


def mean_difference(one: VideoIndex, two: VideoIndex) -> float:
    """Of the luma over all frames: small only if each frame meets its own."""
    pairs = zip(
        Decoder(one).decode(0, one.frames, ring_for(one)),
        Decoder(two).decode(0, two.frames, ring_for(two)),
        strict=True,
    )
    return max(
        float(np.abs(a.picture.planes[0].astype(int) - b.picture.planes[0]).mean())
        for a, b in pairs
    )


@pytest.mark.parametrize("name", FILMS)
def test_cuts_of_the_samples(name: str, samples: dict[str, Path]) -> None:
    index = probe(samples[name])
    before = None
    changes = []
    for frame in Decoder(index).decode(0, index.frames, ring_for(index)):
        luma = small_luma(frame.picture)
        changes.append(0.0 if before is None else luma_change(before, luma))
        before = luma
    assert find_cuts(np.array(changes, np.float32)) == FILMS[name][1]
