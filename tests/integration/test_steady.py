"""Chunks of a steadied film: what the temporal filters make of a border, measured on real films."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from actors.masks import RecordedMasks
from farm.cli import main
from kernels.api import plane_touched
from kernels.picture import PictureFormat
from tests.integration.films import planes, splice, trim

Submit = Callable[..., Path]


@pytest.fixture
def submit(
    samples: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Submit:
    """Renders a film without loss in one process; a name for its files, then options."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(film: Path, name: str, *options: str) -> Path:
        output = tmp_path / f"{name}.mp4"
        typed = [
            "submit", film, "-s", samples["astronaut"], "-o", output, "--no-ray", "--json",
            "--encoder", "ffv1", "--frame-hashes", tmp_path / f"{name}.tsv",
            "--record-masks", tmp_path / f"{name}.parquet", *options,
        ]  # fmt: skip
        code = main(list(map(str, typed)))
        assert code == 0, capsys.readouterr()
        return output

    return run


def near(whole: Path, chunked: Path) -> tuple[float, int]:
    """(share of the face's samples within one code, largest difference in codes) of two renders.

    The face is what the first one's recorded masks touch.
    """
    masks = RecordedMasks(whole.with_suffix(".parquet"))
    good = every = worst = 0
    for at, pair in enumerate(zip(planes(whole), planes(chunked), strict=True)):
        height, width = pair[0][0].shape
        fmt = PictureFormat(width=width, height=height)
        touched = masks.mask(at, width, height)
        for number, (a, b) in enumerate(zip(*pair, strict=True)):
            face = plane_touched(touched, fmt, number)
            difference = np.abs(a.astype(np.int64) - b)
            assert not difference[~face].any()
            good += np.count_nonzero(difference[face] <= 1)
            every += np.count_nonzero(face)
            worst = max(worst, int(difference.max()))
    assert every > 100_000
    return good / every, worst


@pytest.mark.parametrize(
    ("frames", "lengths"),
    [
        (80, (1.0, 1.4)),
        pytest.param(472, (1.0, 3.0, 8.0), marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_a_chunked_render_is_the_unchunked_one_within_a_code(
    submit: Submit,
    samples: dict[str, Path],
    tmp_path: Path,
    frames: int,
    lengths: Sequence[float],
) -> None:
    film = trim(samples["wolfgang_langer"], tmp_path / "film.mp4", frames)
    whole = submit(film, "whole", "--chunk-seconds", "600")
    for seconds in lengths:
        share, _ = near(whole, submit(film, f"{seconds}", "--chunk-seconds", str(seconds)))
        assert share >= 0.999
    # The filters do work here: without them the film is another one.
    share, worst = near(whole, submit(film, "plain", "--chunk-seconds", "600", "--no-stabilize"))
    assert share < 0.98
    assert worst > 4


def test_borders_on_cuts_change_no_bit(
    submit: Submit, samples: dict[str, Path], tmp_path: Path
) -> None:
    shots = [("wolfgang_langer", 0), ("single_face", 10), ("wolfgang_langer", 300)]
    film = splice(
        [(samples[name], start, start + 25) for name, start in shots], tmp_path / "film.mp4"
    )
    whole = submit(film, "whole", "--chunk-seconds", "600")
    chunked = submit(film, "chunked", "--chunk-seconds", "1")
    texts = [path.with_suffix(".tsv").read_text() for path in (whole, chunked)]
    assert len(texts[0].splitlines()) == 75
    assert texts[0] == texts[1]
