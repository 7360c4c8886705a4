"""Tools of a lane on a played GPU. FFmpeg's CPU decoder stands for NVDEC: its frames are in host
memory, NV12; x264 stands for NVENC: it reads frames where they lie."""

from __future__ import annotations

import actors.device_lane
import actors.gpu_video
from actors.gpu_video import VideoRoute
from actors.toolbox import LaneKit, Toolbox
from scheduler.devices import TENSORRT
from tests.support.played_gpu import PlayedGpu
from tests.unit.actors.gpu_lane import ROUTES, NearNvdec


def played_tools(
    kit: LaneKit, played: PlayedGpu, route: VideoRoute = ROUTES["nvdec-nvenc"]
) -> Toolbox:
    """Tools of a process on a played GPU, whose pictures come and go by a route.

    What stands for NVDEC stays for the process's life: there is no other here.
    """
    actors.gpu_video.NvdecDecoder = NearNvdec  # type: ignore[misc]
    tools = Toolbox(kit, TENSORRT, lambda _: played.gpu)
    lane = tools._process_gpu.lane
    lane.route = lambda index, settings: route  # type: ignore[method-assign]
    played.driver.eager.add(lane.gpu.encode)  # NVENC reads in this stream
    return tools
