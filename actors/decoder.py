"""Decode a range of a film into the slots of a ring, exactly the frames the index names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Generator, Iterator
from typing import Generic, Protocol, TypeVar

import numpy as np
from av.container import InputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter

from actors.film import frames_of, open_film, picture_stream
from actors.formats import picture_format, plane_views, shares_planes, working_pix_fmt
from actors.frames import Frame
from scheduler.errors import FramesLost, MediaUnsupported
from scheduler.media import VideoIndex

F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)


class SlotSource(Protocol[F_co]):
    """Where decoded frames are put."""

    def acquire(self, frame_index: int, pts: int) -> F_co:
        """A slot for this frame; waits until one is free."""


FrameRing = SlotSource[Frame]


class RangeDecoder(ABC, Generic[F]):
    """Decodes any range of one film: which frames, whatever decodes them and wherever they go.

    Args:
        index: of the film, from ``actors.prober.probe``.
        threads: of libavcodec, within a frame. Frames are the same for any number.
    """

    def __init__(self, index: VideoIndex, threads: int = 1) -> None:
        self._index = index
        self._threads = threads
        self._format = picture_format(index)
        self._reformatter = VideoReformatter()

    @abstractmethod
    def _put(self, frame: VideoFrame, slot: F) -> None:
        """Copies a picture of the film's size into a slot."""

    def _open(self) -> InputContainer:
        return open_film(self._index.path)

    def decode(self, start: int, stop: int, ring: SlotSource[F]) -> Iterator[F]:
        """Frames [start, stop) in order, each in a slot of ``ring``.

        Decoding starts at the last key frame whose PTS is not after the first wanted one. Where the
        first frame that comes is too late (open GOPs, containers whose seek is inexact), or no
        intra picture came before it (gradual refresh, whose "key frames" are not exact), it starts
        again at ever earlier key frames and in the end at the film's beginning.

        Planes are copied once, from the decoder's memory into the slot; only a source format that
        is not planar (see ``actors.formats``) goes through swscale first. The file is closed when
        the last frame was taken, when the caller closes the generator, or on an error.

        Raises:
            FramesLost: the file does not give these frames (any more).
            MediaUnsupported: the picture size changes within the film.
        """
        if not 0 <= start <= stop <= self._index.frames:
            raise ValueError(f"frames [{start}, {stop}) of a film with {self._index.frames}")
        if start == stop:
            return
        for entry in self._entries(start):
            decoded = self._from(entry, start)
            first = next(decoded, None)
            if first is None or first[0] != self._index.pts[start]:
                decoded.close()
                continue
            try:
                yield from self._wanted(first, decoded, start, stop, ring)
            finally:
                decoded.close()
            return
        raise self._lost(start, "the end of the film")

    def _entries(self, start: int) -> Iterator[int | None]:
        """PTS to seek to, nearest first; None: read the film from its beginning."""
        index = self._index
        if not index.counted:
            keys = index.entries or tuple(index.pts[frame] for frame in index.keyframes)
            at, step = bisect_right(keys, index.pts[start]) - 1, 1
            while at > 0 or (at == 0 and keys[0] > index.pts[0]):
                yield keys[at]
                at, step = at - step, 2 * step
        yield None

    def _from(self, entry: int | None, start: int) -> Generator[tuple[int, VideoFrame], None, None]:
        """PTS and frame of everything shown from the first frame at or after ``start`` on."""
        index = self._index
        with self._open() as container:
            stream = picture_stream(container, index.stream)
            stream.codec_context.thread_count = self._threads
            # Frame threads would lose other frames around a damaged packet than one thread does.
            stream.codec_context.thread_type = "SLICE"
            if entry is not None:
                container.seek(entry, stream=stream)
            wanted = index.pts[start]
            whole = entry is None
            made = index.made_pts or index.pts
            for count, frame in enumerate(frames_of(container, stream)):
                if index.counted:
                    if count >= len(made):
                        return
                    pts: int | None = made[count]
                else:
                    pts = frame.pts
                whole |= frame.pict_type in (PictureType.I, PictureType.NONE)
                if pts is not None and pts >= wanted:
                    if not whole:
                        return
                    yield pts, frame

    def _wanted(
        self,
        first: tuple[int, VideoFrame],
        decoded: Iterator[tuple[int, VideoFrame]],
        start: int,
        stop: int,
        ring: SlotSource[F],
    ) -> Iterator[F]:
        pts, frame = first
        for number in range(start, stop):
            while pts < self._index.pts[number]:  # shown twice, or left out of the index
                pts, frame = next(decoded, (self._index.pts[-1] + 1, frame))
            if pts != self._index.pts[number]:
                raise self._lost(number, f"PTS {pts}")
            yield self._store(frame, number, ring)
            if number + 1 < stop:
                pts, frame = next(decoded, (self._index.pts[-1] + 1, frame))

    def _store(self, frame: VideoFrame, number: int, ring: SlotSource[F]) -> F:
        index = self._index
        if (frame.width, frame.height) != (index.width, index.height):
            raise MediaUnsupported(
                f"the picture size changes to {frame.width}x{frame.height} at frame {number} "
                f"of {index.path}",
                f"{index.width}x{index.height} throughout",
                "split the film at that frame, or scale it to one size first",
            )
        slot = ring.acquire(number, index.pts[number])
        self._put(frame, slot)
        return slot

    def _laid_out(self, frame: VideoFrame, pix_fmt: str) -> VideoFrame:
        """A frame in host memory whose planes lie as ``pix_fmt`` says; swscale turns it if need
        be."""
        if shares_planes(frame.format.name, pix_fmt):
            return frame
        return self._reformatter.reformat(frame, format=pix_fmt, threads=self._threads)

    def _lost(self, number: int, came: str) -> FramesLost:
        return FramesLost(
            f"{came} instead of frame {number} (PTS {self._index.pts[number]}) of "
            f"{self._index.path}",
            "the frames that the film had when it was probed",
            "check that the file has not changed and plays to its end, then run again",
        )


class Decoder(RangeDecoder[Frame]):
    """Decodes on the CPU, into host memory."""

    def __init__(self, index: VideoIndex, threads: int = 1) -> None:
        super().__init__(index, threads)
        self._working = working_pix_fmt(index)

    def _put(self, frame: VideoFrame, slot: Frame) -> None:
        source = plane_views(self._laid_out(frame, self._working), self._format)
        for target, plane in zip(slot.picture.planes, source.planes, strict=True):
            np.copyto(target, plane)
