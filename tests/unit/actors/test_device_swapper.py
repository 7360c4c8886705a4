"""A swapper on crops in device memory: what the CPU's makes of the same crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from actors.device_stabilizer import DeviceFace
from actors.device_swapper import DeviceFaceSwapper, DeviceNetwork, DeviceTarget
from actors.face_masker import FaceMasker
from actors.inference.tensorrt import TensorRt
from actors.neural_swapper import NeuralSwapper
from actors.swapper import AlignedFace
from actors.swapper_specs import SWAPPERS
from actors.transfers import CountedDevice, Transfers
from kernels.cpu import CpuKernels
from kernels.cuda.launcher import Launcher
from kernels.picture import Picture, PictureFormat
from scheduler.errors import ModelCorrupt
from scheduler.masks import MaskSettings
from tests.support.played_gpu import PlayedGpu
from tests.unit.actors.small_networks import tinting_swapper

GREY = Picture(
    format=PictureFormat(width=8, height=8, planes=1, sub_x=0, sub_y=0, full_range=True),
    planes=(np.full((8, 8), 90, np.uint8),),
)
SOURCE = np.random.default_rng(1).normal(0, 2, 512).astype(np.float32)


def faces(size: int, count: int) -> list[AlignedFace]:
    random = np.random.default_rng(20)
    return [
        AlignedFace(
            picture=GREY,
            affine=np.eye(2, 3),
            crop=random.random((size, size, 3), np.float32),
            landmarks=random.uniform(0.2, 0.8, (68, 2)) * size,
            out=np.full((size, size, 4), np.nan, np.float32),
        )
        for _ in range(count)
    ]


def on_device(launcher: Launcher, faces: list[AlignedFace]) -> list[DeviceTarget]:
    found = []
    for number, each in enumerate(faces):
        face = DeviceFace(
            track=number,
            affine=each.affine,
            size=len(each.crop),
            crop=launcher.sent(f"crop {number}", each.out),
            original=launcher.sent(f"original {number}", each.crop),
        )
        found.append(DeviceTarget(face=face, landmarks=each.landmarks))
    return found


def loaded(played: PlayedGpu, path: Path, batch: int) -> TensorRt:
    return TensorRt.load(
        path, device=played.device, cache_dir=path.parent, largest=batch, api=played.tensorrt
    )


@pytest.mark.parametrize(
    ("name", "sides", "types", "count"),
    [
        ("hyperswap_1a_256", 1, ("box",), 3),
        ("inswapper_128", 2, ("box", "hull"), 1),
        ("inswapper_128", 1, ("area",), 3),
        ("hyperswap_1a_256", 2, ("box", "model"), 1),
        ("simswap_256", 1, ("box",), 1),
    ],
)
def test_crops_in_device_memory_become_what_the_cpus_do(
    played: PlayedGpu, tmp_path: Path, name: str, sides: int, types: tuple[str, ...], count: int
) -> None:
    spec, path = SWAPPERS[name], tmp_path / "swapper.onnx"
    masker = FaceMasker(MaskSettings(types=types), spec.size * sides)
    truth = tinting_swapper(path, spec.size, mask=spec.mask)
    theirs = faces(spec.size * sides, count)
    transfers = Transfers()
    launcher = Launcher(CountedDevice(played.device, transfers))
    ours = on_device(launcher, theirs)
    network = DeviceNetwork(loaded(played, path, 2), spec, masker, launcher, sides=sides, batch=2)
    tool = DeviceFaceSwapper(network, SOURCE)
    before = transfers.uploads, transfers.downloads
    tool.swap_all(ours)
    masks = 0 if types == ("box",) or "model" in types else count
    assert (transfers.uploads, transfers.downloads) == (before[0] + masks, before[1])
    cpu = NeuralSwapper(truth, spec, SOURCE, masker, CpuKernels(), sides=sides, batch=2)
    cpu.swap_all(theirs)
    assert (tool.size, tool.batch) == (cpu.size, cpu.batch)
    for here, there in zip(ours, theirs, strict=True):
        found = launcher.fetched(here.face.crop, there.out.shape, "float32")
        np.testing.assert_allclose(found, there.out, rtol=0, atol=2e-6)


def fixed(path: Path) -> None:
    """Makes a file take one row, as most swappers' do."""
    model = onnx.load(path)
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)


def test_a_file_that_takes_one_row_is_run_row_by_row(played: PlayedGpu, tmp_path: Path) -> None:
    spec, path = SWAPPERS["inswapper_128"], tmp_path / "swapper.onnx"
    truth = tinting_swapper(path, spec.size)
    fixed(path)
    masker, theirs = FaceMasker(MaskSettings(), 256), faces(256, 2)
    launcher = Launcher(played.device)
    ours = on_device(launcher, theirs)
    network = DeviceNetwork(loaded(played, path, 2), spec, masker, launcher, sides=2, batch=2)
    DeviceFaceSwapper(network, SOURCE).swap_all(ours)
    NeuralSwapper(truth, spec, SOURCE, masker, CpuKernels(), sides=2).swap_all(theirs)
    for here, there in zip(ours, theirs, strict=True):
        found = launcher.fetched(here.face.crop, there.out.shape, "float32")
        np.testing.assert_allclose(found, there.out, rtol=0, atol=2e-6)
    assert set(played.tensorrt.runs) == {1}


def test_each_person_has_a_source(played: PlayedGpu, tmp_path: Path) -> None:
    spec, path = SWAPPERS["inswapper_128"], tmp_path / "swapper.onnx"
    tinting_swapper(path, spec.size)
    launcher = Launcher(played.device)
    network = DeviceNetwork(
        loaded(played, path, 1), spec, FaceMasker(MaskSettings(), 128), launcher
    )
    found: list[NDArray[np.float32]] = []
    for source in (SOURCE, -SOURCE):
        (face,) = on_device(launcher, faces(128, 1))
        DeviceFaceSwapper(network, source).swap_all([face])
        found.append(launcher.fetched(face.face.crop, (128, 128, 4), "float32")[64, 64, :3])
    assert not np.allclose(*found)


def test_another_network_is_refused(played: PlayedGpu, tmp_path: Path) -> None:
    path = tmp_path / "swapper.onnx"
    tinting_swapper(path, 64)
    with pytest.raises(ModelCorrupt, match=r"pictures of \(3, 64, 64\)"):
        DeviceNetwork(
            loaded(played, path, 1),
            SWAPPERS["inswapper_128"],
            FaceMasker(MaskSettings(), 128),
            Launcher(played.device),
        )
