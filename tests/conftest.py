"""Models and sample media, fetched once by the program's own fetcher and kept in its cache; GPUs,
real ones and played ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from actors.models import ModelStore
from actors.toolbox import EMBEDDED
from farm.config import load_settings
from kernels.cuda.cupy_device import CupyDevice, NoGpuError
from tests.support.cuda_device import Devices
from tests.support.hardware import lacking
from tests.support.played_gpu import PlayedGpu

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")  # a busy machine is no fault


@pytest.fixture(scope="session", autouse=True)
def no_cached_analysis() -> Iterator[None]:
    """Every test analyses for itself and leaves no record, unless it is about these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPFARM_ANALYSIS_GB", "0")
        patch.setenv("SWAPFARM_REPORT_GB", "0")
        yield


IDENTITY = ("dlib_face_recognition_resnet_128", "dlib_shape_predictor_5")


@pytest.fixture(scope="session")
def models() -> ModelStore:
    """The store with the models that every job needs."""
    store = ModelStore(load_settings().cache_dir)
    for name in EMBEDDED:
        store.path(name)
    return store


@pytest.fixture(scope="session")
def samples(models: ModelStore) -> dict[str, Path]:
    """Sample media by name (configs/samples.toml)."""
    return {
        name: models.path(name) for name, spec in models.registry.items() if spec.kind == "sample"
    }


@pytest.fixture(scope="session")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devices]:
    """Devices that run the CUDA kernels on the CPU."""
    with Devices(tmp_path_factory.mktemp("cuda")) as devices:
        yield devices


@pytest.fixture
def played(devices: Devices, tmp_path: Path) -> Iterator[PlayedGpu]:
    """A whole GPU played by the CPU, in this process."""
    gpu = PlayedGpu(tmp_path / "gpu", devices.program())
    yield gpu
    gpu.close()


@pytest.fixture(scope="session")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], CupyDevice]:
    """Gives a real GPU. Without one the test is skipped, or fails under FAIL_WITHOUT_CUDA=1."""
    try:
        device = CupyDevice(tmp_path_factory.mktemp("cubins"))
    except NoGpuError as error:
        lacking(error)
    return lambda: device
