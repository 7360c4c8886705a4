"""What each temporal filter does to real clips, one at a time and together.

    python benchmarks/ablation.py [--quick] [--clips NAME ...] [--arms NAME ...] [--no-smooth]
                                  [--json FILE] [--pictures FOLDER]

Per clip and choice of filters, inside the swapped region and along the source's own motion (dense
flow of the source's frames, checked both ways):
- warp: mean change of luma from frame to frame, in codes, and over the source's own;
- flicker: the same of blocks of 16 pixels, in codes, and over the source's own;
- features: how far eyes and mouth end from the unfiltered swap, in codes, in the fifth of the
  frames in which the source's eyes and mouth change most: what a filter smears shows here;
- seam: warp at chunk borders (1 s chunks, warmed up as renders are) over the median elsewhere;
- ms: CPU of the stabiliser a face on one thread.
Faces are the farm's own: tracked and smoothed, or with --no-smooth as tracked. Their jitter (second
difference of the landmarks over the distance between the eyes, median over frames) is printed too.
``direct`` is flow stabilisation done the usual way, on the picture and not on its change.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.compositor import Compositor
from actors.decoder import Decoder
from actors.formats import picture_format
from actors.frames import Frame, FrameHandle, SlotLayout
from actors.models import ModelStore
from actors.prober import probe
from actors.stabilizer import HELD, Stabilizer
from actors.swapper import Swapper
from actors.threads import limit_threads
from actors.toolbox import LaneKit, Toolbox
from actors.transport.shm import Ring
from cluster.inline import InlineExecutor
from farm.config import load_settings
from kernels.cuts import find_cuts
from kernels.dense_flow import DisFlow
from kernels.filters import carry, luma, trust
from kernels.geometry import display_affine
from kernels.metrics import known_motion, seam_ratio, similarity_map, unsteadiness
from scheduler.chunks import Chunk
from scheduler.jobs import AnalyseTask, Analysis, JobSpec, StabilizeSettings, SwapSettings
from scheduler.media import VideoIndex
from scheduler.smooth import smoothed
from scheduler.stitch import Stitcher
from scheduler.tracks import SCHEMA, FaceObservation, from_table

Floats = NDArray[np.float32]
NAMES = tuple(field.name for field in fields(StabilizeSettings))
LIPS = (61, 91, 84, 314, 321, 291, 409, 269, 0, 39, 185)
EYES = ((33, 163, 145, 154, 133, 157, 159, 161), (263, 390, 374, 381, 362, 384, 386, 388))


class Direct:
    """Flow stabilisation of the picture itself, for comparison."""

    def __init__(self) -> None:
        self._flow = DisFlow()
        self._past: tuple[int, NDArray[np.uint8], Floats] | None = None

    def stabilize(self, frame: Frame, original: Floats) -> None:
        past, at = self._past, frame.handle.frame_index
        crop, now = frame.crops[0], luma(original)
        if past is not None and past[0] == at - 1:
            flow = self._flow.flow(now, past[1])
            weight = HELD * trust(similarity_map(now, carry(past[1], flow)))
            weight = cv2.resize(weight, now.shape[::-1])[..., None]
            crop += weight * (carry(past[2], flow) - crop)
            np.clip(crop, 0, 1, out=crop)
        self._past = (at, now, crop.copy())


@dataclass
class Arm:
    """One choice of filters and what it has shown so far."""

    settings: StabilizeSettings | None
    """None: the direct way."""
    chunk: int = 0
    """Frames after which it starts anew, as renders of chunks do; 0: never."""
    warmup: int = 0
    steady: Any = None
    coming: Any = None
    """The next chunk's, while it warms up."""
    before: NDArray[np.uint8] | None = None
    seconds: float = 0.0


