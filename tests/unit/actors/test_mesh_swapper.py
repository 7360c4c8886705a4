"""The mesh swapper on painted faces: no networks, no films."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.mesh_swapper import MeshSwapper, SourceFace
from kernels.geometry import apply
from kernels.mesh import canonical
from kernels.mesh.canonical import canonical_face

FACE = canonical_face()
Floats = NDArray[np.float32]


def landmarks(size: int, yaw: float = 0.0, scale: float = 0.55) -> NDArray[np.float64]:
    """[468, 2] the canonical face in the middle of a square picture."""
    angle = np.radians(yaw)
    x = FACE.vertices[:, 0] * np.cos(angle) + FACE.vertices[:, 2] * np.sin(angle)
    points = np.column_stack([x, FACE.vertices[:, 1] - 0.1]) * scale * size
    return points + (size - 1) / 2


def painted(
    points: NDArray[np.float64], size: int, skin: tuple[int, int, int], brow: float = 0.3
) -> NDArray[np.uint8]:
    """[size, size, 3] a face with brows, eyes, lips, freckles over a grey wall."""
    picture = np.full((size, size, 3), 90, np.uint8)

    def fill(ring: tuple[int, ...], colour: NDArray[np.float64]) -> None:
        polygon = np.rint(points[list(ring)] * 16).astype(np.int32)
        cv2.fillPoly(picture, [polygon], colour.tolist(), cv2.LINE_AA, 4)

    tone = np.array(skin, np.float64)
    fill(canonical.OVAL, tone)
    for ring in (canonical.LEFT_BROW, canonical.RIGHT_BROW):
        fill(ring, tone * brow)
    for ring in (canonical.LEFT_EYE, canonical.RIGHT_EYE):
        fill(ring, np.array([220.0, 225.0, 230.0]))
    fill(canonical.OUTER_LIPS, tone * [0.8, 0.5, 0.5])
    fill(canonical.INNER_LIPS, np.array([240.0, 240.0, 235.0]))
    rng = np.random.default_rng(size)
    noisy = picture + rng.normal(0, 2, picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def source(skin: tuple[int, int, int] = (225, 170, 140), brow: float = 0.3) -> SourceFace:
    points = landmarks(300)
    return SourceFace(image=painted(points, 300, skin, brow), landmarks=points)


@pytest.fixture(scope="module")
def swapper() -> MeshSwapper:
    return MeshSwapper([source()], 256)


def target(size: int = 256, yaw: float = 0.0) -> tuple[Floats, NDArray[np.float64]]:
    points = landmarks(size, yaw)
    return painted(points, size, (120, 80, 60), 0.9).astype(np.float32) / 255, points


def swap(swapper: MeshSwapper, crop: Floats, points: NDArray[np.float64]) -> tuple[Floats, Floats]:
    out = np.full((swapper.size, swapper.size, 4), np.nan, np.float32)
    swapper.swap(crop, points, out)
    return out[..., :3], out[..., 3]


@pytest.mark.parametrize("size", [128, 200, 256, 384, 512])
def test_every_size_gives_a_soft_mask_well_inside_the_crop(size: int) -> None:
    swapper = MeshSwapper([source()], size)
    rgb, mask = swap(swapper, *target(size))
    assert np.isfinite(rgb).all()
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    assert mask.min() == 0
    assert mask.max() == pytest.approx(1, abs=0.01)
    border = max(2, size // 32)
    for edge in (mask[:border], mask[-border:], mask[:, :border], mask[:, -border:]):
        assert edge.max() == 0
    steepest = max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1))
    assert steepest < 40 / size


def test_the_sources_brows_come_in_the_targets_light(swapper: MeshSwapper) -> None:
    crop, points = target()
    rgb, mask = swap(swapper, crop, points)
    brow = np.zeros((256, 256), np.uint8)
    for ring in (canonical.LEFT_BROW, canonical.RIGHT_BROW):
        cv2.fillPoly(brow, [np.rint(points[list(ring)]).astype(np.int32)], 1)
    inside = cv2.erode(brow, np.ones((3, 3), np.uint8)) > 0
    cheek = rgb[140:150, 80:90].mean()
    assert rgb[inside].mean() < 0.75 * crop[inside].mean()
    assert cheek == pytest.approx(crop[140:150, 80:90].mean(), abs=0.03)
    assert mask[inside].min() > 0.6


def test_eyes_and_teeth_are_the_targets(swapper: MeshSwapper) -> None:
    crop, points = target()
    rgb, _ = swap(swapper, crop, points)
    inner = np.zeros((256, 256), np.uint8)
    cv2.fillPoly(inner, [np.rint(points[list(canonical.INNER_LIPS)]).astype(np.int32)], 1)
    inside = cv2.erode(inner, np.ones((5, 5), np.uint8)) > 0
    assert inside.sum() > 50
    assert np.abs(rgb[inside] - crop[inside]).mean() < 0.03


def test_where_the_mask_is_zero_the_crop_is_unchanged(swapper: MeshSwapper) -> None:
    crop, points = target()
    rgb, mask = swap(swapper, crop, points)
    assert (mask == 0).mean() > 0.5
    np.testing.assert_array_equal(rgb[mask == 0], crop[mask == 0])


def test_a_face_outside_the_crop_changes_nothing(swapper: MeshSwapper) -> None:
    crop, points = target()
    rgb, mask = swap(swapper, crop, points + 1000)
    np.testing.assert_array_equal(rgb, crop)
    assert mask.max() == 0


@pytest.mark.parametrize("yaw", [-40, -20, 20, 40])
def test_turned_faces_fade_where_they_are_not_seen(swapper: MeshSwapper, yaw: float) -> None:
    crop, points = target(yaw=yaw)
    rgb, mask = swap(swapper, crop, points)
    assert np.isfinite(rgb).all()
    near = np.rint(points[280 if yaw > 0 else 50]).astype(int)
    assert mask[near[1], near[0]] > 0.9
    # The wall behind the head keeps its place and its colour.
    head = np.zeros((256, 256), np.uint8)
    cv2.fillConvexPoly(head, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    wall = cv2.dilate(head, np.ones((3, 3), np.uint8)) == 0
    assert np.abs(rgb - crop)[wall].max() < 0.02


def test_profiles_are_left_alone(swapper: MeshSwapper) -> None:
    _, mask = swap(swapper, *target(yaw=80))
    assert mask.max() == 0


def test_it_keeps_nothing_between_calls(swapper: MeshSwapper) -> None:
    first = swap(swapper, *target())
    swap(swapper, *target(yaw=30))
    again = swap(swapper, *target())
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


_HASH = """
import hashlib, sys
import cv2, numpy as np
sys.path.insert(0, sys.argv[1])
import test_mesh_swapper as t
cv2.setNumThreads(int(sys.argv[2]))
swapper = t.MeshSwapper([t.source()], 256)
rgb, mask = t.swap(swapper, *t.target(yaw=10))
print(hashlib.sha256(rgb.tobytes() + mask.tobytes()).hexdigest())
"""


def test_every_process_gives_the_same_bytes_whatever_its_threads() -> None:
    here = str(__file__).rpartition("/")[0]
    answers = {
        subprocess.run(
            [sys.executable, "-c", _HASH, here, threads],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
        ).stdout
        for threads in ("1", "2")
    }
    assert len(answers) == 1


def test_the_crop_is_the_same_picture_of_a_shifted_face(swapper: MeshSwapper) -> None:
    points = landmarks(640)
    shift = np.array([50, -30])
    one, two = swapper.affine(points), swapper.affine(points + shift)
    np.testing.assert_allclose(apply(one, points), apply(two, points + shift), atol=1e-8)
    inside = apply(one, points)
    assert inside.min() > 20
    assert inside.max() < 235


def test_several_pictures_of_one_person_count_where_they_see() -> None:
    dark, light = source(brow=0.2), source(brow=0.95)
    small = SourceFace(
        image=cv2.resize(light.image, (100, 100), interpolation=cv2.INTER_AREA),
        landmarks=(light.landmarks + 0.5) / 3 - 0.5,
    )
    crop, points = target()
    at = np.rint(points[list(canonical.LEFT_BROW)].mean(axis=0)).astype(int)
    here = (slice(at[1] - 1, at[1] + 2), slice(at[0] - 4, at[0] + 5))
    depths = [
        swap(MeshSwapper(faces, 256), crop, points)[0][here].mean()
        for faces in ([dark], [dark, small], [dark, light], [light])
    ]
    assert depths == sorted(depths)
    assert len(set(depths)) == 4


def test_large_sources_are_filtered_before_they_are_looked_up() -> None:
    points = landmarks(1500)
    picture = painted(points, 1500, (225, 170, 140))
    stripes = (np.arange(1500) % 2 * 40).astype(np.uint8)
    picture = np.clip(picture.astype(np.int16) + stripes[:, None] - 20, 0, 255).astype(np.uint8)
    texture = MeshSwapper([SourceFace(image=picture, landmarks=points)], 256).texture
    assert np.abs(texture.detail[180:220, 60:85]).max() < 0.08


def test_what_is_no_face_is_a_clear_error(swapper: MeshSwapper) -> None:
    crop, points = target()
    out = np.zeros((256, 256, 4), np.float32)
    with pytest.raises(ValueError, match="at least one"):
        MeshSwapper([], 256)
    with pytest.raises(ValueError, match="128 to 1024"):
        MeshSwapper([source()], 64)
    with pytest.raises(ValueError, match=r"wanted \[468, 2\]"):
        swapper.affine(points[:100])
    with pytest.raises(ValueError, match="not finite"):
        swapper.swap(crop, np.full((468, 2), np.inf), out)
    with pytest.raises(ValueError, match="for a swapper of 256"):
        swapper.swap(crop[:128], points, out)
    with pytest.raises(ValueError, match="uint8"):
        MeshSwapper([SourceFace(image=crop.astype(np.uint8)[..., 0], landmarks=points)], 256)
