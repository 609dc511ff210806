"""S3, Google Cloud Storage and Azure through ``pyarrow.fs``, a hundred times faster than Beam on S3.

Credentials and endpoints come from where each ecosystem keeps them, so that they reach workers everywhere:

=====  ==========================================================================================
s3     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, profiles, instance roles;
       AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; AWS_REGION, AWS_DEFAULT_REGION, else asked of the bucket
gs     application default credentials; STORAGE_EMULATOR_HOST (then anonymous)
abfs   AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, else the
       default Azure credential
=====  ==========================================================================================
"""

from __future__ import annotations

import io
import os
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from operator import itemgetter
from typing import Any, BinaryIO, cast

from deepo_beam.errors import ObjectNotFoundError, PermissionDeniedError, StorageError
from deepo_beam.storage.objects import StoredObject, folder_error, named_errors
from deepo_beam.storage.places import Place, parse_place
from deepo_beam.storage.prefixes import Entry, list_by_prefix

_READ_AHEAD = 1 << 20  # bytes asked for at a time when a manifest is streamed
_GCS_RETRY = timedelta(seconds=30)  # of its own accord it tries for 15 minutes
_REFUSED = re.compile(
    r"ACCESS_DENIED|AccessDenied|INVALID_ACCESS_KEY|InvalidAccessKey|SIGNATURE_DOES_NOT_MATCH|INVALID_SIGNATURE"
    r"|INVALID_CLIENT_TOKEN|EXPIRED_TOKEN|ExpiredToken|PERMISSION_DENIED|UNAUTHENTICATED|AuthenticationFailed"
    r"|AuthenticationException|AuthorizationFailure|Forbidden|HTTP (?:status )?40[13]|\b40[13]\b"
)
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|NoSuchBucket|ContainerNotFound")


