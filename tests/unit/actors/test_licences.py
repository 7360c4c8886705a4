"""The licence policy, and what a job records of its models."""

import hashlib
from pathlib import Path

import pytest

from actors.licences import check_licences, model_records
from actors.models import ModelStore
from actors.registry import Registry
from actors.swap_needs import swap_models
from actors.toolbox import EMBEDDED, RECOGNIZER
from benchmarks.standins import standin_store
from scheduler.errors import ModelLicence, ModelUnknown, SettingInvalid
from scheduler.jobs import SwapSettings

REGISTRY = Registry.load()


def test_any_refuses_nothing() -> None:
    check_licences(REGISTRY, "any", REGISTRY)


def test_what_is_refused_and_what_may_be_used() -> None:
    names = ["face_landmark", "inswapper_128", "arcface_w600k_r50", "uniface_256"]
    with pytest.raises(ModelLicence) as raised:
        check_licences(names, "commercial", REGISTRY)
    assert raised.value.found == (
        "inswapper_128: Non-Commercial (non-commercial); "
        "arcface_w600k_r50: Non-Commercial (non-commercial); uniface_256: unknown (unknown)"
    )
    # GHOST itself is free, but it knows people by a recogniser that is not.
    assert raised.value.wanted.endswith("swapper: mesh")
    assert "recogniser: dlib_face_recognition_resnet_128" in raised.value.wanted
    assert "landmarker" not in raised.value.wanted
    assert raised.value.exit_code == 4


def test_the_default_job_may_be_sold() -> None:
    check_licences((*EMBEDDED, RECOGNIZER), "commercial", REGISTRY)


def test_a_free_swapper_on_an_unfree_recogniser_is_refused() -> None:
    needed = swap_models(SwapSettings(model="ghost_1_256"))
    with pytest.raises(ModelLicence, match="arcface_w600k_r50"):
        check_licences(needed, "commercial", REGISTRY)


def test_unknown_names_and_policies() -> None:
    with pytest.raises(SettingInvalid, match="'comercial'"):
        check_licences([], "comercial", REGISTRY)
    with pytest.raises(ModelUnknown):
        check_licences(["nobody"], "commercial", REGISTRY)


def test_every_licence_is_one_of_the_classes_that_its_words_say() -> None:
    for spec in REGISTRY.values():
        words = spec.licence.lower()
        if "non-commercial" in words or "research" in words:
            assert spec.use == "non-commercial", spec.name
        if words in ("mit", "apache-2.0", "cc0-1.0") and spec.kind != "sample":
            assert spec.use == "commercial", spec.name


def test_records(tmp_path: Path) -> None:
    store = standin_store(tmp_path, names=["xseg_1"])
    standin, plain, *rest = model_records(["xseg_1", "face_landmark", "xseg_1"], store)
    assert not rest
    assert standin.standin
    assert (standin.name, standin.licence, standin.use) == ("xseg_1", "stand-in", "unknown")
    assert standin.sha256 == hashlib.sha256(store.path("xseg_1").read_bytes()).hexdigest()
    assert (plain.kind, plain.licence, plain.standin) == ("landmarker", "Apache-2.0", False)
    assert plain.sha256 == REGISTRY["face_landmark"].sha256
    with pytest.raises(ModelLicence, match="xseg_1: stand-in"):
        check_licences(["xseg_1"], "commercial", ModelStore(tmp_path).registry)
