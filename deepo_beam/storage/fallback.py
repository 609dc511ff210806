"""Every other scheme (hdfs, and what a user has registered) through Beam's FileSystems.

The only module here that imports Beam, and only when such a scheme is met. It knows what Beam's file systems
get wrong: they decompress by a name's ending, take literal names for patterns, and list without recursion.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO, cast

from deepo_beam.errors import ConfigError, ObjectNotFoundError, PermissionDeniedError, StorageError
from deepo_beam.identity import SCHEME, SCHEME_ALIASES
from deepo_beam.storage.objects import StoredObject, folder_error, named_errors
from deepo_beam.storage.settings import HdfsSettings, hdfs_settings

_READ_SIZE = 1 << 26  # HDFS reads 8 KB a time unless asked for more
_HINTS = {"hdfs": "; install deepo-beam[hadoop], set HDFS_HOST, HDFS_PORT and HADOOP_USER_NAME"}
_of_thread = threading.local()
KNOWN_SCHEMES = "local paths, file, s3 (s3a, s3n), gs (gcs), abfs (abfss, azfs)"


class BeamBackend:
    """Objects of any scheme that Beam knows."""

    def read_bytes(self, uri: str, max_bytes: int | None) -> bytes:
        """Read an object, at most ``max_bytes + 1`` bytes of it, never decompressed."""
        limit = None if max_bytes is None else max_bytes + 1
        pieces: list[bytes] = []
        size = 0
        with _named_errors(uri, "read"), _open(uri) as stream:
            while limit is None or size < limit:
                piece = stream.read(_READ_SIZE if limit is None else min(_READ_SIZE, limit - size))
                if not piece:
                    break
                pieces.append(piece)
                size += len(piece)
        return b"".join(pieces)

    def open_input(self, uri: str) -> BinaryIO:
        """Open an object; the caller closes it."""
        with _named_errors(uri, "read"):
            return _open(uri)

    def write_bytes(self, uri: str, data: bytes) -> None:
        """Write aside and rename.

        Where the store cannot rename onto an existing object, the old one is deleted first: a crash in
        between leaves the new one under its temporary name only.
        """
        system = _system(uri)
        from apache_beam.io.filesystem import CompressionTypes

        folder, slash, _ = uri.rpartition("/")
        aside = f"{folder}{slash}.{uuid.uuid4().hex}.tmp"
        with _named_errors(uri, "write"):
            stream = system.create(aside, compression_type=CompressionTypes.UNCOMPRESSED)
            stream.write(data)
            stream.close()
            try:
                system.rename([aside], [uri])
            except _store_errors():
                if not system.exists(uri):
                    raise
                system.delete([uri])
                system.rename([aside], [uri])

    def stat(self, uri: str) -> StoredObject:
        """Look one object up."""
        with _named_errors(uri, "look at"):
            found = _stored(_system(uri).metadata(uri))
        if not found.size_bytes and self.is_folder(uri):
            raise folder_error(uri)
        return found

    def is_folder(self, uri: str) -> bool:
        """Whether anything is listed below it."""
        try:
            return next(self.list_objects(uri, recursive=True), None) is not None
        except NotAFolderError:
            return False

    def delete(self, uri: str) -> None:
        """Delete an object; a missing one is fine."""
        system = _system(uri)
        with _named_errors(uri, "delete"):
            if system.exists(uri):
                system.delete([uri])

    def list_folders(self, folder: str) -> Iterator[str]:
        """List folders, as far as there is anything in them: Beam tells nothing else of them."""
        base = folder.rstrip("/") + "/"
        inside = (found.uri.removeprefix(base).partition("/") for found in self.list_objects(folder, recursive=True))
        yield from (base + name for name in sorted({name for name, slash, _ in inside if slash}))

    def list_objects(self, folder: str, *, recursive: bool) -> Iterator[StoredObject]:
        """List objects in order of name within each folder."""
        folder = folder.rstrip("/")
        system = _system(folder)
        if not system.has_dirs():
            yield from _by_prefix(system, f"{folder}/", recursive)
            return
        with _named_errors(folder, "list"):
            missing = not system.exists(folder)
        if not missing:
            yield from _walk(system, _list(system, folder), recursive)

    def check_scheme(self, scheme: str) -> None:
        """Raise ConfigError if Beam cannot open URIs of this scheme."""
        _system(f"{scheme}://...")


class NotAFolderError(StorageError):
    """A file was to be listed."""

    retryable = False


def _by_prefix(system: Any, prefix: str, recursive: bool) -> Iterator[StoredObject]:
    for found in _list(system, prefix):
        if recursive or "/" not in found.uri[len(prefix) :]:
            yield found


def _walk(system: Any, entries: list[StoredObject], recursive: bool) -> Iterator[StoredObject]:
    """List the files among the entries of a folder, and in the folders among them.

    Beam's listing does not tell folders from files, but a folder has size 0: such an entry is listed too, and
    is a file if the store says that it is no folder.
    """
    for entry in entries:
        if entry.size_bytes:
            yield entry
            continue
        try:
            below = _list(system, entry.uri)
        except NotAFolderError:
            yield entry
            continue
        if recursive:
            yield from _walk(system, below, recursive)


def _list(system: Any, folder: str) -> list[StoredObject]:
    with _named_errors(folder, "list"):
        try:
            # match() would do, but takes a "[" in the folder's name for a pattern.
            found = [_stored(metadata) for metadata in system._list(folder)]
        except _store_errors() as error:
            if "not a directory" in str(error).lower():
                raise NotAFolderError(f"{folder} is a file, not a folder; name its folder") from error
            raise
    return sorted(found, key=lambda one: one.uri)


def _stored(metadata: Any) -> StoredObject:
    seconds = metadata.last_updated_in_seconds
    return StoredObject(metadata.path, metadata.size_in_bytes, round(seconds * 1_000_000) if seconds else None)


def _open(uri: str) -> BinaryIO:
    system = _system(uri)
    from apache_beam.io.filesystem import CompressionTypes

    return cast("BinaryIO", system.open(uri, compression_type=CompressionTypes.UNCOMPRESSED))


def _system(uri: str) -> Any:
    """Find Beam's file system for a URI.

    Raises:
        ConfigError: Beam knows no such scheme, or lacks a package or options (``--hdfs_host``) for it.
    """
    try:
        from apache_beam.io.filesystem import BeamIOError, FileSystem
        from apache_beam.io.filesystems import FileSystems
    except ImportError as error:
        raise ConfigError(f"{uri}: only apache-beam could open this; known are {KNOWN_SCHEMES}") from error
    match = SCHEME.match(uri)
    scheme = match.group(1) if match else ""
    try:
        if scheme.lower() == "hdfs" and (settings := hdfs_settings(os.environ)) is not None:
            return _hadoop(settings)
        return FileSystems.get_filesystem(uri)
    except (ValueError, BeamIOError, ImportError) as error:
        systems: list[Any] = FileSystem.get_all_subclasses()
        beam = sorted({system.scheme() for system in systems} - {None, *SCHEME_ALIASES, *SCHEME_ALIASES.values()})
        if scheme in beam:
            hint = _HINTS.get(scheme, "")
            raise ConfigError(f"{uri}: Beam's {scheme} file system cannot be used: {error}{hint}") from error
        raise ConfigError(
            f"{uri}: no store has the scheme {scheme!r}; known are {KNOWN_SCHEMES}, and from Beam {', '.join(beam)}"
        ) from error


def _hadoop(settings: HdfsSettings) -> Any:
    """Beam's file system for HDFS, one for each thread: a new one connects anew, and a session is no two threads'."""
    from apache_beam.io.hadoopfilesystem import HadoopFileSystem

    kept: dict[HdfsSettings, Any] = _of_thread.__dict__.setdefault("hadoop", {})
    if settings not in kept:
        kept[settings] = HadoopFileSystem(settings._asdict())
    return kept[settings]


@contextmanager
def _named_errors(uri: str, doing: str) -> Iterator[None]:
    """Name errors, and tell apart by the store's own words what comes as one class."""
    with named_errors(uri, doing):
        try:
            yield
        except (FileNotFoundError, PermissionError):
            raise
        except _store_errors() as error:
            if doing != "write" and _is_missing(uri):
                raise ObjectNotFoundError(f"{uri}: there is no such object") from error
            if "permission denied" in str(error).lower():
                raise PermissionDeniedError(f"{uri}: no permission to {doing} it: {error}") from error
            raise StorageError(f"{uri}: cannot {doing} it: {error}") from error


def _is_missing(uri: str) -> bool:
    try:
        return not _system(uri).exists(uri)
    except _store_errors():
        return False  # unknown, so the first error is the one to tell


def _store_errors() -> tuple[type[Exception], ...]:
    """Return what Beam's file systems raise; HDFS has a class of its own, which is no OSError."""
    try:
        return (OSError, import_module("hdfs.util").HdfsError)
    except ImportError:
        return (OSError,)
