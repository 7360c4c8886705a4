"""Video into and out of a GPU's memory, over a fake GPU.

The same film must give the same pictures as on the CPU, and the encoders' segments the same bytes
where x264 encodes, by whatever way the frames went.
"""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from actors.device_frames import DeviceFrame
from actors.formats import picture_format
from actors.gpu_encoder import DeviceEncoder
from actors.gpu_video import (
    VideoRoute,
    gpu_encoder,
    video_route,
)
from actors.hashes import frame_hash
from actors.segments import read_segment
from actors.transport.chain import Chain
from kernels.picture import Picture
from scheduler.errors import FramesLost
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from tests.support.fake_gpu import FakeDriver, Fault
from tests.unit.actors.gpu_lane import (
    EVEN,
    FILMS,
    ROUTES,
    SETTINGS,
    Lane,
    by_cpu,
    pictures,
    render,
    render_by_cpu,
)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "upload-download") for name in FILMS),
        *((name, how) for name in EVEN for how in ("upload-nvenc", "nvdec-download")),
    ],
)
def test_pictures_on_the_gpu_are_those_of_the_cpu(
    lane: Lane, gpu_films: dict[str, VideoIndex], name: str, how: str
) -> None:
    index, route = gpu_films[name], ROUTES[how]
    fmt = picture_format(index)
    ring = lane.ring(route.layout(fmt, 0, 0))
    found = []
    for frame in lane.decoder(route, index).decode(3, 9, ring):
        picture = Picture(format=fmt, planes=tuple(lane.planes(frame)))
        found.append((frame.handle.pts, frame_hash(picture)))
        ring.release(frame.handle.slot)
    assert found == by_cpu(index, 3, 9)
    ring.close()


@pytest.mark.parametrize(
    ("name", "how"),
    # x264 stands in for NVENC and takes no P010.
    [(n, h) for n in EVEN for h in ROUTES if n == "420.mp4" or not h.endswith("nvenc")],
)
def test_a_chunk_by_any_route_is_the_chunk_of_the_cpu(
    lane: Lane, gpu_films: dict[str, VideoIndex], tmp_path: Path, name: str, how: str
) -> None:
    index, route = gpu_films[name], ROUTES[how]
    found = render(lane, route, index, tmp_path / "gpu.mp4", 4, 10)
    wanted = render_by_cpu(index, tmp_path / "cpu.mp4", 4, 10)
    assert (found.frames, found.first_pts) == (wanted.frames, wanted.first_pts)
    assert read_segment(found.path).pts == read_segment(wanted.path).pts
    assert pictures(found.path) == pictures(wanted.path)
    if route.encode == "download":
        assert found.sha256 == wanted.sha256
    # Any chunks of one route can be joined.
    parts = [render(lane, route, index, tmp_path / f"{n}.mp4", n, n + 3) for n in (0, 3)]
    assert len({part.extradata_sha256 for part in (found, *parts)}) == 1


@pytest.mark.parametrize("how", ["nvdec-nvenc", "upload-download"])
def test_a_chunk_passes_three_processes(
    gpu_films: dict[str, VideoIndex], tmp_path: Path, how: str
) -> None:
    """Decoder, compute and encoder each have a driver, streams and the arena of their own; they are
    threads here, real processes in test_cuda_ipc."""
    index, route = gpu_films["420.mp4"], ROUTES[how]
    layout = route.layout(picture_format(index), 0, 0)
    name, path = uuid4().hex, tmp_path / "gpu.mp4"

    def process(position: int) -> tuple[int, int]:
        lane = Lane(tmp_path / "gpu")
        opener = lane.arenas.open
        with (
            Chain(name, position, 3, patience=30.0, open_ring=opener) as chain,
            ExitStack() as ends,
        ):
            ring = chain.open(lambda: lane.ring(layout))
            if chain.first:
                frames = lane.decoder(route, index).decode(4, 10, ring)
            else:
                frames = chain.frames()
            encoder = None
            if chain.last:
                encoder = gpu_encoder(route, index, SETTINGS, path, gpu=lane.gpu)
                ends.enter_context(encoder)
            for frame in frames:
                if encoder is not None:
                    encoder.encode(frame)
                elif not chain.first:
                    lane.compute(frame)
                chain.pass_on(frame)
            chain.end()
            if encoder is not None:
                encoder.close()
        lane.arenas.close()
        lane.gpu.close()
        return lane.gpu.transfers.uploads, lane.gpu.transfers.downloads

    with ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(process, range(3)))
    wanted = render_by_cpu(index, tmp_path / "cpu.mp4", 4, 10)
    assert pictures(str(path)) == pictures(wanted.path)
    up, down = route.transfers
    copies = 1 if route.semi_planar else 3
    assert counts == [(6 * copies * up, 0), (0, 0), (0, 6 * copies * down)]
    gc.collect()
    left = FakeDriver(tmp_path / "gpu")
    assert (left.used(), left.events()) == (0, 0)


@pytest.mark.parametrize("how", ROUTES)
def test_pictures_cross_to_the_host_as_often_as_the_route_says(
    lane: Lane, gpu_films: dict[str, VideoIndex], tmp_path: Path, how: str
) -> None:
    index, route, frames = gpu_films["420.mp4"], ROUTES[how], 6
    render(lane, route, index, tmp_path / "gpu.mp4", 4, 4 + frames)
    counted = lane.gpu.transfers
    nbytes = picture_format(index).nbytes
    copies = 1 if route.semi_planar else 3
    up, down = route.transfers
    assert (counted.uploads, counted.downloads) == (frames * copies * up, frames * copies * down)
    assert (counted.uploaded, counted.downloaded) == (frames * nbytes * up, frames * nbytes * down)
    if how == "nvdec-nvenc":
        assert (counted.uploads, counted.downloads, counted.uploaded) == (0, 0, 0)


