"""One test for each option: given as a flag it changes what it should change in the job."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from farm.config import load_settings
from farm.options.catalogue import by_name, catalogue
from farm.options.flags import spread
from farm.runner import farm_options, premises
from farm.submission import build_job
from farm.toml import commented, written
from scheduler.errors import SettingInvalid
from scheduler.identities import SPACES
from scheduler.jobs import JobSpec

CHANGES: list[tuple[str, object, Callable[[JobSpec], object], object]] = [
    ("face_selector.mode", "one", lambda j: j.faces.mode, "one"),
    ("face_selector.order", "best-worst", lambda j: j.faces.order, "best-worst"),
    ("face_selector.age_start", "20", lambda j: j.faces.ages, (20, 100)),
    ("face_selector.age_end", "30", lambda j: j.faces.ages, (0, 30)),
    ("face_selector.gender", "female", lambda j: j.faces.gender, "female"),
    ("face_selector.race", "asian", lambda j: j.faces.race, "asian"),
    (
        "reference.frame_number",
        "7",
        lambda j: (j.faces.mode, j.faces.reference_frame),
        ("reference", 7),
    ),
    ("reference.face_position", "2", lambda j: j.faces.reference_position, 2),
    ("reference.distance", "0.4", lambda j: j.faces.distance, 0.4),
    ("reference.face_distance", "0.2", lambda j: j.faces.distance, 0.4),
    ("face_recognizer.model", "arcface", lambda j: j.recognizer, "arcface"),
    ("face_swapper.model", "ghost_1_256", lambda j: j.recognizer, "arcface"),
    ("face_swapper.model", "ghost_1_256", lambda j: j.analysis.expression, False),
    ("face_detector.model", "retinaface", lambda j: j.analysis.detector.model, "retinaface"),
    ("face_detector.size", "320x320", lambda j: j.analysis.detector.size, 320),
    ("face_detector.margin", ["10 20"], lambda j: j.analysis.detector.margin, (10, 20, 10, 20)),
    ("face_detector.angles", ["0", "90,180"], lambda j: j.analysis.detector.angles, (0, 90, 180)),
    ("face_detector.score", "0.7", lambda j: j.analysis.detector.score, 0.7),
    ("face_landmarker.model", "2dfan4", lambda j: j.analysis.landmarker.model, "2dfan4"),
    ("face_landmarker.score", "0.2", lambda j: j.analysis.landmarker.score, 0.2),
    ("face_tracker.score", "0.45", lambda j: j.analysis.tracker_score, 0.45),
    ("face_swapper.model", "inswapper_128", lambda j: j.swap.model, "inswapper_128"),
    ("face_swapper.weight", "0.9", lambda j: j.swap.weight, 0.9),
    ("face_swapper.pixel_boost", "512x512", lambda j: j.swap.boost, 512),
    ("face_swapper.precision", "int8", lambda j: j.swap.precision, "int8"),
    ("face_swapper.crop_size", "192", lambda j: j.swap.crop_size, 192),
    ("face_enhancer.model", "gfpgan_1.4", lambda j: j.swap.enhancer.model, "gfpgan_1.4"),
    ("face_enhancer.blend", "40", lambda j: j.swap.enhancer.blend, 0.4),
    ("face_enhancer.weight", "0.1", lambda j: j.swap.enhancer.weight, 0.1),
    ("face_enhancer.precision", "auto", lambda j: j.swap.enhancer.precision, "auto"),
    ("face_landmarker.precision", "int8", lambda j: j.analysis.landmarker.precision, "int8"),
    ("face_mask.types", ["box", "occlusion"], lambda j: j.swap.masks.types, ("box", "occlusion")),
    ("face_mask.areas", ["mouth"], lambda j: j.swap.masks.areas, ("mouth",)),
    ("face_mask.regions", ["nose skin"], lambda j: j.swap.masks.regions, ("nose", "skin")),
    ("face_mask.blur", "0.1", lambda j: j.swap.masks.blur, 0.1),
    ("face_mask.padding", ["1,2,3,4"], lambda j: j.swap.masks.padding, (1, 2, 3, 4)),
    ("face_occluder.model", "xseg_3", lambda j: j.swap.masks.occluder, "xseg_3"),
    ("face_parser.model", "bisenet_resnet_18", lambda j: j.swap.masks.parser, "bisenet_resnet_18"),
    ("occlusion", False, lambda j: j.occlusion, False),
    ("objects", False, lambda j: j.objects, False),
    ("detect_every", 3, lambda j: j.analysis.interval, 3),
    ("consent.statement", "Anna, 3 May", lambda j: j.consent, "Anna, 3 May"),
    ("webhooks.urls", ["http://a/ https://b/"], lambda j: j.webhooks, ("http://a/", "https://b/")),
    ("report_gb", 0, lambda j: j.report, False),
    ("smooth", False, lambda j: j.smooth, False),
    ("stabilize", ["seam"], lambda j: (j.stabilize.seam, j.stabilize.flow), (True, False)),
    ("trim_frame.start", "5", lambda j: j.cut.start, 5),
    ("trim_frame.end", "9", lambda j: j.cut.stop, 9),
    ("encoder.codec", "libx265", lambda j: (j.encoder.codec, j.encoder.quality), ("libx265", 20)),
    ("encoder.preset", "slow", lambda j: j.encoder.preset, "slow"),
    ("encoder.quality", "30", lambda j: j.encoder.quality, 30),
    ("encoder.pix_fmt", "yuv444p", lambda j: j.encoder.pix_fmt, "yuv444p"),
    ("encoder.threads", "2", lambda j: j.encoder.threads, 2),
    ("output_video.quality", "80", lambda j: j.encoder.quality, 10),
    ("output_video.fps", "23.976", lambda j: j.cut.rate, Fraction(24000, 1001)),
    ("output_video.scale", "0.5", lambda j: j.encoder.scale, 0.5),
    ("output_audio.encoder", "flac", lambda j: j.sound.encoder, "flac"),
    ("output_audio.quality", "10", lambda j: j.sound.quality, 10),
    ("output_audio.volume", "50", lambda j: j.sound.volume, 50),
    ("output_image.quality", "70", lambda j: j.image.quality, 70),
    ("output_image.scale", "2", lambda j: j.image.scale, 2.0),
    ("chunk_seconds", "3", lambda j: j.chunk_seconds, 3.0),
]
WHERE = {
    "lanes": ("3", "lanes", 3),
    "lane.processes": ("2", "processes", 2),
    "address": ("head:6379", "address", "head:6379"),
    "ray": (False, "ray", False),
    "keep": (True, "keep", True),
    "device": ("cuda", "device", "cuda"),
    "device_ids": (["0", "MIG-1"], "gpus", ("0", "MIG-1")),
    "lane.nvtx": (True, "nvtx", True),
    "lane.decoder": ("pynvvideocodec", "decoder", "pynvvideocodec"),
}


def nested(name: str, value: object) -> dict[str, Any]:
    *section, key = name.split(".")
    return {section[0]: {key: value}} if section else {key: value}


def job(tmp_path: Path, layer: dict[str, Any], **more: Any) -> JobSpec:
    settings = load_settings(environment={"HOME": str(tmp_path)}, flags=layer)
    return build_job(settings, video=tmp_path / "film.mp4", sources=[tmp_path / "face.jpg"], **more)


@pytest.mark.parametrize(("name", "value", "read", "wanted"), CHANGES, ids=[c[0] for c in CHANGES])
def test_each_option_changes_what_it_is_for(
    name: str, value: object, read: Callable[[JobSpec], object], wanted: object, tmp_path: Path
) -> None:
    assert read(job(tmp_path, {})) != wanted
    assert read(job(tmp_path, nested(name, value))) == wanted


@pytest.mark.parametrize("name", WHERE)
def test_where_a_job_runs_is_an_option_too(name: str, tmp_path: Path) -> None:
    value, field, wanted = WHERE[name]
    settings = load_settings(environment={"HOME": str(tmp_path)}, flags=nested(name, value))
    assert getattr(farm_options(settings), field) == wanted


def test_the_licence_policy_is_an_option_too(tmp_path: Path) -> None:
    settings = load_settings(
        environment={"HOME": str(tmp_path)}, flags={"license_policy": "commercial"}
    )
    assert premises(settings).license_policy == "commercial"


def test_the_rest_of_the_options(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").touch()
    work = job(
        tmp_path, {"overwrite": True, "work_dir": tmp_path / "work"}, output=tmp_path / "out.mp4"
    )
    assert Path(work.folder).parent == tmp_path / "work"
    tested = {c[0] for c in CHANGES} | set(WHERE) | {"overwrite", "work_dir", "license_policy"}
    machine = {"cache_dir", "state_dir", "analysis_gb", "keep_days", "webhooks.secret"}
    machine |= {"consent.required", "credentials.certificates", "credentials.key"}
    machine |= {"storage.endpoint", "storage.region", "storage.timeout"}  # test_remote.py
    assert tested | machine == set(by_name()), "an option without a test"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("face_detector.size", "640x480"),
        ("face_detector.size", "100"),
        ("face_detector.angles", ["45"]),
        ("face_detector.angles", []),
        ("face_detector.margin", ["1 2 3 4 5"]),
        ("face_detector.margin", ["101"]),
        ("face_detector.score", "1.1"),
        ("face_selector.age_end", "101"),
        ("face_selector.gender", "any"),
        ("face_swapper.weight", "-0.1"),
        ("face_tracker.score", "0.6"),
        ("face_mask.types", ["hat"]),
        ("face_mask.types", []),
        ("trim_frame.end", "0"),
        ("output_video.fps", "0"),
        ("output_video.fps", "1/0"),
        ("output_video.fps", "fast"),
        ("output_video.scale", "9"),
        ("output_audio.volume", "101"),
        ("chunk_seconds", "0"),
        ("webhooks.urls", ["ftp://a/"]),
    ],
)
def test_a_value_out_of_range_is_one_clear_error_that_names_the_flag(
    name: str, value: object, tmp_path: Path
) -> None:
    flag = by_name()[name].flag
    assert flag is not None
    with pytest.raises(SettingInvalid) as caught:
        job(tmp_path, nested(name, value))
    assert flag.names[0] in caught.value.found
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"face_selector": {"age_start": 40, "age_end": 20}}, "ages from 40 to 20"),
        ({"trim_frame": {"start": 9, "end": 9}}, "a trim from frame 9"),
        ({"encoder": {"quality": 9}, "output_video": {"quality": 9}}, "--output-video-quality"),
        ({"face_selector": {"mode": "one"}, "reference": {"frame_number": 3}}, "--faces one"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    layer: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingInvalid, match=words):
        job(tmp_path, layer)


def test_a_distance_on_facefusions_scale_suits_the_recogniser(tmp_path: Path) -> None:
    theirs: dict[str, Any] = {"reference": {"face_distance": "0.3"}}
    assert job(tmp_path, theirs).faces.distance == pytest.approx(SPACES["dlib"].same)
    arcface = theirs | {"face_recognizer": {"model": "arcface"}}
    assert job(tmp_path, arcface).faces.distance == pytest.approx(SPACES["arcface"].same, abs=1e-3)
    assert job(tmp_path, {}).faces.distance is None


def test_a_reference_is_a_picture_or_a_frame(tmp_path: Path) -> None:
    by_picture = job(tmp_path, {}, references=[tmp_path / "her.jpg"])
    assert by_picture.faces.mode == "reference"
    assert by_picture.identities
    alone = job(tmp_path, {"face_selector": {"mode": "reference"}})
    assert (alone.faces.reference_frame, alone.faces.references) == (0, ())
    with pytest.raises(SettingInvalid, match="--reference with --reference-frame-number"):
        job(tmp_path, {"reference": {"frame_number": 1}}, references=[tmp_path / "her.jpg"])
    with pytest.raises(SettingInvalid, match="--swap beside"):
        build_job(
            load_settings(
                environment={"HOME": str(tmp_path)}, flags={"reference": {"frame_number": 1}}
            ),
            video=tmp_path / "film.mp4",
            swaps=["A=face.jpg"],
        )


def test_each_option_can_be_a_variable_and_a_line_of_a_file(tmp_path: Path) -> None:
    for name, value, read, wanted in CHANGES:
        text = " ".join(value) if isinstance(value, list) else str(value)
        environment = {"HOME": str(tmp_path), by_name()[name].variable: text}
        face = [tmp_path / "face.jpg"]
        assert (
            read(
                build_job(
                    load_settings(environment=environment), video=tmp_path / "f.mp4", sources=face
                )
            )
            == wanted
        )
        file = tmp_path / "config.toml"
        file.write_text(written(nested(name, value)))
        settings = load_settings(file, {"HOME": str(tmp_path)})
        assert read(build_job(settings, video=tmp_path / "f.mp4", sources=face)) == wanted


def test_names_of_flags_and_variables_are_each_others_only_once() -> None:
    flags = [n for o in catalogue() if o.flag for n in (*o.flag.names, o.flag.off) if n]
    assert len(flags) == len(set(flags))
    variables = [option.variable for option in catalogue()]
    assert len(variables) == len(set(variables))


def test_a_new_settings_file_changes_nothing_and_is_whole(tmp_path: Path) -> None:
    text = commented()
    sections = {option.path[0] for option in catalogue() if len(option.path) > 1}
    assert tomllib.loads(text) == {section: {} for section in sections}
    setting = re.compile(r"^# (\w+ = )", re.MULTILINE)
    live = setting.sub(r"\1", text)
    file = tmp_path / "config.toml"
    file.write_text(live)
    environment = {"HOME": str(tmp_path)}
    assert load_settings(file, environment) == load_settings(environment=environment)
    unset = [option.name for option in catalogue() if option.default is None]
    assert len(setting.findall(text)) == len(catalogue()) - len(unset)


T, A, P = "--face-mask-types", "--face-detector-angles", "--face-mask-padding"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (f"submit f.mp4 {T} box occlusion -s a", f"submit f.mp4 {T} box {T} occlusion -s a"),
        (f"submit {T} box film.mp4 -s a", f"submit {T} box film.mp4 -s a"),
        (f"submit {A} 0 90 270 f.mp4", f"submit {A} 0 {A} 90 {A} 270 f.mp4"),
        (f"submit {P} 1 2 3 4 f.mp4", f"submit {P} 1 {P} 2 {P} 3 {P} 4 f.mp4"),
        ("submit -s a.jpg b.jpg -t f.mp4", "submit -s a.jpg -s b.jpg -t f.mp4"),
        ("submit -s a.jpg f.mp4", "submit -s a.jpg f.mp4"),
        ("batch -s a.jpg b.jpg -t c d -o x", "batch -s a.jpg -s b.jpg -t c -t d -o x"),
        ("submit --stabilize flow,seam f.mp4", "submit --stabilize flow,seam f.mp4"),
        ("doctor --json", "doctor --json"),
    ],
)
def test_lists_may_be_written_with_spaces(line: str, wanted: str) -> None:
    assert spread(line.split()) == wanted.split()
