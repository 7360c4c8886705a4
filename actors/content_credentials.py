"""Content Credentials (C2PA 2) of results: a signed statement that faces were altered, and by what.

Where a format has room for it the statement is in the file; other files have it beside them, as
``NAME.c2pa``. It names the film that the result was made from, with the statement that one had.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from actors.credential import Credential
from actors.whole_file import whole_file
from scheduler.errors import CredentialsInvalid, CredentialsMissing, MediaMissing, RenderError

HOLDERS: Final = {
    "mp4": "video/mp4",
    "m4v": "video/x-m4v",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
}
"""What can hold a statement, by the name's ending."""
_OTHER: Final = "application/octet-stream"
COMPOSITE: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
"""IPTC's word for a picture into which parts were put that a network or algorithm made."""
_SETTINGS: Final[dict[str, Any]] = {
    "version": 1,
    # What was signed is as it should be: the tests look. It would be read whole once more.
    "verify": {"verify_after_sign": False},
    # Of pictures: it would show what they were before, and be larger than readers like.
    "builder": {"thumbnail": {"enabled": False}},
}
FACTS: Final = "swapfarm.job"
"""The assertion with our own facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What Content Credentials say of a file."""

    valid: bool
    """The signature is right and the file is as it was signed."""
    signer: str
    """Whom the certificate names."""
    issuer: str
    time: str
    """When it was signed, as the signer says; empty: nothing is said."""
    embedded: bool
    actions: tuple[str, ...] = ()
    """What was done, in C2PA's words."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Our own, of results that we made."""
    wrong: tuple[str, ...] = ()
    """What is not as it should be. That nobody vouches for a self-made key is always among it."""


def sidecar_of(path: Path) -> Path | None:
    """Where the statement lies of a file that cannot hold it; None: it can."""
    return None if _ending(path) in HOLDERS else path.with_suffix(".c2pa")


def attach(
    film: Path,
    original: Path,
    credential: Credential,
    facts: Mapping[str, Any],
    *,
    title: str,
) -> None:
    """Sign a result that is whole: in place, so that it is unsigned or signed whatever happens, or
    in its ``sidecar_of``.

    Args:
        film: the result.
        original: what it was made from.
        facts: ours, as ``cluster.preparation.marking`` states them.
        title: the name that the result will have.

    Raises:
        StorageUnwritable, DiskFull: there is no room for it.
        RenderError: it cannot be signed.
    """
    import c2pa  # loads 30 MB of machine code: when something is signed

    program = {"name": "swapfarm", "version": str(facts["program"]).rpartition(" ")[2]}
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["original"]}}
    edited = {
        "action": "c2pa.edited",
        "softwareAgent": program,
        "digitalSourceType": COMPOSITE,
        "description": "Faces were replaced.",
    }
    manifest = {
        "claim_generator_info": [program],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened, edited]}},
            {"label": FACTS, "data": dict(facts)},
        ],
    }
    origin = {"title": original.name, "relationship": "parentOf", "label": "original"}
    context = c2pa.Context.from_dict(_SETTINGS)
    algorithm = c2pa.C2paSigningAlg.ES256
    signer = c2pa.Signer.from_callback(credential.sign, algorithm, credential.certificates, None)
    form, sidecar = HOLDERS.get(_ending(film), _OTHER), sidecar_of(film)
    with signer, c2pa.Builder(manifest, context=context) as builder:
        try:
            with original.open("rb") as parent:
                builder.add_ingredient(origin, HOLDERS.get(_ending(original), _OTHER), parent)
            with film.open("rb") as whole:
                if sidecar is None:
                    with whole_file(film, signed_of(film)):
                        _sign(builder, signer, form, whole, signed_of(film))
                else:
                    builder.set_no_embed()
                    statement = builder.sign(signer, form, whole, io.BytesIO())
                    with whole_file(sidecar, signed_of(film)) as file:
                        file.write(statement)
        except c2pa.C2paError as error:
            raise RenderError(
                f"{title} cannot be signed: {error}",
                "a file that takes Content Credentials",
                "choose another container (mp4, mov, mkv); if it goes on, report it",
            ) from error


def signed_of(film: Path) -> Path:
    """Where what is signed is written until it is whole."""
    return film.with_name(f"{film.name}.signed")


def _sign(builder: Any, signer: Any, form: str, whole: io.BufferedReader, to: Path) -> None:
    """Sign into a file that is there. What the disk has against it comes back as it said it."""
    with _Noting(to, "r+b") as target:
        try:
            builder.sign(signer, form, whole, target)
        except Exception:
            if target.refusal is not None:
                raise target.refusal from None
            raise


class _Noting(io.FileIO):
    """A file that remembers why it could not be written: C2PA's library tells only that."""

    refusal: OSError | None = None

    def write(self, data: Any, /) -> int:
        view, done = memoryview(data), 0
        try:
            while done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self.refusal = error
            raise
        return done


def read(path: Path) -> Statement:
    """What a file's Content Credentials say.

    Raises:
        MediaMissing: there is no such file.
        CredentialsMissing: it has none, in it or beside it.
        CredentialsInvalid: what it has cannot be read.
    """
    import c2pa

    beside = sidecar_of(path)
    try:
        with path.open("rb") as film:
            statement = beside.read_bytes() if beside is not None and beside.exists() else None
            form = HOLDERS.get(_ending(path), "application/c2pa" if statement else _OTHER)
            with c2pa.Reader(form, film, statement) as reader:
                return _statement(reader, statement is None)
    except OSError as error:
        raise MediaMissing(
            f"{path}: {error.strerror}", "a file that can be read", "correct its name"
        ) from error
    except c2pa.C2paError as error:
        if isinstance(error, c2pa.C2paError.ManifestNotFound | c2pa.C2paError.NotSupported):
            raise CredentialsMissing(
                f"{path} has no Content Credentials",
                f"a result of `farm submit`{f', with {beside.name} beside it' if beside else ''}",
                "if it was one, something that does not keep them has written it since",
            ) from error
        raise CredentialsInvalid(
            f"the Content Credentials of {path} cannot be read: {error}",
            "a statement as it was signed",
            "do not believe what else the file says of its origin",
        ) from error


def _statement(reader: Any, embedded: bool) -> Statement:
    manifest = reader.get_active_manifest()
    data = {each["label"]: each["data"] for each in manifest["assertions"]}
    actions = data.get("c2pa.actions.v2", {}).get("actions", ())
    signature = manifest.get("signature_info", {})
    problems = json.loads(reader.json()).get("validation_status", [])
    return Statement(
        valid=reader.get_validation_state() in ("Valid", "Trusted"),
        signer=signature.get("common_name", ""),
        issuer=signature.get("issuer", ""),
        time=signature.get("time", ""),
        embedded=embedded,
        actions=tuple(each["action"] for each in actions),
        facts=data.get(FACTS, {}),
        wrong=tuple(each["code"] for each in problems),
    )


def _ending(path: Path) -> str:
    return path.suffix.lower().lstrip(".")
