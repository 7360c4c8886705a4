"""The stages of a lane whose frames stay in its GPU's memory. As ``actors.stages``, which has all
that does not care where frames lie.

Each stage works in a stream of its own, the two between decoder and encoder in the kernels'. What
it asks for is done later: events in each slot keep the order (``actors.device_frames``).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from actors.device_compositor import DeviceFinisher
from actors.device_frames import DeviceFrame
from actors.device_lane import DeviceLane
from actors.device_swapper import DeviceSwapper
from actors.face_masker import FaceMasker
from actors.stages import (
    Outcome,
    display_of,
    encoded,
    finished,
    read_faces,
    read_objects,
    span,
    swap_batch,
    swapper_hold,
)
from actors.toolbox import Toolbox
from actors.transport.cuda_ipc import CudaRing
from scheduler.jobs import RenderTask


def decoder(task: RenderTask, lane: DeviceLane, ring: CudaRing) -> Iterator[DeviceFrame]:
    """The frames of the chunk and its halo, each in a slot of the ring."""
    return lane.decode(task, *span(task), ring)


def swapper(
    task: RenderTask,
    frames: Iterator[DeviceFrame],
    tools: Toolbox,
    lane: DeviceLane,
    outcome: Outcome,
) -> Iterator[DeviceFrame]:
    """Puts the swapped crops of each frame's faces into its slot."""
    faces = read_faces(task)
    if not faces:
        yield from frames
        return
    batch = swap_batch(task, tools.kit)
    face_swappers = {
        person: tools.device_face_swapper(task.job.swap, person, batch)
        for person in sorted({face.person for seen in faces.values() for face in seen})
    }
    stage = DeviceSwapper(face_swappers, lane.launcher, display_of(task.index), outcome.beat)
    swapped = stage.swap_frames(lane.computed(frames), faces, hold=swapper_hold(tools.kit, batch))
    yield from lane.passed(swapped)


def compositor(
    task: RenderTask,
    frames: Iterator[DeviceFrame],
    tools: Toolbox,
    lane: DeviceLane,
    outcome: Outcome,
) -> Iterator[DeviceFrame]:
    """Steadies the crops and pastes them into the planes, behind what is before them."""
    faces, job = read_faces(task), task.job
    border = np.zeros((0, 0), np.float32)
    if faces:
        border = FaceMasker(job.swap.masks, task.crop_size).border
    finisher = DeviceFinisher(
        lane.launcher,
        job.stabilize,
        read_objects(task, faces, tools),
        border,
        telling=job.record_masks,
    )
    pasted = finished(task, lane.computed(frames), faces, finisher, tools.profiler, outcome)
    yield from lane.passed(pasted)


def encoder(
    task: RenderTask, frames: Iterator[DeviceFrame], lane: DeviceLane, outcome: Outcome
) -> Iterator[DeviceFrame]:
    """Encodes the chunk's frames as a segment."""
    remarks = lane.route(task.index, task.job.encoder).reasons
    yield from encoded(task, frames, lane.encoder(task), outcome, lane.skip, remarks)
