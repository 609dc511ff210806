"""Folders as inputs: what is hidden in them, and whether they hold images or tables that name images."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator

from deepo_beam import storage
from deepo_beam.errors import StorageError
from deepo_beam.storage import StoredObject

#: the columns by which the errors/ of an earlier run is known
_ERRORS_COLUMNS = frozenset({"image_uri", "error_code", "stage", "attributes"})


class TableKind(enum.Enum):
    """What the rows of a Parquet file are."""

    ERRORS = "errors"
    LIST = "list"


def visible_objects(folder: str) -> Iterator[StoredObject]:
    """List all files in and below a folder, without those hidden.

    Hidden is a name that begins with ``.`` or ``_``, and all that is in a folder of such a name; the names
    above the folder itself do not count.
    """
    folder = folder[7:] if folder[:7].lower() == "file://" else folder
    below = len(folder.rstrip("/"))  # where the slash is that the first name follows
    for found in storage.list_objects(folder):
        uri = found.uri
        if uri.find("/.", below) < 0 and uri.find("/_", below) < 0:
            yield found


def table_kind(uri: str, uri_column: str) -> TableKind | None:
    """Say what the rows of a file are: None if it is no Parquet file, or has no column of URIs.

    Raises:
        StorageError: the file cannot be read.
    """
    if not uri.endswith(".parquet"):
        return None
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import read_schema

    with storage.open_input(uri) as stream:
        try:
            names = read_schema(stream).names
        except (ArrowInvalid, UnicodeDecodeError):  # the second of a column's name
            return None
        except OSError as error:
            raise StorageError(f"{uri}: cannot read it: {error}") from error
    return kind_of_columns(names, uri_column)


def kind_of_columns(names: Collection[str], uri_column: str) -> TableKind | None:
    """Say what rows with these columns are; None if none of them is the column of URIs."""
    if _ERRORS_COLUMNS.issubset(names):
        return TableKind.ERRORS
    return TableKind.LIST if uri_column in names else None
