"""Pictures, masks and affines that the kernel tests share."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.api import Kernels
from kernels.cpu import CpuKernels
from kernels.cuda.backend import CudaKernels
from kernels.cuda.device import Device
from kernels.geometry import Affine
from kernels.picture import Picture, PictureFormat
from tests.support.cuda_device import Devices

FORMATS = {
    "420-8-709": {},
    "420-8-601-centre": {"matrix": "bt601", "chroma_left": False},
    "420-10-2020-pq": {"depth": 10, "matrix": "bt2020", "transfer": "pq"},
    "420-10-2020-hlg": {"depth": 10, "matrix": "bt2020", "transfer": "hlg"},
    "420-8-full": {"full_range": True, "transfer": "srgb"},
    "422-10": {"depth": 10, "sub_y": 0},
    "411-8": {"sub_x": 2, "sub_y": 0},
    "444-12": {"depth": 12, "sub_x": 0, "sub_y": 0},
    "gray-8": {"planes": 1},
    "gray-12": {"planes": 1, "depth": 12},
    "gbr-8": {"sub_x": 0, "sub_y": 0, "matrix": "rgb", "full_range": True, "transfer": "srgb"},
    "gbr-10-linear": {
        "depth": 10,
        "sub_x": 0,
        "sub_y": 0,
        "matrix": "rgb",
        "full_range": True,
        "transfer": "linear",
    },
}


class Scene:
    """Makers of pictures, masks and affines (test modules do not import each other)."""

    @staticmethod
    def picture(
        width: int, height: int, seed: int = 0, blur: float = 2.0, **options: object
    ) -> Picture:
        """Blurred noise that uses most of the codes, with fine noise on top."""
        fmt = PictureFormat(width=width, height=height, **options)  # type: ignore[arg-type]
        rng = np.random.default_rng(seed)
        top = (1 << fmt.depth) - 1
        planes = []
        for plane in range(fmt.planes):
            noise = cv2.GaussianBlur(rng.random(fmt.plane_shape(plane)), (0, 0), blur)
            noise = (noise - noise.min()) / max(float(np.ptp(noise)), 1e-9)
            planes.append(np.round((0.1 + 0.8 * noise) * top).astype(fmt.dtype))
        return Picture(format=fmt, planes=tuple(planes))

    @staticmethod
    def affine(scale: float, angle: float, x: float, y: float, size: int) -> Affine:
        """Frame -> crop with frame point (x, y) in the crop's middle."""
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = (size - 1) / 2
        return np.column_stack([turn, np.array([middle, middle]) - turn @ np.array([x, y])])

    @staticmethod
    def mask(size: int, feather: float = 0.15, radius: float = 0.45) -> NDArray[np.float32]:
        """An oval with a soft edge."""
        y, x = (np.mgrid[:size, :size] - (size - 1) / 2) / size
        inside = 1 - np.hypot(x / (0.9 * radius), y / radius)
        return np.clip(inside / feather, 0, 1).astype(np.float32)

    @staticmethod
    def copy(picture: Picture) -> Picture:
        return Picture(format=picture.format, planes=tuple(p.copy() for p in picture.planes))


@pytest.fixture(params=FORMATS.values(), ids=FORMATS.keys())
def options(request: pytest.FixtureRequest) -> dict[str, object]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def scene() -> Scene:
    return Scene()


PLACES_OF_CUDA = ["shim", pytest.param("gpu", marks=pytest.mark.cuda)]


@pytest.fixture(scope="session", params=PLACES_OF_CUDA)
def cuda(request: pytest.FixtureRequest) -> Callable[[], Device]:
    """Gives a device that runs the CUDA kernels: on the CPU, and where asked for on a GPU."""
    if request.param == "gpu":
        return request.getfixturevalue("gpu")  # type: ignore[no-any-return]
    devices: Devices = request.getfixturevalue("devices")
    return devices.usual


@pytest.fixture(scope="session", params=["cpu", *PLACES_OF_CUDA])
def backend(request: pytest.FixtureRequest) -> Callable[[], Kernels]:
    """Gives a fresh back end. What holds for one must hold for each."""
    if request.param == "cpu":
        return CpuKernels
    if request.param == "gpu":
        device = request.getfixturevalue("gpu")
    else:
        device = request.getfixturevalue("devices").usual
    return lambda: CudaKernels(device())
