"""Whole objects by URI, wherever they are: read, write, look up, list, delete.

Local paths (plain or ``file://``), ``s3``, ``gs`` and ``abfs`` are served directly; every other scheme by
Beam's FileSystems, which is imported when such a scheme is met. ``s3a`` and ``s3n`` are ``s3``, ``gcs`` is
``gs``, ``azfs`` and ``abfss`` are ``abfs``. Names are taken byte for byte: nothing is %-decoded, nothing
decompressed.

Errors, of every function: :class:`~deepo_beam.errors.ObjectNotFoundError`,
:class:`~deepo_beam.errors.PermissionDeniedError` or another :class:`~deepo_beam.errors.StorageError`, each
naming the URI; :class:`~deepo_beam.errors.ConfigError` for a scheme that nobody serves.

All functions may be called from any thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import BinaryIO

from deepo_beam.errors import ConfigError, ObjectNotFoundError, StorageError
from deepo_beam.identity import SCHEME, SCHEME_ALIASES
from deepo_beam.storage.arrow import ArrowBackend
from deepo_beam.storage.fallback import BeamBackend
from deepo_beam.storage.local import LocalBackend
from deepo_beam.storage.objects import Backend, StoredObject, is_temporary
from deepo_beam.storage.patterns import glob_to_regex, has_magic, literal_start

__all__ = [
    "StoredObject",
    "check_scheme",
    "delete",
    "exists",
    "glob",
    "glob_to_regex",
    "has_magic",
    "is_folder",
    "is_local",
    "join",
    "list_folders",
    "list_objects",
    "list_temporaries",
    "open_input",
    "read_bytes",
    "stat",
    "write_bytes",
]


def read_bytes(uri: str, *, max_bytes: int | None = None) -> bytes:
    """Read a whole object.

    Args:
        uri: the object.
        max_bytes: read at most ``max_bytes + 1`` bytes (so that "too large" can be seen); None reads all.
    """
    return _backend(uri).read_bytes(uri, max_bytes)


def open_input(uri: str) -> BinaryIO:
    """Open an object as a seekable binary stream, to be closed by the caller."""
    return _backend(uri).open_input(uri)


def write_bytes(uri: str, data: bytes) -> None:
    """Write a whole object; a reader finds the old one or the new one, never a part.

    Missing folders are made. On local disk the file is durable when this returns (fsync of file and folder).
    """
    _backend(uri).write_bytes(uri, data)


def stat(uri: str) -> StoredObject:
    """Look one object up. A folder is a StorageError."""
    return _backend(uri).stat(uri)


def exists(uri: str) -> bool:
    """Whether there is an object of this name (a folder is none)."""
    try:
        stat(uri)
    except ObjectNotFoundError:
        return False
    except StorageError:
        if is_folder(uri):
            return False
        raise
    return True


def is_folder(uri: str) -> bool:
    """Whether this is a folder: a directory, or a prefix below which there are objects."""
    return _backend(uri).is_folder(uri)


def delete(uri: str) -> None:
    """Delete an object; a missing one is fine."""
    _backend(uri).delete(uri)


def list_objects(folder: str, *, recursive: bool = True) -> Iterator[StoredObject]:
    """List the objects in a folder in a fixed order, by name within each folder.

    A missing folder is empty. Objects still being written (``.<anything>.tmp``) and folders are left out.
    On local disk symbolic links are followed.

    Args:
        folder: with or without a slash at its end.
        recursive: also what is in its folders.
    """
    for found in _backend(folder).list_objects(folder, recursive=recursive):
        if not is_temporary(found.uri):
            yield found


def list_temporaries(folder: str) -> Iterator[StoredObject]:
    """List what :func:`list_objects` leaves out, in all folders below: objects being written, or cut off."""
    for found in _backend(folder).list_objects(folder, recursive=True):
        if is_temporary(found.uri):
            yield found


def list_folders(folder: str) -> Iterator[str]:
    """List the URIs of the folders in a folder, by name, without a slash at their end; a missing folder has none."""
    return _backend(folder).list_folders(folder)


def glob(pattern: str) -> Iterator[StoredObject]:
    """List the objects that match, in the order of :func:`list_objects`.

    The grammar is that of :mod:`deepo_beam.storage.patterns`. A name that exists exactly as written is only
    itself, whatever characters it has.

    Raises:
        ConfigError: wildcards in the bucket, a range the wrong way round, or braces nested too deeply.
    """
    if pattern[:7].lower() == "file://":  # listings of local files say plain paths
        pattern = pattern[7:]
    start = literal_start(pattern)
    folder = start[: start.rfind("/") + 1]
    if folder.endswith("://"):
        raise ConfigError(f"{pattern!r} has a wildcard in its bucket; name the bucket")
    with suppress(ObjectNotFoundError):
        yield stat(pattern)
        return
    if not has_magic(pattern):
        return
    rest = pattern[len(folder) :]
    try:
        matches = re.compile(glob_to_regex(rest), re.DOTALL).fullmatch
    except RecursionError:
        raise ConfigError(f"the glob {pattern!r} has braces in braces in braces, too many of them") from None
    names_at = len((folder or "./").rstrip("/")) + 1  # a listing has one slash there
    for found in list_objects(folder or ".", recursive="/" in rest or "**" in rest):
        if matches(found.uri, names_at):
            yield found


def join(base: str, *parts: str) -> str:
    """Join names with single slashes: ``join("s3://b/out/", "runs", "x.json")`` is ``s3://b/out/runs/x.json``."""
    return "/".join([base.rstrip("/") if base != "/" else "", *(part.strip("/") for part in parts)])


def is_local(uri: str) -> bool:
    """Whether this is a plain path or a ``file://`` URI."""
    return _scheme(uri) in ("", "file")


@cache
def check_scheme(scheme: str) -> None:
    """Do nothing if URIs of this scheme (lower-case, empty for a path) can be opened.

    Raises:
        ConfigError: nobody serves it; names the schemes known.
    """
    if SCHEME_ALIASES.get(scheme, scheme) not in _BACKENDS:
        _BEAM.check_scheme(scheme)


def _backend(uri: str) -> Backend:
    return _BACKENDS.get(_scheme(uri), _BEAM)


def _scheme(uri: str) -> str:
    match = SCHEME.match(uri)
    scheme = match.group(1).lower() if match else ""
    return SCHEME_ALIASES.get(scheme, scheme)


_LOCAL, _ARROW, _BEAM = LocalBackend(), ArrowBackend(), BeamBackend()
_BACKENDS: dict[str, Backend] = {"": _LOCAL, "file": _LOCAL, "s3": _ARROW, "gs": _ARROW, "abfs": _ARROW}
