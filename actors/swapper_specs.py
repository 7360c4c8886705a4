"""What the neural swappers and face enhancers expect and give: their differences as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Triple = tuple[float, float, float]

HALF: Final = (0.5, 0.5, 0.5)
ZERO: Final = (0.0, 0.0, 0.0)
ONE: Final = (1.0, 1.0, 1.0)
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

RECOGNISER: Final = "arcface_w600k_r50"
"""Its embeddings are what the swappers know people by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePicture:
    """A swapper that looks at a picture of the source instead of an embedding."""

    size: int
    template: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapperSpec:
    """One swapper: target [n, 3, size, size] R'G'B' and a source in, a picture of that size out."""

    size: int
    """Side of the crop in pixels."""
    template: str
    """Of ``kernels.templates``."""
    mean: Triple = ZERO
    std: Triple = ONE
    """Pixels x in 0..1 go in as (x - mean) / std."""
    signed: bool = False
    """The picture comes out in -1..1, not in 0..1."""
    picture: SourcePicture | None = None
    """The source is a picture R'G'B' 0..1; None: an embedding [n, 512]."""
    converter: str = ""
    """Network that turns the recogniser's embedding into the swapper's own; empty: none."""
    projected: bool = False
    """The embedding is multiplied by the matrix that lies last in the swapper's file."""
    unit: bool = True
    """Embeddings go in with length 1 (but ``projected`` ones, which get theirs from the matrix)."""
    mask: bool = False
    """A second output is the swapper's own blend mask [n, 1, size, size], 0..1."""


_HYPERSWAP: Final = SwapperSpec(
    size=256, template="arcface_128", mean=HALF, std=HALF, signed=True, mask=True
)
_INSWAPPER: Final = SwapperSpec(size=128, template="arcface_128", projected=True)
_GHOST: Final = SwapperSpec(
    size=256,
    template="arcface_112_v1",
    mean=HALF,
    std=HALF,
    signed=True,
    converter="crossface_ghost",
    unit=False,
)

SWAPPERS: Final[dict[str, SwapperSpec]] = {
    "hyperswap_1a_256": _HYPERSWAP,
    "hyperswap_1b_256": _HYPERSWAP,
    "hyperswap_1c_256": _HYPERSWAP,
    "inswapper_128": _INSWAPPER,
    "inswapper_128_fp16": _INSWAPPER,
    "simswap_256": SwapperSpec(
        size=256,
        template="arcface_112_v1",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        converter="crossface_simswap",
    ),
    "simswap_unofficial_512": SwapperSpec(
        size=512, template="arcface_112_v1", converter="crossface_simswap"
    ),
    "ghost_1_256": _GHOST,
    "ghost_2_256": _GHOST,
    "ghost_3_256": _GHOST,
    "hififace_unofficial_256": SwapperSpec(
        size=256,
        template="mtcnn_512",
        mean=HALF,
        std=HALF,
        signed=True,
        converter="crossface_hififace",
    ),
    "blendswap_256": SwapperSpec(
        size=256, template="ffhq_512", picture=SourcePicture(size=112, template="arcface_112_v2")
    ),
    "uniface_256": SwapperSpec(
        size=256,
        template="ffhq_512",
        mean=HALF,
        std=HALF,
        signed=True,
        picture=SourcePicture(size=256, template="ffhq_512"),
    ),
}
"""By the registry's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhancerSpec:
    """One face enhancer: [n, 3, size, size] R'G'B' -1..1 in, the same out."""

    size: int
    template: str = "ffhq_512"


ENHANCERS: Final[dict[str, EnhancerSpec]] = {
    "codeformer": EnhancerSpec(size=512),
    "gfpgan_1.2": EnhancerSpec(size=512),
    "gfpgan_1.3": EnhancerSpec(size=512),
    "gfpgan_1.4": EnhancerSpec(size=512),
    "gpen_bfr_256": EnhancerSpec(size=256, template="arcface_128"),
    "gpen_bfr_512": EnhancerSpec(size=512),
    "gpen_bfr_1024": EnhancerSpec(size=1024),
    "gpen_bfr_2048": EnhancerSpec(size=2048),
    "restoreformer_plus_plus": EnhancerSpec(size=512),
}
"""By the registry's name."""
