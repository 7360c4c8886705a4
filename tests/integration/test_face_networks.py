"""Detectors, landmarkers, recogniser and classifier of the registry through whole analyses.

The networks are stand-ins: they have the true ones' signatures and follow skin and colours.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from actors.models import ModelStore
from actors.pipeline import StageRun, lane_processes, merge
from actors.prober import probe
from actors.stages import analysis_halo
from actors.toolbox import LaneKit, Toolbox
from benchmarks.standin_parts import MARKERS
from benchmarks.standins import standin_store
from cluster.stitching import FilmStitch
from farm.config import Settings, load_settings
from farm.progress import open_display
from farm.runner import FarmOptions, run_job
from scheduler.chunks import plan_chunks
from scheduler.detection import DetectorSettings, LandmarkerSettings
from scheduler.errors import IdentityUnknown, LandmarksUnfit
from scheduler.jobs import (
    AnalyseSettings,
    AnalyseTask,
    Analysis,
    EncoderSettings,
    FaceChoice,
    JobSpec,
    JobSummary,
    SwapSettings,
)
from scheduler.tracks import FaceObservation, from_table

NETWORKS = (
    *("retinaface_10g", "scrfd_2.5g", "yoloface_8n", "yunet_2023_mar"),
    *("2dfan4", "peppa_wutz", "fan_68_5", "arcface_w600k_r50", "fairface"),
    "inswapper_128",
)
WIDTH, HEIGHT, FRAMES = 480, 270, 30


@pytest.fixture(scope="module")
def tools(models: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Toolbox:
    cv2.setNumThreads(1)
    store = standin_store(tmp_path_factory.mktemp("cache"), names=NETWORKS, beside=models)
    return Toolbox(LaneKit(cache_dir=store.cache, slots=1))


def place(name: str, at: float) -> tuple[float, float]:
    """Centre of a painted face."""
    return {"green": (110 + 3 * at, 120 + 0.5 * at), "red": (360 - at, 140 - at)}[name]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two painted faces on a moving ground: a green one of 80 by 100 pixels and a red one of 60 by
    70, which goes after 20 frames."""
    path = tmp_path_factory.mktemp("film") / "painted.mp4"
    rng = np.random.default_rng(1)
    wall = cv2.resize(rng.integers(90, 130, (12, 20, 3), np.uint8), (WIDTH + 60, HEIGHT))
    grain = rng.integers(-25, 25, (200, 200, 1))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        stream.codec_context.thread_count = 1
        for at in range(FRAMES):
            picture = wall[:, at : at + WIDTH].copy()
            faces = {"green": (40, 50)} | ({"red": (30, 35)} if at < 20 else {})
            for name, (across, down) in faces.items():
                x, y = place(name, at)
                rows, columns = np.mgrid[:HEIGHT, :WIDTH]
                inside = ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1
                texture = grain[
                    np.clip(rows - int(y) + 100, 0, 199), np.clip(columns - int(x) + 100, 0, 199)
                ]
                colour = np.array(MARKERS[name]) / max(MARKERS[name]) * (200 + texture)
                picture[inside] = np.clip(colour, 0, 255).astype(np.uint8)[inside]
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def job_of(film: Path, folder: Path, settings: AnalyseSettings) -> JobSpec:
    (folder / "analysis").mkdir(parents=True, exist_ok=True)
    return JobSpec(
        job_id="test",
        media=str(film),
        output=str(folder / "out.mp4"),
        folder=str(folder),
        swap=SwapSettings(model="inswapper_128"),
        analysis=settings,
    )


def analyse(tools: Toolbox, job: JobSpec, seconds: float = 600.0) -> list[Analysis]:
    index = probe(job.media)
    done = []
    for chunk in plan_chunks(index, seconds=seconds, halo=analysis_halo(job)):
        task = AnalyseTask(job=job, index=index, chunk=chunk, attempt=1)
        result = merge([StageRun(task, tools, lane_processes(1), 0, f"t{chunk.index}").run()])
        assert isinstance(result, Analysis)
        done.append(result)
    return done


def faces_of(analyses: list[Analysis]) -> pa.Table:
    return pa.concat_tables([pq.read_table(done.faces_path) for done in analyses])


