"""A neural swap as it is done by hand: warp, run, mask and paste with OpenCV in 8 bits a channel.

This is the way of the programs that users know. Ours stays in the film's own planes and resamples
better, so the two are near each other, not equal; a mistake in colour order, alignment, range or
the source's embedding would put them far apart.
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from actors.inference.ort import onnxruntime
from actors.models import ModelStore
from actors.prober import probe
from actors.sources import load_sources
from actors.swapper_specs import SWAPPERS
from actors.toolbox import LaneKit, Toolbox
from benchmarks.standins import standin_store
from cluster.inline import InlineExecutor
from scheduler.chunks import Chunk
from scheduler.jobs import (
    AnalyseSettings,
    AnalyseTask,
    Analysis,
    EncoderSettings,
    JobSpec,
    RenderTask,
    Segment,
    StabilizeSettings,
    SwapSettings,
)
from scheduler.tracks import from_table
from tests.integration.films import trim

FRAMES = 4
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

ARCFACE_112_V2 = "38.2946 51.6963 73.5318 51.5014 56.0252 71.7366 41.5493 92.3655 70.7299 92.2041"
TEMPLATES = {
    # In pixels of the size that names them, as published.
    "hyperswap_1a_256": (
        128,
        "46.2946 51.6963 81.5318 51.5014 64.0252 71.7366 49.5493 92.3655 78.7299 92.2041",
    ),
    "inswapper_128": (
        128,
        "46.2946 51.6963 81.5318 51.5014 64.0252 71.7366 49.5493 92.3655 78.7299 92.2041",
    ),
    "uniface_256": (
        512,
        "192.98138 239.94708 318.90277 240.1936 256.63416 314.01935 "
        "201.26117 371.41043 313.08905 371.15118",
    ),
}


def five(landmarks: NDArray[np.floating]) -> Floats:
    """Of the mesh: eyes, nose, corners of the mouth."""
    eyes = ([33, 160, 158, 133, 153, 144], [362, 385, 387, 263, 373, 380])
    rows = [landmarks[part].mean(axis=0) for part in (*eyes, [1, 4], [61], [291])]
    return np.array(rows, np.float64)


def fitted(landmarks: NDArray[np.floating], template: str, ratio: float) -> Floats:
    target = np.array(template.split(), np.float64).reshape(5, 2) * ratio
    affine, _ = cv2.estimateAffinePartial2D(
        five(landmarks), target, method=cv2.RANSAC, ransacReprojThreshold=100
    )
    return np.asarray(affine, np.float64)


def warped(picture: Bytes, affine: Floats, size: int) -> Bytes:
    out = cv2.warpAffine(
        picture, affine, (size, size), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_AREA
    )
    return np.asarray(out, np.uint8)


def run(store: ModelStore, name: str, feed: dict[str, Floats]) -> Floats:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(store.path(name)), options, providers=["CPUExecutionProvider"]
    )
    ready = {key: np.ascontiguousarray(value, np.float32) for key, value in feed.items()}
    return np.asarray(session.run(None, ready)[0][0], np.float64)


def planar(bgr: Bytes) -> Floats:
    """[1, 3, h, w] R'G'B' 0..1."""
    return bgr[:, :, ::-1].transpose(2, 0, 1)[None] / 255.0


def source_of(store: ModelStore, model: str, picture: Bytes, points: Floats) -> Floats:
    if model == "uniface_256":
        size, template = TEMPLATES[model]
        return planar(warped(picture, fitted(points, template, 256 / size), 256))
    chip = planar(warped(picture, fitted(points, ARCFACE_112_V2, 1), 112))
    embedding = run(store, "arcface_w600k_r50", {"input": chip * 255 / 127.5 - 1})
    if model == "hyperswap_1a_256":
        return (embedding / np.linalg.norm(embedding))[None]
    constants = onnx.load(str(store.path(model))).graph.initializer
    matrix = numpy_helper.to_array(constants[-1])
    return (embedding @ matrix / np.linalg.norm(embedding))[None]


def box(size: int) -> Floats:
    width = int(size * 0.5 * 0.3)
    mask = np.ones((size, size), np.float32)
    edge = width // 2
    mask[:edge] = mask[-edge:] = 0
    mask[:, :edge] = mask[:, -edge:] = 0
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), width * 0.25), np.float64)


