"""``manifest.json``: the files of a complete run or snapshot, and what they were made with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from deepo_beam import __version__, storage
from deepo_beam.errors import StorageError
from deepo_beam.lake.journal import Store

READS_AT_ONCE = 8  # small objects in a bucket take 30 ms each, nearly all of it waiting


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a table: path below the folder of the manifest's output or snapshot, rows, bytes, SHA-256 in hex."""

    path: str
    rows: int
    size_bytes: int
    sha256: str


def versions() -> dict[str, str]:
    """Of what writes."""
    return {"deepo_beam": __version__, "apache_beam": version("apache-beam")}


def write_manifest(uri: str, facts: Mapping[str, Any], files: Iterable[PublishedFile], store: Store = storage) -> None:
    """Write the facts, and every file by its path.

    Raises:
        StorageError: it may or may not have been written.
    """
    entries = sorted(files, key=lambda file: file.path)
    values = {**facts, "files": [dataclasses.asdict(file) for file in entries]}
    store.write_bytes(uri, json.dumps(values, indent=2).encode() + b"\n")


def read_manifest(uri: str, store: Store = storage) -> list[PublishedFile]:
    """The files that a manifest names.

    Raises:
        ObjectNotFoundError: there is none.
        StorageError: it cannot be read, or is none.
    """
    data = store.read_bytes(uri)
    try:
        return [PublishedFile(**entry) for entry in json.loads(data)["files"]]
    except (ValueError, TypeError, KeyError):
        raise StorageError(f"{uri} is no manifest: restore it from a copy") from None


def complete_runs(output: str, store: Store = storage) -> list[str]:
    """The ids of the runs whose ``_SUCCESS`` is there, sorted.

    Raises:
        StorageError: the store cannot say.
    """
    folders = list(store.list_folders(store.join(output, "runs")))
    with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="deepo-beam-runs") as pool:
        complete = pool.map(lambda folder: _has_success(folder, store), folders)
        return sorted(folder.rpartition("/")[2] for folder, done in zip(folders, complete, strict=True) if done)


def _has_success(folder: str, store: Store) -> bool:
    mark = store.join(folder, "_SUCCESS")
    return any(listed.uri == mark for listed in store.list_objects(folder, recursive=False))
