"""What of a job's result can be watched before it is done: the segments that follow each other from
the start, joined as the whole film would be."""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import psutil

from actors.content_credentials import attach
from actors.credential import Credential
from actors.licences import model_records
from actors.models import ModelStore
from actors.muxer import join
from actors.prober import probe
from cluster.farm_disk import FarmDisk
from cluster.preparation import marking, model_names
from cluster.publish import publish_film
from scheduler.errors import NothingYet, SettingInvalid, SwapfarmError
from scheduler.jobs import JobSpec, Segment
from scheduler.output import CutSettings
from scheduler.standing import current_step, find_job
from scheduler.tasks import TaskState
from scheduler.timeline import cut, part_of, result_of, shown_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What there is to watch of one step of a job."""

    job: str
    step: int
    output: str
    frames: int
    """That are worked on, from the first one on."""
    frames_total: int
    seconds: float
    """Length of what can be watched."""
    complete: bool
    """It is the result itself."""


def preview(
    disk: FarmDisk,
    name: str,
    step: int | None,
    output: Path | None,
    store: ModelStore,
    signer: Credential,
) -> Preview:
    """Join what is rendered so far, from the journal and the job's folder; the farm is not asked.

    Args:
        name: of a job, or the part of it that no other has.
        step: None: the one that the job is at.
        output: appears whole, in place of what has its name; None: ``NAME.preview.EXT`` beside
            the result.
        signer: signs what is made.

    Raises:
        JobUnknown: there is no such job.
        NothingYet: not even the first chunk is rendered.
        SettingInvalid: no such step, or a picture, of which there is no half.
        SwapfarmError: it cannot be joined or written.
    """
    found = _finished(disk, name, step)
    try:
        return found if isinstance(found, Preview) else _joined(*found, output, store, signer)
    except SwapfarmError:
        again = _finished(disk, name, step)  # the job may have ended meanwhile, its folder gone
        if isinstance(again, Preview):
            return again
        raise


def _finished(
    disk: FarmDisk, name: str, step: int | None
) -> Preview | tuple[str, int, JobSpec, list[Segment]]:
    """The result, if it is there; else the segments without a gap from the first."""
    job = find_job(disk.ledger().state.jobs, name)
    number = current_step(job) if step is None else step
    if not 0 <= number < len(job.steps):
        raise SettingInvalid(
            f"step {number} of {job.id}, which has {len(job.steps)}",
            f"a number from 0 to {len(job.steps) - 1}",
            f"see `farm show {job.id}`",
        )
    spec = disk.shelf.entry(job.id).steps[number]
    tasks = job.steps[number].tasks
    if tasks["publish"][0].state is TaskState.DONE:
        summary = disk.shelf.summary(job.id, number)
        index = probe(spec.output) if spec.destination is None and not spec.still else None
        frames = summary["frames"] if summary else (index.frames if index else 0)
        return Preview(
            job=job.id,
            step=number,
            output=spec.goal,
            frames=frames,
            frames_total=frames,
            seconds=round(index.seconds, 3) if index else 0.0,
            complete=True,
        )
    if spec.still:
        raise SettingInvalid(f"{job.id} makes a picture", "a job that makes a film", "wait for it")
    segments: list[Segment] = []
    for task in tasks["render"]:
        done = task.state is TaskState.DONE and task.winner is not None
        segment = disk.shelf.result(job.id, task.winner) if done and task.winner else None
        if not isinstance(segment, Segment):
            break
        segments.append(segment)
    if not segments:
        raise NothingYet(
            f"nothing of {job.id} can be watched yet: its first chunk is not rendered",
            "a chunk that is rendered, at the film's start",
            f"see how far it is: farm show {job.id}",
        )
    return job.id, number, spec, segments


def _joined(
    name: str,
    step: int,
    spec: JobSpec,
    segments: Sequence[Segment],
    output: Path | None,
    store: ModelStore,
    signer: Credential,
) -> Preview:
    result = Path(spec.output)
    target = output or result.with_name(f"{result.stem}.preview{result.suffix}")
    whole = probe(spec.media)
    index = cut(whole, spec.cut)
    frames = sum(segment.frames for segment in segments)
    pictures = bisect_left(shown_frames(index, spec.cut.rate), frames)
    of_all = result_of(index, spec.cut.rate, spec.encoder.scale)
    shown = cut(of_all, CutSettings(stop=pictures))
    begun = f".{target.stem}."
    for old in target.parent.glob(f"{escape(begun)}*.partial.*"):
        pid = old.name.removeprefix(begun).partition(".")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            old.unlink(missing_ok=True)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    marks = marking(spec, model_records(model_names(spec), store))
    join(
        shown,
        segments,
        partial,
        marking=marks,
        sound=spec.sound,
        span=part_of(whole, index, shown),
    )
    attach(partial, Path(spec.media), signer, json.loads(marks["swapfarm"]), title=target.name)
    publish_film(partial, target)
    return Preview(
        job=name,
        step=step,
        output=str(target),
        frames=frames,
        frames_total=index.frames,
        seconds=round(shown.seconds, 3),
        complete=False,
    )
