"""Local files: odd names byte for byte, whole or not at all, errors that name the thing."""

import errno
import os
import subprocess
import sys
import threading
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from deepo_beam import storage
from deepo_beam.errors import ConfigError, ObjectNotFoundError, PermissionDeniedError, StorageError
from deepo_beam.storage.objects import named_errors

ODD_NAMES = ["a b", "a%20b", "a#b", "a?b", "a+b", "a[1]", "a{1,2}", "ü", "a*b", "~", "s3:", "x.gz"]


def uris(found: object) -> list[str]:
    return [one.uri for one in found]  # type: ignore[attr-defined] # an iterator of StoredObject


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_names_are_taken_byte_for_byte(tmp_path: Path, name: str, prefix: str) -> None:
    uri = f"{prefix}{tmp_path}/{name}"
    storage.write_bytes(uri, name.encode())
    assert (tmp_path / name).read_bytes() == name.encode()
    assert storage.read_bytes(uri) == name.encode()
    assert storage.stat(uri).size_bytes == len(name.encode())
    assert uris(storage.glob(uri)) == [f"{tmp_path}/{name}"]
    assert uris(storage.list_objects(f"{prefix}{tmp_path}")) == [f"{tmp_path}/{name}"]
    with storage.open_input(uri) as stream:
        assert stream.read() == name.encode()
    storage.delete(uri)
    assert not storage.exists(uri)


def test_a_name_that_is_not_utf8_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    assert len(list(storage.list_objects(str(tmp_path)))) == 2


def test_reading_stops_one_byte_above_the_limit(tmp_path: Path) -> None:
    uri = str(tmp_path / "x")
    storage.write_bytes(uri, bytes(100))
    assert [len(storage.read_bytes(uri, max_bytes=limit)) for limit in (0, 98, 99, 100, 1000)] == [1, 99, 100, 100, 100]
    assert len(storage.read_bytes(uri)) == 100


def test_size_and_time_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    assert storage.stat(str(path)) == storage.StoredObject(str(path), 3, 1_700_000_000_123_456)
    assert list(storage.list_objects(str(tmp_path))) == [storage.stat(str(path))]


def test_a_listing_is_sorted_recursive_and_without_temporary_files(tmp_path: Path) -> None:
    for name in ["b/2", "b/1", "a", "c", ".hidden", "b/.x.tmp", "b/x.tmp"]:
        storage.write_bytes(str(tmp_path / name), b"")
    (tmp_path / "empty").mkdir()
    listed = [uri[len(str(tmp_path)) + 1 :] for uri in uris(storage.list_objects(f"{tmp_path}/"))]
    assert listed == [".hidden", "a", "b/1", "b/2", "b/x.tmp", "c"]
    assert uris(storage.list_temporaries(str(tmp_path))) == [f"{tmp_path}/b/.x.tmp"]
    flat = [uri[len(str(tmp_path)) + 1 :] for uri in uris(storage.list_objects(str(tmp_path), recursive=False))]
    assert flat == [".hidden", "a", "c"]


def test_a_missing_folder_is_empty_and_a_file_is_no_folder(tmp_path: Path) -> None:
    assert list(storage.list_objects(str(tmp_path / "none"))) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is a file, not a folder"):
        list(storage.list_objects(str(tmp_path / "file")))


def test_symbolic_links_are_followed_but_not_in_circles_and_a_dead_one_is_listed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").touch()
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "self").symlink_to("self")
    os.mkfifo(tmp_path / "pipe")
    listed = [one.uri[len(str(tmp_path)) + 1 :] for one in storage.list_objects(str(tmp_path))]
    assert listed == ["dead", "link/x", "real/x", "self"]
    assert next(storage.list_objects(str(tmp_path))).size_bytes is None


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("**.jpg", ["a.jpg", "b.jpg", "sub/c.jpg"]),
        ("{a,sub/c}.jpg", ["a.jpg", "sub/c.jpg"]),
        ("sub/*", ["sub/c.jpg"]),
        ("sub//*", ["sub/c.jpg"]),
        ("s?b/[a-d].jpg", ["sub/c.jpg"]),
        ("a.jpg", ["a.jpg"]),
        ("none.jpg", []),
        ("none/*", []),
    ],
)
def test_globs_list_what_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, names: list[str]
) -> None:
    for name in ["a.jpg", "b.jpg", "c.png", "sub/c.jpg"]:
        storage.write_bytes(str(tmp_path / name), b"")
    assert uris(storage.glob(f"{tmp_path}/{pattern}")) == [f"{tmp_path}/{name}" for name in names]
    assert uris(storage.glob(f"file://{tmp_path}/{pattern}")) == [f"{tmp_path}/{name}" for name in names]
    monkeypatch.chdir(tmp_path)
    assert [os.path.normpath(uri) for uri in uris(storage.glob(pattern))] == names


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    uri = str(tmp_path / "new" / "folder" / "x")
    storage.write_bytes(uri, b"first, and longer")
    storage.write_bytes(uri, b"second")
    assert storage.read_bytes(uri) == b"second"
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["x"]


