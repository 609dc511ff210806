"""What kind of input a text names."""

from __future__ import annotations

import enum
import re

from deepo_beam import storage
from deepo_beam.errors import ConfigError, PermissionDeniedError
from deepo_beam.identity import SCHEME, normalise_uri, refuse_unusable
from deepo_beam.inputs.folders import TableKind, table_kind, visible_objects
from deepo_beam.inputs.rows import InputOptions

_LIST_NAME = re.compile(r".*\.((txt|csv|jsonl)(\.gz)?|parquet)", re.DOTALL | re.IGNORECASE)


class InputKind(str, enum.Enum):
    """The kinds of INPUT of ``deepo-beam label``."""

    STDIN = "stdin"
    URL = "url"
    GLOB = "glob"
    FOLDER = "folder"
    ERRORS = "errors"
    LIST = "list"
    IMAGE = "image"


def classify_input(text: str) -> InputKind:
    """Say what an INPUT is, asking the store where the text alone does not tell.

    In this order: ``-`` is standard input; ``http(s)://`` is the URL of an image; wildcards make a glob,
    unless the name exists as it is written; a folder is one, unless its first file is Parquet and a list, or
    of the ``errors/`` of an earlier run; a name that ends in ``.txt``, ``.csv``, ``.jsonl`` (also with
    ``.gz``) or in ``.parquet`` is a list; all else is an image.

    Raises:
        ConfigError: the text can name nothing, or its scheme is unknown.
        StorageError: the store cannot be asked.
    """
    kind = kind_of_name(text)
    if kind is not InputKind.FOLDER:
        return kind
    first = next(visible_objects(text), None)
    found = None if first is None else table_kind(first.uri, InputOptions().uri_column)
    if found is None:
        return InputKind.FOLDER
    return InputKind.ERRORS if found is TableKind.ERRORS else InputKind.LIST


def kind_of_name(text: str) -> InputKind:
    """Like :func:`classify_input`, but look into no folder: one of Parquet files is a folder here."""
    if text == "-":
        return InputKind.STDIN
    match = SCHEME.match(text)
    scheme = match.group(1).lower() if match is not None else ""
    try:
        if scheme in ("http", "https"):
            normalise_uri(text)
            return InputKind.URL
        refuse_unusable(text)
    except ValueError as error:
        raise ConfigError(f"the input {text!r} cannot be used: {error}") from error
    storage.check_scheme(scheme)
    is_folder = _is_folder(text)
    if storage.has_magic(text) and not is_folder and not storage.exists(text):
        return InputKind.GLOB
    if is_folder or text.endswith("/"):
        return InputKind.FOLDER
    return InputKind.LIST if _LIST_NAME.fullmatch(text) else InputKind.IMAGE


def _is_folder(text: str) -> bool:
    try:
        return storage.is_folder(text)
    except PermissionDeniedError:
        return False  # some stores refuse to look for a name that is not there; reading it will say
