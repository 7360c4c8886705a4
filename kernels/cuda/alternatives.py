"""Warps and colour by other libraries, to compare ours with: thin, imported when they are made.

All of them sample with a cubic of a = -0.75, ours with -0.5 (Catmull-Rom): they differ by half a
code on average. CV-CUDA keeps bytes and rounds; its NV12 is BT.601 of limited range only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.cuda.interop import DeviceArray
from kernels.geometry import Affine, invert


class NotInstalledError(RuntimeError):
    """The library is not there, or cannot be loaded."""


class CvCudaSteps:
    """CV-CUDA 0.19's operators.

    Args:
        stream: handle of the stream that they run on.
    Raises NotInstalledError: no CV-CUDA, or one that cannot be loaded here.
    """

    def __init__(self, stream: int) -> None:
        try:
            import cvcuda
        except (ImportError, OSError, RuntimeError) as error:
            raise NotInstalledError(
                f"CV-CUDA cannot be imported: {error}. Next: install cvcuda-cu13 or cvcuda-cu12"
            ) from error
        self._cvcuda: Any = cvcuda
        self._stream = cvcuda.as_stream(stream)

    def warp(self, source: DeviceArray, affine: Affine, out: DeviceArray) -> None:
        """Fill ``out`` [s, s, c] from a picture [h, w, c] of the same type; edges repeat.

        Args:
            affine: float64 [2, 3] picture pixels -> output pixels.
        """
        cvcuda = self._cvcuda
        cvcuda.warp_affine_into(
            *(cvcuda.as_tensor(array, "HWC") for array in (out, source)),
            np.ascontiguousarray(invert(affine), np.float32),
            cvcuda.Interp.CUBIC | cvcuda.Interp.WARP_INVERSE_MAP,
            border_mode=cvcuda.Border.REPLICATE,
            stream=self._stream,
        )

    def rgb_of_nv12(self, source: DeviceArray, out: DeviceArray) -> None:
        """Fill ``out`` [h, w, 3] of bytes from luma and, right below it, pairs: [3 h / 2, w, 1]."""
        cvcuda = self._cvcuda
        cvcuda.cvtcolor_into(
            *(cvcuda.as_tensor(array, "HWC") for array in (out, source)),
            cvcuda.ColorConversion.YUV2RGB_NV12,
            stream=self._stream,
        )


class TorchSteps:
    """torch's ``grid_sample``.

    Args:
        stream: handle of the stream that it runs on.
    Raises NotInstalledError: no torch, or one without CUDA.
    """

    def __init__(self, stream: int) -> None:
        try:
            import torch
        except (ImportError, OSError) as error:
            raise NotInstalledError(
                f"torch cannot be imported: {error}. Next: install torch"
            ) from error
        if not torch.cuda.is_available():
            raise NotInstalledError("torch finds no GPU. Next: install a torch with CUDA")
        self._torch: Any = torch
        self._stream = torch.cuda.ExternalStream(stream)

    def warp(self, source: DeviceArray, affine: Affine, out: DeviceArray) -> None:
        """Fill ``out`` [s, s, c] of float32 from a picture [h, w, c]; edges repeat."""
        torch = self._torch
        with torch.cuda.stream(self._stream):
            picture, filled = (torch.as_tensor(array, device="cuda") for array in (source, out))
            warped = grid_warp(torch, picture, affine, (out.shape[0], out.shape[1]))
            filled.copy_(warped)


def grid_warp(torch: Any, picture: Any, affine: Affine, size: tuple[int, int]) -> Any:
    """A picture [h, w, c] at [h', w', c] by ``grid_sample``, on the picture's own device.

    Args:
        affine: float64 [2, 3] picture pixels -> output pixels.
        size: (height, width) of the result.
    """
    height, width = picture.shape[:2]
    (a, b, c), (d, e, f) = invert(affine).tolist()
    axes = (torch.arange(side, device=picture.device, dtype=torch.float32) for side in size)
    y, x = torch.meshgrid(*axes, indexing="ij")
    # -1 and 1 are the outer edges of the first and last pixels, not their middles.
    across = (2 * (a * x + b * y + c) + 1) / width - 1
    down = (2 * (d * x + e * y + f) + 1) / height - 1
    sampled = torch.nn.functional.grid_sample(
        picture.permute(2, 0, 1)[None].float(),
        torch.stack((across, down), -1)[None],
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    return sampled[0].permute(1, 2, 0)
