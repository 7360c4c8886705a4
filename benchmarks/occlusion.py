"""How well objects before faces are found, on real clips with drawn objects of known outline.

    python benchmarks/occlusion.py [--quick] [--json FILE] [--pictures FOLDER]

Each clip is filmed anew with each object before its face for a part of the time, encoded, and put
through the analysis, the stitch and the finder that renders use. Per clip and object, inside the
face's oval: intersection over union with the true outline (mean and least over the frames in which
the object covers more than 1 % of the face), recall, what is wrongly masked on the clip's clear
frames as a share of the face (mean and most), and CPU milliseconds a face.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pyarrow.parquet as pq
from known_objects import OBJECTS, KnownObject, Rgb, moving, read_rgb, write_film
from numpy.typing import NDArray

from actors.decoder import Decoder
from actors.formats import picture_format
from actors.models import ModelStore
from actors.objects import ObjectFinder
from actors.one_slot import OneSlot
from actors.prober import probe
from actors.threads import limit_threads
from actors.toolbox import LaneKit, Toolbox
from cluster.appearances import write_appearances
from cluster.inline import InlineExecutor
from farm.config import load_settings
from kernels.api import looking
from kernels.cuts import find_cuts
from kernels.geometry import Affine, apply
from kernels.mesh.canonical import OVAL
from kernels.mesh.unwrap import WINDOW, window
from scheduler.appearances import by_track
from scheduler.chunks import Chunk
from scheduler.jobs import AnalyseSettings, AnalyseTask, Analysis, JobSpec, SwapSettings
from scheduler.smooth import smoothed
from scheduler.stitch import Stitcher
from scheduler.tracks import SCHEMA, FaceObservation, from_table

FPS: Final = 25
QUICK: Final = ("red microphone", "green cup", "yellow bar")
CLEAR: Final = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Frames [start, stop) of a sample; the object is there in [enters, leaves) of them."""

    sample: str
    start: int
    stop: int
    enters: int
    leaves: int


CLIPS: Final = (
    Clip(sample="wolfgang_langer", start=300, stop=400, enters=30, leaves=75),
    Clip(sample="single_face", start=0, stop=72, enters=24, leaves=60),
    Clip(sample="noface_face", start=97, stop=165, enters=18, leaves=53),
)


class Analyst:
    """Films -> their faces, smoothed, and a finder of what is before them."""

    def __init__(self, cache: Path) -> None:
        kit = LaneKit(cache_dir=cache, slots=32)
        self.tools = Toolbox(kit)
        self._executor = InlineExecutor(kit)

    def look(self, path: Path, folder: Path) -> tuple[dict[int, FaceObservation], ObjectFinder]:
        """The one face of each frame, and the finder."""
        index = probe(path)
        (folder / "analysis").mkdir(exist_ok=True)
        job = JobSpec(
            job_id="objects",
            media=str(path),
            output=str(folder / "out.mp4"),
            folder=str(folder),
            swap=SwapSettings(),
            analysis=AnalyseSettings(occlusion=False),
        )
        chunk = Chunk(index=0, start=0, stop=index.frames)
        analysis = self._run(AnalyseTask(job=job, index=index, chunk=chunk, attempt=1))
        changes = pq.read_table(analysis.frames_path)["change"].to_numpy()
        cuts = find_cuts(changes.astype(np.float32))
        table = Stitcher(cuts=cuts).extend(pq.read_table(analysis.faces_path))
        faces: dict[int, FaceObservation] = {}
        with pq.ParquetWriter(job.tracks, SCHEMA) as writer:
            for part in smoothed([table], cuts=cuts):
                writer.write_table(part)
                for face in from_table(part):
                    faces.setdefault(face.frame, face)
        write_appearances([analysis], Path(job.tracks), Path(job.appearances))
        samples = by_track(pq.read_table(job.appearances))
        return faces, ObjectFinder(samples, self.tools.unwrapper)

    def _run(self, task: AnalyseTask) -> Analysis:
        analysis = self._executor.run(task)
        assert isinstance(analysis, Analysis)
        return analysis


def film(
    clip: Clip, frames: list[Rgb], faces: dict[int, FaceObservation], thing: KnownObject, path: Path
) -> dict[int, NDArray[np.uint8]]:
    """Write the clip with the object; return how much of each pixel it covers, 0..255."""
    rng = np.random.default_rng(1)
    covers = {}

    def drawn() -> Iterator[Rgb]:
        for at, rgb in enumerate(frames):
            if clip.enters <= at < clip.leaves and at in faces:
                low, high = faces[at].box.reshape(2, 2).astype(np.float64)
                middle, width = (low + high) / 2, float(high[0] - low[0])
                rgb, cover = moving(rgb, thing, at / FPS, 1 / FPS, middle, width, rng)
                covers[at] = np.rint(255 * cover).astype(np.uint8)
            yield rgb

    write_film(path, drawn())
    return covers


