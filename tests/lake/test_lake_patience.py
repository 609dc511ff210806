"""A store that fails for a while is asked again; one that cannot help is not."""

from __future__ import annotations

import pytest
from memory_store import KillableStore

from deepo_beam.errors import ObjectNotFoundError, PermissionDeniedError, StorageError
from deepo_beam.lake.patience import PATIENCE_S, PatientStore


class Sick(KillableStore):
    """Fails the first operations with these errors."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)
        self.asked = 0

    def _fail(self) -> None:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)

    def read_bytes(self, uri: str) -> bytes:
        self._fail()
        return super().read_bytes(uri)

    def write_bytes(self, uri: str, data: bytes) -> None:
        self._fail()
        super().write_bytes(uri, data)

    def list_objects(self, folder: str, *, recursive: bool = True):
        yield from super().list_objects(folder, recursive=recursive)
        self._fail()  # in the middle of it


def patient(store: Sick) -> tuple[PatientStore, list[float]]:
    pauses: list[float] = []
    return PatientStore(store, pause=pauses.append), pauses


def test_a_write_a_read_and_a_list_that_fail_at_first_are_made_in_the_end() -> None:
    store = Sick(StorageError("no space left"), StorageError("slow down"))
    asked, pauses = patient(store)
    asked.write_bytes("mem://a/b", b"c")
    assert len(pauses) == 2
    store.errors = [StorageError("cut")]
    assert asked.read_bytes("mem://a/b") == b"c"
    store.errors = [StorageError("cut")]
    assert [listed.uri for listed in asked.list_objects("mem://a")] == ["mem://a/b"]
    assert asked.list_folders("mem:/") == ["mem://a"]
    asked.delete("mem://a/b")
    assert store.objects == {}


@pytest.mark.parametrize("error", [ObjectNotFoundError("gone"), PermissionDeniedError("no"), KeyError("a bug")])
def test_what_no_patience_mends_is_told_at_once(error: Exception) -> None:
    store = Sick(error)
    asked, pauses = patient(store)
    with pytest.raises(type(error)):
        asked.read_bytes("mem://a/b")
    assert (store.asked, pauses) == (1, [])


def test_a_store_that_stays_sick_is_given_up_with_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    store = Sick(*[StorageError(f"no space left {number}") for number in range(1000)])

    def pause(seconds: float) -> None:
        assert 0 <= seconds <= 5
        now[0] += max(seconds, 0.1)

    with pytest.raises(StorageError, match="no space left"):
        PatientStore(store, pause=pause).write_bytes("mem://a/b", b"c")
    assert PATIENCE_S <= now[0] <= PATIENCE_S + 5
