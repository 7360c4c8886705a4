"""What a job would do and how long it would take, before anything is rendered."""

from __future__ import annotations

from typing import Any

from actors.frame_place import host_reason
from cluster.service import Survey
from farm.progress import duration
from farm.rates import BUILT_IN, BUILT_IN_ANALYSIS_MS, RateBook, Rates, kind_of, schedule
from scheduler.devices import on_gpu
from scheduler.jobs import JobSpec


def plan_facts(job: JobSpec, survey: Survey, book: RateBook, lanes: int) -> dict[str, Any]:
    """The plan as JSON can hold it."""
    index, census = survey.index, survey.census
    rates, basis = _rates(job, survey, book)
    megapixels = index.width * index.height / 1e6
    costs = [
        chunk.frames * megapixels * rates.frame_ms
        + census.swaps_in(chunk.start, chunk.stop) * rates.swap_ms
        for chunk in survey.chunks
    ]
    return {
        "video": job.media,
        "output": job.output,
        "frames": index.frames,
        "seconds": round(index.seconds, 3),
        "width": index.width,
        "height": index.height,
        "cuts": survey.cuts,
        "faces": census.faces,
        "frames_with_faces": census.frames_with_faces,
        "tracks": survey.stitched.tracks,
        "swaps": census.swaps,
        "crop_size": survey.crop_size,
        "chunks": len(survey.chunks),
        "lanes": lanes,
        "analysis_cached": survey.cached,
        "analysis_seconds": round(survey.seconds, 3),
        "estimated_seconds": round(rates.start_seconds + schedule(costs, lanes) / 1000, 1),
        "estimate_from": basis,
        "host_frames": host_frames(job),
    }


def plan_lines(facts: dict[str, Any]) -> list[str]:
    """The plan for people."""
    lanes = facts["lanes"]
    return [
        f"{facts['video']}",
        f"  {facts['frames']} frames, {duration(facts['seconds'])}, "
        f"{facts['width']}x{facts['height']}, {facts['cuts']} cuts",
        f"  {facts['faces']} faces in {facts['frames_with_faces']} frames, "
        f"{facts['tracks']} tracks; {facts['swaps']} to swap (crop {facts['crop_size']})",
        f"  {facts['chunks']} chunks on {lanes} {'lane' if lanes == 1 else 'lanes'}",
        *place_line(facts["host_frames"]),
        f"  about {duration(facts['estimated_seconds'])} to render, by {facts['estimate_from']}",
        f"  would become {facts['output']}; nothing was rendered",
    ]


def host_frames(job: JobSpec) -> str | None:
    """Why a GPU's job has its frames in host memory, "" if it has not; None: it is no GPU's."""
    return host_reason(job) if on_gpu(job.device) else None


def place_line(why: str | None) -> list[str]:
    """Where frames lie, for people: one line, or none."""
    if why is None:
        return []
    return [f"  frames go through host memory: {why}" if why else "  frames stay on the GPU"]


def _rates(job: JobSpec, survey: Survey, book: RateBook) -> tuple[Rates, str]:
    """The rates to reckon with, and where they are from."""
    found = book.find(kind_of(job, survey.crop_size))
    if found:
        rates, jobs = found
        return rates, f"{jobs} earlier {'job' if jobs == 1 else 'jobs'} like it on this machine"
    spent, faces = sum(survey.cpu_ms.values()), survey.census.faces
    if survey.cached or not spent or not faces:
        return BUILT_IN, "built-in figures of another machine"
    # The analysis has just shown how this machine compares.
    slower = spent / max(survey.index.frames, faces) / BUILT_IN_ANALYSIS_MS
    return (
        Rates(
            frame_ms=BUILT_IN.frame_ms * slower,
            swap_ms=BUILT_IN.swap_ms * slower,
            start_seconds=BUILT_IN.start_seconds,
        ),
        "built-in figures, scaled by this analysis",
    )