def test_file_and_folders_are_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        steps.append("sync " + ("file" if "tmp" in Path(f"/proc/self/fd/{handle}").readlink().suffix else "folder"))
        real_fsync(handle)

    def replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    storage.write_bytes(str(tmp_path / "one" / "two" / "x"), b"data")
    assert steps == ["sync folder", "sync folder", "sync file", "rename", "sync folder"]


@pytest.mark.parametrize(("code", "fails"), [(errno.EIO, True), (errno.EINVAL, False), (errno.ENOTSUP, False)])
def test_a_folder_that_cannot_be_synced_is_an_error_unless_its_file_system_never_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fails: bool
) -> None:
    real_fsync = os.fsync

    def fsync(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(code, os.strerror(code))
        real_fsync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="cannot write it") if fails else nullcontext():
        storage.write_bytes(str(tmp_path / "x"), b"data")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "x")
    storage.write_bytes(uri, b"old")

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageError, match="cannot write it: No space left") as failure:
        storage.write_bytes(uri, b"new")
    assert failure.value.retryable
    assert uri in str(failure.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert storage.read_bytes(uri) == b"old"


def test_a_reader_beside_a_writer_never_sees_a_part(tmp_path: Path) -> None:
    uri = str(tmp_path / "x")
    contents = [bytes([digit]) * 100_000 for digit in range(2)]
    storage.write_bytes(uri, contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(50):
            storage.write_bytes(uri, contents[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(storage.read_bytes(uri))
    writer.join()
    assert seen <= set(contents)


def test_what_is_missing_or_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    missing, folder = str(tmp_path / "none" / "x"), str(tmp_path)
    for act in (storage.read_bytes, storage.open_input, storage.stat):
        with pytest.raises(ObjectNotFoundError, match=missing):
            act(missing)
        with pytest.raises(StorageError, match=f"{folder} is a folder") as failure:
            act(folder)
        assert not failure.value.retryable
    with pytest.raises(StorageError, match="is a folder"):
        storage.write_bytes(folder, b"")
    storage.delete(missing)
    assert not storage.exists(folder)
    assert storage.is_folder(folder)
    assert not storage.is_folder(missing)


@pytest.mark.parametrize("text", ["", "a\0b", "a\ud800b", "file://"])
def test_a_text_that_no_file_can_be_called_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        storage.read_bytes(text)


def test_refused_access_is_permission_denied() -> None:
    with pytest.raises(PermissionDeniedError, match="/x: no permission to read it"), named_errors("/x", "read"):
        raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    (tmp_path / "x").touch(mode=0)
    with pytest.raises(PermissionDeniedError, match="no permission to read"):
        storage.read_bytes(str(tmp_path / "x"))


def test_a_listed_file_that_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").touch()

    def look(path: Any, **settings: Any) -> os.stat_result:
        if path == str(tmp_path / "x"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return found(path, **settings)

    found = os.stat
    monkeypatch.setattr("deepo_beam.storage.local.os.stat", look)
    with pytest.raises(PermissionDeniedError, match=f"{tmp_path}/x: no permission to look at it"):
        list(storage.list_objects(str(tmp_path)))


def test_a_folder_of_many_files_is_listed_in_the_memory_of_their_names(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number:04d}").touch()
    list(storage.list_objects(str(tmp_path)))
    tracemalloc.start()

    assert sum(1 for _ in storage.list_objects(str(tmp_path))) == 2000

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2000 * 150


def test_an_unknown_scheme_names_those_known() -> None:
    with pytest.raises(ConfigError, match=r"'gopher'.*s3.*gs.*abfs.*hdfs"):
        storage.read_bytes("gopher://hole/x")


@pytest.mark.parametrize(
    ("base", "parts", "whole"),
    [
        ("s3://b/out/", ["runs", "x.json"], "s3://b/out/runs/x.json"),
        ("/", ["a"], "/a"),
        ("out", ["/a/", "b#?"], "out/a/b#?"),
        ("s3://b", [], "s3://b"),
    ],
)
def test_names_are_joined_with_single_slashes(base: str, parts: list[str], whole: str) -> None:
    assert storage.join(base, *parts) == whole


def test_local_storage_and_inputs_need_neither_beam_nor_arrow(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["apache_beam"] = sys.modules["pyarrow"] = None
from deepo_beam import inputs, storage
storage.write_bytes({str(tmp_path / "x.jpg")!r}, b"data")
(image,) = inputs.expand_input({str(tmp_path)!r}, index=0, options=inputs.InputOptions())
assert storage.read_bytes(image.location) == b"data"
try:
    storage.read_bytes("hdfs://x/y")
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError hdfs://x/y: only apache-beam could open this")


def test_folders_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b/x", "a/deep/y", "file"):
        storage.write_bytes(str(tmp_path / name), b"1")
    assert list(storage.list_folders(str(tmp_path))) == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert list(storage.list_folders(f"{tmp_path}/none")) == []
