"""What a job says of its models when it is done, and what it refuses: whole jobs with stand-ins."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import av
import pytest

from actors.models import ModelStore
from benchmarks.standins import standin_store
from farm.cli import main
from farm.config import Settings
from farm.options.settings import Credentials
from farm.progress import JsonDisplay
from farm.quantizing import quantize_model
from farm.runner import FarmOptions, run_job
from scheduler.detection import DetectorSettings, LandmarkerSettings
from scheduler.errors import CredentialUnusable, ModelLicence, ModelUnavailable
from scheduler.jobs import EncoderSettings, JobSpec, JobSummary, SwapSettings
from tests.integration.films import trim

FRAMES = 12
SWAPPER = "hyperswap_1a_256"
RECOGNISER = "arcface_w600k_r50"
NETWORKS = (SWAPPER, RECOGNISER, "2dfan4", "fan_68_5", "scrfd_2.5g")


@pytest.fixture
def settings(models: ModelStore, tmp_path: Path) -> Settings:
    # Small, not tiny: the INT8 version must differ in what is seen.
    standin_store(tmp_path / "cache", names=NETWORKS, size="small", beside=models)
    return Settings(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state", analysis_gb=0)


@pytest.fixture
def job(samples: dict[str, Path], tmp_path: Path) -> JobSpec:
    film = trim(samples["wolfgang_langer"], tmp_path / "film.mp4", FRAMES)
    return JobSpec(
        job_id="provenance",
        media=str(film),
        output=str(tmp_path / "out.mp4"),
        folder=str(tmp_path / "job"),
        swap=SwapSettings(model=SWAPPER, sources=(str(samples["astronaut"]),)),
        encoder=EncoderSettings(codec="ffv1"),
        hashes_output=str(tmp_path / "hashes"),
    )


def run(job: JobSpec, settings: Settings, policy: str = "any") -> tuple[JobSummary, list[dict]]:
    told = io.StringIO()
    settings = settings.model_copy(update={"license_policy": policy})
    summary = run_job(job, settings, FarmOptions(ray=False), JsonDisplay(told))
    return summary, [json.loads(line) for line in told.getvalue().splitlines()]


def test_a_job_records_its_models(job: JobSpec, settings: Settings) -> None:
    summary, told = run(job, settings)
    records = {record.name: record for record in summary.models}
    assert {SWAPPER, RECOGNISER, "face_detection_full_range", "face_landmark"} <= set(records)
    store = ModelStore(settings.cache_dir)
    for name, record in records.items():
        assert record.sha256 == store.registry[name].sha256
        assert store.verify(name)
    assert records[SWAPPER].standin
    assert records[SWAPPER].licence == "stand-in"
    assert not records["face_landmark"].standin
    assert records["face_landmark"].licence == "Apache-2.0"
    notes = [line["message"] for line in told if line["event"] == "note"]
    assert f"{SWAPPER} is a stand-in: it knows no faces" in notes
    with av.open(job.output) as film:
        marks = {key.lower(): value for key, value in film.metadata.items()}
    assert f"stand-ins that know no faces: {SWAPPER}, {RECOGNISER}" in marks["comment"]
    facts = json.loads(marks["swapfarm"])
    assert facts["standins"] == [SWAPPER, RECOGNISER]
    assert {each["name"]: each["sha256"] for each in facts["models"]} == {
        name: record.sha256 for name, record in records.items()
    }


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_every_result_is_signed_with_its_consent(
    job: JobSpec, settings: Settings, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    output = Path(job.output).with_suffix(f".{ending}")
    consent = "Anna Ek, contract 7 of 3 May"
    mesh = replace(job.swap, model="mesh")
    done = replace(job, output=str(output), swap=mesh, consent=consent, hashes_output="")
    run(done, settings)
    made = {path.name for path in output.parent.iterdir() if path.is_file()}
    beside = {"out.c2pa"} if ending == "mkv" else set()
    assert made == {"film.mp4", output.name} | beside
    assert main(["verify", str(output), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["valid"], said["embedded"]) == (True, ending == "mp4")
    assert said["facts"]["consent"] == consent
    assert said["facts"]["job"] == job.job_id
    with av.open(str(output)) as film:
        marks = {key.lower(): value for key, value in film.metadata.items()}
    assert json.loads(marks["swapfarm"]) == said["facts"], "signed and unsigned say the same"
    assert main(["verify", str(output)]) == 0
    told = capsys.readouterr().out
    assert f"consent: {consent}" in told
    assert "faces were replaced by swapfarm" in told
    changed = bytearray(output.read_bytes())
    changed[len(changed) // 2] ^= 1
    output.write_bytes(changed)
    assert main(["verify", str(output)]) == 3
    assert "credentials.invalid" in capsys.readouterr().err
    assert main(["verify", job.media]) == 3
    assert "credentials.missing" in capsys.readouterr().err


def test_a_key_that_cannot_sign_is_found_before_any_work(job: JobSpec, settings: Settings) -> None:
    film = Path(job.media)
    for wrong in (
        Credentials(certificates=film, key=film),
        Credentials(certificates=film),
        Credentials(key=film),
    ):
        with pytest.raises(CredentialUnusable):
            run(job, settings.model_copy(update={"credentials": wrong}))
    assert not Path(job.output).exists()


def test_a_landmarker_in_int8(job: JobSpec, settings: Settings, samples: dict[str, Path]) -> None:
    store = ModelStore(settings.cache_dir)
    quantize_model(store, "2dfan4", samples["wolfgang_langer"], 8)
    points = LandmarkerSettings(model="2dfan4", precision="auto")
    analysis = replace(job.analysis, landmarker=points, detector=DetectorSettings(model="scrfd"))
    summary, _ = run(replace(job, analysis=analysis), settings)
    names = [record.name for record in summary.models]
    assert "2dfan4.int8" in names
    assert "2dfan4" not in names
    assert summary.swapped_frames == FRAMES


def test_the_policy_refuses_before_anything_is_done(job: JobSpec, settings: Settings) -> None:
    with pytest.raises(ModelLicence, match=f"{SWAPPER}: stand-in"):
        run(job, settings, "commercial")
    assert not Path(job.output).exists()
    summary, _ = run(replace(job, swap=replace(job.swap, model="mesh")), settings, "commercial")
    assert {record.use for record in summary.models} == {"commercial"}


def test_a_job_in_int8(job: JobSpec, settings: Settings, samples: dict[str, Path]) -> None:
    def at(precision: str) -> tuple[list[str], JobSummary]:
        output = job.output.replace("out", precision)
        swap = replace(job.swap, precision=precision)
        hashes = job.hashes_output + precision
        summary, _ = run(replace(job, output=output, swap=swap, hashes_output=hashes), settings)
        return Path(hashes).read_text().splitlines(), summary

    with pytest.raises(ModelUnavailable, match="no quantised file"):
        at("int8")
    exact, summary = at("auto")
    assert not any(record.name.endswith(".int8") for record in summary.models)
    store = ModelStore(settings.cache_dir)
    quantize_model(store, SWAPPER, samples["wolfgang_langer"], 8)
    chosen, summary = at("auto")
    assert f"{SWAPPER}.int8" in [record.name for record in summary.models]
    asked, _ = at("int8")
    assert asked == chosen, "the same bits each time"
    assert at("fp32")[0] == exact
    quicker = replace(job.analysis, landmarker=LandmarkerSettings(model="2dfan4", precision="int8"))
    with pytest.raises(ModelUnavailable, match="no quantised file of 2dfan4"):
        run(replace(job, analysis=quicker), settings)
    different = sum(one != other for one, other in zip(exact, asked, strict=True))
    assert different > FRAMES // 2
