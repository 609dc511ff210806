"""A store in a dict that can be killed: after so many writes it fails each further one, as a dead process would."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from deepo_beam.errors import ObjectNotFoundError


class KilledError(Exception):
    """The process is gone: nothing in the code under test may catch this."""


@dataclass(frozen=True)
class Name:
    uri: str


@dataclass
class KillableStore:
    """Has what :class:`deepo_beam.lake.journal.Store` asks for; ``writes_left`` None lets it live."""

    objects: dict[str, bytes] = field(default_factory=dict)
    writes_left: int | None = None
    writes: list[str] = field(default_factory=list)

    def read_bytes(self, uri: str) -> bytes:
        if uri not in self.objects:
            raise ObjectNotFoundError(f"{uri} does not exist")
        return self.objects[uri]

    def open_input(self, uri: str) -> io.BytesIO:
        return io.BytesIO(self.read_bytes(uri))

    def write_bytes(self, uri: str, data: bytes) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise KilledError(uri)
            self.writes_left -= 1
        self.writes.append(uri)
        self.objects[uri] = data

    def list_objects(self, folder: str, *, recursive: bool = True) -> Iterator[Name]:
        for uri in sorted(self.objects):
            inside = uri.removeprefix(folder + "/")
            if inside != uri and (recursive or "/" not in inside):
                yield Name(uri)

    def delete(self, uri: str) -> None:
        self.write_bytes(uri, b"")
        del self.objects[uri]

    def list_folders(self, folder: str) -> Iterator[str]:
        inside = (uri.removeprefix(folder + "/") for uri in self.objects if uri.startswith(folder + "/"))
        yield from sorted({f"{folder}/{rest.partition('/')[0]}" for rest in inside if "/" in rest})

    def join(self, base: str, *parts: str) -> str:
        return "/".join((base, *parts))

    def below(self, folder: str) -> dict[str, bytes]:
        """Name to content of what is in a folder."""
        return {listed.uri: self.objects[listed.uri] for listed in self.list_objects(folder)}
