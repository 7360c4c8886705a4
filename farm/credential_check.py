"""Can results be signed here? Reads the files that `[credentials]` names, and signs with them."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from actors.content_credentials import attach, read
from actors.credential import CERTIFICATES, KEY, Credential
from cluster.preparation import MACHINE, Premises, credential
from farm.finding import Finding, Verdict
from scheduler.errors import SwapfarmError

CHECK: Final = "credentials"
SOON: Final = 30
"""Days before certificates run out in which that is said."""
UNTRUSTED: Final = frozenset({"signingCredential.untrusted"})
"""What readers say of a signer whom nobody on their list vouches for: no fault of the files."""


def check_credentials(premises: Premises, now: datetime.datetime | None = None) -> Finding:
    """Whether results can be signed, by whom, and until when. Makes no key.

    Args:
        premises: where the files are.
        now: the time, with its zone; None: the system's.
    """
    if premises.certificates is not None or premises.key is not None:
        try:
            signer = credential(premises)
        except SwapfarmError as error:
            return _failed(error.found, error.next_step)
        assert premises.key is not None
        return _signs(signer, premises.key, now, "renew them")
    folder = premises.state_dir / MACHINE
    if not (folder / CERTIFICATES).exists() and not (folder / KEY).exists():
        found = "none named: this machine makes a key of its own when it first signs"
        return Finding(check=CHECK, verdict=Verdict.OK, found=found)
    try:
        signer = Credential.load(folder / CERTIFICATES, folder / KEY)
    except SwapfarmError as error:
        return _warned(
            f"the machine's own key: {error.found}",
            "bring both files back, or do nothing: the next job makes a new key, and its results "
            "have another signer",
        )
    return _signs(signer, folder / KEY, now, "nothing: the machine then makes a new key")


def _signs(signer: Credential, key: Path, now: datetime.datetime | None, when_old: str) -> Finding:
    trouble = _trouble(signer)
    if trouble:
        return _failed(
            f"what {signer.name!r} signs does not hold: {trouble}",
            "get a certificate for signing claims, with its chain, from an authority on C2PA's "
            "list (docs/credentials.md)",
        )
    if key.stat().st_mode & 0o077:
        return _warned(f"others than its owner can use {key}", f"run chmod 600 {key}")
    found = f"{signer.name!r} signs, with certificates until {signer.expires:%Y-%m-%d}"
    left = signer.expires - (now or datetime.datetime.now(datetime.UTC))
    if left < datetime.timedelta(days=SOON):
        return _warned(found, when_old)
    return Finding(check=CHECK, verdict=Verdict.OK, found=found)


def _trouble(signer: Credential) -> str:
    """What is wrong with a picture that was signed; nothing, if nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        original, result = Path(folder, "before.png"), Path(folder, "after.png")
        for path in (original, result):
            path.write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
        try:
            attach(result, original, signer, {"program": "swapfarm 0"}, title=result.name)
            statement = read(result)
        except SwapfarmError as error:
            return error.found
        return "" if statement.valid else ", ".join(set(statement.wrong) - UNTRUSTED)


def _failed(found: str, next_step: str) -> Finding:
    return Finding(check=CHECK, verdict=Verdict.FAIL, found=found, next_step=next_step)


def _warned(found: str, next_step: str) -> Finding:
    return Finding(check=CHECK, verdict=Verdict.WARN, found=found, next_step=next_step)
