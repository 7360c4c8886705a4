"""A lane on a fake GPU: FFmpeg's frames lie in host memory where a GPU's would be in its own, and
x264 is in NVENC's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from actors.decoder import Decoder
from actors.device_frames import DeviceFrame, DeviceLayout
from actors.encoder import EncodedSegment, Encoder
from actors.film import open_film
from actors.formats import picture_format
from actors.gpu_decoder import NvdecDecoder
from actors.gpu_video import VideoRoute, gpu_decoder, gpu_encoder
from actors.hashes import frame_hash
from actors.lane_gpu import LaneGpu
from actors.prober import probe
from actors.transport.cuda_ipc import Arenas, CudaRing
from kernels.picture import PictureFormat
from scheduler.jobs import EncoderSettings
from scheduler.media import VideoIndex
from tests.support.fake_gpu import FakeDriver
from tests.unit.actors.films import make_film, ring_for

SETTINGS = EncoderSettings(codec="libx264", preset="ultrafast")
FILMS: dict[str, dict[str, Any]] = {
    "420.mp4": {"options": {"bf": "2", "g": "9"}},
    "420-10.mp4": {"pix_fmt": "yuv420p10le", "options": {"bf": "2", "g": "9"}},
    "hevc-10.mp4": {
        "codec": "libx265",
        "pix_fmt": "yuv420p10le",
        "options": {"x265-params": "log-level=none:keyint=9:min-keyint=9:bframes=2"},
    },
    "422-10.mkv": {"codec": "ffv1", "pix_fmt": "yuv422p10le"},
    "444.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p"},
    "grey.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
    "odd.mkv": {"codec": "ffv1", "size": (61, 47)},
}
EVEN = ["420.mp4", "420-10.mp4"]
ROUTES = {
    "nvdec-nvenc": VideoRoute(decode="nvdec", encode="nvenc"),
    "nvdec-download": VideoRoute(decode="nvdec", encode="download"),
    "upload-nvenc": VideoRoute(decode="upload", encode="nvenc"),
    "upload-download": VideoRoute(decode="upload", encode="download"),
}


NV12 = ROUTES["nvdec-nvenc"].layout(PictureFormat(width=64, height=48), 0, 0)


class NearNvdec(NvdecDecoder):
    """NVDEC with FFmpeg's CPU decoder in its place: frames are in host memory, NV12 or P010."""

    def _open(self) -> InputContainer:
        return open_film(self._index.path)

    def _surface(self, frame: VideoFrame, wanted: str) -> VideoFrame:
        # Held until the next one comes, as NVDEC's are until their copy is done.
        self._held = frame.reformat(format=wanted)
        return self._held


class Lane:
    """One process that decodes, computes and encodes on a fake GPU."""

    def __init__(self, folder: Path) -> None:
        self.driver = FakeDriver(folder, surfaces=True)
        self.gpu = LaneGpu(self.driver)
        self.driver.eager.add(self.gpu.encode)  # NVENC reads in this stream
        self.arenas = Arenas(self.driver)

    def ring(self, layout: DeviceLayout, slots: int = 3) -> CudaRing:
        return self.arenas.ring(layout, slots)

    def decoder(self, route: VideoRoute, index: VideoIndex) -> Any:
        if route.decode == "nvdec":
            return NearNvdec(index, self.gpu)
        return gpu_decoder(route, index, self.gpu)

    def compute(self, frame: DeviceFrame) -> None:
        """What stands for a swap: luma gets another sign, in the stream for it."""
        stream, plane = self.gpu.compute, frame.picture.planes[0]
        rows, row = frame.layout.rows(0)
        frame.await_filled(stream)
        luma = self.driver.load(plane.pointer, plane.pitch, row, rows, stream).view(plane.dtype)
        top = (1 << frame.layout.format.depth) - 1 << frame.picture.shift
        self.driver.store(plane.pointer, plane.pitch, (top - luma).view(np.uint8), stream)
        frame.mark_filled(stream)

    def planes(self, frame: DeviceFrame) -> list[np.ndarray[Any, Any]]:
        """Of a picture, as the film's own format has them; the frame is free again."""
        depth, found = frame.layout.format.depth, []
        for number, rows in enumerate(self.gpu.download(frame)):
            samples = rows.copy().view(frame.layout.format.dtype) >> frame.picture.shift
            pairs = frame.layout.semi_planar and number == 1
            found += [samples[:, 0::2], samples[:, 1::2]] if pairs else [samples]
        assert all((plane < 1 << depth).all() for plane in found)
        return found

    def close(self) -> None:
        self.arenas.close()
        self.gpu.close()
        assert (self.driver.used(), self.driver.events()) == (0, 0)


def make_films(folder: Path) -> dict[str, VideoIndex]:
    """Indices of ``FILMS``."""
    return {name: probe(make_film(folder / name, frames=20, **how)) for name, how in FILMS.items()}


def by_cpu(index: VideoIndex, start: int, stop: int) -> list[tuple[int, str]]:
    return [
        (frame.handle.pts, frame_hash(frame.picture))
        for frame in Decoder(index).decode(start, stop, ring_for(index))
    ]


def render(
    lane: Lane, route: VideoRoute, index: VideoIndex, path: Path, start: int, stop: int
) -> EncodedSegment:
    """One chunk through three streams of one GPU."""
    ring = lane.ring(route.layout(picture_format(index), 1, 16))
    with gpu_encoder(route, index, SETTINGS, path, gpu=lane.gpu) as encoder:
        for frame in lane.decoder(route, index).decode(start, stop, ring):
            lane.compute(frame)
            encoder.encode(frame)
            ring.release(frame.handle.slot)
        made = encoder.close()
    ring.close()
    return made


def render_by_cpu(index: VideoIndex, path: Path, start: int, stop: int) -> EncodedSegment:
    top = (1 << picture_format(index).depth) - 1
    with Encoder(index, SETTINGS, path) as encoder:
        for frame in Decoder(index).decode(start, stop, ring_for(index)):
            luma = frame.picture.planes[0]
            luma[...] = top - luma
            encoder.encode(frame)
        return encoder.close()


def pictures(path: str) -> list[str]:
    index = probe(path)
    return [digest for _, digest in by_cpu(index, 0, index.frames)]
