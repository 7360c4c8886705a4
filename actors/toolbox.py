"""What the stages work with: networks, kernels and the face to put on, built when first needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from actors.arcface import ArcFace
from actors.arcface_embedder import ArcFaceEmbedder
from actors.detector import Detector, FaceDetector
from actors.device_lane import DeviceLane, ProcessGpu
from actors.device_swapper import DeviceFaceSwapper
from actors.face_networks import (
    CLASSIFIER,
    RECOGNIZERS,
    build_detector,
    build_landmarker,
)
from actors.fairface import FairFace
from actors.frame_place import host_reason
from actors.gpu import Gpu, OpenGpu, no_gpu, open_gpu
from actors.hand_landmarker import HandLandmarker
from actors.inference.networks import open_network
from actors.inference.runtime import Runtime
from actors.inference.tensorrt import TensorRt
from actors.landmarker import FaceLandmarker, Landmarker
from actors.mesh_swapper import MeshSwapper, SourceFace
from actors.models import ModelStore
from actors.neural_tools import NeuralTools
from actors.nvtx import open_ranges
from actors.palms import PalmDetector
from actors.profiler import Profiler
from actors.recognizer import Embedder, Recognizer
from actors.sources import load_sources
from actors.swap_memory import SwapMemory
from actors.swap_needs import check_swap
from actors.swapper import FaceSwapper
from actors.waiting_swapper import WaitingSwapper
from kernels.api import Kernels
from kernels.cpu import CpuKernels
from kernels.cuda.backend import CudaKernels
from kernels.mesh.unwrap import Unwrapper
from scheduler.detection import DetectorSettings, LandmarkerSettings
from scheduler.devices import CPU, TENSORRT, on_gpu
from scheduler.jobs import MESH_SWAPPER, LaneTask, RenderTask, SwapSettings

DETECTOR: Final = "face_detection_full_range"
LANDMARKER: Final = "face_landmark"
PALM_DETECTOR: Final = "palm_detection_lite"
HAND_LANDMARKER: Final = "hand_landmark_full"
HANDS: Final = (PALM_DETECTOR, HAND_LANDMARKER)
"""Models that a job needs unless it ignores hands."""
EMBEDDED: Final = (DETECTOR, LANDMARKER, *HANDS)
"""Models that a job needs by default."""
RECOGNIZER: Final = RECOGNIZERS["dlib"]
"""Needed by jobs that ask who is who, unless they name another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneKit:
    """Settings of the lanes' processes. None of them changes a frame."""

    cache_dir: Path
    """Where models are kept; the ones that a job needs are there before its lanes start."""
    threads: int = 1
    """Of the networks and of OpenCV, in each process."""
    slots: int = 8
    """Frames that a lane holds at once: the bound of its memory."""
    batch: int = 1
    """Faces that a neural swapper sees at once, a power of two up to 64. On a CPU more than one
    gains nothing (docs/neural-swappers.md)."""
    patience: float = 300.0
    """Seconds of silence after which a stage takes its neighbour for hung."""
    nvtx: bool = False
    """Name the parts of the work in the time line of NVIDIA's profilers."""
    decoder: str = "ffmpeg"
    """What decodes where frames stay on a GPU (``actors.gpu_video.PACKETS``)."""