class ArrowBackend:
    """Objects in buckets and containers."""

    def __init__(self) -> None:
        self._systems: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.Lock()

    def read_bytes(self, uri: str, max_bytes: int | None) -> bytes:
        """Read an object, at most ``max_bytes + 1`` bytes of it, never decompressed."""
        system, place = self._locate(uri)
        with (
            _named_errors(uri, "read", place),
            system.open_input_stream(place.path, compression=None) as stream,
        ):
            return cast("bytes", stream.read(None if max_bytes is None else max_bytes + 1))

    def open_input(self, uri: str) -> BinaryIO:
        """Open an object; the caller closes it."""
        system, place = self._locate(uri)
        with _named_errors(uri, "read", place):
            return io.BufferedReader(_UpToItsEnd(system.open_input_file(place.path)), _READ_AHEAD)

    def write_bytes(self, uri: str, data: bytes) -> None:
        """Write an object by one PUT (above 5 MB by one multipart upload): all of it or nothing.

        On Azure Arrow makes an empty object first, and fills it by two more calls: there it is written aside, and
        copied by the store.
        """
        system, place = self._locate(uri)
        if not place.key or place.key.endswith("/"):
            raise folder_error(uri)
        with _named_errors(uri, "write", place):
            if place.scheme != "abfs":
                _upload(system, place.path, data)
                return
            folder, slash, _ = place.path.rpartition("/")
            aside = f"{folder}{slash}.{uuid.uuid4().hex}.tmp"
            _upload(system, aside, data)
            try:
                system.copy_file(aside, place.path)
            finally:
                system.delete_file(aside)

    def stat(self, uri: str) -> StoredObject:
        """Look one object up."""
        system, place = self._locate(uri)
        with _named_errors(uri, "look at", place):
            info = system.get_file_info(place.path)
        if info.type.name == "Directory":
            raise folder_error(uri)
        if info.type.name != "File":
            raise ObjectNotFoundError(f"{uri}: there is no such object")
        return _stored(uri, info)

    def is_folder(self, uri: str) -> bool:
        """Whether objects' names begin with this and a slash."""
        system, place = self._locate(uri)
        with _named_errors(uri, "look at", place):
            return bool(system.get_file_info(place.path).type.name == "Directory")

    def delete(self, uri: str) -> None:
        """Delete an object; a missing one is fine."""
        system, place = self._locate(uri)
        with _named_errors(uri, "delete", place):
            try:
                system.delete_file(place.path)
            except FileNotFoundError:
                return

    def list_objects(self, folder: str, *, recursive: bool) -> Iterator[StoredObject]:
        """List objects in order of name; zero-length markers of folders are left out.

        Those of S3 by prefix. Elsewhere Arrow may not tell of a prefix with an empty name, as in ``folder//name``.
        """
        place = parse_place(folder)
        if recursive and place.scheme == "s3":
            yield from list_by_prefix(
                place.path, partial(self._list, place, recursive=False), partial(self._list, place)
            )
        else:
            found = sorted(self._list(place, place.path, recursive=recursive), key=itemgetter(0))
            yield from (one for _, one in found if one is not None)

    def list_folders(self, folder: str) -> Iterator[str]:
        """List folders, which are common prefixes, in order of name.

        Of those of GCS Arrow does not tell: they are taken from all that is below.
        """
        place = parse_place(folder)
        skip = len(place.container) + 1
        if place.scheme == "gs":
            start = len(place.path) + 1
            below = (path[start:].partition("/") for path, _ in self._list(place, place.path))
            base = (place.prefix + place.path[skip:]).rstrip("/")
            yield from sorted({f"{base}/{name}" for name, slash, _ in below if slash})
            return
        listed = self._list(place, place.path, recursive=False)
        yield from sorted(place.prefix + path[skip:] for path, here in listed if here is None)

    def _list(self, place: Place, path: str, *, recursive: bool = True) -> list[Entry]:
        """What is in a folder of the same bucket."""
        from pyarrow.fs import FileSelector

        if recursive and place.scheme == "abfs":
            return self._list_by_folder(place, path)
        skip = len(place.container) + 1
        folder = place.prefix + path[skip:]
        system, _ = self._locate(folder)
        with _named_errors(folder, "list", place):
            found = system.get_file_info(FileSelector(path, allow_not_found=True, recursive=recursive))
        return [(info.path, _stored(place.prefix + info.path[skip:], info) if info.is_file else None) for info in found]

    def _list_by_folder(self, place: Place, path: str) -> list[Entry]:
        """All below: as Arrow does it on Azure, but that a prefix with an empty name ends the process there."""
        found: list[Entry] = []
        folders = [path]
        while folders:
            folder = folders.pop()
            for entry in self._list(place, folder, recursive=False):
                found.append(entry)
                if entry[1] is None:
                    if not entry[0][len(folder) + 1 :].strip("/"):
                        uri = place.prefix + folder[len(place.container) + 1 :]
                        refused = StorageError(f"{uri} has names that go on with //, which cannot be listed: move them")
                        refused.retryable = False
                        raise refused
                    folders.append(entry[0])
        return found

    def _locate(self, uri: str) -> tuple[Any, Place]:
        place = parse_place(uri)
        settings = _settings(place)
        with self._lock:
            system = self._systems.get(settings)
            if system is None:
                with _named_errors(uri, "reach the store of", place):
                    system = self._systems[settings] = _connect(place)
        return system, place


def _upload(system: Any, path: str, data: bytes) -> None:
    # No `with`: leaving it by an error would commit what was written so far.
    stream = system.open_output_stream(path, compression=None)
    stream.write(data)
    stream.close()


