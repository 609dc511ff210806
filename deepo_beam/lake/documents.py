"""The small JSON files of an output."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from deepo_beam.errors import DamagedError, ObjectNotFoundError
from deepo_beam.lake.journal import Store

T = TypeVar("T")
_NOT_AS_WRITTEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


def read_document(uri: str, store: Store, make: Callable[[Any], T], what: str) -> T | None:
    """What a JSON file says; None if there is none.

    Args:
        uri: of the file.
        store: where it is.
        make: from what JSON gives to the value that is wanted.
        what: it is, for the message.

    Raises:
        DamagedError: somebody else has written to it.
        StorageError: it cannot be read.
    """
    try:
        data = store.read_bytes(uri)
    except ObjectNotFoundError:
        return None
    try:
        return make(json.loads(data))
    except _NOT_AS_WRITTEN as error:
        raise DamagedError(f"{uri} is no whole {what} any more ({error!r:.100}): restore it from a copy") from None
