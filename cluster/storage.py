"""Files in object stores (S3 and what speaks it, Google Cloud Storage), as whole things.

What is fetched has the size and the ETag that the store names; what is put appears whole or not at
all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pyarrow import fs
from pydantic import TypeAdapter

import cluster
from actors.segments import sync_folder
from scheduler.errors import (
    DiskFull,
    SettingInvalid,
    StorageChanged,
    StorageDenied,
    StorageError,
    StorageMissing,
    StorageUnreachable,
    storage_error,
)
from scheduler.failure import Failure
from scheduler.places import Store, uri_of

BLOCK: Final = 8 << 20
"""Bytes that are in memory at once."""
_ATTEMPTS: Final = 4
_DENIED: Final = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT", "INVALID_CLIENT")
_DENIED_TOO: Final = ("INVALID_SIGNATURE", "UNRECOGNIZED_CLIENT", "PERMISSION_DENIED", "Forbidden")
_AUTH: Final = ("UNAUTHENTICATED", "HTTP response code: 401", "HTTP response code: 403")
_ABSENT: Final = ("NO_SUCH_BUCKET", "NO_SUCH_KEY", "RESOURCE_NOT_FOUND", "NOT_FOUND")
_FULL: Final = ("StorageFull", "QuotaExceeded", "response code: 507")


class Storage:
    """One object store.

    Args:
        store: how it is reached.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def exists(self, uri: str) -> bool:
        """Whether there is an object of this name.

        Raises:
            StorageMissing: there is not even the bucket.
            StorageDenied, StorageUnreachable: nobody can tell.
        """
        system, path = self.open(uri)
        with _explained(uri):
            if system.get_file_info(path).type is fs.FileType.File:
                return True
            bucket = path.partition("/")[0]
            if system.get_file_info(bucket).type is fs.FileType.NotFound:
                raise FileNotFoundError(bucket)
        return False

    def fetch(self, uri: str, folder: Path) -> Path:
        """The object as a file that is not to be written to. The same object is fetched once; what
        broke off is gone on with.

        Args:
            folder: where such files are kept; processes may share it.

        Raises:
            StorageError: it is not there, not allowed, changes meanwhile, or finds no room here.
        """
        system, path = self.open(uri)
        with _explained(uri):
            size, tag = _facts(system, path)
        key = hashlib.sha256(f"{self._store.endpoint}\n{uri}\n{size}\n{tag}".encode()).hexdigest()
        entry = folder / key[:32]
        target = entry / path.rpartition("/")[2]
        partial = entry / ".partial"
        try:
            entry.mkdir(parents=True, exist_ok=True)
            with (entry / ".lock").open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not target.exists():
                    self._load(uri, partial, size)
                    with _explained(uri):
                        now = _facts(system, path)
                    if partial.stat().st_size != size or now != (size, tag):
                        partial.unlink()
                        raise StorageChanged(
                            f"{uri!r} changed while it was read",
                            "an object that stays as it is",
                            "submit again when its upload is over",
                        )
                    partial.replace(target)
                    sync_folder(entry)
            os.utime(entry)
        except OSError as error:
            raise storage_error(error, str(entry)) from error
        return target

    def _load(self, uri: str, partial: Path, size: int) -> None:
        """Append what is missing."""
        system, path = self.open(uri)
        with partial.open("ab") as file:
            with _explained(uri):
                source = system.open_input_file(path)
            with source:
                while (at := file.tell()) < size:
                    with _explained(uri):
                        block = source.read_at(min(BLOCK, size - at), at)
                    if not block:
                        return
                    file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def put(self, path: Path, uri: str) -> None:
        """Make a file an object, replacing one of this name. Until it is whole there is none, or
        still the one from before, whatever ends this process or interrupts it.

        A process of its own uploads: an upload that is killed is never completed, whereas pyarrow
        completes one that an exception ends, with what it has so far.

        Raises:
            StorageError: it is not there.
        """
        order = TypeAdapter(Store).dump_json(self._store).decode()
        command = [sys.executable, "-m", "cluster.upload", str(path), uri, order]
        home = Path(cluster.__file__).parents[1]
        upload = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=home)
        try:
            assert upload.stdout is not None
            said = upload.stdout.read()
            code = upload.wait()
        finally:
            upload.kill()
            upload.wait()
            for pipe in (upload.stdin, upload.stdout):
                if pipe is not None:
                    pipe.close()
        if said.strip():
            raise TypeAdapter(Failure).validate_json(said).error()
        if code != 0:
            raise StorageUnreachable(
                f"the upload of {uri!r} ended with code {code}", "a whole upload", "try again"
            )

    def remove(self, uri: str) -> None:
        """Remove an object, if it is there.

        Raises:
            StorageError: it cannot be removed.
        """
        if not self.exists(uri):
            return
        system, path = self.open(uri)
        with _explained(uri):
            system.delete_file(path)

    def open(self, uri: str) -> tuple[fs.FileSystem, str]:
        """The file system of a URI, and the path in it. Asks nobody yet.

        Raises:
            SettingInvalid: no URI of an object, or an endpoint that is none.
        """
        known = uri_of(uri)
        scheme, _, path = (known or "").partition("://")
        bucket, _, key = path.partition("/")
        if not bucket or not key or key.endswith("/"):
            raise SettingInvalid(
                f"{uri!r}", "s3://BUCKET/KEY or gs://BUCKET/KEY", "name a bucket and an object"
            )
        options: dict[str, Any] = {}
        if self._store.endpoint:
            parts = urlsplit(self._store.endpoint)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise SettingInvalid(
                    f"storage.endpoint {self._store.endpoint!r}",
                    "http://HOST:PORT or https://HOST",
                    "correct it in the settings file or SWAPFARM_STORAGE_ENDPOINT",
                )
            options = {"endpoint_override": parts.netloc, "scheme": parts.scheme}
        seconds = self._store.seconds
        if scheme == "gs":
            if self._store.endpoint:
                options["anonymous"] = True  # a server of one's own: Google's tokens are not for it
            return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=seconds), **options), path
        if self._store.region:
            options["region"] = self._store.region
        system = fs.S3FileSystem(
            connect_timeout=min(seconds, 5.0),
            request_timeout=seconds,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
            **options,
        )
        return system, path


def _facts(system: fs.FileSystem, path: str) -> tuple[int, str]:
    """Size and ETag of an object. Raises OSError."""
    with system.open_input_file(path) as file:
        told = {key.lower(): value for key, value in (file.metadata() or {}).items()}
        return int(file.size()), bytes(told.get(b"etag", told.get("etag", b""))).decode()


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explained(error, uri) from error


def explained(error: OSError, uri: str) -> StorageError:
    """The error of the tree for what an object store, or the way to it, said.

    pyarrow gives it in words only, with the SDK's names for its errors among them.
    """
    words = str(error)
    if isinstance(error, FileNotFoundError) or any(word in words for word in _ABSENT):
        return StorageMissing(
            f"the store has no {uri!r}", "a bucket and an object that are there", "check the name"
        )
    if any(word in words for word in (*_DENIED, *_DENIED_TOO, *_AUTH)):
        return StorageDenied(
            f"the store does not allow access to {uri!r}",
            "credentials that allow it, where the store's SDK looks for them",
            "check them (docs/storage.md), and the region",
        )
    if any(word in words for word in _FULL):
        return DiskFull(f"the store has no room for {uri!r}", "room", "free some, or choose -o")
    return StorageUnreachable(
        f"no use of {uri!r}: {words.partition(' (Request ID')[0]}",
        "a store that answers",
        "check the network, and endpoint and region in [storage] of the settings file",
    )
