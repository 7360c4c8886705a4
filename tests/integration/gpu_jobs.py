"""Films of a few frames on lanes for GPUs, and what such a film has in common with the CPU's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.toolbox import Toolbox
from cluster.inline import InlineExecutor
from cluster.service import JobService
from scheduler.jobs import EncoderSettings, JobSpec, JobSummary, SwapSettings
from tests.integration.films import planes

LOSSLESS = EncoderSettings(codec="ffv1")


def job(
    film: Path,
    face: Path,
    folder: Path,
    device: str,
    model: str = "mesh",
    encoder: EncoderSettings = LOSSLESS,
) -> JobSpec:
    """A job that is not done yet, in a folder that is not there yet."""
    folder.mkdir(parents=True)
    return JobSpec(
        job_id=device,
        media=str(film),
        output=str(folder / "out.mkv"),
        folder=str(folder / "job"),
        device=device,
        swap=SwapSettings(model=model, sources=(str(face),)),
        encoder=encoder,
    )


def run(spec: JobSpec, tools: Toolbox) -> JobSummary:
    """Does it in this process and keeps its folder."""
    service = JobService(
        open_executor=lambda: InlineExecutor(tools.kit, tools),
        check_sources=lambda _: None,
        watch=lambda _: None,
        note=lambda _: None,
        marking={},
    )
    return service.run(spec, keep=True)


def landmarks(spec: JobSpec) -> NDArray[np.float64]:
    """All points of all faces."""
    column = pq.read_table(spec.tracks).column("landmarks").to_pylist()
    return np.array(column, np.float64)


def check(spec: JobSpec, summary: JobSummary, on_cpu: JobSpec) -> None:
    """What a GPU's film has in common with the CPU's."""
    assert summary.swapped_frames == summary.frames
    # Thumbnails and crops differ in their last bits: networks see nearly the same. Seen with the
    # kernels on the CPU: 0.0004 pixels, and no sample of the film more than one code away.
    assert np.abs(landmarks(spec) - landmarks(on_cpu)).max() < 0.02
    compare(Path(spec.output), Path(on_cpu.output), Path(spec.media))


def compare(ours_path: Path, theirs_path: Path, film_path: Path) -> None:
    """Two renders of a film differ by rounding only."""
    films = (planes(path) for path in (ours_path, theirs_path, film_path))
    for ours, theirs, film in zip(*films, strict=True):
        changed = [a != c for a, c in zip(theirs, film, strict=True)]
        assert sum(int(plane.sum()) for plane in changed) > 1000, "a face was put on"
        for a, b, there in zip(ours, theirs, changed, strict=True):
            difference = np.abs(a.astype(np.int32) - b)
            assert difference.max() <= 2
            assert difference.sum() <= 0.05 * there.sum()
