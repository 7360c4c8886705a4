"""Where the time of a whole render goes, and how near it comes to the swapper's own time.

    python benchmarks/pipeline.py [FILM --source FACE] [--quick] [--json FILE]

Prints CPU milliseconds a frame by stage, frames a second (wall), and the floor ratio: the time of
the swapper alone on the same crops, in one thread, over the wall time of the whole render.
Without FILM it takes the sample clip. Start-up (Ray, models) is shown apart and not part of fps.

What tracking saves: the film is analysed twice more in this process, with the detector at every
frame (before) and at every sixth (after), and the calls of detector and recogniser are counted by
the networks themselves, CPU time by the stages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from actors.decoder import Decoder
from actors.formats import picture_format
from actors.frames import SlotLayout
from actors.models import ModelStore
from actors.prober import probe
from actors.stages import read_faces
from actors.swapper import Swapper
from actors.threads import limit_threads
from actors.toolbox import LaneKit, Toolbox
from actors.transport.shm import Ring
from farm.config import Settings, load_settings
from farm.progress import JsonDisplay
from farm.runner import FarmOptions, run_job, survey_job
from farm.submission import build_job, survey_job_spec
from kernels.geometry import display_affine
from scheduler.chunks import Chunk
from scheduler.jobs import AnalyseSettings, JobSpec, JobSummary, RenderTask


def swapper_alone(job: JobSpec, summary: JobSummary, kit: LaneKit) -> tuple[float, int]:
    """(seconds, faces): the face swapper on every crop of the film, one thread, nothing else.

    Crops are cut beforehand, a few frames at a time, and that is not timed.
    """
    limit_threads(1)  # as in the processes of a lane
    tools = Toolbox(kit)
    index = probe(job.media)
    chunk = Chunk(index=0, start=0, stop=index.frames)
    most = max(1, summary.faces)
    task = RenderTask(
        job=job, index=index, chunk=chunk, attempt=1, faces=most, crop_size=summary.crop_size
    )
    faces = read_faces(task)
    display = display_affine(
        index.width, index.height, float(index.sample_aspect_ratio), index.rotation
    )
    swapper = tools.face_swapper(job.swap, summary.crop_size)
    layout = SlotLayout(format=picture_format(index), faces=0, crop_size=summary.crop_size)
    out = np.zeros((summary.crop_size, summary.crop_size, 4), np.float32)
    stage, spent, swaps = Swapper({0: swapper}, tools.kernels, display), 0.0, 0
    ring = Ring.create(layout, 2)
    for frame in Decoder(index).decode(0, index.frames, ring):
        for face in faces.get(frame.handle.frame_index, ()):
            _, crop, landmarks = stage.prepare(frame, face)
            began = time.perf_counter()
            swapper.swap(crop, landmarks, out)
            spent += time.perf_counter() - began
            swaps += 1
        ring.release(frame.handle.slot)
    ring.close()
    return spent, swaps


def analysis(settings: Settings, film: Path, interval: int, *, people: bool) -> dict[str, float]:
    """What it takes to find the film's faces with the detector at every ``interval``-th frame."""
    limit_threads(1)
    job = survey_job_spec(
        settings.model_copy(update={"detect_every": interval}), video=film, identities=people
    )
    with open(os.devnull, "w") as nowhere:
        survey = survey_job(job, settings, FarmOptions(ray=False), JsonDisplay(nowhere))
    return {
        "detector_calls": survey.detected,
        "embedder_calls": survey.embedded,
        "faces": survey.census.faces,
        "cpu_ms_per_frame": sum(survey.cpu_ms.values()) / survey.index.frames,
    }


def render(
    given: argparse.Namespace, settings: Settings, film: Path, source: Path
) -> dict[str, object]:
    """Where the time of a whole job goes."""
    options = FarmOptions(
        ray=not given.no_ray, lanes=given.lanes, processes=given.processes, keep=True
    )
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        job = build_job(
            settings.model_copy(update={"work_dir": Path(folder)}),
            video=film,
            sources=[source],
            output=Path(folder, f"out{film.suffix}"),
        )
        job = replace(job, identities=given.people)
        summary = run_job(job, settings, options, JsonDisplay(nowhere))
        floor, swaps = swapper_alone(job, summary, LaneKit(cache_dir=settings.cache_dir))
    work = sum(summary.phase_seconds[p] for p in ("analyse", "stitch", "render", "join"))
    return {
        "frames": summary.frames,
        "faces": summary.faces,
        "detector_calls": summary.detected,
        "embedder_calls": summary.embedded,
        "cpu_ms_per_frame": summary.cpu_ms_per_frame,
        "fps": summary.frames / work,
        "swapper_ms_per_face": 1000 * floor / max(1, swaps),
        "floor_ratio": floor / work,
        "phase_seconds": summary.phase_seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("film", nargs="?", type=Path)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--lanes", type=int, default=0)
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a short clip")
    parser.add_argument("--people", action="store_true", help="tell people apart, too")
    parser.add_argument("--analysis-only", action="store_true", help="do not render")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    # A benchmark looks at the film each time.
    settings = load_settings().model_copy(update={"analysis_gb": 0.0})
    samples = ModelStore(settings.cache_dir)
    film = given.film or samples.path("single_face" if given.quick else "wolfgang_langer")
    source = given.source or samples.path("astronaut")
    result: dict[str, object] = {
        "film": film.name,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    if not given.analysis_only:
        result |= render(given, settings, film, source)
    result["analysis"] = {
        f"detect_every_{interval}": analysis(settings, film, interval, people=given.people)
        for interval in (1, AnalyseSettings().interval)
    }
    for name, value in result.items():
        print(f"{name:20}", json.dumps(value))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
