from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from farm.config import Settings
from farm.doctor import (
    ENCODERS,
    GIB,
    cgroup_limits,
    check_cores,
    check_encoders,
    check_gpu,
    check_memory,
    check_model,
    check_packages,
    check_python,
    check_ray,
    check_shared_memory,
    check_space,
    check_writable,
    examine,
    import_trouble,
)
from farm.finding import Finding, Verdict

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


def judged(finding: Finding) -> Verdict:
    """The verdict, after the law that whatever is not ok says what to do."""
    assert bool(finding.next_step) is (finding.verdict is not OK)
    return finding.verdict


@pytest.mark.parametrize(
    ("running", "verdict"),
    [((3, 10, 9), FAIL), ((3, 11, 0), OK), ((3, 13, 2), OK), ((3, 14, 0), WARN)],
)
def test_python(running: tuple[int, int, int], verdict: Verdict) -> None:
    assert judged(check_python(running)) is verdict


def installed(name: str) -> str:
    versions = {"av": "18.1.0", "numpy": "2.4.6"}
    if name not in versions:
        raise PackageNotFoundError(name)
    return versions[name]


def test_packages_as_declared() -> None:
    wanted = ["av>=18.1,<19", "numpy>=2", "dlib-bin; extra == 'dev'", "ray; python_version < '3'"]
    finding = check_packages(wanted, installed)
    assert judged(finding) is OK
    assert finding.found == "2 packages as wanted"


def test_a_package_that_is_old_or_missing_is_named() -> None:
    finding = check_packages(["av>=19", "ray>=2.60", "numpy"], installed)
    assert judged(finding) is FAIL
    assert finding.found == "av 18.1.0 (wanted >=19); ray is missing (wanted >=2.60)"


def test_only_the_default_encoder_is_needed() -> None:
    without = [judged(finding) for finding in check_encoders([])]
    assert without == [FAIL if needed else WARN for needed in ENCODERS.values()]
    assert {judged(finding) for finding in check_encoders(ENCODERS)} == {OK}


def test_ray() -> None:
    assert judged(check_ray(None)) is OK
    assert judged(check_ray("ImportError: no ray")) is FAIL


def test_an_import_that_fails_says_why() -> None:
    assert import_trouble("json") is None
    trouble = import_trouble("no_such_module_anywhere")
    assert trouble == "ModuleNotFoundError: No module named 'no_such_module_anywhere'"


@pytest.mark.parametrize(("cores", "verdict"), [(0.5, WARN), (1, WARN), (2, OK), (64, OK)])
def test_cores(cores: float, verdict: Verdict) -> None:
    assert judged(check_cores(cores)) is verdict


@pytest.mark.parametrize(
    ("available", "limit", "verdict"),
    [
        (16 * GIB, None, OK),
        (2 * GIB, None, WARN),
        (1 * GIB, None, FAIL),
        (16 * GIB, 2 * GIB, WARN),
        (16 * GIB, GIB, FAIL),
        (GIB, 16 * GIB, FAIL),
    ],
)
def test_memory_is_what_machine_and_container_both_allow(
    available: int, limit: int | None, verdict: Verdict
) -> None:
    assert judged(check_memory(available, limit)) is verdict


def test_space(tmp_path: Path) -> None:
    assert judged(check_space("disk", tmp_path, 6 * GIB, 5 * GIB)) is OK
    assert judged(check_space("disk", tmp_path, 4 * GIB, 5 * GIB)) is WARN


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    assert judged(check_writable("cache dir", folder)) is OK
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = check_writable("cache dir", tmp_path / "file" / "cache")
    assert judged(finding) is FAIL
    assert "cache_dir" in finding.next_step


def test_a_descriptor_crosses_a_socket() -> None:
    assert judged(check_shared_memory()) is OK


def test_gpu() -> None:
    assert check_gpu([], None).found == "no GPU: CPU path"
    assert judged(check_gpu([], None)) is OK
    assert judged(check_gpu(["nvidia0"], None)) is WARN
    assert judged(check_gpu(["nvidia0", "nvidia1"], "570.86")) is OK


def test_models() -> None:
    assert judged(check_model("face-mesh", None)) is OK
    assert judged(check_model("face-mesh", "not fetched yet")) is WARN


def test_the_tightest_group_on_the_way_up_counts(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("1:name=systemd:/old\n0::/outer/inner\n")
    inner = tmp_path / "cgroup" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("max 100000\n")
    (inner / "memory.max").write_text("8589934592\n")
    (inner.parent / "cpu.max").write_text("150000 100000\n")
    (inner.parent / "memory.max").write_text("4294967296\n")
    (inner.parent.parent / "memory.max").write_text("max\n")
    assert cgroup_limits(tmp_path / "cgroup", membership) == (1.5, 4 * GIB)


def test_no_group_no_limit(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path, tmp_path / "absent") == (None, None)


def test_the_machine_that_runs_this_can_render(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")
    signs = Finding(check="credentials", verdict=OK, found="a key")
    findings = list(examine(settings, {"face-mesh": "not fetched yet"}, signs))
    assert signs in findings
    checks = [finding.check for finding in findings]
    assert len(checks) == len(set(checks))
    for finding in findings:
        judged(finding)
    needed = {"python", "packages", "ray", "encoder libx264", "cache dir", "shared memory"}
    assert needed <= {finding.check for finding in findings if finding.verdict is OK}
    assert next(f for f in findings if f.check == "model face-mesh").verdict is WARN
