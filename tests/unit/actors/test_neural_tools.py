"""A job's networks are loaded when its settings ask for them, once, and no others."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from actors.inference.networks import open_network
from actors.inference.runtime import Runtime
from actors.mesh_swapper import SourceFace
from actors.models import ModelStore
from actors.neural_swapper import NeuralSwapper
from actors.neural_tools import NeuralTools
from actors.swap_needs import MESH_SWAPPER, swap_models
from actors.swapper_specs import RECOGNISER
from benchmarks.standins import standin_store
from kernels.cpu import CpuKernels
from kernels.mesh.canonical import canonical_face
from scheduler.jobs import EnhancerSettings, SwapSettings
from scheduler.masks import MaskSettings

NAMES = (
    "hyperswap_1c_256",
    "inswapper_128",
    "ghost_1_256",
    "crossface_ghost",
    "blendswap_256",
    "gpen_bfr_256",
    "xseg_1",
    "xseg_2",
    "xseg_3",
    "bisenet_resnet_18",
    RECOGNISER,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return standin_store(tmp_path_factory.mktemp("cache"), names=NAMES)


class Loader:
    """Notes what is loaded."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self.loaded: Counter[str] = Counter()

    def __call__(self, name: str) -> Runtime:
        self.loaded[name] += 1
        return open_network(self._store, name)


def source(seed: int) -> SourceFace:
    mesh = canonical_face().vertices[:, :2]
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    image = np.random.default_rng(seed).integers(0, 255, (300, 300, 3), np.uint8)
    points = (mesh - (low + high) / 2) * 200 / (high - low).max() + 150
    return SourceFace(image=image, landmarks=points)


def tools(store: ModelStore, swap: SwapSettings) -> tuple[NeuralTools, Loader]:
    loader = Loader(store)
    return NeuralTools(swap, load=loader, path=store.path, kernels=CpuKernels(), batch=2), loader


@pytest.mark.parametrize(
    "swap",
    [
        SwapSettings(model="hyperswap_1c_256"),
        SwapSettings(model="hyperswap_1c_256", weight=0.0),
        SwapSettings(model="inswapper_128", boost=256),
        SwapSettings(model="ghost_1_256", masks=MaskSettings(types=("box", "occlusion"))),
        SwapSettings(model="blendswap_256", weight=0.9),
        SwapSettings(
            model="blendswap_256",
            masks=MaskSettings(
                types=("region", "occlusion"), occluder="many", parser="bisenet_resnet_18"
            ),
        ),
        SwapSettings(model="hyperswap_1c_256", enhancer=EnhancerSettings(model="gpen_bfr_256")),
        SwapSettings(model=MESH_SWAPPER, enhancer=EnhancerSettings(model="gpen_bfr_256")),
    ],
)
def test_what_is_loaded_is_what_a_job_needs(store: ModelStore, swap: SwapSettings) -> None:
    made, loader = tools(store, swap)
    people = [[source(1)], [source(2), source(3)]]
    if swap.model == MESH_SWAPPER:
        inner, _ = tools(store, SwapSettings(model="blendswap_256"))
        swappers = inner.swappers(people)
    else:
        swappers = made.swappers(people)
    if swap.enhancer.model:
        swappers = [made.enhanced(swapper, 256) for swapper in swappers]
    assert [swapper.batch for swapper in swappers] == [2, 2]
    assert loader.loaded == Counter(swap_models(swap))


def test_people_share_the_network_and_keep_their_own_source(store: ModelStore) -> None:
    made, _ = tools(store, SwapSettings(model="hyperswap_1c_256"))
    one, other, both = made.swappers([[source(1)], [source(2)], [source(1), source(2)]])
    assert isinstance(one, NeuralSwapper)
    assert isinstance(other, NeuralSwapper)
    assert isinstance(both, NeuralSwapper)
    assert one._network is other._network
    assert one._masker is other._masker
    vectors = [swapper._source for swapper in (one, other, both)]
    for vector in vectors:
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[1] < 0.999
    assert vectors[2] @ vectors[0] > vectors[1] @ vectors[0]


def test_the_matrix_of_the_file_counts(store: ModelStore) -> None:
    made, _ = tools(store, SwapSettings(model="inswapper_128"))
    (swapper,) = made.swappers([[source(1)]])
    file = onnx.load(str(store.path("inswapper_128")))
    matrix = numpy_helper.to_array(file.graph.initializer[-1])
    direct, _ = tools(store, SwapSettings(model="hyperswap_1c_256"))
    (plain,) = direct.swappers([[source(1)]])
    assert isinstance(swapper, NeuralSwapper)
    assert isinstance(plain, NeuralSwapper)
    np.testing.assert_allclose(swapper._source, plain._source @ matrix, rtol=1e-3, atol=1e-4)
