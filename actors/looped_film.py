"""A film as long as one likes from a short one: forward, backward, forward, without a cut."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import PictureType, VideoFrame

from actors.film import frames_of, open_film, picture_stream
from actors.prober import probe


def write_loop(
    source: Path, out: Path, *, frames: int, width: int, rate: int, keyframes: int
) -> None:
    """Write a film of a number of frames.

    Args:
        source: film whose pictures it has. All of them are held in memory at the new size.
        out: to write.
        frames: of the film.
        width: in pixels; the height follows. Both are made even.
        rate: frames a second.
        keyframes: each so many frames a decoder may begin.

    Raises:
        InputError: the source cannot be read.
    """
    index = probe(source)
    wide, high = width & ~1, round(width * index.height / index.width / 2) * 2
    pictures: list[VideoFrame] = []
    with open_film(index.path) as container:
        for frame in frames_of(container, picture_stream(container, index.stream)):
            pictures.append(frame.reformat(width=wide, height=high, format="yuv420p"))
            if len(pictures) == frames:
                break
    around = [*pictures, *pictures[-2:0:-1]]
    options = {"preset": "ultrafast", "g": str(keyframes), "sc_threshold": "0", "bf": "0"}
    with av.open(str(out), "w") as film:
        stream = film.add_stream("libx264", rate=Fraction(rate), options=options)
        stream.width, stream.height, stream.pix_fmt = wide, high, "yuv420p"
        stream.time_base = Fraction(1, rate)
        for number in range(frames):
            picture = around[number % len(around)]
            picture.pict_type = PictureType.NONE  # the source's own key frames would be some here
            picture.pts, picture.time_base = number, Fraction(1, rate)
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))
