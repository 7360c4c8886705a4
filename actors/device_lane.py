"""What a process of a lane has for frames that stay in its GPU's memory: streams, memory for slots,
kernels, and how pictures come and go."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from actors.device_frames import DeviceFrame
from actors.encoder import SegmentEncoder
from actors.formats import picture_format
from actors.gpu import Gpu, OpenGpu, no_gpu
from actors.gpu_video import PACKETS, VideoRoute, gpu_decoder, gpu_encoder, video_route
from actors.lane_files import LaneFiles
from actors.lane_gpu import LaneGpu
from actors.packet_decoder import OpenPackets
from actors.transfers import CountedDevice
from actors.transport.cuda_ipc import Arenas, CudaRing
from kernels.cuda.launcher import Launcher
from scheduler.jobs import EncoderSettings, RenderTask
from scheduler.media import VideoIndex


class DeviceLane:
    """One process's share. Kept for the process's life, over its tasks.

    Args:
        gpu: that of the process.
        packets: another library that is to decode films where it can.

    Raises:
        GpuUnavailable: it has no stream or no driver to be asked for memory.
    """

    def __init__(self, gpu: Gpu, packets: OpenPackets | None = None) -> None:
        if gpu.stream is None or gpu.driver is None:
            raise no_gpu("a GPU whose memory cannot be shared")
        self.gpu = LaneGpu(gpu.driver, compute=gpu.stream.stream)
        self.launcher = Launcher(CountedDevice(gpu.device, self.gpu.transfers))
        """Of kernels in the stream of the networks."""
        self.arenas = Arenas(gpu.driver)
        self._packets = packets
        self._route: tuple[object, VideoRoute] | None = None

    def route(self, index: VideoIndex, settings: EncoderSettings) -> VideoRoute:
        """How a film's pictures come and go: tried out when the first of its tasks comes."""
        asked = (index.path, index.codec, picture_format(index), settings)
        if self._route is None or self._route[0] != asked:
            self._route = asked, video_route(index, settings, self.gpu, packets=self._packets)
        return self._route[1]

    def ring(self, task: RenderTask, slots: int) -> CudaRing:
        """A ring for a task.

        Raises: LaneOutOfMemory, GpuFailed.
        """
        route = self.route(task.index, task.job.encoder)
        layout = route.layout(picture_format(task.index), task.faces, task.crop_size)
        return self.arenas.ring(layout, slots)

    def decode(
        self, task: RenderTask, start: int, stop: int, ring: CudaRing
    ) -> Iterator[DeviceFrame]:
        """Frames [start, stop) of a task's film, each in a slot of the ring."""
        route = self.route(task.index, task.job.encoder)
        return gpu_decoder(route, task.index, self.gpu).decode(start, stop, ring)

    def encoder(self, task: RenderTask) -> SegmentEncoder[DeviceFrame]:
        """Encodes a task's segment."""
        job = task.job
        route, path = self.route(task.index, job.encoder), LaneFiles(task).segment
        return gpu_encoder(route, task.index, job.encoder, path, job.cut.rate, gpu=self.gpu)

    def computed(self, frames: Iterator[DeviceFrame]) -> Iterator[DeviceFrame]:
        """Frames for a stage that works in the kernels' stream."""
        for frame in frames:
            frame.await_filled(self.gpu.compute)
            yield frame

    def passed(self, frames: Iterator[DeviceFrame]) -> Iterator[DeviceFrame]:
        """Frames that such a stage passes on."""
        for frame in frames:
            frame.mark_filled(self.gpu.compute)
            yield frame

    def skip(self, frame: DeviceFrame) -> None:
        """The last stage does not read a frame: its slot is free when all before it are done."""
        frame.await_filled(self.gpu.encode)
        frame.mark_free(self.gpu.encode)

    def close(self) -> None:
        """Gives the memory back.

        Raises:
            LaneError: another process still has it open.
        """
        self.gpu.close()
        self.arenas.close()


class ProcessGpu:
    """The GPU of one process. Opened when it is first needed and kept for the process's life,
    whatever its jobs are for: streams and memory that others of the lane know stay what they are.

    Args:
        opens: gives it.
        cache_dir: where its machine code may be kept.
        decoder: what decodes films there, FFmpeg or one of ``gpu_video.PACKETS``.
    """

    def __init__(self, opens: OpenGpu, cache_dir: Path, decoder: str = "ffmpeg") -> None:
        self._opens, self._cache_dir, self._decoder = opens, cache_dir, decoder

    @cached_property
    def gpu(self) -> Gpu:
        """Raises GpuUnavailable."""
        return self._opens(self._cache_dir)

    @cached_property
    def lane(self) -> DeviceLane:
        """Raises GpuUnavailable."""
        return DeviceLane(self.gpu, PACKETS.get(self._decoder))

    def close(self) -> None:
        """Gives the memory for frames back.

        Raises:
            LaneError: another process still has it open.
        """
        lane = self.__dict__.pop("lane", None)
        if lane is not None:
            lane.close()
