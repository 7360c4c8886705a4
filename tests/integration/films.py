"""Helpers to look at films in tests: exact times, packets and pixels."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

Plane = NDArray[np.uint8] | NDArray[np.uint16]


def shown_pts(path: Path) -> list[int]:
    """PTS of every frame that the decoder shows, rising, in the stream's time base."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        stream.thread_type = "AUTO"
        pts = sorted(frame.pts for frame in film.decode(stream) if frame.pts is not None)
        return [int(p * stream.time_base * 1_000_000_000) for p in pts]


def packets(path: Path, kind: str) -> list[tuple[int, bytes]]:
    """(PTS in nanoseconds, payload) of every packet of the streams of one kind."""
    with av.open(str(path)) as film:
        streams = [s for s in film.streams if s.type == kind]
        return [
            (int((p.pts or 0) * p.time_base * 1_000_000_000), bytes(p))
            for p in film.demux(streams)
            if p.size
        ]


def planes(path: Path) -> Iterator[tuple[Plane, ...]]:
    """The decoded planes of each frame, without row padding."""
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
            yield tuple(
                np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width].copy()
                for plane in frame.planes
            )


def trim(path: Path, out: Path, frames: int) -> Path:
    """The first ``frames`` frames of a film, their packets copied (decode order)."""
    with av.open(str(path)) as film, av.open(str(out), "w") as copy:
        source = film.streams.video[0]
        target = copy.add_stream_from_template(source)
        for number, packet in enumerate(film.demux(source)):
            if number == frames or packet.dts is None:
                break
            packet.stream = target
            copy.mux(packet)
    return out


def loop(path: Path, out: Path, times: int) -> Path:
    """A film's video repeated, its packets copied, times shifted by its length."""
    with av.open(str(path)) as film:
        source = film.streams.video[0]
        packets = [(p.pts, p.dts, p) for p in film.demux(source) if p.dts is not None]
        length = max(pts + p.duration for pts, _, p in packets if pts is not None)
        with av.open(str(out), "w") as copy:
            target = copy.add_stream_from_template(source)
            for round_ in range(times):
                for pts, dts, packet in packets:
                    packet.pts, packet.dts = pts + round_ * length, dts + round_ * length
                    packet.time_base = source.time_base
                    packet.stream = target
                    copy.mux(packet)
    return out


def splice(shots: list[tuple[Path, int, int]], out: Path) -> Path:
    """Frames [start, stop) of several films of one picture size, one after the other, at 25 fps."""
    with av.open(str(out), "w") as copy:
        target = copy.add_stream("libx264", rate=25, options={"crf": "12", "preset": "ultrafast"})
        target.codec_context.thread_count = 1
        number = 0
        for path, start, stop in shots:
            with av.open(str(path)) as film:
                for at, frame in enumerate(film.decode(video=0)):
                    if at == stop:
                        break
                    if at >= start:
                        if number == 0:
                            target.width, target.height = frame.width, frame.height
                            target.pix_fmt = "yuv420p"
                        frame.pict_type = PictureType.NONE
                        frame.pts, frame.time_base = number, Fraction(1, 25)
                        copy.mux(target.encode(frame))
                        number += 1
        copy.mux(target.encode(None))
    return out
