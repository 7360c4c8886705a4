"""Every neural swapper's stand-in through the whole pipeline of one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.lane_files import LaneFiles
from actors.masks import RecordedMasks
from actors.models import ModelStore
from actors.pipeline import lane_processes
from actors.prober import probe
from actors.stages import analysis_halo
from actors.swap_needs import swap_crop_size, swap_models
from actors.swapper_specs import ENHANCERS, SWAPPERS
from actors.toolbox import LaneKit
from benchmarks.standins import standin_store
from cluster.analyses import AnalysisCache
from cluster.inline import InlineExecutor
from cluster.service import JobService
from kernels.api import plane_touched
from kernels.picture import PictureFormat
from scheduler import hands as hand_tables
from scheduler.chunks import Chunk
from scheduler.events import SOME_MEMORY, LaneReady
from scheduler.hands import HandObservation
from scheduler.jobs import (
    AnalyseSettings,
    AnalyseTask,
    Analysis,
    EncoderSettings,
    EnhancerSettings,
    JobSpec,
    JobSummary,
    LaneTask,
    RenderTask,
    Segment,
    StabilizeSettings,
    SwapSettings,
)
from scheduler.masks import MaskSettings
from scheduler.media import VideoIndex
from scheduler.tracks import from_table
from tests.integration.films import planes, shown_pts, trim
from tests.unit.actors.test_pipeline import finish, spawn

FRAMES = 9
UNSTEADY = StabilizeSettings(flow=False, guard=False, seam=False)


@pytest.fixture(scope="module")
def standins(tmp_path_factory: pytest.TempPathFactory, models: ModelStore) -> ModelStore:
    return standin_store(tmp_path_factory.mktemp("cache"), beside=models)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> VideoIndex:
    folder = tmp_path_factory.mktemp("film")
    return probe(trim(samples["wolfgang_langer"], folder / "film.mp4", FRAMES))


Lane = Callable[[LaneTask], Analysis | Segment]


def lane(store: ModelStore, **kit: int) -> Lane:
    executor = InlineExecutor(LaneKit(cache_dir=store.cache, **kit))
    assert executor.poll(0) == [LaneReady(lane=0, gpu_memory=SOME_MEMORY)]
    return executor.run


@pytest.fixture(scope="module")
def tracks(
    tmp_path_factory: pytest.TempPathFactory, standins: ModelStore, index: VideoIndex
) -> pa.Table:
    """The film's faces, the same for every swapper."""
    folder = tmp_path_factory.mktemp("analysis")
    (folder / "analysis").mkdir()
    job = JobSpec(
        job_id="faces",
        media=index.path,
        output="",
        folder=str(folder),
        swap=SwapSettings(),
        analysis=AnalyseSettings(occlusion=False, objects=False),
    )
    chunk = Chunk(index=0, start=0, stop=FRAMES, warmup=0, tail=0)
    assert analysis_halo(job) > 0
    found = lane(standins)(AnalyseTask(job=job, index=index, chunk=chunk, attempt=1))
    assert isinstance(found, Analysis)
    table = pq.read_table(found.faces_path)
    assert table.num_rows >= FRAMES
    return table


class Film:
    """Renders the clip again and again, with other swaps."""

    def __init__(self, index: VideoIndex, tracks: pa.Table, source: Path, folder: Path) -> None:
        self.index = index
        self._tracks = tracks
        self._source = str(source)
        self._folder = folder
        self._count = 0

    def swap(self, model: str, **more: object) -> SwapSettings:
        return SwapSettings(model=model, sources=(self._source,), **more)  # type: ignore[arg-type]

    def render(
        self,
        run: Lane,
        swap: SwapSettings,
        *borders: int,
        stabilize: StabilizeSettings = UNSTEADY,
        times: int = 1,
    ) -> tuple[list[str], list[Segment], JobSpec]:
        """Frame hashes and segments of the film cut at ``borders``.

        Args:
            times: each face of the table so often, on tracks of their own.
        """
        self._count += 1
        folder = self._folder / str(self._count)
        (folder / "segments").mkdir(parents=True)
        job = JobSpec(
            job_id=f"neural{self._count}",
            media=self.index.path,
            output=str(folder / "out.mp4"),
            folder=str(folder),
            swap=swap,
            encoder=EncoderSettings(codec="ffv1"),
            analysis=AnalyseSettings(occlusion=False, objects=False),
            stabilize=stabilize,
            hashes_output="hashes",
            masks_output="masks",
        )
        tables = [self._tracks] * times
        table = pa.concat_tables(tables).sort_by("frame")
        pq.write_table(table, job.tracks)
        edges = [0, *borders, FRAMES]
        segments: list[Segment] = []
        for number, (start, stop) in enumerate(pairwise(edges)):
            task = RenderTask(
                job=job,
                index=self.index,
                chunk=Chunk(index=number, start=start, stop=stop),
                attempt=1,
                faces=times * 2,
                crop_size=swap_crop_size(swap, 256),
            )
            segment = run(task)
            assert isinstance(segment, Segment)
            assert segment.frames == stop - start
            assert Path(segment.masks_path) == LaneFiles(task).masks
            segments.append(segment)
        return [each for segment in segments for each in segment.frame_hashes], segments, job

    def check_untouched(self, segments: list[Segment]) -> None:
        (segment,) = segments
        check_untouched(self.index, [Path(segment.path)], Path(segment.masks_path))


