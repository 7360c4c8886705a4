"""Models and sample media, fetched once by the program's own fetcher and kept in its cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.models import ModelStore
from actors.toolbox import EMBEDDED
from farm.config import load_settings


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
