"""A film made of another one, as long as one likes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from actors.looped_film import write_loop
from actors.prober import probe
from tests.unit.actors.films import make_film


def test_it_goes_forward_and_backward_without_a_jump(tmp_path: Path) -> None:
    source = make_film(tmp_path / "short.mp4", frames=10)
    out = tmp_path / "long.mp4"
    write_loop(source, out, frames=47, width=65, rate=25, keyframes=8)
    index, short = probe(out), probe(source)
    assert index.frames == 47
    assert (index.width, index.height) == (64, round(65 * short.height / short.width / 2) * 2)
    seconds = [float((pts - index.pts[0]) * index.time_base) for pts in index.pts]
    np.testing.assert_allclose(seconds, np.arange(47) / 25)
    with av.open(str(out)) as film:
        frames = [frame.to_ndarray(format="gray").astype(int) for frame in film.decode(video=0)]
    assert [index.keyframe_before(frame) for frame in (0, 7, 8, 46)] == [0, 0, 8, 40]

    def apart(one: int, other: int) -> float:
        return float(np.abs(frames[one] - frames[other]).mean())

    # 0 1 .. 9 8 .. 1 0 1 ..
    for first, same in ((0, 18), (3, 15), (5, 13), (7, 25)):
        assert apart(first, same) < apart(first, same - 1), (first, same)


def test_a_film_shorter_than_its_source(tmp_path: Path) -> None:
    source = make_film(tmp_path / "short.mp4", frames=10)
    write_loop(source, tmp_path / "out.mp4", frames=4, width=64, rate=25, keyframes=8)
    assert probe(tmp_path / "out.mp4").frames == 4
