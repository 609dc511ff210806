"""Listing by prefix tells what one listing of everything would, in its order, side by side, and not for many calls."""

import threading
from collections.abc import Iterable
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.errors import StorageError
from deepo_beam.storage import prefixes
from deepo_beam.storage.objects import StoredObject
from deepo_beam.storage.prefixes import AT_ONCE, MOST_PREFIXES, Entry, list_by_prefix


class Bucket:
    """Keys, listed as Arrow lists those of S3; ``levels`` and ``wholes`` are the calls made."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = list(keys)
        self.levels: list[str] = []
        self.wholes: list[str] = []

    def list_level(self, folder: str) -> list[Entry]:
        self.levels.append(folder)
        entries = set()
        for key in self._below(folder):
            name, slash, _ = key[len(folder) + 1 :].partition("/")
            path = f"{folder}/{name}".rstrip("/") if slash else key
            entries.add((path, None if slash else StoredObject(key, 1, None)))
        return list(entries)

    def list_all(self, folder: str) -> list[Entry]:
        self.wholes.append(folder)
        return [(key, StoredObject(key, 1, None)) for key in self._below(folder)]

    def listed(self, folder: str = "b") -> list[str]:
        return [found.uri for found in list_by_prefix(folder, self.list_level, self.list_all)]

    def _below(self, folder: str) -> list[str]:
        return [key for key in reversed(self._keys) if key.startswith(f"{folder}/") and not key.endswith("/")]


KEYS = st.lists(st.text("ab-./", min_size=1, max_size=8).filter(lambda key: key[-1] != "/"), max_size=40, unique=True)


@given(keys=KEYS)
def test_it_tells_what_one_listing_of_everything_would(keys):
    bucket = Bucket(f"b/{key}" for key in keys)

    assert bucket.listed() == sorted(f"b/{key}" for key in keys)


def test_it_goes_down_until_there_are_prefixes_enough():
    days = [f"b/photos/{year}/{day:03d}" for year in (2023, 2024) for day in range(20)]
    bucket = Bucket(f"{day}/{n}.jpg" for day in days for n in range(3))

    assert bucket.listed() == sorted(bucket._keys)
    assert sorted(bucket.levels) == ["b", "b/photos", "b/photos/2023", "b/photos/2024"]
    assert sorted(bucket.wholes) == days


def test_a_folder_of_too_many_prefixes_is_listed_as_a_whole():
    bucket = Bucket(f"b/{n:05d}/x.jpg" for n in range(MOST_PREFIXES + 1))

    assert bucket.listed() == sorted(bucket._keys)
    assert (bucket.levels, bucket.wholes) == (["b"], ["b"])


def test_prefixes_are_listed_side_by_side():
    bucket = Bucket(f"b/{n:02d}/x.jpg" for n in range(AT_ONCE + 1))
    together = threading.Barrier(AT_ONCE, timeout=10)

    def list_all(folder: str) -> list[Entry]:
        if folder != "b/00":  # which goes alone
            together.wait()
        return bucket.list_all(folder)

    assert len(list(list_by_prefix("b", bucket.list_level, list_all))) == AT_ONCE + 1


def test_whoever_wants_one_object_lists_one_prefix():
    bucket = Bucket(f"b/{n:02d}/x.jpg" for n in range(100))

    assert [found.uri for found in islice(list_by_prefix("b", bucket.list_level, bucket.list_all), 1)] == ["b/00/x.jpg"]
    assert bucket.wholes == ["b/00"]


def test_what_is_listed_ahead_of_whoever_takes_it_is_bounded(monkeypatch):
    bucket = Bucket(f"b/{n:02d}/{m}.jpg" for n in range(40) for m in range(10))
    monkeypatch.setattr(prefixes, "_MOST_WAITING", 25)
    found = list_by_prefix("b", bucket.list_level, bucket.list_all)
    seen = list(islice(found, 11))  # one of the second prefix, so others are being listed
    for thread in [each for each in threading.enumerate() if each.name.startswith("deepo-beam-list")]:
        thread.join(0.05)
    assert len(bucket.wholes) <= AT_ONCE + 1
    seen += found
    assert [one.uri for one in seen] == sorted(bucket._keys)


def test_an_error_of_one_prefix_is_told():
    bucket = Bucket(f"b/{n:02d}/x.jpg" for n in range(100))

    def list_all(folder: str) -> list[Entry]:
        if folder == "b/50":
            raise StorageError(folder)
        return bucket.list_all(folder)

    with pytest.raises(StorageError, match="b/50"):
        list(list_by_prefix("b", bucket.list_level, list_all))
