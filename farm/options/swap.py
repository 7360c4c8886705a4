"""What is put on the faces, and what of it is pasted."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from actors.swapper_specs import ENHANCERS, SWAPPERS
from farm.options.fields import (
    Choice,
    Flag,
    Margins,
    Percent,
    Precision,
    Section,
    Share,
    Square,
    Words,
    distinct,
)
from scheduler.jobs import MESH_SWAPPER
from scheduler.masks import AREAS, MASK_TYPES, OCCLUDERS, PARSERS, REGIONS


class FaceSwapper(Section):
    """The swapper."""

    panel: ClassVar[str] = "The swap"
    model: Annotated[
        str,
        Choice((MESH_SWAPPER, *SWAPPERS)),
        Flag(
            ("--swapper", "--face-swapper-model"),
            "What swaps the faces. mesh needs nothing else; the others are networks "
            "(`farm models list` has their licences).",
            "NAME",
        ),
    ] = MESH_SWAPPER
    weight: Annotated[
        Share,
        Flag(
            ("--face-swapper-weight",),
            "Of the source's identity against the face's own, for networks that know faces by "
            "embeddings; 0.5 is the source's alone.",
            "W",
        ),
    ] = 0.5
    pixel_boost: Annotated[
        int,
        Square,
        Field(ge=0, le=2048),
        Flag(
            ("--face-swapper-pixel-boost",),
            "Raise a network's picture to this size, as in 512x512 or 512, by a batch of "
            "interleaved runs.",
            "PX",
            unset="the network's own",
        ),
    ] = 0
    precision: Annotated[
        Precision,
        Flag(
            ("--precision",),
            "Which of the swapper's files is run (`farm models quantize`).",
            "WORD",
        ),
    ] = "fp32"
    crop_size: Annotated[
        int,
        Field(ge=0, le=1024),
        Flag(
            ("--crop-size",),
            "Side of the mesh swapper's aligned crop; 0 fits it to the film's faces.",
            "PX",
        ),
    ] = 0


class FaceEnhancer(Section):
    """A second network that sharpens the swapped face."""

    panel: ClassVar[str] = "The swap"
    model: Annotated[
        str,
        Choice(("", *ENHANCERS)),
        Flag(
            ("--face-enhancer-model",), "Sharpen swapped faces with this network.", "NAME", "none"
        ),
    ] = ""
    blend: Annotated[
        Percent,
        Flag(("--face-enhancer-blend",), "How much of its picture is taken.", "PERCENT"),
    ] = 80
    weight: Annotated[
        Share,
        Flag(("--face-enhancer-weight",), "Fidelity against quality (codeformer).", "W"),
    ] = 0.5
    precision: Annotated[
        Precision,
        Flag(("--face-enhancer-precision",), "Which of the enhancer's files is run.", "WORD"),
    ] = "fp32"


class FaceMask(Section):
    """What of a crop is pasted."""

    panel: ClassVar[str] = "The mask"
    types: Annotated[
        tuple[Annotated[str, Choice(MASK_TYPES)], ...],
        Words,
        AfterValidator(distinct),
        Flag(
            ("--face-mask-types",),
            "Masks of a neural swapper, the smallest at each pixel counts. hull: the outline; "
            "model: the swapper's own.",
            "TYPES",
        ),
    ] = ("box",)
    areas: Annotated[
        tuple[Annotated[str, Choice(AREAS)], ...],
        Words,
        AfterValidator(distinct),
        Flag(("--face-mask-areas",), "Of the face, for the type area.", "AREAS"),
    ] = AREAS
    regions: Annotated[
        tuple[Annotated[str, Choice(REGIONS)], ...],
        Words,
        AfterValidator(distinct),
        Flag(("--face-mask-regions",), "Of the face, for the type region.", "REGIONS"),
    ] = REGIONS
    blur: Annotated[Share, Flag(("--face-mask-blur",), "Of the box's border.", "SHARE")] = 0.3
    padding: Annotated[
        Margins,
        Flag(
            ("--face-mask-padding",),
            "Cut off the box: top, right, bottom, left, in percent of the crop.",
            "PERCENT",
        ),
    ] = (0, 0, 0, 0)


class FaceOccluder(Section):
    """The network behind the mask type occlusion."""

    panel: ClassVar[str] = "The mask"
    model: Annotated[
        str,
        Choice(OCCLUDERS),
        Flag(("--face-occluder-model",), "Network of the mask type occlusion."),
    ] = "xseg_1"


class FaceParser(Section):
    """The network behind the mask type region."""

    panel: ClassVar[str] = "The mask"
    model: Annotated[
        str, Choice(PARSERS), Flag(("--face-parser-model",), "Network of the mask type region.")
    ] = "bisenet_resnet_34"
