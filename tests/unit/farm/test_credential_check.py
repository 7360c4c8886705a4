"""What `farm doctor` says of the files that sign results, on real ones."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.credential import CERTIFICATES, KEY, YEARS, Credential
from cluster.preparation import MACHINE, Premises
from farm.credential_check import check_credentials
from farm.finding import Finding, Verdict

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


def judged(premises: Premises, later: int = 0) -> tuple[Verdict, str]:
    """The verdict so many days from now, and what was found and is to be done."""
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=later)
    finding: Finding = check_credentials(premises, now)
    assert finding.check == "credentials"
    assert bool(finding.next_step) is (finding.verdict is not OK)
    return finding.verdict, f"{finding.found}; {finding.next_step}"


@pytest.fixture
def premises(tmp_path: Path) -> Premises:
    return Premises(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")


@pytest.fixture
def named(tmp_path: Path) -> Premises:
    """A key that the settings name, as an authority's would be."""
    Credential.of_machine(tmp_path / "studio")
    return Premises(
        cache_dir=tmp_path / "cache",
        state_dir=tmp_path / "state",
        certificates=tmp_path / "studio" / CERTIFICATES,
        key=tmp_path / "studio" / KEY,
    )


def test_a_machine_without_a_key_will_make_one(premises: Premises) -> None:
    verdict, said = judged(premises)
    assert verdict is OK
    assert "makes a key of its own" in said
    assert not premises.state_dir.exists(), "the doctor made one"


def test_the_machines_own_key_signs(premises: Premises) -> None:
    signer = Credential.of_machine(premises.state_dir / MACHINE)
    verdict, said = judged(premises)
    assert verdict is OK
    assert signer.name in said
    assert f"{signer.expires:%Y-%m-%d}" in said


@pytest.mark.parametrize("lost", [KEY, CERTIFICATES])
def test_half_of_the_machines_key_is_a_warning(premises: Premises, lost: str) -> None:
    Credential.of_machine(premises.state_dir / MACHINE)
    (premises.state_dir / MACHINE / lost).unlink()
    verdict, said = judged(premises)
    assert verdict is WARN
    assert "another signer" in said
    assert not (premises.state_dir / MACHINE / lost).exists()


def test_a_key_of_ones_own_signs(named: Premises) -> None:
    assert judged(named)[0] is OK
    assert judged(named, 365 * YEARS - 20)[0] is WARN
    verdict, said = judged(named, 365 * YEARS - 40)
    assert verdict is OK, said


def test_a_key_that_others_can_use_is_a_warning(named: Premises) -> None:
    assert named.key is not None
    named.key.chmod(0o640)
    verdict, said = judged(named)
    assert verdict is WARN
    assert f"chmod 600 {named.key}" in said


def test_what_the_settings_name_must_be_there_and_belong_together(
    named: Premises, tmp_path: Path
) -> None:
    certificates, key = named.certificates, named.key
    other = tmp_path / "other"
    Credential.of_machine(other)
    bare = Premises(cache_dir=tmp_path, state_dir=tmp_path)
    for given, words in [
        ((certificates, None), "alone"),
        ((None, key), "alone"),
        ((certificates, tmp_path / "gone.pem"), "No such file"),
        ((tmp_path / "gone.pem", key), "No such file"),
        ((certificates, other / KEY), "not the key of"),
        ((key, certificates), "studio"),
    ]:
        wrong = Premises(
            cache_dir=bare.cache_dir,
            state_dir=bare.state_dir,
            certificates=given[0],
            key=given[1],
        )
        verdict, said = judged(wrong)
        assert verdict is FAIL
        assert words in said


def test_a_certificate_that_c2pa_does_not_take_is_found_by_signing(named: Premises) -> None:
    """One that signs itself and names no purpose: the files are right, and what it signs is not."""
    assert named.key is not None
    assert named.certificates is not None
    key = serialization.load_pem_private_key(named.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now, name = (
        datetime.datetime.now(datetime.UTC),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Studio")]),
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    named.certificates.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    verdict, said = judged(named)
    assert verdict is FAIL
    assert "'Studio' signs does not hold" in said
    assert "C2PA" in said
