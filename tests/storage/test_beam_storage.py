"""Other schemes, through file systems that a user registers with Beam: one with folders (as HDFS), one without."""

import io
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem

from deepo_beam import storage
from deepo_beam.errors import ConfigError, ObjectNotFoundError, StorageError


class _Upload(io.BytesIO):
    def __init__(self, files: dict[str, bytes], path: str) -> None:
        super().__init__()
        self._files, self._path = files, path

    def close(self) -> None:
        if not self.closed:
            self._files[self._path] = self.getvalue()
        super().close()


class _Memory(FileSystem):  # type: ignore[misc] # Beam has no types
    """Objects in a dictionary."""

    files: ClassVar[dict[str, bytes]] = {}

    @classmethod
    def scheme(cls) -> str:
        return "memory"

    def has_dirs(self) -> bool:
        return False

    def _metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(self.files.get(path, b"")), 1.5)

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        yield from (self._metadata(path) for path in self.files if path.startswith(dir_or_prefix))

    def create(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> Any:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return _Upload(self.files, path)

    def open(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> Any:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        if path not in self.files:
            raise BeamIOError(f"no {path}")
        return io.BytesIO(self.files[path])

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        (source,), (destination,) = source_file_names, destination_file_names
        if destination in self.files:
            raise BeamIOError("Rename operation failed", {(source, destination): "exists"})
        self.files[destination] = self.files.pop(source)

    def exists(self, path: str) -> bool:
        return path in self.files or (self.has_dirs() and any(name.startswith(f"{path}/") for name in self.files))

    def metadata(self, path: str) -> FileMetadata:
        if not self.exists(path):
            raise BeamIOError(f"File not found: {path}")
        return self._metadata(path)

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            del self.files[path]

    join = split = mkdirs = copy = size = last_updated = checksum = NotImplemented


class FlatMemory(_Memory):
    files: ClassVar[dict[str, bytes]] = {}

    @classmethod
    def scheme(cls) -> str:
        return "flatmem"


class FolderMemory(_Memory):
    files: ClassVar[dict[str, bytes]] = {}

    @classmethod
    def scheme(cls) -> str:
        return "foldermem"

    def has_dirs(self) -> bool:
        return True

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        if dir_or_prefix in self.files:
            raise BeamIOError("List operation failed", {dir_or_prefix: "'x' is not a directory."})
        start = f"{dir_or_prefix}/"
        names = {path[len(start) :].partition("/")[0] for path in self.files if path.startswith(start)}
        yield from (self._metadata(start + name) for name in names)


class NeedsOptions(_Memory):
    def __init__(self, pipeline_options: Any) -> None:
        super().__init__(pipeline_options)
        raise ValueError("needy_host is not set")

    @classmethod
    def scheme(cls) -> str:
        return "needy"


@pytest.fixture(params=["flatmem", "foldermem"])
def root(request: pytest.FixtureRequest) -> Iterator[str]:
    yield f"{request.param}://store"
    FlatMemory.files.clear()
    FolderMemory.files.clear()


NAMES = ["a[1].jpg", "a.gz", "d[0]/b c.jpg", "d[0]/e/empty", "z%20#?"]


def test_odd_names_are_written_read_and_listed_without_patterns_or_decompression(root: str) -> None:
    for name in NAMES:
        storage.write_bytes(f"{root}/{name}", b"" if name.endswith("empty") else name.encode())
    assert [found.uri for found in storage.list_objects(f"{root}/")] == [f"{root}/{name}" for name in sorted(NAMES)]
    assert [found.uri for found in storage.list_objects(root, recursive=False)] == [
        f"{root}/{name}" for name in ("a.gz", "a[1].jpg", "z%20#?")
    ]
    assert [found.uri for found in storage.list_objects(f"{root}/d[0]")] == [
        f"{root}/d[0]/b c.jpg",
        f"{root}/d[0]/e/empty",
    ]
    assert [found.uri for found in storage.glob(f"{root}/**.jpg")] == [f"{root}/a[1].jpg", f"{root}/d[0]/b c.jpg"]
    assert storage.read_bytes(f"{root}/a.gz") == b"a.gz"
    assert storage.read_bytes(f"{root}/a.gz", max_bytes=1) == b"a."
    assert storage.stat(f"{root}/a.gz") == storage.StoredObject(f"{root}/a.gz", 4, 1_500_000)
    assert storage.is_folder(f"{root}/d[0]")
    assert not storage.is_folder(f"{root}/a.gz")
    with storage.open_input(f"{root}/a.gz") as stream:
        assert stream.read() == b"a.gz"


def test_writing_again_replaces_and_leaves_nothing_else(root: str) -> None:
    storage.write_bytes(f"{root}/x", b"old")
    storage.write_bytes(f"{root}/x", b"new")
    assert storage.read_bytes(f"{root}/x") == b"new"
    assert [found.uri for found in storage.list_objects(root)] == [f"{root}/x"]


def test_what_is_missing_is_not_found_and_deleting_it_is_fine(root: str) -> None:
    for act in (storage.read_bytes, storage.open_input, storage.stat):
        with pytest.raises(ObjectNotFoundError, match=f"{root}/none"):
            act(f"{root}/none")
    assert not storage.exists(f"{root}/none")
    assert list(storage.list_objects(f"{root}/none")) == []
    storage.delete(f"{root}/none")


def test_a_folder_is_no_object() -> None:
    FolderMemory.files["foldermem://x/y/file"] = b""
    with pytest.raises(StorageError, match="is a folder"):
        storage.stat("foldermem://x/y")
    assert not storage.exists("foldermem://x/y")
    assert storage.exists("foldermem://x/y/file")
    FolderMemory.files.clear()


def test_a_file_is_no_folder() -> None:
    FolderMemory.files["foldermem://x/file"] = b"data"
    with pytest.raises(StorageError, match="is a file, not a folder"):
        list(storage.list_objects("foldermem://x/file"))
    FolderMemory.files.clear()


def test_a_file_system_that_lacks_options_says_which() -> None:
    with pytest.raises(ConfigError, match="needy_host is not set"):
        storage.read_bytes("needy://x")


def test_folders_are_listed_by_name(root: str) -> None:
    for key in ("runs/b/x", "runs/a/deep/y", "runs/file"):
        storage.write_bytes(f"{root}/{key}", b"1")
    assert list(storage.list_folders(f"{root}/runs")) == [f"{root}/runs/a", f"{root}/runs/b"]
    assert list(storage.list_folders(f"{root}/none")) == []
