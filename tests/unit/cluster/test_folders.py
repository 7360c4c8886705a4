from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.folders import claim, release, sweep
from scheduler.errors import DiskFull, StorageUnwritable, storage_error

CLAIM = """
import sys, pathlib
from cluster.folders import claim
claim(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
"""


def test_the_living_are_left_alone_and_the_dead_are_swept(tmp_path: Path) -> None:
    root, partial = tmp_path / "jobs", tmp_path / ".film.partial.mp4"
    claim(root / "mine", tmp_path / "mine.partial.mp4")
    subprocess.run([sys.executable, "-c", CLAIM, root / "dead", partial], check=True)
    (root / "dead" / "segments" / "0.a1.mp4").write_bytes(b"x")
    partial.write_bytes(b"half a film")
    assert sweep(root) == ("dead",)
    assert not partial.exists()
    assert [p.name for p in root.iterdir()] == ["mine"]
    assert sweep(root) == ()


def test_release_keeps_the_folder_only_when_asked(tmp_path: Path) -> None:
    for keep in (True, False):
        folder, partial = tmp_path / str(keep), tmp_path / f"{keep}.partial"
        claim(folder, partial)
        partial.touch()
        release(folder, partial, keep=keep)
        assert folder.exists() is keep
        assert not partial.exists()
    assert sweep(tmp_path) == (), "a kept folder belongs to nobody and is not swept"


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnwritable, match="cannot write"):
        claim(tmp_path / "file" / "job", tmp_path / "p")
    assert isinstance(storage_error(OSError(errno.ENOSPC, "full"), str(tmp_path)), DiskFull)
