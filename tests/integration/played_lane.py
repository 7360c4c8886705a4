"""Tools of a lane on a played GPU. FFmpeg's CPU decoder stands for NVDEC: its frames are in host
memory, NV12; x264 stands for NVENC: it reads frames where they lie."""

from __future__ import annotations

from collections.abc import Iterator

from actors.device_frames import DeviceFrame
from actors.gpu_video import VideoRoute, gpu_decoder
from actors.toolbox import LaneKit, Toolbox
from actors.transport.cuda_ipc import CudaRing
from scheduler.devices import TENSORRT
from scheduler.jobs import RenderTask
from tests.support.played_gpu import PlayedGpu
from tests.unit.actors.gpu_lane import ROUTES, NearNvdec


def played_tools(
    kit: LaneKit, played: PlayedGpu, route: VideoRoute = ROUTES["nvdec-nvenc"]
) -> Toolbox:
    """Tools of a process on a played GPU, whose pictures come and go by a route."""
    tools = Toolbox(kit, TENSORRT, lambda _: played.gpu)
    lane = tools._lane

    def decode(task: RenderTask, start: int, stop: int, ring: CudaRing) -> Iterator[DeviceFrame]:
        if route.decode == "nvdec":
            return NearNvdec(task.index, lane.gpu).decode(start, stop, ring)
        return gpu_decoder(route, task.index, lane.gpu).decode(start, stop, ring)

    lane.route = lambda index, settings: route  # type: ignore[method-assign]
    lane.decode = decode  # type: ignore[method-assign]
    played.driver.eager.add(lane.gpu.encode)  # NVENC reads in this stream
    return tools
