"""What the engine's threads do to the world: read an image, post it, ask for tasks, write the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deepo_beam.api import Task
from deepo_beam.records import Record
from deepo_beam.types import Facts, Failure, ImageRef


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image ready to be posted.

    Attributes:
        facts: what reading it told.
        body: of the request.
        content_type: of the body.
    """

    facts: Facts
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """An image that cannot be posted, with what was learnt of it."""

    failure: Failure
    facts: Facts


class Transport(Protocol):
    """The service and the store, as the engine sees them. Called from many threads at once."""

    def load(self, image: ImageRef) -> LoadedImage | LoadFailure:
        """Read an image and build its request."""

    def post(self, image: LoadedImage) -> str:
        """Make one call and return the task id.

        Raises:
            ApiError: it was refused, or the answer is not known.
        """

    def poll(self, task_ids: Sequence[str]) -> list[Task]:
        """Ask once for 1 to 100 tasks; those that the service does not know are missing.

        Raises:
            ApiError: no usable answer.
        """


class JournalSink(Protocol):
    """Where records become durable. Called from two threads at once, never for the same number."""

    def write(self, number: int, segments: dict[int, list[Record]]) -> None:
        """Write the records of each bucket; safe to call again with the same arguments.

        Args:
            number: ordinal of the flush in this engine, from 1.
            segments: records by bucket.

        Raises:
            StorageError: not known to be durable.
        """