def inside(face: FaceObservation, affine: Affine) -> NDArray[np.bool_]:
    """bool [n, n] the face's oval in its window."""
    canvas = np.zeros((WINDOW, WINDOW), np.uint8)
    oval = apply(affine, face.landmarks[list(OVAL)])
    cv2.fillPoly(canvas, [np.rint(oval * 16).astype(np.int32)], 1, shift=4)
    return canvas > 0


def measure(
    analyst: Analyst, path: Path, covers: dict[int, NDArray[np.uint8]], pictures: Path | None
) -> dict[str, Any]:
    """The figures of one film."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        faces, finder = analyst.look(path, Path(folder))
    index = probe(path)
    shown = sorted(covers)[len(covers) // 2] if covers else -1
    for frame in Decoder(index).decode(0, index.frames, OneSlot(picture_format(index))):
        at = frame.handle.frame_index
        if at not in faces:
            continue
        look = looking(analyst.tools.kernels, frame.picture)
        began = time.thread_time()
        seen = finder.cover(look, faces[at])
        found["ms"].append(1000 * (time.thread_time() - began))
        affine = window(faces[at].landmarks.astype(np.float64), WINDOW)
        oval = inside(faces[at], affine)
        mask = oval & (seen[0] >= 0.5) if seen else np.zeros_like(oval)
        if at not in covers:
            found["false"].append(mask.sum() / oval.sum())
            continue
        truth = oval & (cv2.warpAffine(covers[at], affine, (WINDOW, WINDOW)) > 127)
        if truth.sum() > 0.01 * oval.sum():
            found["iou"].append((mask & truth).sum() / (mask | truth).sum())
            found["recall"].append((mask & truth).sum() / truth.sum())
        if at == shown and pictures is not None:
            rgb = look(affine, WINDOW)
            tinted = rgb.copy()
            tinted[mask] = tinted[mask] // 2 + np.array([0, 127, 0], np.uint8)
            both = np.hstack([rgb, tinted])[..., ::-1]
            cv2.imwrite(str(pictures / f"{path.stem}.png"), both)
    result: dict[str, Any] = {"ms": round(float(np.median(found["ms"])), 2)}
    if found["iou"]:
        result["iou"] = round(float(np.mean(found["iou"])), 3)
        result["iou_least"] = round(float(np.min(found["iou"])), 3)
        result["recall"] = round(float(np.mean(found["recall"])), 3)
    if found["false"]:
        result["false_pct"] = round(100 * float(np.mean(found["false"])), 3)
        result["false_most_pct"] = round(100 * float(np.max(found["false"])), 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one clip, three objects")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="a frame of each film")
    options = parser.parse_args()
    limit_threads(1)
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    store = ModelStore(load_settings().cache_dir)
    analyst = Analyst(store.cache)
    results: dict[str, dict[str, Any]] = {}
    print("clip             object                IoU  least recall false % most %")
    for clip in CLIPS[1:2] if options.quick else CLIPS:
        frames = list(read_rgb(store.path(clip.sample), clip.start, clip.stop))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{clip.sample} {CLEAR}.mp4")
            write_film(path, iter(frames))
            faces, _ = analyst.look(path, Path(folder))
            rows = {CLEAR: measure(analyst, path, {}, None)}
            _print(clip, CLEAR, rows[CLEAR])
            for thing in OBJECTS:
                if options.quick and thing.name not in QUICK:
                    continue
                path = Path(folder, f"{clip.sample} {thing.name}.mp4")
                covers = film(clip, frames, faces, thing, path)
                rows[thing.name] = {
                    "group": thing.group,
                    **measure(analyst, path, covers, options.pictures),
                }
                _print(clip, thing.name, rows[thing.name])
        results[clip.sample] = rows
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


def _print(clip: Clip, name: str, row: dict[str, Any]) -> None:
    cells = [f"{row.get(key, '-'):>6}" for key in ("iou", "iou_least", "recall")]
    false, most = (f"{row.get(key, '-'):>7}" for key in ("false_pct", "false_most_pct"))
    figures = " ".join([*cells, false, most])
    print(f"{clip.sample:16} {name:18} {figures}  {row['ms']} ms", flush=True)


if __name__ == "__main__":
    main()
