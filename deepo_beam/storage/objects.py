"""What every backend shares: the listed object, the interface, and the naming of errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, Protocol

from deepo_beam.errors import ObjectNotFoundError, PermissionDeniedError, StorageError


class StoredObject(NamedTuple):
    """One object as a listing or a look-up shows it; a tuple, for a listing makes a million.

    Attributes:
        uri: as :func:`deepo_beam.storage.read_bytes` takes it; local ones are plain paths.
        size_bytes: >= 0, None where the store did not say.
        modified_us: microseconds since 1970 UTC, None where the store did not say.
    """

    uri: str
    size_bytes: int | None
    modified_us: int | None


class Backend(Protocol):
    """The operations on whole objects of one family of stores; see :mod:`deepo_beam.storage` for each."""

    def read_bytes(self, uri: str, max_bytes: int | None) -> bytes:
        """Read an object, at most ``max_bytes + 1`` bytes of it."""

    def open_input(self, uri: str) -> BinaryIO:
        """Open an object as a seekable stream."""

    def write_bytes(self, uri: str, data: bytes) -> None:
        """Write a whole object."""

    def stat(self, uri: str) -> StoredObject:
        """Look one object up."""

    def is_folder(self, uri: str) -> bool:
        """Whether it is a folder, or a prefix of other objects' names."""

    def delete(self, uri: str) -> None:
        """Delete an object, if it is there."""

    def list_folders(self, folder: str) -> Iterator[str]:
        """List the URIs of the folders in a folder; a missing one has none."""

    def list_objects(self, folder: str, *, recursive: bool) -> Iterator[StoredObject]:
        """List the objects in a folder, temporary ones too; a missing folder is empty."""


def is_temporary(uri: str) -> bool:
    """Whether this is the name of an object that is still being written: ``.<anything>.tmp``."""
    return uri.endswith(".tmp") and uri.rpartition("/")[2].startswith(".")


@contextmanager
def named_errors(uri: str, doing: str) -> Iterator[None]:
    """Turn the operating system's errors into ours, which name the object and what was tried.

    Args:
        uri: the object.
        doing: what was tried, as "cannot ..." continues.

    Raises:
        ObjectNotFoundError: there is no such object, or a folder on its way is none.
        PermissionDeniedError: access was refused.
        StorageError: any other failure; not retryable where it is a folder.
    """
    try:
        yield
    except NotADirectoryError as error:
        raise ObjectNotFoundError(f"{uri}: a part of this path is a file, not a folder; check the spelling") from error
    except FileNotFoundError as error:
        raise ObjectNotFoundError(f"{uri}: there is no such object") from error
    except PermissionError as error:
        raise PermissionDeniedError(f"{uri}: no permission to {doing} it; check who runs this") from error
    except IsADirectoryError as error:
        raise folder_error(uri) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ObjectNotFoundError(f"{uri}: no object can have so long a name; check the spelling") from error
        raise StorageError(f"{uri}: cannot {doing} it: {error.strerror or error}") from error


def folder_error(uri: str) -> StorageError:
    """Return the error for a folder where an object was asked for; trying again will not help."""
    error = StorageError(f"{uri} is a folder, not an object; name an object in it")
    error.retryable = False
    return error