def observe(
    index: VideoIndex, frames: int, folder: Path, cache: Path, *, smooth: bool
) -> dict[int, FaceObservation]:
    """The largest face of each frame, by the farm's own analysis, stitch and smoothing."""
    swap = SwapSettings(sources=())
    (folder / "analysis").mkdir()
    job = JobSpec(
        job_id="ablation",
        media=index.path,
        output=str(folder / "out.mkv"),
        folder=str(folder),
        swap=swap,
    )
    executor = InlineExecutor(LaneKit(cache_dir=cache))
    chunk = Chunk(index=0, start=0, stop=frames)
    found = executor.run(AnalyseTask(job=job, index=index, chunk=chunk, attempt=1))
    assert isinstance(found, Analysis)
    changes = pq.read_table(found.frames_path)["change"].to_numpy()
    cuts = find_cuts(changes.astype(np.float32))
    rough = pq.read_table(found.faces_path, schema=SCHEMA)
    tables = [Stitcher(cuts=cuts).extend(rough)]
    parts = smoothed(tables, cuts=cuts) if smooth else iter(tables)
    faces = [face for part in parts for face in from_table(part)]
    rows = groupby(faces, lambda face: face.frame)
    return {at: max(seen, key=_area) for at, seen in rows}


def _area(face: FaceObservation) -> float:
    return float(np.prod(face.box[2:] - face.box[:2]))


def jitter(faces: dict[int, FaceObservation]) -> float:
    """Percent of the distance between the outer eye corners; median over triples of frames."""
    bends = []
    for at, face in faces.items():
        near = [faces.get(at - 1), faces.get(at + 1)]
        if all(other is not None and other.track == face.track for other in near):
            a, b, c = (f.landmarks.astype(np.float64) for f in (near[0], face, near[1]) if f)
            bend = np.square(a - 2 * b + c).sum(axis=1).mean() ** 0.5
            bends.append(bend / float(np.hypot(*(b[EYES[1][0]] - b[EYES[0][0]]))))
    return 100 * float(np.median(bends))


def frames_of(index: VideoIndex, stop: int, layout: SlotLayout) -> Iterator[Frame]:
    ring = Ring.create(layout, 2)
    for frame in Decoder(index).decode(0, stop, ring):
        yield frame
        ring.release(frame.handle.slot)
    ring.close()


def features_of(face: FaceObservation, shape: tuple[int, int]) -> NDArray[np.bool_]:
    canvas = np.zeros(shape, np.uint8)
    for ring in (LIPS, *EYES):
        hull = cv2.convexHull(np.rint(face.landmarks[list(ring)]).astype(np.int32))
        cv2.fillConvexPoly(canvas, hull, 1)
    return canvas > 0


