"""Where things lie in a slot of device memory."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from actors.device_frames import PITCH, DeviceLayout, has_semi_planar
from kernels.cuda.device import TEXTURE_BASE
from kernels.picture import PictureFormat

FORMATS: list[dict[str, Any]] = [
    {},
    {"depth": 10},
    {"depth": 12},
    {"sub_x": 0, "sub_y": 0},
    {"sub_y": 0, "depth": 10},
    {"planes": 1},
    {"sub_x": 0, "sub_y": 0, "matrix": "rgb"},
]


@pytest.mark.parametrize("options", FORMATS)
@pytest.mark.parametrize(("width", "height"), [(2, 2), (34, 18), (1920, 1080), (255, 129)])
@pytest.mark.parametrize("faces", [0, 3])
def test_parts_do_not_overlap_and_textures_may_begin_there(
    options: dict[str, Any], width: int, height: int, faces: int
) -> None:
    fmt = PictureFormat(width=width, height=height, **options)
    for semi_planar in {False, has_semi_planar(fmt)}:
        layout = DeviceLayout(format=fmt, faces=faces, crop_size=20, semi_planar=semi_planar)
        picture = layout.picture(1 << 20)
        assert picture.interleaved == semi_planar
        ends = []
        for number, plane in enumerate(picture.planes):
            rows, row = layout.rows(number)
            assert (rows, row) == (plane.height, plane.width * plane.itemsize * plane.channels)
            assert plane.pointer % TEXTURE_BASE == 0
            assert plane.pitch == layout.pitch >= row
            assert plane.pitch % PITCH == 0
            ends += [plane.pointer, plane.pointer + rows * plane.pitch]
        crops = (1 << 20) + layout.crops_offset
        originals = (1 << 20) + layout.originals_offset
        ends += [crops, crops + faces * 20 * 20 * 16, originals, originals + faces * 20 * 20 * 12]
        assert all(one <= two for one, two in pairwise(ends))
        assert ends[-1] <= (1 << 20) + layout.nbytes
        assert layout.nbytes % TEXTURE_BASE == 0


@pytest.mark.parametrize("depth", [8, 10])
def test_chroma_follows_luma_at_once_for_nvenc_is_told_where_luma_is_only(depth: int) -> None:
    fmt = PictureFormat(width=426, height=238, depth=depth)
    layout = DeviceLayout(format=fmt, faces=0, crop_size=0, semi_planar=True)
    luma, chroma = layout.picture(0).planes
    assert chroma.pointer == luma.pitch * luma.height
    assert layout.spans == ((0, 426 * fmt.dtype.itemsize, 238 + 119),)
    assert layout.picture(0).shift == (6 if depth == 10 else 0)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 35},
        {"height": 17},
        {"depth": 12},
        {"sub_y": 0},
        {"planes": 1},
        {"sub_x": 0, "sub_y": 0},
    ],
)
def test_what_has_no_form_as_nv12_is_refused(options: dict[str, Any]) -> None:
    fmt = PictureFormat(**{"width": 34, "height": 18, **options})
    assert not has_semi_planar(fmt)
    with pytest.raises(ValueError, match="no form as NV12"):
        DeviceLayout(format=fmt, faces=0, crop_size=0, semi_planar=True)
