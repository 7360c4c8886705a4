"""What a network sees of a film: the real crops and identities that INT8 is calibrated with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.arcface import SIZE as CHIP
from actors.arcface import ArcFace
from actors.decoder import Decoder
from actors.face_networks import READERS
from actors.fan import SIZE as READ
from actors.fan import box_of, crop_planes, face_crop, lighten, quarter
from actors.formats import picture_format
from actors.frames import SlotLayout
from actors.identity_source import source_embedding
from actors.inference.onnx import Onnx
from actors.inference.onnx_file import last_matrix
from actors.inference.planes import scale_in
from actors.models import ModelStore
from actors.observer import FaceObserver
from actors.prober import probe
from actors.quantizer import Row
from actors.swapper_specs import ENHANCERS, HALF, RECOGNISER, SWAPPERS, SwapperSpec
from actors.toolbox import Toolbox
from actors.transport.shm import Ring
from kernels.geometry import Affine, apply, compose, display_affine
from kernels.templates import ibug_points, template_affine
from scheduler.errors import SettingInvalid

Floats = NDArray[np.float32]
Cut = tuple[Callable[[NDArray[np.floating]], Affine], int]
"""How a crop is cut: from landmarks in pixels of the upright frame, and its side in pixels."""

FEWEST: Final = 8
"""Faces that a film must show to say anything."""
PASSES: Final = 2
"""Frames looked at for each face that is wanted: not all show one."""


def film_crops(
    media: Path, tools: Toolbox, cuts: Sequence[Cut], count: int
) -> list[tuple[Floats, ...]]:
    """Crops of faces from all over a film, in its order.

    Args:
        media: the film.
        tools: its detector and landmarker find the faces, as an analysis does at its key frames.
        cuts: the crops of one face.
        count: faces wanted.

    Returns:
        For each face one float32 [side, side, 3] R'G'B' 0..1 for each of ``cuts``.

    Raises:
        InputError: the film cannot be read, or shows fewer than FEWEST faces.
    """
    index = probe(media)
    display = display_affine(
        index.width, index.height, float(index.sample_aspect_ratio), index.rotation
    )
    observer = FaceObserver(tools.detector, tools.landmarker, tools.kernels, display)
    looks = min(index.frames, count * PASSES)
    wanted = sorted({round(place) for place in np.linspace(0, index.frames - 1, looks)})
    found: list[tuple[Floats, ...]] = []
    decoder = Decoder(index)
    ring = Ring.create(SlotLayout(format=picture_format(index), faces=0, crop_size=1), 2)
    try:
        for number in wanted:
            for frame in decoder.decode(number, number + 1, ring):
                for face in observer.observe(frame.picture, number):
                    points = apply(display, face.landmarks)
                    found.append(
                        tuple(
                            tools.kernels.crop(frame.picture, compose(cut(points), display), side)
                            for cut, side in cuts
                        )
                    )
                ring.release(frame.handle.slot)
    finally:
        ring.close()
    if len(found) < FEWEST:
        raise SettingInvalid(
            f"{len(found)} faces in {len(wanted)} frames of {media}",
            f"a film that shows at least {FEWEST}",
            "calibrate with another film, best the one that is to be rendered",
        )
    chosen = np.linspace(0, len(found) - 1, min(count, len(found)))
    return [found[round(place)] for place in chosen]


def calibration_rows(
    name: str, media: Path, store: ModelStore, tools: Toolbox, count: int
) -> list[Row]:
    """Inputs of a swapper, an enhancer or a landmarker as a job with the film would make them.

    A swapper gets each face with the identity of another one of the film.

    Args:
        name: of the network, in the registry.
        media: the film.
        store: of the models; the recogniser and a converter are needed for swappers.
        tools: find the faces.
        count: rows wanted; fewer come from a short film.

    Raises:
        SettingInvalid: no network that can be calibrated so, or too few faces in the film.
        InputError: the film cannot be read.
        ModelError: a network that is needed is not there.
    """
    if name in ENHANCERS:
        enhancer = ENHANCERS[name]
        cut = _cut(enhancer.template, enhancer.size)
        crops = [crop for (crop,) in film_crops(media, tools, [cut], count)]
        planes = [_planes(crop, HALF, HALF) for crop in crops]
        names = [tensor for tensor, _ in store.registry[name].inputs]
        half = np.full(1, 0.5)  # a fidelity, for those who ask
        return [{each: half if each == "weight" else row for each in names} for row in planes]
    if name in READERS:
        crops = [crop for (crop,) in film_crops(media, tools, [(_reader_cut, READ)], count)]
        eights = (np.asarray(np.rint(crop * np.float32(255)), np.uint8) for crop in crops)
        return [{"input": crop_planes(lighten(crop))} for crop in eights]
    if name not in SWAPPERS:
        raise SettingInvalid(
            f"{name!r} to be quantised",
            f"one of {', '.join((*SWAPPERS, *ENHANCERS, *READERS))}",
            "choose a swapper, an enhancer or a landmarker: with the others nothing is gained",
        )
    spec = SWAPPERS[name]
    cuts = [_cut(spec.template, spec.size)]
    if spec.picture is None:
        cuts.append((ArcFace.affine, CHIP))
    else:
        cuts.append(_cut(spec.picture.template, spec.picture.size))
    faces = film_crops(media, tools, cuts, count)
    sources = _sources(name, spec, [chip for _, chip in faces], store)
    return [
        {"source": sources[place - len(faces) // 2], "target": _planes(crop, spec.mean, spec.std)}
        for place, (crop, _) in enumerate(faces)
    ]


def _cut(template: str, size: int) -> Cut:
    return (lambda landmarks: template_affine(landmarks, template, size)), size


def _reader_cut(landmarks: NDArray[np.floating]) -> Affine:
    points = ibug_points(landmarks)
    return face_crop(box_of(points), quarter(points))


def _planes(crop: Floats, mean: Sequence[float], std: Sequence[float]) -> Floats:
    planes = np.ascontiguousarray(crop.transpose(2, 0, 1))[None]
    scale_in(planes, mean, std)
    return planes


def _sources(
    name: str, spec: SwapperSpec, chips: Sequence[Floats], store: ModelStore
) -> list[Floats]:
    """Each face as the swapper takes a source, with a batch of 1."""
    if spec.picture is not None:
        return [np.ascontiguousarray(chip.transpose(2, 0, 1))[None] for chip in chips]
    recogniser = ArcFace(Onnx.load(store.path(RECOGNISER)))
    converter = Onnx.load(store.path(spec.converter)) if spec.converter else None
    matrix = last_matrix(store.path(name), 512, 512) if spec.projected else None
    return [
        source_embedding(
            spec, recogniser.embed([chip])[0], converter=converter, matrix=matrix
        ).reshape(1, -1)
        for chip in chips
    ]
