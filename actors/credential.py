"""The key that signs results, and the certificates that say whose it is."""

from __future__ import annotations

import datetime
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from actors.whole_file import whole_file
from scheduler.errors import CredentialUnusable, storage_error

CERTIFICATES: Final = "certificates.pem"
KEY: Final = "key.pem"
YEARS: Final = 10
_SCALAR: Final = 32
"""Bytes of each of the two numbers of a P-256 signature."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Credential:
    """Signs as ES256: ECDSA over P-256 with SHA-256."""

    certificates: str
    """PEM, the signer's own first, then those that vouch for it."""
    key: ec.EllipticCurvePrivateKey

    @property
    def name(self) -> str:
        """Whom the certificate names."""
        own = x509.load_pem_x509_certificate(self.certificates.encode())
        found = own.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(found[0].value) if found else own.subject.rfc4514_string()

    @property
    def expires(self) -> datetime.datetime:
        """When the first of the certificates runs out."""
        chain = x509.load_pem_x509_certificates(self.certificates.encode())
        return min(each.not_valid_after_utc for each in chain)

    def sign(self, message: bytes) -> bytes:
        """The signature as COSE wants it: both numbers, one after the other (RFC 9053, 2.1)."""
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_SCALAR, "big") + s.to_bytes(_SCALAR, "big")

    @classmethod
    def load(cls, certificates: Path, key: Path) -> Self:
        """A credential from two PEM files.

        Raises:
            CredentialUnusable: they cannot be read, do not belong together, have run out, or are
                of another kind than P-256.
        """
        try:
            chain = certificates.read_text()
            own = x509.load_pem_x509_certificate(chain.encode())
            private = serialization.load_pem_private_key(key.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise _unusable(f"{certificates} and {key}: {error}") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.key_size != 256:
            raise _unusable(f"{key} holds another key than one of P-256")
        if own.public_key() != private.public_key():
            raise _unusable(f"{key} is not the key of the first certificate in {certificates}")
        now = datetime.datetime.now(datetime.UTC)
        if not own.not_valid_before_utc <= now <= own.not_valid_after_utc:
            raise _unusable(f"{certificates} ran out, or begins only on {own.not_valid_before_utc}")
        return cls(certificates=chain, key=private)

    @classmethod
    def of_machine(cls, folder: Path) -> Self:
        """The credential that this machine made for itself; made now if there is none that serves.

        Nobody vouches for it: it proves that results come from whoever holds the key, not who that
        is. The name has no facts of the machine or its user.

        Args:
            folder: where it is kept, readable for its owner only.

        Raises:
            StorageUnwritable, DiskFull: it cannot be kept.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (folder / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    return cls.load(folder / CERTIFICATES, folder / KEY)
                except CredentialUnusable:
                    return cls._made(folder)
        except OSError as error:
            raise storage_error(error, str(folder)) from error

    @classmethod
    def _made(cls, folder: Path) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        chain = _self_made(key)
        # Names that the next to try finds again: a process that is killed leaves nothing behind.
        with whole_file(folder / KEY, folder / f".{KEY}.partial") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(secret)
        # Certificates without their key would be taken for damage; the other way round, too: both
        # are then made anew.
        with whole_file(folder / CERTIFICATES, folder / f".{CERTIFICATES}.partial") as file:
            file.write(chain.encode())
        return cls(certificates=chain, key=key)


def _self_made(key: ec.EllipticCurvePrivateKey) -> str:
    """PEM of a certificate for signing claims and of the root that was made to issue it.

    C2PA takes no certificate that signs itself, so there are two; the root's key is forgotten.
    """
    root = ec.generate_private_key(ec.SECP256R1())
    mark = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:12]
    issuer, holder = _named(f"swapfarm root {mark}"), _named(f"swapfarm key {mark}")
    usage = {
        "digital_signature": False,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "key_cert_sign": False,
        "crl_sign": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    signs = x509.KeyUsage(**usage | {"digital_signature": True})
    issues = x509.KeyUsage(**usage | {"key_cert_sign": True, "crl_sign": True})
    above = _certificate(issuer, issuer, root, root, issues, ca=True)
    own = _certificate(holder, issuer, key, root, signs, ca=False)
    pem = serialization.Encoding.PEM
    return (own.public_bytes(pem) + above.public_bytes(pem)).decode()


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    usage: x509.KeyUsage,
    *,
    ca: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of those who verify may be behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not ca:
        # One of the purposes that C2PA asks of a signer.
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "self-signed, made by swapfarm"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _unusable(found: str) -> CredentialUnusable:
    return CredentialUnusable(
        found,
        "PEM files of a valid P-256 certificate with its chain, and of its key",
        "correct [credentials] in the settings, or leave it out: the machine then signs with a "
        "key of its own",
    )
