"""Segment files: writing them so that they appear whole or not at all, and reading them back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av

from scheduler.errors import STORAGE_ERRNOS, EncoderFailed, SegmentMismatch, storage_error


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPackets:
    """What the packets of a segment say, without their payload."""

    time_base: Fraction
    pts: tuple[int, ...]
    """In packet (decoding) order."""
    extradata_sha256: str
    """Of the codec header."""
    codec: str

    @property
    def reorder(self) -> int:
        """How many packets a picture may come before its turn; 0 without B-frames."""
        rank = {pts: place for place, pts in enumerate(sorted(self.pts))}
        return max(place - rank[pts] for place, pts in enumerate(self.pts))


def read_segment(path: str | Path) -> SegmentPackets:
    """Demux a segment.

    Raises:
        SegmentMismatch: no file, not a segment, or a packet without PTS.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            header = stream.codec_context.extradata or b""
            pts = [p.pts for p in container.demux(stream) if p.size]
            found = SegmentPackets(
                time_base=stream.time_base or Fraction(0),
                pts=tuple(p for p in pts if p is not None),
                extradata_sha256=hashlib.sha256(header).hexdigest(),
                codec=stream.codec_context.codec.canonical_name,
            )
    except (av.FFmpegError, IndexError) as error:
        raise SegmentMismatch(
            f"{path} is not a segment ({error})",
            "a file that the encoder wrote and nobody changed",
            "remove the job folder and run again",
        ) from error
    if len(found.pts) != len(pts) or not pts:
        raise SegmentMismatch(
            f"{path} holds packets without PTS",
            "a file that the encoder wrote and nobody changed",
            "remove the job folder and run again",
        )
    return found


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what goes wrong while ``path`` is written into the error that says what to do."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        if error.errno in STORAGE_ERRNOS:
            # PyAV's errors have errno and strerror, too, though not all of them are OSErrors.
            raise storage_error(cast(OSError, error), str(path)) from error
        raise EncoderFailed(
            f"{path} could not be written ({error.strerror or error})",
            "an encoder and a container that agree",
            "choose another encoder",
        ) from error


def sync_file(path: Path) -> str:
    """Force a file to the disk and return the SHA-256 of its bytes."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return digest


def sync_folder(path: Path) -> None:
    """Force a folder's entries (a rename) to the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
