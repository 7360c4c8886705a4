"""The stand-in of the benchmark: it waits, no one takes it for a swapper, no option leads to it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import actors.waiting_swapper
from actors.swap_needs import check_swap, swap_crop_size, swap_models
from actors.swapper import AlignedFace
from actors.waiting_swapper import SIZE, WaitingSwapper
from cluster.preparation import marking
from farm.cli import main
from kernels.geometry import apply
from kernels.picture import Picture, PictureFormat
from scheduler.errors import SettingInvalid
from scheduler.jobs import JobSpec, SwapSettings

STANDIN = SwapSettings(model="stand-in-waits-250ms")


def face(seed: int) -> AlignedFace:
    planes = tuple(np.zeros(shape, np.uint8) for shape in ((2, 2), (1, 1), (1, 1)))
    return AlignedFace(
        picture=Picture(
            format=PictureFormat(width=2, height=2, depth=8, matrix="bt709"), planes=planes
        ),
        affine=np.eye(2, 3),
        crop=np.random.default_rng(seed).random((SIZE, SIZE, 3), np.float32),
        landmarks=np.zeros((468, 2)),
        out=np.empty((SIZE, SIZE, 4), np.float32),
    )


def test_it_waits_for_each_face_and_gives_its_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(actors.waiting_swapper.time, "sleep", waits.append)
    faces = [face(1), face(2)]
    WaitingSwapper(0.25).swap_all(faces)
    assert waits == [0.5]
    for each in faces:
        np.testing.assert_array_equal(each.out[..., :3], 1.0 - each.crop)
        mask = each.out[..., 3]
        assert mask[SIZE // 2, SIZE // 2] == 1.0
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert not border.any()


def test_the_face_is_in_the_middle_of_its_crop() -> None:
    landmarks = np.array([[100.0, 50.0], [140.0, 130.0]])
    swapper = WaitingSwapper(0.0)
    inside = apply(swapper.affine(landmarks), landmarks)
    np.testing.assert_allclose(inside.mean(0), (SIZE - 1) / 2)
    assert (inside > 0).all()
    assert (inside < SIZE - 1).all()
    assert np.ptp(inside[:, 1]) == pytest.approx(SIZE / 1.4)


def test_the_job_knows_it_by_its_name() -> None:
    check_swap(STANDIN)
    assert STANDIN.waits == 0.25
    assert SwapSettings().waits is None
    assert swap_models(STANDIN) == ()
    assert swap_crop_size(STANDIN, 512) == SIZE
    with pytest.raises(SettingInvalid):
        check_swap(SwapSettings(model="waits-250ms"))


def test_a_film_made_with_it_says_so() -> None:
    job = JobSpec(job_id="j", media="/f.mp4", output="/o.mp4", folder="/w", swap=STANDIN)
    marks = marking(job)
    assert "Made with stand-ins that know no faces: stand-in-waits-250ms" in marks["comment"]
    assert json.loads(marks["swapfarm"])["standins"] == ["stand-in-waits-250ms"]


@pytest.mark.parametrize("command", ["submit", "batch"])
def test_no_option_leads_to_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [command, "-s", "face.jpg", "-t", "film.mp4", "-o", "out.mp4"]
    assert main([*words, "--swapper", STANDIN.model]) == 2
    assert "stand-in" in capsys.readouterr().err
