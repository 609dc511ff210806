"""What a test knows of a store: where, how the command reaches it, and a client not of ours to put things there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from deepo_beam import storage

Put = Callable[[str, bytes], object]


@dataclass(frozen=True)
class Store:
    """A folder of a running server.

    Attributes:
        name: s3, gcs, azure or hdfs.
        root: URI of the bucket or container, then of the folder of a test; no slash at its end.
        folder: the same within the bucket; empty for all of it.
        environment: by which the command reaches it.
        beam_flags: by which it does too, after ``--``.
        put_object: writes an object of the bucket, by the store's own protocol.
    """

    name: str
    root: str
    environment: Mapping[str, str]
    put_object: Put
    beam_flags: tuple[str, ...] = ()
    folder: str = field(default="", kw_only=True)

    def below(self, folder: str) -> Store:
        """A folder in it, which needs no making."""
        return replace(self, root=f"{self.root}/{folder}", folder=f"{self.folder}{folder}/")

    def put(self, name: str, data: bytes) -> str:
        """Write an object; its URI."""
        self.put_object(self.folder + name, data)
        return f"{self.root}/{name}"

    def copy_to(self, folder: Path, below: str) -> Path:
        """What is in a folder of it, as files; by our storage, whose settings are in the environment."""
        root = f"{self.root}/{below}"
        for found in storage.list_objects(root):
            to = folder / found.uri[len(root) + 1 :]
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(storage.read_bytes(found.uri))
        return folder
