"""Whether a film's job fits on the disks and into the memory that there are, before work begins."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psutil

from actors.content_credentials import sidecar_of
from actors.device_frames import DeviceLayout
from actors.formats import picture_format
from actors.frame_place import host_reason
from actors.frames import SlotLayout
from actors.models import ModelStore
from actors.stages import slots_needed
from actors.toolbox import LaneKit
from actors.transport.shm import Ring
from cluster.film_work import FilmWork
from cluster.preparation import model_names
from scheduler.admission import Admission, Demand, Room, admit
from scheduler.errors import DiskFull, LaneOutOfMemory
from scheduler.jobs import AnalyseTask, JobSpec

_BITS: Final = 0.06
"""A pixel takes at least, encoded with loss: so much is needed in any case. What a film really
takes is known only when it is encoded."""
_LOSSLESS_BITS: Final = 2.0
_LOSSLESS: Final = ("ffv1", "libx264rgb")
_CONTEXT: Final = 600 << 20
"""Bytes of a process's CUDA context with the libraries of networks in it."""
_WORKSPACE: Final = 3
"""Times the size of its file that a network takes: weights, what flows through it, workspace."""
_PLANES: Final = 3
"""Pictures whose planes are in GPU memory at once: two targets of a crop and a thumbnail."""
_CROPS: Final = 24
"""Crops' worth of memory that kernels hold (``kernels.cuda.launcher`` keeps it by name)."""
_CROP_BYTES: Final = 16
_CROP: Final = 512
_TABLES: Final = 4_000
"""Bytes of a frame's rows, with one face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRoom:
    """What the lanes of a job on this machine share."""

    memory: int
    """Bytes of the smallest GPU that has lanes."""
    lanes: int
    """Of one GPU, at most."""
    networks: int
    """See ``network_bytes``."""


def network_bytes(job: JobSpec, store: ModelStore) -> int:
    """Bytes of the files of the networks that a lane has in a GPU's memory.

    Raises:
        ModelError: one cannot be had.
    """
    files = [store.path(name) for name in model_names(job)]
    return sum(file.stat().st_size for file in files if file.suffix == ".onnx")


def admit_film(
    work: FilmWork,
    kit: LaneKit,
    *,
    local: bool,
    reserved: int = 0,
    gpu: GpuRoom | None = None,
) -> Admission:
    """Whether the job can begin now.

    Args:
        kit: of the lanes.
        local: the lanes are on this machine; of others nothing is known.
        reserved: bytes that other jobs are still going to write to the same disk.
        gpu: that lanes share; None: they need none, or nothing is known of it.

    Raises:
        DoesNotFit: not even were nothing else there.
    """
    memory = psutil.virtual_memory()
    nodes: tuple[Room, ...] = ()
    if local:
        room = Room(node="this machine", shm=memory.total, shm_free=memory.available)
        if gpu is not None:
            room = replace(room, gpu_memory=gpu.memory, gpu_memory_free=gpu.memory)
        nodes = (room,)
    on_gpu = gpu_bytes(work, gpu.networks, kit) * gpu.lanes if gpu is not None and local else 0
    folder, output = Path(work.job.folder), Path(work.job.output).parent
    segments, result = _segments(work), _result(work)
    tables = _TABLES * work.index.frames
    places = [(folder, segments + tables), (output, result)]
    if os.stat(folder).st_dev == os.stat(output).st_dev:
        places = [(folder, segments + tables + result)]
    answer = Admission(admitted=True)
    for place, size in places:
        disk = shutil.disk_usage(place)
        answer = admit(
            Demand(disk=size, shm=ring_bytes(work, kit), gpu_memory=on_gpu),
            disk=disk.total,
            disk_free=disk.free,
            reserved=reserved,
            nodes=nodes,
        )
        if not answer.admitted:
            return answer
    return answer


def require_room(work: FilmWork, kit: LaneKit, *, local: bool, gpu: GpuRoom | None = None) -> None:
    """Refuse a job that would have to wait for room: nobody else's job is going to make some.

    Raises:
        DoesNotFit: see `admit_film`.
        DiskFull: it would fit, were there less on the disk.
        LaneOutOfMemory: it would fit, were there less in memory.
    """
    answer = admit_film(work, kit, local=local, gpu=gpu)
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
    return _segments(work) + _result(work) + _TABLES * work.index.frames


def ring_bytes(work: FilmWork, kit: LaneKit) -> int:
    """Memory of the frames that one lane holds."""
    layout = SlotLayout(format=picture_format(work.index), faces=0, crop_size=0)
    chunk = (work.chunks.get("analyse") or work.plan_analyses())[0]
    task = AnalyseTask(job=work.job, index=work.index, chunk=chunk, attempt=0)
    return Ring.nbytes(layout, slots_needed(task, kit))


def gpu_bytes(work: FilmWork, networks: int, kit: LaneKit) -> int:
    """GPU memory of one lane, roughly and rather too much: its context, its networks with what they
    work in, the crops, and the planes that a crop or a thumbnail may see, or all frames that it
    holds where these stay on the GPU.

    Args:
        networks: bytes of their files.
        kit: of the lane.
    """
    fmt, size = picture_format(work.index), max(work.job.swap.crop_size, _CROP)
    pictures = _PLANES * SlotLayout(format=fmt, faces=0, crop_size=0).nbytes
    if not host_reason(work.job):
        slot = DeviceLayout(format=fmt, faces=1, crop_size=size, semi_planar=False)
        pictures += (kit.slots + kit.batch) * slot.nbytes
    return _CONTEXT + _WORKSPACE * networks + pictures + _CROPS * _CROP_BYTES * size**2


def _result(work: FilmWork) -> int:
    """Beside the result's place: it, and it once more while it is signed, where its format holds
    the statement."""
    copies = 2 if sidecar_of(Path(work.job.output)) is None else 1
    return copies * _segments(work)


def _segments(work: FilmWork) -> int:
    index = work.result
    bits = _LOSSLESS_BITS if work.job.encoder.codec in _LOSSLESS else _BITS
    return int(index.frames * index.width * index.height * bits / 8)
