"""The networks of one job's swap, loaded when first needed, and the swappers made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.arcface import NUMBERS, ArcFace
from actors.device_swapper import DeviceFaceSwapper, DeviceNetwork
from actors.enhancer import EnhancedSwapper, FaceEnhancer
from actors.face_masker import FaceMasker
from actors.identity_source import average_embedding, source_embedding, source_picture
from actors.inference.networks import file_name
from actors.inference.onnx_file import last_matrix
from actors.inference.runtime import Runtime
from actors.inference.tensorrt import TensorRt
from actors.mask_networks import OcclusionNetwork, RegionNetwork
from actors.mesh_swapper import SourceFace
from actors.neural_swapper import NeuralSwapper
from actors.pixel_boost import check_boost
from actors.swap_needs import occluders, wants_target
from actors.swapper import FaceSwapper
from actors.swapper_specs import ENHANCERS, RECOGNISER, SWAPPERS
from kernels.api import Kernels
from kernels.cuda.launcher import Launcher
from scheduler.jobs import SwapSettings

Floats = NDArray[np.float32]


class NeuralTools:
    """Makes the swappers of a job's people.

    Args:
        swap: checked (``actors.swap_needs``).
        load: a network of the registry by its name.
        path: its file.
        kernels: cut crops.
        batch: faces that the swapper's network sees at once, a power of two up to 64.
    """

    def __init__(
        self,
        swap: SwapSettings,
        *,
        load: Callable[[str], Runtime],
        path: Callable[[str], Path],
        kernels: Kernels,
        batch: int = 1,
    ) -> None:
        self._swap = swap
        self._load = load
        self._path = path
        self._kernels = kernels
        self._batch = batch
        self._spec = SWAPPERS.get(swap.model)

    def swappers(self, people: Sequence[Sequence[SourceFace]]) -> list[FaceSwapper]:
        """A swapper for each person; all share the networks.

        Args:
            people: the pictures of each.
        """
        spec = self._spec
        assert spec is not None
        return [
            NeuralSwapper(
                self._network,
                spec,
                source,
                self._masker,
                self._kernels,
                sides=check_boost(self._swap.boost, spec.size),
                batch=self._batch,
                weight=self._swap.weight,
                recogniser=self._recogniser if wants_target(self._swap) else None,
            )
            for source in self._sources(people)
        ]

    def device_swappers(
        self, people: Sequence[Sequence[SourceFace]], launcher: Launcher
    ) -> list[DeviceFaceSwapper]:
        """The same for crops in device memory.

        Args:
            launcher: of the stream in which all is done; that of the networks.
        Raises:
            TypeError: ``load`` gives networks that cannot be run from there.
        """
        spec, network = self._spec, self._network
        assert spec is not None
        if not isinstance(network, TensorRt):
            raise TypeError(f"{type(network).__name__} runs from host memory; wanted TensorRt")
        shared = DeviceNetwork(
            network,
            spec,
            self._masker,
            launcher,
            sides=check_boost(self._swap.boost, spec.size),
            batch=self._batch,
        )
        return [DeviceFaceSwapper(shared, source) for source in self._sources(people)]

    def enhanced(self, inner: FaceSwapper, size: int) -> FaceSwapper:
        """A swapper with the job's enhancer around it.

        Args:
            size: side in pixels of the crop that it hands on.
        """
        return EnhancedSwapper(inner, self._enhancer, self._swap.enhancer, self._kernels, size)

    def _sources(self, people: Sequence[Sequence[SourceFace]]) -> list[Floats]:
        spec = self._spec
        assert spec is not None
        if spec.picture is not None:
            return [source_picture(spec.picture, faces[0], self._kernels) for faces in people]
        # Kept only where faces of the film are looked at too: it is 170 MB.
        recogniser = self._recogniser if wants_target(self._swap) else self._load_recogniser()
        converter = self._load(spec.converter) if spec.converter else None
        matrix = None
        if spec.projected:
            matrix = last_matrix(self._path(self._swap.model), NUMBERS, NUMBERS)
        return [
            source_embedding(
                spec,
                average_embedding(faces, recogniser, self._kernels),
                converter=converter,
                matrix=matrix,
            )
            for faces in people
        ]

    def _load_recogniser(self) -> ArcFace:
        return ArcFace(self._load(RECOGNISER))

    @cached_property
    def _recogniser(self) -> ArcFace:
        return self._load_recogniser()

    @cached_property
    def _network(self) -> Runtime:
        return self._load(file_name(self._swap.model, self._swap.precision))

    @cached_property
    def _enhancer(self) -> FaceEnhancer:
        settings = self._swap.enhancer
        network = self._load(file_name(settings.model, settings.precision))
        return FaceEnhancer(network, ENHANCERS[settings.model], settings.weight)

    @cached_property
    def _masker(self) -> FaceMasker:
        spec, masks = self._spec, self._swap.masks
        assert spec is not None
        occlusion = regions = None
        if "occlusion" in masks.types:
            occlusion = OcclusionNetwork([self._load(name) for name in occluders(self._swap)])
        if "region" in masks.types:
            regions = RegionNetwork(self._load(masks.parser), masks.regions)
        return FaceMasker(masks, self._swap.boost or spec.size, occlusion, regions)