class Clip:
    """Runs every arm over one clip, frame by frame."""

    def __init__(
        self, path: Path, stop: int, source: Path, cache: Path, size: int, *, smooth: bool
    ) -> None:
        self._index = index = probe(path)
        self._stop = min(stop, index.frames) if stop else index.frames
        self._tools = tools = Toolbox(LaneKit(cache_dir=cache))
        self._layout = SlotLayout(format=picture_format(index), faces=1, crop_size=size)
        display = display_affine(
            index.width, index.height, float(index.sample_aspect_ratio), index.rotation
        )
        swap = SwapSettings(sources=(str(source),))
        face_swappers = {0: tools.face_swapper(swap, size)}
        self._swapper = Swapper(face_swappers, tools.kernels, display)
        self._compositor = Compositor(tools.kernels)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._scratch = Frame(
            FrameHandle(slot=0, generation=0, frame_index=0, pts=0),
            self._layout,
            memoryview(bytearray(self._layout.nbytes)),
        )
        with tempfile.TemporaryDirectory() as folder:
            self._faces = observe(index, self._stop, Path(folder), cache, smooth=smooth)
        self.jitter = jitter(self._faces)

    def run(
        self, arms: dict[str, Arm], keep: Callable[[str, int, Frame], None]
    ) -> dict[str, dict[str, float]]:
        rows: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
        borders: dict[str, list[bool]] = defaultdict(list)
        source: NDArray[np.uint8] | None = None
        for frame in frames_of(self._index, self._stop, self._layout):
            at = frame.handle.frame_index
            face = self._faces.get(at)
            self._swapper.swap(frame, [face] if face else [])
            original = None
            if face:
                original = self._tools.kernels.crop(
                    frame.picture, frame.affines[0], self._layout.crop_size
                )
            now, touched = {}, None
            for name, arm in arms.items():
                patches = self._render(frame, arm, original)
                touched = patches[0] if patches and touched is None else touched
                now[name] = self._scratch.picture.planes[0].copy()
                keep(name, at, self._scratch)
            plane = frame.picture.planes[0].copy()
            before = self._faces.get(at - 1)
            if face and before and before.track == face.track and source is not None and touched:
                mask = np.zeros(plane.shape, np.float32)
                roi = touched.roi
                mask[roi.y0 : roi.y1, roi.x0 : roi.x1] = touched.touched
                pictures = {name: (now[name], arms[name].before) for name in arms}
                for name, row in self._measure(face, mask, (plane, source), pictures).items():
                    rows[name].append(row)
                    chunk = arms[name].chunk
                    borders[name].append(bool(chunk) and at % chunk == 0)
            for name, arm in arms.items():
                arm.before = now[name]
            source = plane
        faces = max(1, len(self._faces))
        return {
            name: _summary(np.array(rows[name]), np.array(borders[name]))
            | {"ms": 1000 * arm.seconds / faces}
            for name, arm in arms.items()
        }

    def _render(self, frame: Frame, arm: Arm, original: Floats | None) -> tuple[Any, ...]:
        scratch, at = self._scratch, frame.handle.frame_index
        scratch.handle, scratch.faces = frame.handle, frame.faces
        for mine, theirs in zip(scratch.picture.planes, frame.picture.planes, strict=True):
            mine[...] = theirs
        scratch.affines[:], scratch.tracks[:] = frame.affines, frame.tracks
        scratch.originals[:] = frame.originals
        if arm.settings is None:
            scratch.crops[:] = frame.crops
            arm.steady = arm.steady or Direct()
            if original is not None:
                arm.steady.stabilize(scratch, original)
            return self._compositor.composite(scratch)
        if arm.chunk and at % arm.chunk == 0:
            arm.steady, arm.coming = arm.coming, None
        if arm.warmup and at % arm.chunk == arm.chunk - arm.warmup:
            arm.coming = Stabilizer(arm.settings)
        arm.steady = arm.steady or Stabilizer(arm.settings)
        if arm.coming is not None:
            scratch.crops[:] = frame.crops
            arm.coming.stabilize(scratch)
        scratch.crops[:] = frame.crops
        if arm.settings.any:
            began = time.thread_time()
            arm.steady.stabilize(scratch)
            arm.seconds += time.thread_time() - began
        return self._compositor.composite(scratch)

    def _measure(
        self,
        face: FaceObservation,
        mask: Floats,
        source: tuple[NDArray[np.uint8], NDArray[np.uint8]],
        pictures: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8] | None]],
    ) -> dict[str, tuple[float, ...]]:
        """(warp, flicker, source's warp, source's flicker, features, source's features) by arm."""
        low = np.floor(face.landmarks.min(0) - 16).astype(int).clip(0)
        high = np.ceil(face.landmarks.max(0) + 16).astype(int)
        box = np.s_[low[1] : high[1], low[0] : high[0]]
        a, b = (np.ascontiguousarray(plane[box]) for plane in source)
        forth, back = self._flow.calc(a, b, None), self._flow.calc(b, a, None)
        weight = mask[box] * known_motion(forth, back)

        def errors(now: NDArray[np.uint8], before: NDArray[np.uint8]) -> tuple[float, float]:
            return unsteadiness(now[box], before[box], forth, weight)

        own = errors(*source)
        features = features_of(face, mask.shape)[box]
        moved = np.abs(a - carry(b.astype(np.float32), forth))[features].mean()
        plain = next(iter(pictures.values()))[0][box].astype(np.float32)
        found = {}
        for name, (now, before) in pictures.items():
            assert before is not None
            smeared = np.abs(now[box] - plain)[features].mean()
            found[name] = (*errors(now, before), *own, float(smeared), float(moved))
        return found


def _summary(rows: NDArray[np.float64], border: NDArray[np.bool_]) -> dict[str, float]:
    warp, flicker, own_warp, own_flicker, features, moved = rows.T
    busy = moved >= np.quantile(moved, 0.8)
    result = {
        "warp": float(warp.mean()),
        "warp_over_own": float(warp.mean() / own_warp.mean()),
        "flicker": float(flicker.mean()),
        "flicker_over_own": float(flicker.mean() / own_flicker.mean()),
        "features": float(features[busy].mean()),
    }
    if border.any():
        excess = warp / np.maximum(own_warp, 1e-6)
        result["seam"] = seam_ratio(excess, border) or 0.0
    return result


