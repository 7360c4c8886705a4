"""Whether a film's job fits on the disks and into the memory that there are, before work begins."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import psutil

from actors.formats import picture_format
from actors.frames import SlotLayout
from actors.stages import slots_needed
from actors.toolbox import LaneKit
from actors.transport.shm import Ring
from cluster.film_work import FilmWork
from scheduler.admission import Admission, Demand, Room, admit
from scheduler.errors import DiskFull, LaneOutOfMemory
from scheduler.jobs import AnalyseTask

_BITS: Final = 0.06
"""A pixel takes at least, encoded with loss: so much is needed in any case. What a film really
takes is known only when it is encoded."""
_LOSSLESS_BITS: Final = 2.0
_LOSSLESS: Final = ("ffv1", "libx264rgb")
_TABLES: Final = 4_000
"""Bytes of a frame's rows, with one face."""


def admit_film(work: FilmWork, kit: LaneKit, *, local: bool, reserved: int = 0) -> Admission:
    """Whether the job can begin now.

    Args:
        kit: of the lanes.
        local: the lanes are on this machine; of others nothing is known.
        reserved: bytes that other jobs are still going to write to the same disk.

    Raises:
        DoesNotFit: not even were nothing else there.
    """
    memory = psutil.virtual_memory()
    nodes = (
        (Room(node="this machine", shm=memory.total, shm_free=memory.available),) if local else ()
    )
    folder, output = Path(work.job.folder), Path(work.job.output).parent
    segments, result = _segments(work), _segments(work)
    tables = _TABLES * work.index.frames
    places = [(folder, segments + tables), (output, result)]
    if os.stat(folder).st_dev == os.stat(output).st_dev:
        places = [(folder, segments + tables + result)]
    answer = Admission(admitted=True)
    for place, size in places:
        disk = shutil.disk_usage(place)
        answer = admit(
            Demand(disk=size, shm=ring_bytes(work, kit)),
            disk=disk.total,
            disk_free=disk.free,
            reserved=reserved,
            nodes=nodes,
        )
        if not answer.admitted:
            return answer
    return answer


def require_room(work: FilmWork, kit: LaneKit, *, local: bool) -> None:
    """Refuse a job that would have to wait for room: nobody else's job is going to make some.

    Raises:
        DoesNotFit: see `admit_film`.
        DiskFull: it would fit, were there less on the disk.
        LaneOutOfMemory: it would fit, were there less in memory.
    """
    answer = admit_film(work, kit, local=local)
    if answer.admitted:
        return
    if answer.lacks == "disk":
        raise DiskFull(
            f"the job {answer.reason}",
            "room for its segments and its result",
            "free some space, or give another place with --work-dir and -o",
        )
    raise LaneOutOfMemory(
        answer.reason, "memory for the frames of one lane", "end other programs, or work elsewhere"
    )


def disk_bytes(work: FilmWork) -> int:
    """What the job will write at least, its result included."""
    return 2 * _segments(work) + _TABLES * work.index.frames


def ring_bytes(work: FilmWork, kit: LaneKit) -> int:
    """Memory of the frames that one lane holds."""
    layout = SlotLayout(format=picture_format(work.index), faces=0, crop_size=0)
    chunk = (work.chunks.get("analyse") or work.plan_analyses())[0]
    task = AnalyseTask(job=work.job, index=work.index, chunk=chunk, attempt=0)
    return Ring.nbytes(layout, slots_needed(task, kit))


def _segments(work: FilmWork) -> int:
    index = work.result
    bits = _LOSSLESS_BITS if work.job.encoder.codec in _LOSSLESS else _BITS
    return int(index.frames * index.width * index.height * bits / 8)
