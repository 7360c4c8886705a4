"""The stage that puts a new face on each face of a frame, where frames lie in a GPU's memory.

As ``actors.swapper`` and ``actors.neural_swapper``, which say what is done and why. Crops are cut
out of the frame's planes into its slot, made tensors of there, run through the network in the same
stream, and laid back into the slot: no pixel is copied to the host, and nothing is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.device_frames import DeviceFrame
from actors.device_stabilizer import DeviceFace
from actors.face_masker import FaceMasker
from actors.inference.tensorrt import TensorRt
from actors.neural_swapper import batches, check_swapper
from actors.swapper import FaceGatherer
from actors.swapper_specs import SwapperSpec
from kernels.cuda.crops import Crops
from kernels.cuda.device import Memory
from kernels.cuda.launcher import Launcher
from kernels.cuda.steps import Batch, merge_masks, pack, unpack
from kernels.geometry import Affine, apply, invert
from kernels.picture import Roi
from kernels.templates import template_affine
from scheduler.errors import ModelCorrupt, RenderError
from scheduler.tracks import FaceObservation

Floats = NDArray[np.float32]
ASTRAY = "astray"
"""Name of the number that is 1 once a network gave something that is no colour."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceTarget:
    """One face to swap."""

    face: DeviceFace
    """Its original is there, its crop is to be filled."""
    landmarks: NDArray[np.float64]
    """[n, 2] in crop pixels."""


def device_face(frame: DeviceFrame, place: int) -> DeviceFace:
    """A face of a frame by its place in the slot."""
    size = frame.layout.crop_size
    return DeviceFace(
        track=int(frame.tracks[place]),
        affine=frame.affines[place],
        size=size,
        crop=frame.crops + place * size * size * 16,
        original=frame.originals + place * size * size * 12,
    )