class _UpToItsEnd(io.RawIOBase):
    """An opened object that is asked for what it has alone: GCS refuses even to go to the end of one."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._size: int = file.size()
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        data = self._file.read_at(wanted, self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


#: Every variable that decides how a store is reached: a file system is kept for each combination.
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "s3": (
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
    ),
    "gs": ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"),
    "abfs": ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
}


def _settings(place: Place) -> tuple[Any, ...]:
    variables = tuple(os.environ.get(name) for name in _VARIABLES[place.scheme])
    bucket = place.container if place.scheme == "s3" and not any(variables[:4]) else ""
    return (place.scheme, place.account, bucket, *variables)


def _connect(place: Place) -> Any:
    if place.scheme == "s3":
        return _connect_s3(place.container)
    if place.scheme == "gs":
        return _connect_gcs()
    return _connect_azure(place.account, place.container)


def _connect_s3(bucket: str) -> Any:
    from pyarrow.fs import S3FileSystem, resolve_s3_region

    # Arrow's own reading of AWS_ENDPOINT_URL is not to be relied on: 25.0 ignores it.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not endpoint and not region:
        region = resolve_s3_region(bucket)
    # allow_delayed_open: a small object is one PUT instead of a multipart upload of three calls.
    options: dict[str, Any] = {"region": region, "allow_delayed_open": True}
    if endpoint:
        options["scheme"], options["endpoint_override"] = _split_endpoint(endpoint, "https")
    return S3FileSystem(**options)


def _connect_gcs() -> Any:
    from pyarrow.fs import GcsFileSystem

    options: dict[str, Any] = {"retry_time_limit": _GCS_RETRY}
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        options["scheme"], options["endpoint_override"] = _split_endpoint(emulator, "http")
        options["anonymous"] = True
    return GcsFileSystem(**options)


def _connect_azure(account: str, container: str) -> Any:
    from pyarrow.fs import AzureFileSystem

    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = {name.lower(): value for name, _, value in (part.partition("=") for part in text.split(";"))}
    options: dict[str, Any] = {
        "account_key": parts.get("accountkey") or os.environ.get("AZURE_STORAGE_KEY"),
        "sas_token": parts.get("sharedaccesssignature") or os.environ.get("AZURE_STORAGE_SAS_TOKEN"),
    }
    if options["account_key"]:
        options["sas_token"] = None  # they exclude each other
    endpoint = parts.get("blobendpoint", "")
    # An emulator has the account in its path; the service has it in the host, which Arrow builds itself.
    if endpoint.rstrip("/").endswith(f"/{account}"):
        scheme, authority = _split_endpoint(endpoint.rstrip("/").removesuffix(f"/{account}"), "https")
        options |= {"blob_storage_scheme": scheme, "blob_storage_authority": authority}
        options |= {"dfs_storage_scheme": scheme, "dfs_storage_authority": authority}
    system = AzureFileSystem(account, **options)
    if not options["account_key"] and not options["sas_token"]:
        # Without a token, other operations end the process (Arrow 25); this one raises.
        system.get_file_info(f"{container}/dataset.json")
    return system


def _split_endpoint(endpoint: str, scheme: str) -> tuple[str, str]:
    head, mark, rest = endpoint.partition("://")
    return (head.lower(), rest.rstrip("/")) if mark else (scheme, endpoint.rstrip("/"))


def _stored(uri: str, info: Any) -> StoredObject:
    modified = None if info.mtime_ns is None else info.mtime_ns // 1000
    return StoredObject(uri, info.size, modified)


@contextmanager
def _named_errors(uri: str, doing: str, place: Place) -> Iterator[None]:
    """Name errors, and tell apart by their text what Arrow raises as plain OSError."""
    from pyarrow.lib import ArrowException, ArrowInvalid

    with named_errors(uri, doing):
        try:
            yield
        except ArrowInvalid as error:  # a name that Arrow cannot take, such as one with "//"
            refused = StorageError(f"{uri}: cannot {doing} it: {error}")
            refused.retryable = False
            raise refused from error
        except (OSError, ArrowException) as error:
            text = str(error)
            for name in (place.key, place.container):
                if _REFUSED.search(name):  # an object may be called "403.jpg"
                    text = text.replace(name, "")
            if _REFUSED.search(text):
                raise PermissionDeniedError(
                    f"{uri}: the store refused to {doing} it; check the credentials: {error}"
                ) from error
            if _NO_BUCKET.search(text):
                raise ObjectNotFoundError(f"{uri}: there is no bucket {place.container!r}") from error
            if isinstance(error, OSError):
                raise
            raise StorageError(f"{uri}: cannot {doing} it: {text}") from error
