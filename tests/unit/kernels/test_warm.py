"""What a film of 8 bits needs is compiled before its first frame."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import filter_loops, flow_loops, loops
from kernels.cpu import CpuKernels
from kernels.warm import warm_up


def signatures() -> dict[str, int]:
    """How many kinds of arrays each compiled loop knows."""
    modules = (loops, filter_loops, flow_loops)
    found = [(name, value) for module in modules for name, value in vars(module).items()]
    return {name: len(value.signatures) for name, value in found if hasattr(value, "signatures")}


@pytest.mark.parametrize("size", [64])
def test_a_frame_compiles_nothing_more(scene, size: int) -> None:
    warm_up()
    before = signatures()
    assert before["sample"]
    assert before["add_change"]
    assert before["settle"]
    assert before["fit"]
    picture = scene.picture(131, 97)
    affine, kernels = scene.affine(0.9, 0.3, 66, 50, size), CpuKernels()
    original = kernels.crop(picture, affine, size)
    kernels.thumbnail(picture, affine, size, size)
    crop = np.dstack([1 - original, scene.mask(size)])
    kernels.paste(picture, crop[..., :3], crop[..., 3], affine, original)
    assert signatures() == before
