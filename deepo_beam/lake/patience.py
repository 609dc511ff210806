"""A store that is asked again for a while when it fails, for the steps of a run that have no other second chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO, TypeVar

import tenacity

from deepo_beam import storage
from deepo_beam.errors import PermissionDeniedError, StorageError
from deepo_beam.lake.journal import Listed, Store

T = TypeVar("T")
PATIENCE_S = 60.0  # as long as the engine tries to write its journal


class PatientStore:
    """The same store; an operation that fails is tried again for ``PATIENCE_S`` with growing pauses (full jitter).

    What is missing or forbidden is not asked for again. All operations of a :class:`~deepo_beam.lake.journal.Store`
    may be repeated.
    """

    def __init__(self, store: Store, *, pause: Callable[[float], None] = tenacity.nap.sleep) -> None:
        """``pause`` waits so many seconds."""
        self._store = store
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_delay(PATIENCE_S),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5.0),
            sleep=pause,
            reraise=True,
        )

    def read_bytes(self, uri: str) -> bytes:
        """As the store does."""
        return self._retrying(self._store.read_bytes, uri)

    def open_input(self, uri: str) -> BinaryIO:
        """As the store does; what is read from it is not read again."""
        return self._retrying(self._store.open_input, uri)

    def write_bytes(self, uri: str, data: bytes) -> None:
        """As the store does."""
        self._retrying(self._store.write_bytes, uri, data)

    def list_objects(self, folder: str, *, recursive: bool = True) -> Sequence[Listed]:
        """As the store does; complete when it returns."""
        return self._retrying(lambda: list(self._store.list_objects(folder, recursive=recursive)))

    def list_folders(self, folder: str) -> Sequence[str]:
        """As the store does; complete when it returns."""
        return self._retrying(lambda: list(self._store.list_folders(folder)))

    def delete(self, uri: str) -> None:
        """As the store does."""
        self._retrying(self._store.delete, uri)

    def join(self, base: str, *parts: str) -> str:
        """As the store does."""
        return self._store.join(base, *parts)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, StorageError) and error.retryable and not isinstance(error, PermissionDeniedError)


PATIENT = PatientStore(storage)