def by_hand(
    store: ModelStore, model: str, frame: Bytes, points: Floats, source: Floats
) -> tuple[Bytes, Floats]:
    """The frame with the new face, and how much of it is new."""
    spec = SWAPPERS[model]
    size, template = TEMPLATES[model]
    affine = fitted(points, template, spec.size / size)
    crop = planar(warped(frame, affine, spec.size))
    if model != "inswapper_128":
        crop = (crop - 0.5) / 0.5
    out = run(store, model, {"source": source, "target": crop})
    if model != "inswapper_128":
        out = out * 0.5 + 0.5
    swapped = np.rint(out.clip(0, 1).transpose(1, 2, 0)[:, :, ::-1] * 255).astype(np.uint8)
    back = cv2.invertAffineTransform(affine)
    where = frame.shape[1], frame.shape[0]
    mask = cv2.warpAffine(box(spec.size), back, where).clip(0, 1)
    face = cv2.warpAffine(swapped, back, where, borderMode=cv2.BORDER_REPLICATE)
    mixed = mask[..., None] * face + (1 - mask[..., None]) * frame
    return np.rint(mixed).astype(np.uint8), np.asarray(mask, np.float64)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, models: ModelStore) -> ModelStore:
    names = [*TEMPLATES, "arcface_w600k_r50"]
    return standin_store(tmp_path_factory.mktemp("cache"), names=names, beside=models)


def pictures(path: Path) -> list[Bytes]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="bgr24") for frame in film.decode(video=0)]


@pytest.mark.parametrize("model", TEMPLATES)
def test_a_swap_is_near_the_one_by_hand(
    store: ModelStore, samples: dict[str, Path], tmp_path: Path, model: str
) -> None:
    index = probe(trim(samples["wolfgang_langer"], tmp_path / "film.mp4", FRAMES))
    for part in ("analysis", "segments"):
        (tmp_path / part).mkdir()
    job = JobSpec(
        job_id="plain",
        media=index.path,
        output="",
        folder=str(tmp_path),
        swap=SwapSettings(model=model, sources=(str(samples["astronaut"]),)),
        encoder=EncoderSettings(codec="ffv1"),
        analysis=AnalyseSettings(occlusion=False, objects=False),
        stabilize=StabilizeSettings(flow=False, guard=False, seam=False),
    )
    executor = InlineExecutor(LaneKit(cache_dir=store.cache))
    executor.poll(0)
    chunk = Chunk(index=0, start=0, stop=FRAMES)
    found = executor.run(AnalyseTask(job=job, index=index, chunk=chunk, attempt=1))
    assert isinstance(found, Analysis)
    faces = pq.read_table(found.faces_path)
    pq.write_table(faces, job.tracks)
    segment = executor.run(
        RenderTask(
            job=job,
            index=index,
            chunk=chunk,
            attempt=1,
            faces=2,
            crop_size=SWAPPERS[model].size,
        ),
    )
    assert isinstance(segment, Segment)
    tools = Toolbox(LaneKit(cache_dir=store.cache))
    astronaut = cv2.imread(str(samples["astronaut"]))
    assert astronaut is not None
    (face,) = load_sources(job.swap, tools.detector, tools.landmarker, tools.kernels)
    source = source_of(store, model, np.asarray(astronaut, np.uint8), face.landmarks)
    rows = {row.frame: row for row in from_table(faces)}
    before, after = pictures(Path(index.path)), pictures(Path(segment.path))
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        wanted, mask = by_hand(store, model, old, rows[at].landmarks.astype(np.float64), source)
        core = mask > 0.99
        assert core.mean() > 0.05
        # The stand-ins paint noise, which one way of pasting keeps and the other blurs.
        by_them, by_us = (
            cv2.GaussianBlur(each.astype(np.float64) - old, (0, 0), 4)[core]
            for each in (wanted, new)
        )
        off = np.abs(by_us - by_them)
        assert np.abs(by_them).mean() > 4
        assert np.corrcoef(by_us.ravel(), by_them.ravel())[0, 1] > 0.985
        assert off.mean() < 0.9
        assert np.percentile(off, 99) < 4
        far = mask < 1e-3
        np.testing.assert_array_equal(old[far], new[far])
