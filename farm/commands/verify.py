"""``farm verify``: what a file says, signed, of its origin."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.commands.service import Json
from farm.progress import printable
from farm.submission import absolute
from scheduler.errors import CredentialsInvalid

SELF_MADE = "signingCredential.untrusted"
"""C2PA's word for a signer for whom nobody on its list of trust vouches."""


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A result, a film or a picture.")],
    as_json: Json = False,
) -> None:
    """Say whether a file was altered, by what, with whose consent, and who signed that.

    Reads Content Credentials (C2PA) of any program, in the file or beside it. Fails where there are
    none, and where the file was changed since it was signed. A file without any may have lost
    them: nothing follows from that.

    - `farm verify film.swapped.mp4`
    """
    from actors.content_credentials import read  # loads C2PA's library: not for `farm --help`

    found = read(absolute(file))
    if as_json:
        print(json.dumps({"file": str(file), **asdict(found)}))
    if not found.valid:
        raise CredentialsInvalid(
            f"{file} is not what {found.signer or 'somebody'} signed ({', '.join(found.wrong)})",
            "a file as it was signed",
            "do not believe what it says of its origin",
        )
    if as_json:
        return
    doubt = " (a key that somebody made for himself)" if SELF_MADE in found.wrong else ""
    print(f"{printable(str(file))}: signed by {printable(found.signer)}{doubt}, not changed since")
    for line in _told(found.facts):
        print(f"  {printable(line)}")
    if not found.facts:
        print(f"  {', '.join(found.actions) or 'nothing is said of what was done'}")


def _told(facts: dict[str, Any]) -> list[str]:
    """Our own facts, for people."""
    lines = []
    if facts.get("altered"):
        lines.append(f"{facts['altered']} were replaced by {facts.get('program', 'swapfarm')}")
    for model in facts.get("models", ()):
        lines.append(f"model {model['name']}, {model['licence']}, {model['sha256'][:12]}")
    if facts.get("standins"):
        lines.append(f"made with stand-ins that know no faces: {', '.join(facts['standins'])}")
    lines.append(f"consent: {facts.get('consent') or 'nothing is said'}")
    return lines
