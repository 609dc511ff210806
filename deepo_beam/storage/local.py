"""Local files, by the operating system itself.

Arrow's file system would do, but for two things: it does not fsync, and one name that is not UTF-8 makes a
folder unlistable.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from deepo_beam.errors import ConfigError, ObjectNotFoundError, StorageError
from deepo_beam.storage.objects import StoredObject, folder_error, named_errors

_READ_BYTES = 1024 * 1024


class LocalBackend:
    """Plain paths and ``file://`` URIs, byte for byte: nothing is %-decoded."""

    def read_bytes(self, uri: str, max_bytes: int | None) -> bytes:
        """Read a file, at most ``max_bytes + 1`` bytes of it."""
        with named_errors(uri, "read"):
            handle, size = _open_regular(uri)
            try:
                return _read_up_to(handle, size, sys.maxsize if max_bytes is None else max_bytes + 1)
            finally:
                os.close(handle)

    def open_input(self, uri: str) -> BinaryIO:
        """Open a file; the caller closes it."""
        with named_errors(uri, "read"):
            return os.fdopen(_open_regular(uri)[0], "rb")

    def write_bytes(self, uri: str, data: bytes) -> None:
        """Write aside, fsync, rename, fsync the folder: whatever happens, the old file or the new one."""
        path = Path(local_path(uri))
        with named_errors(uri, "write"):
            if path.is_dir():
                raise folder_error(uri)
            _make_folder(path.parent)
            aside = path.parent / f".{uuid.uuid4().hex}.tmp"
            try:
                with aside.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
            _sync_folder(path.parent)

    def stat(self, uri: str) -> StoredObject:
        """Look one file up, following symbolic links."""
        path = local_path(uri)
        with named_errors(uri, "look at"):
            status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise folder_error(uri)
        return StoredObject(path, status.st_size, status.st_mtime_ns // 1000)

    def is_folder(self, uri: str) -> bool:
        """Whether the path is a folder."""
        with suppress(ObjectNotFoundError), named_errors(uri, "look at"):
            return Path(local_path(uri)).is_dir()
        return False

    def delete(self, uri: str) -> None:
        """Delete a file; a missing one is fine."""
        with named_errors(uri, "delete"), suppress(FileNotFoundError):
            Path(local_path(uri)).unlink()

    def list_folders(self, folder: str) -> Iterator[str]:
        """List folders in order of name."""
        path = local_path(folder)
        with named_errors(folder, "list"):
            try:
                with os.scandir(path) as entries:
                    names = sorted(entry.name for entry in entries if entry.is_dir())
            except FileNotFoundError:
                return
        yield from (f"{path.rstrip('/')}/{name}" for name in names)

    def list_objects(self, folder: str, *, recursive: bool) -> Iterator[StoredObject]:
        """List files in order of name, one folder in memory at a time.

        Symbolic links are followed, to folders too; a link back to a folder above is not. Files that are no
        regular ones (sockets, pipes) are left out; a link to nothing is listed, so that it is not lost.
        """
        path = local_path(folder)
        with named_errors(folder, "list"):
            is_file = Path(path).is_file()
        if is_file:
            raise StorageError(f"{folder} is a file, not a folder; name its folder")
        yield from _walk(path, recursive, frozenset())


def local_path(uri: str) -> str:
    """Return the path in a local URI, unchanged but for a leading ``file://``.

    Raises:
        ConfigError: no file can have this name.
    """
    path = uri[7:] if uri[:7].lower() == "file://" else uri
    if path is not uri and not path.startswith("/"):
        raise ConfigError(f"{uri!r} names no absolute path; write file:///folder/name or the path alone")
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise ConfigError(f"{uri!r} is no name that a file can have: {error.reason}") from error
    if not encoded or b"\0" in encoded:
        raise ConfigError(f"{uri!r} is no name that a file can have; give a path")
    return path


def _open_regular(uri: str) -> tuple[int, int]:
    """Open a file to be read; return its handle and its size in bytes.

    Raises:
        StorageError: it is a pipe or a device, which may have no end, or wait for a writer.
        OSError: it cannot be opened, or is a folder.
    """
    handle = os.open(local_path(uri), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode):
        return handle, status.st_size
    os.close(handle)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise StorageError(f"{uri}: not a regular file; a pipe or a device can be named by - (standard input)")


def _read_up_to(handle: int, size: int, limit: int) -> bytes:
    """Read at most ``limit`` bytes of a file that was ``size`` bytes long, in one call if it still is.

    A buffer of the limit instead would be mapped and unmapped for every image.
    """
    data = os.read(handle, min(limit, size + 1))
    if len(data) == size:
        return data
    pieces, left = [data], limit - len(data)  # it is growing, or its size is not known before it is read
    while pieces[-1] and left:
        pieces.append(os.read(handle, min(left, _READ_BYTES)))
        left -= len(pieces[-1])
    return b"".join(pieces)


def _walk(folder: str, recursive: bool, above: frozenset[tuple[int, int]]) -> Iterator[StoredObject]:
    with named_errors(folder, "list"):
        try:
            status = os.stat(folder)  # noqa: PTH116 (the text of the path is kept as it is)
            names = sorted(os.listdir(folder))  # noqa: PTH208 (entries would keep all they were asked, a kB each)
        except FileNotFoundError:  # also one that vanished since its name was listed
            return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    start = folder.rstrip("/")
    for name in names:
        path = f"{start}/{name}"
        is_folder, file = _look(path)
        if file is not None:
            yield file
        elif is_folder and recursive:
            yield from _walk(path, recursive, above | {here})


def _look(path: str) -> tuple[bool, StoredObject | None]:
    """Say whether there is a folder, and return the file if there is one."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a Path would cost more than the look)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            with named_errors(path, "look at"):  # here, for at each file it would cost as much as the look
                raise
        return False, StoredObject(path, None, None)  # a link to nothing, or deleted meanwhile: its reader says so
    if not stat.S_ISREG(status.st_mode):
        return stat.S_ISDIR(status.st_mode), None
    return False, StoredObject(path, status.st_size, status.st_mtime_ns // 1000)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each durable in its own."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync_folder(new.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync folders
            raise
    finally:
        os.close(handle)
