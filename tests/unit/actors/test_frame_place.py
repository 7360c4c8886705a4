"""Which jobs keep their frames on the GPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.frame_place import host_reason
from scheduler.jobs import EnhancerSettings, JobSpec, SwapSettings
from scheduler.masks import MaskSettings

JOB = JobSpec(
    job_id="job",
    media="/film.mp4",
    output="/out.mp4",
    folder="/job",
    swap=SwapSettings(model="hyperswap_1a_256", sources=("/face.jpg",)),
    device="tensorrt",
)


def swapped(**how: Any) -> JobSpec:
    return replace(JOB, swap=replace(JOB.swap, **how))


@pytest.mark.parametrize(
    "job",
    [
        JOB,
        swapped(boost=512, precision="fp16"),
        swapped(masks=MaskSettings(types=("box", "hull", "area", "model"))),
        replace(JOB, masks_output="/masks.parquet", report=True),
    ],
)
def test_neural_swappers_stay_on_the_gpu(job: JobSpec) -> None:
    assert host_reason(job) == ""


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (replace(JOB, device="cpu"), "only --device tensorrt"),
        (replace(JOB, device="cuda"), "only --device tensorrt"),
        (swapped(model="mesh"), "the swapper mesh works on the processor"),
        (swapped(model="stand-in-waits-20ms"), "stand-in"),
        (swapped(enhancer=EnhancerSettings(model="gfpgan_1.4")), "gfpgan_1.4"),
        (swapped(masks=MaskSettings(types=("box", "region"))), "mask type region"),
        (swapped(masks=MaskSettings(types=("occlusion",))), "mask type occlusion"),
        (swapped(weight=0.7), "recogniser"),
        (replace(JOB, hashes_output="/hashes"), "hashed"),
    ],
)
def test_what_needs_host_memory_says_so(job: JobSpec, reason: str) -> None:
    assert reason in host_reason(job)