@pytest.fixture
def film(index: VideoIndex, tracks: pa.Table, samples: dict[str, Path], tmp_path: Path) -> Film:
    return Film(index, tracks, samples["astronaut"], tmp_path)


def check_untouched(index: VideoIndex, films: Sequence[Path], masks: Path) -> float:
    """Every sample outside the recorded masks is the source's.

    Args:
        films: the result, in one file or in segments.
    Returns: the largest mean change of luma inside the mask in any frame.
    """
    fmt = PictureFormat(width=index.width, height=index.height)
    recorded = RecordedMasks(masks)
    most, count = 0.0, 0
    before, after = planes(Path(index.path)), chain.from_iterable(map(planes, films))
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        touched = recorded.mask(at, fmt.width, fmt.height)
        assert 0.005 < touched.mean() < 0.8
        for number, (a, b) in enumerate(zip(old, new, strict=True)):
            allowed = plane_touched(touched, fmt, number)
            np.testing.assert_array_equal(a[~allowed], b[~allowed])
        change = np.abs(old[0].astype(int) - new[0])[touched]
        most = max(most, float(change.mean()))
        count += 1
    assert count == FRAMES
    return most


@pytest.fixture(scope="module")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> AnalysisCache:
    return AnalysisCache(tmp_path_factory.mktemp("analyses"), 1 << 30, "this test")


def whole_job(
    store: ModelStore, analyses: AnalysisCache, swap: SwapSettings, media: Path, folder: Path
) -> JobSummary:
    """A job from its probe to the published film, in this process; the film is ``out.mkv``."""
    job = JobSpec(
        job_id="neural",
        media=str(media),
        output=str(folder / "out.mkv"),
        folder=str(folder / "job"),
        swap=swap,
        encoder=EncoderSettings(codec="ffv1"),
        analysis=AnalyseSettings(occlusion=False),
        masks_output=str(folder / "masks.parquet"),
        chunk_seconds=0.2,
    )
    service = JobService(
        open_executor=lambda: InlineExecutor(LaneKit(cache_dir=store.cache)),
        check_sources=lambda spec: None,
        watch=lambda snapshot: None,
        note=lambda sentence: None,
        marking={},
        analyses=analyses,
    )
    return service.run(job)


@pytest.mark.parametrize("model", SWAPPERS)
def test_every_swapper_makes_a_film(
    standins: ModelStore,
    analyses: AnalysisCache,
    index: VideoIndex,
    samples: dict[str, Path],
    tmp_path: Path,
    model: str,
) -> None:
    swap = SwapSettings(model=model, sources=(str(samples["astronaut"]),))
    assert all(standins.registry[name].standin for name in swap_models(swap))
    summary = whole_job(standins, analyses, swap, Path(index.path), tmp_path)
    assert (summary.frames, summary.swapped_frames) == (FRAMES, FRAMES)
    assert summary.chunks > 1
    assert summary.crop_size == SWAPPERS[model].size
    assert shown_pts(tmp_path / "out.mkv") == pytest.approx(shown_pts(Path(index.path)), abs=1e6)
    changed = check_untouched(index, [tmp_path / "out.mkv"], tmp_path / "masks.parquet")
    # The stand-ins tint by the source; far more would be a picture read wrongly.
    assert 0.5 < changed < 40


MASKS = {
    "hull": MaskSettings(types=("hull",)),
    "area": MaskSettings(types=("box", "area"), areas=("lower-face",)),
    "occlusion": MaskSettings(types=("box", "occlusion")),
    "many": MaskSettings(types=("occlusion",), occluder="many"),
    "region": MaskSettings(types=("box", "region"), regions=("skin", "nose")),
    "model": MaskSettings(types=("model",)),
    "padding": MaskSettings(blur=0.5, padding=(20, 0, 30, 10)),
}


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS.keys())
def test_every_mask_type(standins: ModelStore, film: Film, masks: MaskSettings) -> None:
    run = lane(standins)
    plain, _, _ = film.render(run, film.swap("hyperswap_1b_256"))
    hashes, segments, _ = film.render(run, film.swap("hyperswap_1b_256", masks=masks))
    film.check_untouched(segments)
    assert not set(hashes) & set(plain)


OPTIONS: dict[str, dict[str, object]] = {
    "boost": {"boost": 384},
    "weight": {"weight": 0.2},
    "gfpgan_1.4": {"enhancer": EnhancerSettings(model="gfpgan_1.4")},
    "blend": {"enhancer": EnhancerSettings(model="gfpgan_1.4", blend=0.3)},
    "codeformer": {"enhancer": EnhancerSettings(model="codeformer")},
    "codeformer's weight": {"enhancer": EnhancerSettings(model="codeformer", weight=1.0)},
}


