"""What goes to lanes fits into calls, however long the film is."""

from __future__ import annotations

import pickle
import random
from fractions import Fraction
from itertools import accumulate

import pytest

from cluster.parcels import pack, unpack
from scheduler.chunks import Chunk
from scheduler.jobs import AnalyseTask, JobSpec, Segment, SwapSettings
from scheduler.media import ColourTags, VideoIndex

INLINE = 100 << 10
"""Bytes up to which Ray sends an argument, or a result, with its call: its setting
max_direct_call_object_size."""
ALL = 10 << 20
"""Bytes up to which it does with all of a call: task_rpc_inlined_bytes_limit."""


def task(frames: int) -> AnalyseTask:
    """Of a film whose frames last 20 to 60 ms in no order."""
    lengths = random.Random(frames).choices(range(20, 60), k=frames)
    index = VideoIndex(
        path="/film.mp4",
        container="mp4",
        stream=0,
        codec="h264",
        width=1920,
        height=1080,
        pix_fmt="yuv420p",
        time_base=Fraction(1, 1000),
        pts=tuple(accumulate(lengths)),
        durations=tuple(lengths),
        keyframes=tuple(range(0, frames, 50)),
        average_rate=Fraction(25),
        colour=ColourTags(),
    )
    job = JobSpec(
        job_id="a",
        media="/film.mp4",
        output="/out.mp4",
        folder="/folder",
        swap=SwapSettings(sources=("/face.jpg",)),
    )
    return AnalyseTask(job=job, index=index, chunk=Chunk(index=0, start=0, stop=9), attempt=1)


@pytest.mark.parametrize("frames", [10, 5_000, 400_000])
def test_no_argument_needs_the_object_store(frames: int) -> None:
    parcels = pack(task(frames))
    assert unpack(parcels) == task(frames)
    assert max(len(pickle.dumps(parcel)) for parcel in parcels) < INLINE
    assert sum(map(len, parcels)) < ALL


def test_no_result_of_a_chunk_of_some_ten_seconds_needs_it() -> None:
    frames = 60 * 20
    segment = Segment(
        chunk=7,
        path="/folder/segments/7.mp4",
        frames=frames,
        first_pts=0,
        sha256=f"{1:064x}",
        extradata_sha256=f"{2:064x}",
        swapped_frames=frames,
        frame_hashes=tuple(f"{number:032x}" for number in range(frames)),
    )
    assert len(pickle.dumps(segment)) < INLINE
