"""What the pixels and the networks of a job are worked on with."""

from __future__ import annotations

from typing import Final

CPU: Final = "cpu"
CUDA: Final = "cuda"
DEVICES: Final = (CPU, CUDA)
"""cpu: processors. cuda: an NVIDIA GPU; networks in ONNX format by ONNX Runtime on it."""


def on_gpu(device: str) -> bool:
    """Whether lanes of such a job need a GPU each, or a part of one."""
    return device != CPU
