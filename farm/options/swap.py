"""What is put on the faces, and what of it is pasted."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from farm.options.fields import (
    PRECISIONS,
    Choice,
    Flag,
    Percent,
    Section,
    Sides,
    Square,
    Words,
    distinct,
)
from scheduler.masks import AREAS, MASK_TYPES, OCCLUDERS, PARSERS, REGIONS

SWAPPERS: Final = (
    "mesh",
    "hyperswap_1a_256",
    "hyperswap_1b_256",
    "hyperswap_1c_256",
    "inswapper_128",
    "inswapper_128_fp16",
    "simswap_256",
    "simswap_unofficial_512",
    "ghost_1_256",
    "ghost_2_256",
    "ghost_3_256",
    "hififace_unofficial_256",
    "blendswap_256",
    "uniface_256",
)
ENHANCERS: Final = (
    "codeformer",
    "gfpgan_1.2",
    "gfpgan_1.3",
    "gfpgan_1.4",
    "gpen_bfr_256",
    "gpen_bfr_512",
    "gpen_bfr_1024",
    "gpen_bfr_2048",
    "restoreformer_plus_plus",
)
FILTERS: Final = ("colour", "flow", "guard", "snap", "seam")


class FaceSwapper(Section):
    """The swapper."""

    panel: ClassVar[str] = "The swap"
    model: Annotated[
        str,
        Choice(SWAPPERS),
        Flag(
            ("--swapper", "--face-swapper-model"),
            "What swaps the faces. mesh needs nothing else; the others are networks "
            "(`farm models list` has their licences).",
            "NAME",
        ),
    ] = "mesh"
    weight: Annotated[
        float,
        Field(ge=0, le=1),
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
        str,
        Choice(PRECISIONS),
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
        int,
        Field(ge=0, le=100),
        Flag(("--face-enhancer-blend",), "How much of its picture is taken.", "PERCENT"),
    ] = 80
    weight: Annotated[
        float,
        Field(ge=0, le=1),
        Flag(("--face-enhancer-weight",), "Fidelity against quality (codeformer).", "W"),
    ] = 0.5
    precision: Annotated[
        str,
        Choice(PRECISIONS),
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
    blur: Annotated[
        float, Field(ge=0, le=1), Flag(("--face-mask-blur",), "Of the box's border.", "SHARE")
    ] = 0.3
    padding: Annotated[
        tuple[Percent, Percent, Percent, Percent],
        Sides,
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