def arms_of(rate: int) -> dict[str, Arm]:
    """Every arm, the unfiltered one first."""
    off = dict.fromkeys(NAMES, False)
    usual = StabilizeSettings()
    arms = {"off": Arm(StabilizeSettings(**off))}
    arms |= {name: Arm(StabilizeSettings(**off | {name: True})) for name in NAMES}
    arms["default"] = Arm(usual)
    arms["default and snap"] = Arm(replace(usual, snap=True))
    arms["all"] = Arm(StabilizeSettings(**dict.fromkeys(NAMES, True)))
    arms["direct"] = Arm(None)
    arms["default, 1 s chunks"] = Arm(usual, rate, usual.warmup)
    arms["default, 1 s, no warm-up"] = Arm(usual, rate, 0)
    return arms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["wolfgang_langer", "single_face", "face_noface"]
    parser.add_argument("--clips", nargs="+", default=names)
    parser.add_argument("--quick", action="store_true", help="the first 50 frames of each clip")
    parser.add_argument("--arms", nargs="+", default=[], help="off, and which others")
    parser.add_argument("--no-smooth", action="store_true", help="faces as tracked")
    parser.add_argument("--size", type=int, default=256, help="side of the crops")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the rows")
    given = parser.parse_args()
    limit_threads(1)
    settings = load_settings()
    samples = ModelStore(settings.cache_dir)
    result = {}
    for name in given.clips:
        clip = Clip(
            samples.path(name),
            50 if given.quick else 0,
            samples.path("astronaut"),
            settings.cache_dir,
            given.size,
            smooth=not given.no_smooth,
        )
        strips = Strips(("off", "default", "all", "direct"))
        arms = {arm: it for arm, it in arms_of(25).items() if not given.arms or arm in given.arms}
        result[name] = clip.run(arms, strips.add)
        result[name]["landmarks"] = {"jitter_pct": clip.jitter}
        if given.pictures:
            given.pictures.mkdir(parents=True, exist_ok=True)
            strips.write(given.pictures / f"steady-{name.replace('_', '-')}.png")
        print(f"\n{name}: landmarks tremble by {clip.jitter:.3f} %")
        print(
            f"  {'filters':26}{'warp':>7}{'/own':>7}{'flicker':>9}{'/own':>7}"
            f"{'features':>10}{'seam':>7}{'ms':>6}"
        )
        for arm in arms:
            row = result[name][arm]
            seam = f"{row['seam']:7.3f}" if "seam" in row else f"{'':7}"
            print(
                f"  {arm:26}{row['warp']:7.3f}{row['warp_over_own']:7.3f}{row['flicker']:9.3f}"
                f"{row['flicker_over_own']:7.3f}{row['features']:10.2f}{seam}{row['ms']:6.1f}",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


class Strips:
    """Time slices: one column of pixels through the face, frame after frame, for some arms.

    What is steady draws smooth lines; jitter draws combs, flicker stripes.
    """

    FRAMES = 160
    ENLARGED = 3

    def __init__(self, arms: tuple[str, ...]) -> None:
        self._columns: dict[str, list[Floats]] = {name: [] for name in arms}

    def add(self, name: str, at: int, frame: Frame) -> None:
        columns = self._columns.get(name)
        if columns is None or not frame.faces or len(columns) >= self.FRAMES:
            return
        # Through an eye, in the aligned crop: the head's own motion is taken out.
        crop = frame.crops[0]
        size = len(crop)
        columns.append(crop[size // 5 : -size // 5, round(size * 0.38), :3].copy())

    def write(self, path: Path) -> None:
        strips = []
        for name, columns in self._columns.items():
            strip = (np.stack(columns, axis=1) * 255).astype(np.uint8)[..., ::-1]
            strip = cv2.resize(strip, None, fx=self.ENLARGED, fy=1, interpolation=cv2.INTER_NEAREST)
            strip = cv2.copyMakeBorder(strip, 20, 4, 2, 2, cv2.BORDER_CONSTANT, value=(32, 32, 32))
            cv2.putText(
                strip, name, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
            )
            strips.append(strip)
        cv2.imwrite(str(path), np.concatenate(strips))


if __name__ == "__main__":
    main()
