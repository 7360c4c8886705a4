"""What a swap needs of the analysis: which points, and whether they must move with the expression.

"Neural" swappers take an aligned picture and give one back: of the landmarks they need the pose
only, unless a mask is cut along them.
"""

from __future__ import annotations

from scheduler.detection import LandmarkerSettings
from scheduler.errors import LandmarksUnfit
from scheduler.jobs import MESH_SWAPPER, SwapSettings
from scheduler.points import IBUG, MESH

POINT_MASKS = frozenset({"hull", "area"})
"""Masks that follow the landmarks."""


def points_of(landmarker: LandmarkerSettings) -> int:
    """How many points the landmarker gives a face."""
    return (MESH if landmarker.model == "mesh" else IBUG).count


def needs_expression(swap: SwapSettings) -> bool:
    """Whether landmarks must be looked for in every frame (``AnalyseSettings.expression``): the
    mesh swapper wears them, and a mask along the mouth must move with it. For other swappers
    landmarks are carried between keyframes by flow, and no landmarker runs there."""
    return swap.model == MESH_SWAPPER or bool(POINT_MASKS.intersection(swap.masks.types))


def check_points(swap: SwapSettings, landmarker: LandmarkerSettings) -> None:
    """Refuse a landmarker whose points the swapper cannot wear.

    Raises:
        LandmarksUnfit: the mesh swapper with 68 points.
    """
    if swap.model == MESH_SWAPPER and points_of(landmarker) != MESH.count:
        raise LandmarksUnfit(
            f"the mesh swapper with the landmarker {landmarker.model} of {IBUG.count} points",
            f"the mesh's {MESH.count} points",
            "leave --face-landmarker-model out, or choose a neural swapper",
        )