class Toolbox:
    """The tools of one process, kept for its life; a source face as long as the job's is the same.

    Args:
        kit: settings of the process.
        device: of the jobs that these tools are for.
        open_gpu: the process's GPU, when it is first needed.
        process_gpu: the same where other tools of the process have it already.

    Raises (when a tool is first used):
        GpuUnavailable: there is no such device.
        ModelError: a network is not there or damaged.
        InputError: a source picture cannot be used.
    """

    def __init__(
        self,
        kit: LaneKit,
        device: str = CPU,
        open_gpu: OpenGpu = open_gpu,
        process_gpu: ProcessGpu | None = None,
    ) -> None:
        self.kit = kit
        self._device = device
        self._process_gpu = process_gpu or ProcessGpu(open_gpu, kit.cache_dir, kit.decoder)
        self.profiler = Profiler(ranges=open_ranges() if kit.nvtx else None)
        self._swappers: tuple[tuple[SwapSettings, int, int], list[FaceSwapper]] | None = None
        self._device_swappers: tuple[tuple[SwapSettings, int], list[DeviceFaceSwapper]] | None
        self._device_swappers = None
        self.swaps = SwapMemory()
        self._detectors: dict[DetectorSettings, Detector] = {}
        self._landmarkers: dict[LandmarkerSettings, Landmarker] = {}

    def on(self, device: str) -> Toolbox:
        """The tools of jobs for a device: these, or new ones in their place."""
        if device == self._device:
            return self
        return Toolbox(self.kit, device, process_gpu=self._process_gpu)

    def close(self) -> None:
        """Gives the GPU's memory for frames back, for processes that go on without it.

        Raises:
            LaneError: another process still has it open.
        """
        self._process_gpu.close()

    def device_lane(self, task: LaneTask) -> DeviceLane | None:
        """What keeps the frames of a task on the GPU; None: they lie in host memory."""
        if not isinstance(task, RenderTask) or host_reason(task.job):
            return None
        return self._lane

    @cached_property
    def kernels(self) -> Kernels:
        if not on_gpu(self._device):
            return CpuKernels()
        return CudaKernels(self._gpu.device)

    @cached_property
    def _gpu(self) -> Gpu:
        gpu = self._process_gpu.gpu
        if gpu.clock is not None:
            self.profiler.watch(gpu.clock)
        return gpu

    @property
    def _lane(self) -> DeviceLane:
        _ = self._gpu  # from now on its clock is watched
        return self._process_gpu.lane

    @cached_property
    def detector(self) -> FaceDetector:
        return FaceDetector(self._model(DETECTOR), self.kit.threads)

    @cached_property
    def landmarker(self) -> FaceLandmarker:
        return FaceLandmarker(self._model(LANDMARKER), self.kit.threads)

    @cached_property
    def palm_detector(self) -> PalmDetector:
        return PalmDetector(self._model(PALM_DETECTOR), self.kit.threads)

    @cached_property
    def hand_landmarker(self) -> HandLandmarker:
        return HandLandmarker(self._model(HAND_LANDMARKER), self.kit.threads)

    @cached_property
    def unwrapper(self) -> Unwrapper:
        return Unwrapper()

    @cached_property
    def recognizer(self) -> Recognizer:
        return Recognizer(self._model(RECOGNIZER))

    @cached_property
    def arcface(self) -> ArcFaceEmbedder:
        return ArcFaceEmbedder(ArcFace(self.network(RECOGNIZERS["arcface"])))

    @cached_property
    def classifier(self) -> FairFace:
        return FairFace(self.network(CLASSIFIER))

    def embedder(self, name: str) -> Embedder:
        """The recogniser that ``scheduler.identities.SPACES`` knows by a name."""
        return self.arcface if name == "arcface" else self.recognizer

    def detector_for(self, settings: DetectorSettings) -> Detector:
        """What looks for faces as a job asks."""
        if settings == DetectorSettings():
            return self.detector
        if settings not in self._detectors:
            self._detectors.clear()  # the networks of the last job make room before others come
            self._detectors[settings] = build_detector(
                settings, self._model, self.network, self.kit.threads
            )
        return self._detectors[settings]

    def landmarker_for(self, settings: LandmarkerSettings) -> Landmarker:
        """What puts points on faces as a job asks."""
        if settings.model == "mesh":
            return self.landmarker
        if settings not in self._landmarkers:
            self._landmarkers.clear()
            self._landmarkers[settings] = build_landmarker(
                settings, self._model, self.network, self.kit.threads
            )
        return self._landmarkers[settings]

    def face_swapper(
        self, swap: SwapSettings, crop_size: int, person: int = 0, batch: int = 0
    ) -> FaceSwapper:
        """The swapper that ``swap.model`` names, with the source face of a person set up.

        Args:
            crop_size: of the crops in the slots (``actors.swap_needs.swap_crop_size``).
            batch: faces that a neural swapper sees at once; 0: the kit's.
        """
        wanted = (swap, crop_size, batch or self.kit.batch)
        if self._swappers is None or self._swappers[0] != wanted:
            # The networks of the last job make room before others come.
            self._swappers = self._device_swappers = None
            self._swappers = (wanted, self._make_swappers(*wanted))
        return self._swappers[1][person]

    def device_face_swapper(
        self, swap: SwapSettings, person: int = 0, batch: int = 0
    ) -> DeviceFaceSwapper:
        """The same for frames that stay on the GPU."""
        wanted = (swap, batch or self.kit.batch)
        if self._device_swappers is None or self._device_swappers[0] != wanted:
            self._swappers = self._device_swappers = None
            made = self._neural_tools(*wanted).device_swappers(
                self._people(swap), self._lane.launcher
            )
            self._device_swappers = (wanted, made)
        return self._device_swappers[1][person]

    def _make_swappers(self, swap: SwapSettings, crop_size: int, batch: int) -> list[FaceSwapper]:
        check_swap(swap)
        if swap.waits is not None:
            return [WaitingSwapper(swap.waits) for _ in swap.people]
        people, tools = self._people(swap), self._neural_tools(swap, batch)
        swappers: list[FaceSwapper]
        if swap.model == MESH_SWAPPER:
            swappers = [MeshSwapper(sources, swap.crop_size or crop_size) for sources in people]
        else:
            swappers = tools.swappers(people)
        if swap.enhancer.model:
            swappers = [tools.enhanced(inner, crop_size) for inner in swappers]
        return swappers

    def _people(self, swap: SwapSettings) -> list[tuple[SourceFace, ...]]:
        return [
            load_sources(swap, self.detector, self.landmarker, self.kernels, person)
            for person in range(len(swap.people))
        ]

    def _neural_tools(self, swap: SwapSettings, batch: int) -> NeuralTools:
        return NeuralTools(
            swap, load=self.network, path=self._model, kernels=self.kernels, batch=batch
        )

    def network(self, name: str) -> Runtime:
        """A network in ONNX format, by what runs it on this device."""
        if self._device == TENSORRT:
            return self._engine(name)
        stream = self._gpu.stream if on_gpu(self._device) else None
        return open_network(
            *(self._store, name),
            threads=self.kit.threads,
            device=self._device,
            stream=None if stream is None else stream.stream,
        )

    def _engine(self, name: str) -> Runtime:
        gpu = self._gpu
        if gpu.stream is None:
            raise no_gpu("a GPU whose stream cannot be given to TensorRT")
        return TensorRt.load(
            self._model(name),
            device=gpu.stream,
            cache_dir=self.kit.cache_dir,
            largest=self.kit.batch,
            sizes={each: shape[1:] for each, shape in self._store.registry[name].inputs},
            api=gpu.tensorrt,
        )

    def _model(self, name: str) -> Path:
        return self._store.path(name)

    @cached_property
    def _store(self) -> ModelStore:
        return ModelStore(self.kit.cache_dir)
