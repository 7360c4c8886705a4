from __future__ import annotations

from dataclasses import replace

import numpy as np

from actors.hashes import frame_hash
from kernels.picture import Picture, PictureFormat

FORMAT = PictureFormat(width=5, height=3, sub_x=0, sub_y=0)


def picture(seed: int = 0) -> Picture:
    noise = np.random.default_rng(seed)
    return Picture(
        format=FORMAT,
        planes=tuple(noise.integers(0, 256, (3, 5)).astype(np.uint8) for _ in range(3)),
    )


def test_padding_does_not_count() -> None:
    plain = picture()
    wide = []
    for plane in plain.planes:
        padded = np.full((3, 32), 99, np.uint8)
        padded[:, :5] = plane
        wide.append(padded[:, :5])
    assert frame_hash(plain) == frame_hash(Picture(format=FORMAT, planes=tuple(wide)))
    assert len(frame_hash(plain)) == 32


def test_every_sample_and_the_shape_count() -> None:
    plain = picture()
    seen = {frame_hash(plain)}
    for plane in plain.planes:
        plane[2, 4] ^= 1
        seen.add(frame_hash(plain))
    turned = replace(FORMAT, width=3, height=5)
    seen.add(
        frame_hash(Picture(format=turned, planes=tuple(p.reshape(5, 3) for p in plain.planes)))
    )
    assert len(seen) == 5


def test_colour_tags_do_not_count() -> None:
    plain = picture()
    tagged = Picture(format=replace(FORMAT, matrix="bt601", full_range=True), planes=plain.planes)
    assert frame_hash(plain) == frame_hash(tagged)