def test_every_option_makes_other_frames(standins: ModelStore, film: Film) -> None:
    run = lane(standins)
    seen, _, _ = film.render(run, film.swap("inswapper_128"))
    for option in OPTIONS.values():
        hashes, segments, _ = film.render(run, film.swap("inswapper_128", **option))
        film.check_untouched(segments)
        assert not set(hashes) & set(seen)
        seen += hashes


@pytest.mark.parametrize("name", ENHANCERS)
def test_every_enhancer(standins: ModelStore, film: Film, name: str) -> None:
    # The largest take seconds for a face even as stand-ins: they sharpen the mesh swapper's.
    settings = EnhancerSettings(model=name)
    model = "mesh" if ENHANCERS[name].size > 512 else "hyperswap_1a_256"
    hashes, segments, _ = film.render(lane(standins), film.swap(model, enhancer=settings))
    assert len(set(hashes)) == FRAMES
    film.check_untouched(segments)


ALL = {
    "plain": {},
    "boost and weight": {"boost": 256, "weight": 0.9},
    "all masks": {
        "masks": MaskSettings(types=("box", "hull", "area", "occlusion", "region"), blur=0.2)
    },
    "enhancer": {"enhancer": EnhancerSettings(model="gpen_bfr_256")},
}


@pytest.mark.parametrize("options", ALL.values(), ids=ALL.keys())
def test_no_chunk_and_no_batch_changes_a_frame(
    standins: ModelStore, film: Film, options: dict[str, object]
) -> None:
    """Two faces a frame, so that batches also break within a frame."""
    swap = film.swap("inswapper_128", **options)
    whole, _, _ = film.render(lane(standins), swap, times=2)
    assert len(set(whole)) == FRAMES
    for batch, borders in ((1, (4, 5)), (4, ()), (16, (2,))):
        run = lane(standins, batch=batch)
        hashes, segments, _ = film.render(run, swap, *borders, times=2)
        assert len(segments) == len(borders) + 1
        assert hashes == whole


def test_the_steadied_film_does_not_change_with_the_batch(standins: ModelStore, film: Film) -> None:
    swap = film.swap("hyperswap_1a_256")
    one, _, _ = film.render(lane(standins), swap, stabilize=StabilizeSettings())
    for batch in (2, 8):
        run = lane(standins, batch=batch)
        assert film.render(run, swap, stabilize=StabilizeSettings())[0] == one


@pytest.mark.parametrize("count", [2, 5])
def test_processes_of_a_lane_give_what_one_gives(
    standins: ModelStore, film: Film, tmp_path: Path, count: int
) -> None:
    swap = film.swap("hyperswap_1a_256")
    whole, _, job = film.render(lane(standins), swap)
    kit = LaneKit(cache_dir=standins.cache, batch=4, slots=4, patience=60.0)
    chunk = Chunk(index=7, start=0, stop=FRAMES)
    task = RenderTask(job=job, index=film.index, chunk=chunk, attempt=2, faces=2, crop_size=256)
    folder = tmp_path / "programs"
    programs = spawn(task, kit, lane_processes(count), folder, f"neural{uuid4().hex}")
    assert finish(programs, folder).frame_hashes == tuple(whole)


def test_a_hand_stays_in_front(
    standins: ModelStore, film: Film, tracks: pa.Table, tmp_path: Path
) -> None:
    """A table says that a hand lies over the face, wide enough to be sure of its middle."""
    plain, segments, job = film.render(lane(standins), film.swap("hyperswap_1a_256"))
    face = from_table(tracks)[0]
    x0, y0, x1, y1 = face.box
    centre, reach = ((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0) / 3
    fingers = np.linspace(-0.5, 0.5, 5)
    joints = [(0.0, 1.0)] + [(side, down) for side in fingers for down in (0.4, 0.0, -0.4, -0.8)]
    points = (np.array(joints) * reach + centre).astype(np.float32)
    hands = [HandObservation(frame=at, landmarks=points, presence=1.0) for at in range(3)]
    job = replace(job, folder=str(tmp_path / "hands"), analysis=AnalyseSettings(objects=False))
    (tmp_path / "hands" / "segments").mkdir(parents=True)
    pq.write_table(tracks.sort_by("frame"), job.tracks)
    pq.write_table(hand_tables.to_table(hands), job.hands)
    chunk = Chunk(index=0, start=0, stop=FRAMES)
    task = RenderTask(job=job, index=film.index, chunk=chunk, attempt=1, faces=2, crop_size=256)
    segment = lane(standins)(task)
    assert isinstance(segment, Segment)
    assert segment.frame_hashes[3:] == tuple(plain[3:])
    assert not set(segment.frame_hashes[:3]) & set(plain)
    old, new = (RecordedMasks(each.masks_path) for each in (segments[0], segment))
    size = film.index.width, film.index.height
    before, after = old.mask(0, *size), new.mask(0, *size)
    assert not (after & ~before).any()
    x, y = np.rint(points[6]).astype(int)
    assert before[y, x]
    assert not after[y - 1 : y + 2, x - 1 : x + 2].any()
