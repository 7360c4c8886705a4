from pathlib import Path

import pytest

from actors.whole_file import whole_file
from scheduler.errors import StorageUnwritable


def test_it_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_all_is_as_before(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageUnwritable, match="absent"), whole_file(tmp_path / "absent" / "f"):
        raise AssertionError("there is no file to fill")