class DeviceNetwork:
    """A swapper's network with the memory that it reads and writes; all people share it.

    Args:
        network: named ``source`` and ``target`` are its inputs.
        spec: what it expects and gives.
        masker: draws the blend masks; its parts that are networks are not asked.
        launcher: of the stream that the network runs in.
        sides: pixel boost, small pictures along a side of the crop.
        batch: faces of the largest batch, a power of two.

    Raises:
        ModelCorrupt: the network has other inputs or outputs.
        LaneOutOfMemory: the GPU's memory is not enough.
    """

    def __init__(
        self,
        network: TensorRt,
        spec: SwapperSpec,
        masker: FaceMasker,
        launcher: Launcher,
        *,
        sides: int = 1,
        batch: int = 1,
    ) -> None:
        self._source_first = check_swapper(network, spec)
        self.spec, self.sides, self.batch = spec, sides, batch
        self._network, self._masker, self._launcher = network, masker, launcher
        self._rows = network.room(batch * sides**2)
        picture = (3, spec.size, spec.size)
        for tensor in (*network.inputs, *network.outputs):
            if tensor.dtype != "float32":
                raise _other(f"a swapper whose {tensor.name} is {tensor.dtype}", "float32")
        shape = network.outputs[0].shape
        if shape != picture:
            raise _other(f"a swapper that makes pictures of {shape}", f"the shape {picture}")
        self._targets = self._reserve(int(np.prod(picture)))
        self._outputs = [self._reserve(int(np.prod(each.shape))) for each in network.outputs]
        self._drawn = None if masker.drawn_anew else self._kept(masker.border)

    def source(self, values: Floats) -> Memory:
        """A person's source, on the device for as many rows as there may be."""
        rows = np.repeat(values[None], self._rows, axis=0)
        return self._kept(np.ascontiguousarray(rows, np.float32))

    def swap(self, faces: Sequence[DeviceTarget], source: Memory) -> None:
        """Fill the crops of at most ``batch`` faces."""
        launcher, spec, tiles = self._launcher, self.spec, self.sides**2
        plane = 4 * spec.size**2
        for number, each in enumerate(faces):
            for tile in range(tiles):
                pack(
                    launcher,
                    self._tile(each.face.original, 3, tile),
                    self._targets.pointer + 3 * plane * (number * tiles + tile),
                    spec.mean,
                    spec.std,
                )
        inputs = (source, self._targets) if self._source_first else (self._targets, source)
        self._network.enqueue(len(faces) * tiles, inputs, self._outputs)
        mean, deviation = ((0.5,) * 3, (0.5,) * 3) if spec.signed else ((0.0,) * 3, (1.0,) * 3)
        for number, each in enumerate(faces):
            for tile in range(tiles):
                unpack(
                    launcher,
                    self._outputs[0].pointer + 3 * plane * (number * tiles + tile),
                    self._tile(each.face.crop, 4, tile),
                    mean,
                    deviation,
                    astray=launcher.memory(ASTRAY, 4),
                )
            self._lay_mask(each, number)

    def _lay_mask(self, each: DeviceTarget, number: int) -> None:
        """Fill the fourth channel of a crop."""
        launcher, side, sides = self._launcher, self.spec.size, self.sides
        size, plane = side * sides, 4 * side**2
        if self._drawn is not None:
            masks = [self._drawn.pointer]
        else:
            masks = [launcher.sent("drawn mask", self._masker.drawn(each.landmarks))]
        if self.spec.mask and self._masker.takes_own:
            own = self._outputs[1].pointer + plane * sides**2 * number
            if sides > 1:
                whole = launcher.memory("own mask", 4 * size * size)
                for tile in range(sides**2):
                    first = whole + 4 * (tile // sides * size + tile % sides)
                    merge_masks(
                        launcher,
                        [own + plane * tile],
                        first,
                        (side, side),
                        row=size * sides,
                        step=sides,
                    )
                own = whole
            masks.append(own)
        merge_masks(launcher, masks, each.face.crop + 12, (size, size), step=4)

    def _tile(self, pointer: int, step: int, tile: int) -> Batch:
        """A small picture of a crop (``actors.pixel_boost``) whose pixels have ``step`` values."""
        side, sides = self.spec.size, self.sides
        row, column = divmod(tile, sides)
        return Batch(
            pointer=pointer + 4 * step * (row * side * sides + column),
            count=1,
            width=side,
            height=side,
            step=step * sides,
            row=step * sides * side * sides,
        )

    def _reserve(self, values: int) -> Memory:
        return self._launcher.device.reserve(4 * values * self._rows)

    def _kept(self, values: Floats) -> Memory:
        """A copy of an array, on the device for good."""
        whole = np.ascontiguousarray(values).reshape(1, -1)
        memory = self._launcher.device.reserve(whole.nbytes)
        self._launcher.device.write(memory.pointer, whole.nbytes, whole)
        return memory


class DeviceFaceSwapper:
    """Puts one person's face on others (``swapper.CropSwapper``).

    Args:
        network: shared by all people.
        source: as of ``actors.neural_swapper.NeuralSwapper``.
    """

    def __init__(self, network: DeviceNetwork, source: Floats) -> None:
        self._network = network
        self._source = network.source(source)

    @property
    def size(self) -> int:
        return self._network.spec.size * self._network.sides

    @property
    def batch(self) -> int:
        return self._network.batch

    def affine(self, landmarks: NDArray[np.floating]) -> Affine:
        """As ``NeuralSwapper.affine``."""
        return template_affine(landmarks, self._network.spec.template, self.size)

    def swap_all(self, faces: Sequence[DeviceTarget]) -> None:
        for part in batches(len(faces), self.batch):
            self._network.swap(faces[part], self._source)


class DeviceSwapper(FaceGatherer[DeviceFrame, DeviceTarget]):
    """Swaps the faces of frames in device memory.

    Args:
        face_swappers, display, beat: see `FaceGatherer`.
        launcher: of the stream in which all is done.
    """

    def __init__(
        self,
        face_swappers: Mapping[int, DeviceFaceSwapper],
        launcher: Launcher,
        display: NDArray[np.float64],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(face_swappers, display, beat)
        self._launcher, self._crops = launcher, Crops(launcher)

    def swap_frames(
        self,
        frames: Iterable[DeviceFrame],
        faces: Mapping[int, Sequence[FaceObservation]],
        *,
        hold: int,
    ) -> Iterator[DeviceFrame]:
        """See `FaceGatherer`. Waits for the GPU once, in the end.

        Raises:
            RenderError: a network gave what is no colour; known in the end only.
        """
        astray = self._launcher.sent(ASTRAY, np.zeros(1, np.int32))
        yield from super().swap_frames(frames, faces, hold=hold)
        if self._launcher.fetched(astray, (1,), "int32")[0]:
            raise RenderError(
                "the swapper's network gave values that are not finite",
                "colours of 0 to 1",
                "choose another model or precision; if it is one of ours, report it",
            )

    def _place(
        self, frame: DeviceFrame, place: int, face: FaceObservation, affine: Affine
    ) -> DeviceTarget:
        there = device_face(frame, place)
        whole = Roi(x0=0, y0=0, x1=there.size, y1=there.size)
        self._crops.crop(frame.picture, invert(affine), whole, there.size, there.original)
        return DeviceTarget(face=there, landmarks=apply(affine, face.landmarks))


def _other(found: str, wanted: str) -> ModelCorrupt:
    return ModelCorrupt(
        found,
        wanted,
        "`farm models verify` finds damaged files; another network needs its own entry",
    )
