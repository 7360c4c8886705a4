import numpy as np
import pytest

from actors.masks import MaskWriter, PastedFace, RecordedMasks, pasted_faces
from kernels.api import Patch
from kernels.picture import Roi
from scheduler.errors import StorageUnwritable


def _patch(x0, y0, x1, y1, seed=0):
    touched = np.random.default_rng(seed).random((y1 - y0, x1 - x0)) < 0.5
    return Patch(roi=Roi(x0=x0, y0=y0, x1=x1, y1=y1), touched=touched)


def _faces(frame, *patches):
    return [
        PastedFace(frame=frame, track=track, patch=patch, strength=0.5, hidden=0.25)
        for track, patch in enumerate(patches)
    ]


EMPTY = Patch(roi=Roi(x0=0, y0=0, x1=0, y1=0), touched=np.zeros((0, 0), np.bool_))


def test_masks_come_back(tmp_path):
    path = tmp_path / "masks.parquet"
    patches = {
        at: (_patch(3, 5, 20, 11, at), EMPTY, _patch(10, 2, 31, 29, at + 100)) for at in range(90)
    }
    with MaskWriter(path) as writer:
        for at, both in patches.items():
            writer.add(_faces(at, *both))
        writer.add(_faces(90, EMPTY))
    masks = RecordedMasks(path)
    assert masks.frames == tuple(range(90))
    for at, (first, _, second) in patches.items():
        wanted = np.zeros((30, 40), np.bool_)
        wanted[5:11, 3:20] |= first.touched
        wanted[2:29, 10:31] |= second.touched
        assert np.array_equal(masks.mask(at, 40, 30), wanted)
    assert not masks.mask(90, 40, 30).any()
    assert [p.name for p in tmp_path.iterdir()] == ["masks.parquet"]


def test_every_face_has_a_row_also_where_nothing_was_touched(tmp_path):
    path = tmp_path / "masks.parquet"
    with MaskWriter(path) as writer:
        for at in range(100):
            writer.add(_faces(at, EMPTY, _patch(3, 5, 20, 11, at)))
    rows = list(pasted_faces(path))
    assert [(row.frame, row.track) for row in rows] == [
        (at, t) for at in range(100) for t in (0, 1)
    ]
    assert rows[0].patch.roi.empty
    assert (rows[1].strength, rows[1].hidden) == (0.5, 0.25)
    assert np.array_equal(rows[199].patch.touched, _patch(3, 5, 20, 11, 99).touched)


def test_a_chunk_without_faces_has_an_empty_table(tmp_path):
    with MaskWriter(tmp_path / "m.parquet"):
        pass
    assert RecordedMasks(tmp_path / "m.parquet").frames == ()


def test_same_masks_same_bytes(tmp_path):
    for name in ("a", "b"):
        with MaskWriter(tmp_path / name) as writer:
            writer.add(_faces(1, _patch(0, 0, 8, 8)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_broken_off_render_leaves_no_file(tmp_path):
    def render():
        with MaskWriter(tmp_path / "m.parquet") as writer:
            writer.add(_faces(1, _patch(0, 0, 8, 8)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_one_clear_error(tmp_path):
    with (
        pytest.raises(StorageUnwritable, match="cannot write"),
        MaskWriter(tmp_path / "gone" / "m.parquet"),
    ):
        raise AssertionError("not reached")
