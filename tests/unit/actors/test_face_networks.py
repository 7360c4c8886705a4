"""Which networks a job's settings ask for, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.face_networks import check_faces, models_of, recognizer_for
from actors.registry import Registry
from scheduler.detection import DETECTORS, LANDMARKERS, DetectorSettings, LandmarkerSettings
from scheduler.errors import LandmarksUnfit, SettingInvalid
from scheduler.jobs import AnalyseSettings, FaceChoice, JobSpec, SwapSettings

JOB = JobSpec(
    job_id="j", media="f", output="o", folder="d", swap=SwapSettings(model="inswapper_128")
)


def job(detector: str = "blazeface", landmarker: str = "mesh", **changes: object) -> JobSpec:
    settings = AnalyseSettings(
        detector=DetectorSettings(model=detector),
        landmarker=LandmarkerSettings(model=landmarker),
    )
    return replace(JOB, analysis=settings, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("landmarker", LANDMARKERS)
def test_every_network_that_is_asked_for_is_in_the_registry(detector: str, landmarker: str) -> None:
    names = models_of(job(detector, landmarker))
    assert len(names) == len(set(names))
    assert all(Registry.load()[name].kind in ("detector", "landmarker") for name in names)


def test_networks_by_settings() -> None:
    assert models_of(job()) == ("face_detection_full_range", "face_landmark")
    assert models_of(job("many", "many")) == (
        *("retinaface_10g", "scrfd_2.5g", "yoloface_8n"),
        *("2dfan4", "peppa_wutz", "fan_68_5"),
    )
    plain = job("yunet", "2dfan4")
    assert models_of(plain) == ("yunet_2023_mar", "2dfan4", "fan_68_5")
    for choice in (
        FaceChoice(gender="female"),
        FaceChoice(race="auto"),
        FaceChoice(ages=(3, 20)),
    ):
        assert models_of(replace(plain, faces=choice))[3:] == ("fairface",)
    who = replace(plain, identities=True)
    assert models_of(who)[3:] == ("dlib_face_recognition_resnet_128",)
    assert models_of(replace(who, recognizer="arcface"))[3:] == ("arcface_w600k_r50",)


def test_the_recogniser_that_a_swapper_loads_anyway_is_taken() -> None:
    assert recognizer_for(SwapSettings()) == "dlib"
    assert recognizer_for(SwapSettings(model="hyperswap_1a_256")) == "arcface"
    assert recognizer_for(SwapSettings(model="uniface_256")) == "dlib", "it looks at a picture"


WRONG = {
    "--face-detector-model scrfd2": AnalyseSettings(detector=DetectorSettings(model="scrfd2")),
    "--face-landmarker-model fan": AnalyseSettings(landmarker=LandmarkerSettings(model="fan")),
    "--face-detector-angles 45": AnalyseSettings(detector=DetectorSettings(angles=(45,))),
    "--face-detector-angles none": AnalyseSettings(detector=DetectorSettings(angles=())),
    "--face-detector-angles 0 0": AnalyseSettings(detector=DetectorSettings(angles=(0, 0))),
    "--face-detector-margin 0 0 0 101": AnalyseSettings(
        detector=DetectorSettings(margin=(0, 0, 0, 101))
    ),
    "--face-detector-score 1.5": AnalyseSettings(detector=DetectorSettings(score=1.5)),
    "--face-landmarker-score -1": AnalyseSettings(landmarker=LandmarkerSettings(score=-1)),
}


@pytest.mark.parametrize("words", WRONG)
def test_nonsense_is_refused_by_name(words: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        check_faces(replace(JOB, analysis=WRONG[words]))
    assert caught.value.found == words


def test_words_of_filters_and_recognisers_are_checked() -> None:
    check_faces(replace(JOB, faces=FaceChoice(gender="auto", race="asian")))
    with pytest.raises(SettingInvalid, match="--face-selector-gender woman"):
        check_faces(replace(JOB, faces=FaceChoice(gender="woman")))
    with pytest.raises(SettingInvalid, match="white, black, latino, asian, indian, arabic"):
        check_faces(replace(JOB, faces=FaceChoice(race="x")))
    with pytest.raises(SettingInvalid, match="dlib, arcface"):
        check_faces(replace(JOB, recognizer="facenet"))
    with pytest.raises(LandmarksUnfit):
        check_faces(job("scrfd", "2dfan4", swap=SwapSettings()))
