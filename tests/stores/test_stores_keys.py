"""Names that a store allows and a program stumbles over, put there by the store's own protocol."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e_tools import assert_adds_up, assert_clear, assert_labels_follow_the_rule, picture, rows
from store_tools import Store
from test_stores_bulk import label, spelled

from deepo_beam import storage
from deepo_beam.emulator.testing import RunningEmulator

NAMES = [
    "a b.png",
    "100%.png",
    "a%20b.png",
    "a#b.png",
    "a?b.png",
    "a+b.png",
    "a[1].png",
    "a{1,2}.png",
    "a&b=c.png",
    "a'b.png",
    "ü.png",
    "日本.png",
    "one [2]/a%2Fb.png",
    "%/#/+.png",
]


def test_odd_names_are_read_as_they_are(store: Store, service: RunningEmulator, tmp_path: Path) -> None:
    images = {store.put(f"photos/{name}", picture(number)): picture(number) for number, name in enumerate(NAMES)}
    empty = store.put("photos/empty.png", b"")
    ended = label(store, service)
    assert ended.code == 0, ended.err
    assert_adds_up(ended.summary)
    assert (ended.summary["listed"], ended.summary["failed"]) == (len(NAMES) + 1, 1)
    lake = store.copy_to(tmp_path, "lake")
    assert_labels_follow_the_rule(lake, {spelled(uri): data for uri, data in images.items()})
    (error,) = rows(lake, "errors")
    assert (error["image_uri"], error["error_code"]) == (spelled(empty), "empty_file")

    # Named one by one, and written by us.
    for uri, data in images.items():
        assert storage.read_bytes(uri) == data
        (found,) = storage.glob(uri)
        assert (found.uri, found.size_bytes) == (uri, len(data))
        to = uri.replace("/photos/", "/copies/")
        storage.write_bytes(to, data)
        storage.write_bytes(to, data + b"!")
        assert storage.read_bytes(to) == data + b"!"
    copies = f"{store.root}/copies"
    assert [found.uri for found in storage.list_objects(copies)] == sorted(
        (uri.replace("/photos/", "/copies/") for uri in images), key=lambda uri: uri
    )
    for uri in images:
        storage.delete(uri.replace("/photos/", "/copies/"))
    assert list(storage.list_objects(copies)) == []


def test_a_name_with_two_slashes_is_labelled_or_told_of(store: Store, service: RunningEmulator, tmp_path: Path) -> None:
    if store.name in ("s3", "hdfs"):
        pytest.skip("MinIO takes no such name, and a path of HDFS has no empty part")
    plain = store.put("photos/plain.png", picture(1))
    odd = store.put("photos//odd.png", picture(2))
    ended = label(store, service)
    if store.name == "azure":  # such a listing would end the process
        assert_clear(ended, 6, f"{store.root.replace('azfs', 'abfs')}/photos".partition("//")[2], "cannot be listed")
        return
    assert ended.code == 0, ended.err
    assert_adds_up(ended.summary)
    lake = store.copy_to(tmp_path, "lake")
    seen = {row["image_uri"]: row["status"] for row in rows(lake, "images")}
    assert seen.pop(spelled(plain)) != "failed"
    assert set(seen) <= {spelled(odd)}
    if seen.get(spelled(odd)) == "failed":  # Arrow takes no such name
        (error,) = rows(lake, "errors")
        assert "Empty path component" in error["error_message"]


def test_folders_are_told_and_an_opened_object_is_read_to_its_end(store: Store) -> None:
    for name in ("runs/b/x", "runs/a/deep/y", "runs/file"):
        store.put(name, b"0123456789")
    assert list(storage.list_folders(f"{store.root}/runs")) == [f"{store.root}/runs/a", f"{store.root}/runs/b"]
    assert list(storage.list_folders(store.root)) == [f"{store.root}/runs"]
    assert list(storage.list_folders(f"{store.root}/none")) == []
    with storage.open_input(f"{store.root}/runs/file") as stream:
        assert (stream.seek(0, 2), stream.read(), stream.seek(-3, 2)) == (10, b"", 7)
        assert stream.read() == b"789"


def test_a_reader_finds_the_old_object_or_the_new_one(store: Store) -> None:
    if store.name == "hdfs":
        pytest.skip("the old one is deleted before the new one has its name: see docs/stores.md")
    uri = f"{store.root}/beat"
    storage.write_bytes(uri, b"0" * 1000)
    ended = threading.Event()

    def write() -> None:
        try:
            for number in range(1, 60):
                storage.write_bytes(uri, str(number % 10).encode() * 1000)
        finally:
            ended.set()

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        while not ended.is_set():
            data = storage.read_bytes(uri)
            assert (len(data), len(set(data))) == (1000, 1)
        written.result()
    assert [found.uri for found in storage.list_temporaries(store.root)] == []
