"""Where the frames of a job's renders lie: in a GPU's memory from decoder to encoder, or in the
host's. Decided here and nowhere else, by the job alone, so that all of its lanes do the same."""

from __future__ import annotations

from typing import Final

from actors.swap_needs import wants_target
from scheduler.devices import TENSORRT
from scheduler.jobs import MESH_SWAPPER, JobSpec

_DRAWN: Final = ("box", "hull", "area", "model")
"""Mask types that need no network but the swapper's."""


def host_reason(job: JobSpec) -> str:
    """Why a job's frames lie in host memory; empty: they stay in the GPU's.

    An analysis looks at frames in host memory in any case.
    """
    swap = job.swap
    if job.device != TENSORRT:
        return f"only --device {TENSORRT} runs networks from the GPU's memory"
    if swap.model == MESH_SWAPPER or swap.waits is not None:
        return f"the swapper {swap.model} works on the processor"
    if swap.enhancer.model:
        return f"{swap.enhancer.model} is given its crops from host memory"
    others = [kind for kind in swap.masks.types if kind not in _DRAWN]
    if others:
        return f"the mask type {others[0]} is made in host memory"
    if wants_target(swap):
        return "the recogniser is given each face from host memory, for the swapper weight"
    if job.frame_hashes:
        return "frames are hashed in host memory"
    return ""