DETECTORS = [
    DetectorSettings(model="retinaface"),
    DetectorSettings(model="scrfd"),
    DetectorSettings(model="yolo_face"),
    DetectorSettings(model="yunet"),
    DetectorSettings(model="many"),
    DetectorSettings(model="scrfd", angles=(0, 90), margin=(10, 20, 30, 40)),
]
LANDMARKERS = [LandmarkerSettings(model=name) for name in ("2dfan4", "peppa_wutz", "many")]


def check_places(faces: list[FaceObservation], points: int) -> None:
    """Both painted faces are there, in each frame, where they were painted."""
    found = Counter(face.frame for face in faces)
    assert set(found) == set(range(FRAMES))
    for face in faces:
        assert face.landmarks.shape == (points, 2)
        assert np.array_equal(face.box[:2], face.landmarks.min(axis=0))
        middle = face.box.reshape(2, 2).mean(axis=0)
        away = {name: np.hypot(*(middle - place(name, face.frame))) for name in ("green", "red")}
        assert min(away.values()) < 12
        assert face.frame < 20 or away["green"] < 12
    assert all(found[at] == 2 for at in range(18))
    assert all(found[at] == 1 for at in range(22, FRAMES))


@pytest.mark.parametrize("settings", DETECTORS, ids=lambda s: f"{s.model}{len(s.angles)}")
def test_each_detector_through_a_whole_analysis(
    tools: Toolbox, film: Path, tmp_path: Path, settings: DetectorSettings
) -> None:
    wanted = AnalyseSettings(
        detector=settings, landmarker=LANDMARKERS[0], expression=False, occlusion=False
    )
    job = job_of(film, tmp_path, wanted)
    whole = faces_of(analyse(tools, job))
    check_places(from_table(whole), 68)
    assert faces_of(analyse(tools, job, seconds=0.36)).equals(whole), "any chunks, the same bits"


@pytest.mark.parametrize("expression", [True, False])
@pytest.mark.parametrize("settings", LANDMARKERS, ids=lambda s: s.model)
def test_each_landmarker_through_a_whole_analysis(
    tools: Toolbox, film: Path, tmp_path: Path, settings: LandmarkerSettings, expression: bool
) -> None:
    wanted = AnalyseSettings(
        detector=DETECTORS[1], landmarker=settings, expression=expression, occlusion=False
    )
    job = job_of(film, tmp_path, wanted)
    whole = faces_of(analyse(tools, job))
    check_places(from_table(whole), 68)
    for seconds in (0.28, 0.8):
        assert faces_of(analyse(tools, job, seconds)).equals(whole), "any chunks, the same bits"


def test_the_embedded_detector_finds_for_the_68_points_too(
    tools: Toolbox, samples: dict[str, Path], tmp_path: Path
) -> None:
    job = job_of(samples["face_noface"], tmp_path, AnalyseSettings(occlusion=False))
    mesh = from_table(faces_of(analyse(tools, job)))
    settings = AnalyseSettings(
        landmarker=LANDMARKERS[0],
        detector=DetectorSettings(angles=(0, 180)),
        expression=False,
        occlusion=False,
    )
    ours = from_table(faces_of(analyse(tools, replace(job, analysis=settings))))
    by_frame = {face.frame: face for face in mesh}
    both = [(face, by_frame[face.frame]) for face in ours if face.frame in by_frame]
    assert len(both) >= 0.9 * len(mesh)
    away = [
        np.abs(one.box.reshape(2, 2).mean(axis=0) - other.box.reshape(2, 2).mean(axis=0)).max()
        / (other.box[2] - other.box[0])
        for one, other in both
    ]
    assert np.median(away) < 0.5


