"""Keys that sign results: made once, kept, read, refused."""

from __future__ import annotations

import datetime
import multiprocessing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID

from actors.credential import CERTIFICATES, KEY, Credential
from scheduler.errors import CredentialUnusable, StorageUnwritable


def make(folder: Path, names: multiprocessing.Queue[str]) -> None:
    names.put(Credential.of_machine(folder).name)


def test_a_machine_makes_its_key_once_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "credentials"
    first = Credential.of_machine(folder)
    assert (folder / KEY).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    again = Credential.of_machine(folder)
    assert (again.name, again.certificates) == (first.name, first.certificates)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", CERTIFICATES, KEY]


def test_processes_that_begin_together_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    names = context.Queue()
    makers = [context.Process(target=make, args=(tmp_path / "k", names)) for _ in range(3)]
    for maker in makers:
        maker.start()
    assert len({names.get(timeout=120) for _ in makers}) == 1
    for maker in makers:
        maker.join(60)


@pytest.mark.parametrize("damaged", [KEY, CERTIFICATES])
@pytest.mark.parametrize("how", [b"", b"no pem", None])
def test_half_of_a_key_is_made_anew(tmp_path: Path, damaged: str, how: bytes | None) -> None:
    before = Credential.of_machine(tmp_path).name
    (tmp_path / damaged).unlink()
    if how is not None:
        (tmp_path / damaged).write_bytes(how)
    after = Credential.of_machine(tmp_path)
    assert after.name != before
    assert Credential.load(tmp_path / CERTIFICATES, tmp_path / KEY).name == after.name


def test_signatures_are_of_the_certificates_key(tmp_path: Path) -> None:
    credential = Credential.of_machine(tmp_path)
    signature = credential.sign(b"a film")
    assert len(signature) == 64
    own, root = x509.load_pem_x509_certificates(credential.certificates.encode())
    public = own.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    numbers = [int.from_bytes(part, "big") for part in (signature[:32], signature[32:])]
    public.verify(encode_dss_signature(*numbers), b"a film", ec.ECDSA(hashes.SHA256()))
    own.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert credential.name in own.subject.rfc4514_string()


def chain(folder: Path, key: ec.EllipticCurvePrivateKey, days: int) -> Path:
    """A certificate that runs out after so many days from now."""
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Studio")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    path = folder / "studio.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def secret(folder: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    path = folder / "studio.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return path


def test_a_users_own_key_is_taken(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert Credential.load(chain(tmp_path, key, 30), secret(tmp_path, key)).name == "Studio"


def test_keys_that_cannot_sign_are_refused(tmp_path: Path) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    large = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(CredentialUnusable, match="ran out"):
        Credential.load(chain(tmp_path, key, -1), secret(tmp_path, key))
    with pytest.raises(CredentialUnusable, match="not the key of"):
        Credential.load(chain(tmp_path, key, 30), secret(tmp_path, other))
    with pytest.raises(CredentialUnusable, match="another key than one of P-256"):
        Credential.load(chain(tmp_path, large, 30), secret(tmp_path, large))
    with pytest.raises(CredentialUnusable, match="No such file"):
        Credential.load(tmp_path / "none.pem", secret(tmp_path, key))


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnwritable):
        Credential.of_machine(tmp_path / "file" / "credentials")