def _never(*_: object) -> str:
    raise AssertionError("not asked")


@pytest.mark.parametrize("name", ["422-10.mkv", "444.mkv", "grey.mkv"])
def test_what_no_gpu_decodes_goes_through_the_host(
    lane: Lane, gpu_films: dict[str, VideoIndex], tmp_path: Path, name: str
) -> None:
    index, settings = gpu_films[name], EncoderSettings(codec="ffv1")
    route = video_route(index, settings, lane.gpu, decoder_refuses=_never, encoder_refuses=_never)
    assert (route.decode, route.encode, route.semi_planar) == ("upload", "download", False)
    ring = lane.ring(route.layout(picture_format(index), 0, 0))
    path = tmp_path / "out.mp4"
    with gpu_encoder(route, index, settings, path, gpu=lane.gpu) as encoder:
        for frame in lane.decoder(route, index).decode(0, 8, ring):
            encoder.encode(frame)
            ring.release(frame.handle.slot)
        encoder.close()
    ring.close()
    assert pictures(str(path)) == [digest for _, digest in by_cpu(index, 0, 8)]


def test_an_encoder_gives_its_pictures_back_and_they_are_used_again(
    lane: Lane, gpu_films: dict[str, VideoIndex], tmp_path: Path
) -> None:
    index, route = gpu_films["420.mp4"], ROUTES["nvdec-nvenc"]
    for number in range(2):
        render(lane, route, index, tmp_path / f"{number}.mp4", 0, 10)
        gc.collect()
    pool = lane.gpu._surfaces
    assert pool is not None
    assert pool._made == len(pool._free)
    assert pool._made < 10


def test_frames_must_come_in_order(
    lane: Lane, gpu_films: dict[str, VideoIndex], tmp_path: Path
) -> None:
    index, route = gpu_films["420.mp4"], ROUTES["nvdec-nvenc"]
    ring = lane.ring(route.layout(picture_format(index), 0, 0))
    frames = lane.decoder(route, index).decode(0, 3, ring)
    with DeviceEncoder(index, SETTINGS, tmp_path / "out.mp4", gpu=lane.gpu) as encoder:
        encoder.encode(next(frames))
        next(frames)
        with pytest.raises(FramesLost):
            encoder.encode(next(frames))
    assert not list(tmp_path.glob("*.mp4"))
    ring.close()


# Planted bugs


def test_planted_an_encoder_that_does_not_wait(
    lane: Lane, gpu_films: dict[str, VideoIndex], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, route = gpu_films["420.mp4"], ROUTES["nvdec-nvenc"]
    true = DeviceFrame.await_filled

    def forgets(frame: DeviceFrame, stream: int) -> None:
        if stream != lane.gpu.encode:
            true(frame, stream)

    monkeypatch.setattr(DeviceFrame, "await_filled", forgets)
    found = render(lane, route, index, tmp_path / "gpu.mp4", 4, 5)
    wanted = render_by_cpu(index, tmp_path / "cpu.mp4", 4, 5)
    assert pictures(found.path) != pictures(wanted.path)


def test_planted_a_decoder_that_does_not_wait_for_the_encoder(
    lane: Lane, gpu_films: dict[str, VideoIndex], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeviceFrame, "await_free", lambda frame, stream: None)
    with pytest.raises(Fault, match="still reads"):
        render(lane, ROUTES["nvdec-nvenc"], gpu_films["420.mp4"], tmp_path / "gpu.mp4", 4, 10)
    lane.driver.synchronize()


def test_planted_a_staging_buffer_that_is_filled_while_it_is_on_its_way(
    lane: Lane, gpu_films: dict[str, VideoIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads happen late on a GPU: here when somebody waits for the stream."""
    late = _LateUploads(lane.driver)
    monkeypatch.setattr(FakeDriver, "copy", late.copy)
    monkeypatch.setattr(FakeDriver, "synchronize", late.synchronize)
    index, route = gpu_films["444.mkv"], ROUTES["upload-download"]
    assert _uploaded(lane, route, index) == by_cpu(index, 0, 6)
    late.forgetful = True
    assert _uploaded(lane, route, index) != by_cpu(index, 0, 6)


class _LateUploads:
    def __init__(self, driver: FakeDriver) -> None:
        self.forgetful = False
        self._true_copy, self._true_wait = FakeDriver.copy, FakeDriver.synchronize
        self._driver = driver
        self._waiting: list[tuple[Any, ...]] = []

    def copy(self, *values: Any) -> None:
        if values[6] == "up":
            self._waiting.append(values)
        else:
            self.flush()
            self._true_copy(self._driver, *values)

    def synchronize(self, stream: int | None = None) -> None:
        if not self.forgetful:
            self.flush()
        self._true_wait(self._driver, stream)

    def flush(self) -> None:
        for values in self._waiting:
            self._true_copy(self._driver, *values)
        self._waiting.clear()


def _uploaded(lane: Lane, route: VideoRoute, index: VideoIndex) -> list[tuple[int, str]]:
    fmt = picture_format(index)
    ring = lane.ring(route.layout(fmt, 0, 0), 6)
    frames = list(lane.decoder(route, index).decode(0, 6, ring))
    found = []
    for frame in frames:
        lane.driver.synchronize()
        picture = Picture(format=fmt, planes=tuple(lane.planes(frame)))
        found.append((frame.handle.pts, frame_hash(picture)))
    ring.close()
    return found