class Calls:
    """Counts the runs of a toolbox's networks, by name."""

    def __init__(self, tools: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count: Counter[str] = Counter()
        load = tools.network

        def counted(name: str) -> object:
            network = load(name)
            run = network.run

            def run_counted(*inputs: NDArray[np.float32]) -> object:
                self.count[name] += 1
                return run(*inputs)

            network.run = run_counted  # type: ignore[method-assign]
            return network

        monkeypatch.setattr(tools, "network", counted)
        for kept in ("classifier", "arcface"):
            tools.__dict__.pop(kept, None)
        tools._detectors.clear()
        tools._landmarkers.clear()


@pytest.fixture
def calls(tools: Toolbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    yield Calls(tools, monkeypatch)
    for kept in ("classifier", "arcface"):
        tools.__dict__.pop(kept, None)
    tools._detectors.clear()
    tools._landmarkers.clear()


NEURAL = AnalyseSettings(
    detector=DETECTORS[1], landmarker=LANDMARKERS[0], expression=False, occlusion=False
)


def test_nothing_is_computed_that_nobody_asked_for(
    tools: Toolbox, film: Path, tmp_path: Path, calls: Calls
) -> None:
    (plain,) = analyse(tools, job_of(film, tmp_path, NEURAL))
    assert (plain.embedded, plain.classified, plain.portraits_path) == (0, 0, "")
    # Keyframes are 0, 6, ... 24 and 29: two faces on four of them, one on two. And one look tells
    # that the red face does not live on.
    assert calls.count == {"scrfd_2.5g": 6, "2dfan4": 11, "fan_68_5": 10}
    calls.count.clear()
    asked = replace(job_of(film, tmp_path, NEURAL), faces=FaceChoice(gender="female"))
    (classified,) = analyse(tools, asked)
    assert (classified.embedded, classified.classified) == (0, calls.count["fairface"])
    assert 2 <= calls.count["fairface"] <= 6, "a few views of each face, not each frame"
    assert calls.count["arcface_w600k_r50"] == 0


def stitched(
    job: JobSpec, analyses: list[Analysis], references: NDArray[np.float64] | None = None
) -> Counter[tuple[str, int]]:
    """How many rows of which painted face get which person."""
    stitch = FilmStitch(analyses, [], np.eye(2, 3))
    stitch.write(job, references, lambda table: None)
    rows: Counter[tuple[str, int]] = Counter()
    for face in from_table(pq.read_table(job.tracks)):
        x, _ = face.box.reshape(2, 2).mean(axis=0)
        name = min(("green", "red"), key=lambda one: abs(x - place(one, face.frame)[0]))
        rows[name, face.person] += 1
    return rows


def test_filters_choose_by_what_the_classifier_says(
    tools: Toolbox, film: Path, tmp_path: Path
) -> None:
    # The stand-in: green is latino, red is black; gender by how green they are.
    job = job_of(film, tmp_path, NEURAL)
    job = replace(job, faces=FaceChoice(race="latino"))
    analyses = analyse(tools, job, seconds=0.4)
    rows = stitched(job, analyses)
    assert set(rows) == {("green", 0), ("red", -1)}
    assert rows["green", 0] == FRAMES
    rows = stitched(replace(job, faces=FaceChoice(race="black")), analyses)
    assert set(rows) == {("green", -1), ("red", 0)}
    women = stitched(replace(job, faces=FaceChoice(gender="female")), analyses)
    men = stitched(replace(job, faces=FaceChoice(gender="male")), analyses)
    assert set(women) == {("green", 0), ("red", -1)}
    assert set(men) == {("green", -1), ("red", 0)}
    everybody = stitched(replace(job, faces=FaceChoice(ages=(0, 100))), analyses)
    assert set(everybody) == {("green", 0), ("red", 0)}
    with pytest.raises(IdentityUnknown, match="latino"):
        stitched(replace(job, faces=FaceChoice(race="indian")), analyses)


@pytest.mark.parametrize("recognizer", ["arcface"])
def test_the_person_of_a_reference_frame(
    tools: Toolbox, film: Path, tmp_path: Path, recognizer: str
) -> None:
    job = replace(job_of(film, tmp_path, NEURAL), identities=True, recognizer=recognizer)
    analyses = analyse(tools, job)
    assert analyses[0].embedded >= 2
    for position, (chosen, other) in enumerate([("green", "red"), ("red", "green")]):
        choice = FaceChoice(
            mode="reference", reference_frame=5, reference_position=position, order="large-small"
        )
        rows = stitched(replace(job, faces=choice), analyses)
        assert set(rows) == {(chosen, 0), (other, -1)}
    choice = FaceChoice(mode="reference", reference_frame=25, reference_position=1)
    with pytest.raises(IdentityUnknown, match="frame 25 of the film shows 1 face"):
        stitched(replace(job, faces=choice), analyses)


@pytest.fixture(scope="module")
def settings(tools: Toolbox, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    environment = {
        "SWAPFARM_CACHE_DIR": str(tools.kit.cache_dir),
        "SWAPFARM_STATE_DIR": str(tmp_path_factory.mktemp("state")),
        "SWAPFARM_ANALYSIS_GB": "1",
    }
    return load_settings(environment=environment)


def whole_job(settings: Settings, job: JobSpec) -> JobSummary:
    display = open_display(True, io.StringIO(), io.StringIO())
    return run_job(job, settings, FarmOptions(ray=False), display)


def test_a_whole_job_with_filters_and_a_second_one_from_the_cache(
    settings: Settings, film: Path, samples: dict[str, Path], tmp_path: Path
) -> None:
    job = replace(
        job_of(film, tmp_path / "none", NEURAL),
        folder=str(tmp_path / "one"),
        swap=SwapSettings(model="inswapper_128", sources=(str(samples["astronaut"]),)),
        encoder=EncoderSettings(preset="ultrafast"),
        faces=FaceChoice(race="black"),
    )
    red = whole_job(settings, job)
    assert (red.swapped_frames, red.embedded) == (red.swaps, 0)
    assert 18 <= red.swaps <= 21
    assert 2 <= red.classified <= 6
    assert (red.tracks, red.analysis_cached) == (2, False)
    everybody = replace(job, folder=str(tmp_path / "two"), faces=FaceChoice())
    both = whole_job(settings, everybody)
    assert (both.analysis_cached, both.classified) == (True, 0), "an entry that knows more serves"
    assert both.swaps == both.faces == FRAMES + red.swaps
    # The source is a woman to the stand-in as much as the green face is, or the red one.
    alike = replace(job, folder=str(tmp_path / "three"), faces=FaceChoice(gender="auto"))
    assert whole_job(settings, alike).swaps in (FRAMES, red.swaps)
    other = replace(NEURAL, landmarker=LANDMARKERS[1])
    fresh = replace(everybody, folder=str(tmp_path / "four"), analysis=other)
    assert not whole_job(settings, fresh).analysis_cached


def test_the_mesh_swapper_needs_the_mesh(
    settings: Settings, film: Path, samples: dict[str, Path], tmp_path: Path
) -> None:
    job = replace(
        job_of(film, tmp_path, NEURAL),
        swap=SwapSettings(sources=(str(samples["astronaut"]),)),
    )
    with pytest.raises(LandmarksUnfit, match="2dfan4 of 68 points"):
        whole_job(settings, job)


@pytest.fixture(scope="module")
def slow_film(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Path:
    """Every frame of the painted film's beginning three times, sample for sample."""
    path = tmp_path_factory.mktemp("film") / "slow.mkv"
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        for at, frame in enumerate(source.decode(video=0)):
            if at == 10:
                break
            planes = frame.to_ndarray()
            for again in range(3):
                copy = VideoFrame.from_ndarray(planes, format="yuv444p")
                copy.pts, copy.time_base = 3 * at + again, Fraction(1, 25)
                out.mux(stream.encode(copy))
        out.mux(stream.encode(None))
    return path


def test_repeated_frames_are_computed_once(
    tools: Toolbox, film: Path, slow_film: Path, tmp_path: Path, calls: Calls
) -> None:
    settings = replace(NEURAL, expression=True)
    analyse(tools, job_of(film, tmp_path, settings))
    every = calls.count["2dfan4"]
    calls.count.clear()
    job = job_of(slow_film, tmp_path, settings)
    table = faces_of(analyse(tools, job))
    assert calls.count["2dfan4"] < 0.65 * every
    faces = from_table(table)
    by_frame = {at: [face for face in faces if face.frame == at] for at in range(30)}
    for at in range(30):
        if at % 3 and at % 6 and at != 29:
            assert [face.landmarks.tolist() for face in by_frame[at]] == [
                face.landmarks.tolist() for face in by_frame[at - 1]
            ]
    for seconds in (0.28, 0.52):
        assert faces_of(analyse(tools, job, seconds)).equals(table)
