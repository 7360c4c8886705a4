"""What the pixels and the networks of a job are worked on with."""

from __future__ import annotations

from typing import Final

CPU: Final = "cpu"
CUDA: Final = "cuda"
TENSORRT: Final = "tensorrt"
DEVICES: Final = (CPU, CUDA, TENSORRT)
"""cpu: processors. cuda, tensorrt: an NVIDIA GPU; networks in ONNX format by ONNX Runtime on it, or
by TensorRT. Part of a job, since each gives other last bits."""


def on_gpu(device: str) -> bool:
    """Whether lanes of such a job need a GPU each, or a part of one."""
    return device != CPU
