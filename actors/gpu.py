"""The GPU of a lane's process. Opened when it is first used; nothing here has run on hardware yet.

A process sees only the GPU that Ray gave to its lane (or that CUDA_VISIBLE_DEVICES names), so it is
always the first one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from actors.inference.engines import StreamDevice, TensorRtApi
from actors.profiler import DeviceClock
from actors.transport.cuda_driver import CudaDriver
from actors.transport.libcuda import LibCuda
from kernels.cuda.cupy_device import CupyDevice, NoGpuError
from kernels.cuda.device import Device
from kernels.cuda.nvrtc import NvrtcError
from scheduler.errors import GpuUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU that is open."""

    device: Device
    """What kernels are started on."""
    clock: DeviceClock | None = None
    """Marks on its stream; None: there are none."""
    stream: StreamDevice | None = None
    """Its stream by its handle, for TensorRT; None: it has none to give."""
    tensorrt: TensorRtApi | None = None
    """None: the package of this name."""
    driver: CudaDriver | None = None
    """What memory for whole frames is asked of; None: they stay in host memory."""


OpenGpu = Callable[[Path], Gpu]
"""Opens the process's GPU; its machine code may be kept in the folder that is given."""


def open_gpu(cache_dir: Path) -> Gpu:
    """The process's GPU, by CuPy.

    Raises:
        GpuUnavailable: no CuPy, no driver, no GPU, or no machine code for it.
    """
    # First: FFmpeg can use the GPU only if this opens it (docs/gpu.md, traps).
    driver = None
    with suppress(GpuUnavailable):  # then CuPy, too, finds none, and says more
        driver = LibCuda()
    try:
        device = CupyDevice(cache_dir / "cubins")
    except (NoGpuError, NvrtcError) as error:
        raise no_gpu(str(error).partition(". Next:")[0]) from error
    return Gpu(device=device, clock=device, stream=device, driver=driver)


def no_gpu(found: str) -> GpuUnavailable:
    """The one error of a job for a GPU where there is none to be used."""
    return GpuUnavailable(
        found,
        "an NVIDIA GPU with its driver, and CuPy (pip install 'swapfarm[cuda13]', or [cuda12] "
        "for drivers before 580)",
        "see what `farm doctor` says of the GPU, or leave --device out",
    )
