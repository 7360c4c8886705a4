"""The CUDA back end: ``kernels.api.Kernels`` for pictures in host memory.

What is in device memory already goes to the same steps without a copy
(``kernels.cuda.crops``, ``kernels.cuda.pastes``).
"""

from __future__ import annotations

from kernels.api import Image
from kernels.cuda.crops import Crops
from kernels.cuda.device import Device
from kernels.cuda.launcher import Launcher
from kernels.cuda.sampled import plane_factors, sent
from kernels.geometry import Affine, invert
from kernels.picture import Picture, Roi


class CudaKernels:
    """``kernels.api.Kernels`` on a GPU; see there for the contract of each method.

    Holds tables and memory between calls, never pixels. One object serves one thread.
    """

    __slots__ = ("_crops", "_launcher")

    def __init__(self, device: Device) -> None:
        self._launcher = Launcher(device)
        self._crops = Crops(self._launcher)

    def crop(self, picture: Picture, affine: Affine, size: int) -> Image:
        if size < 1:
            raise ValueError(f"size {size}; wanted at least 1 pixel")
        to_frame = invert(affine)
        box = Roi(x0=0, y0=0, x1=size, y1=size)
        factors = plane_factors(picture.format, to_frame)
        device_picture = sent(self._launcher, picture, to_frame, factors, box)
        pointer = self._launcher.memory("crop", 12 * size * size)
        self._crops.crop(device_picture, to_frame, box, size, pointer)
        return self._launcher.fetched(pointer, (size, size, 3), "float32")
