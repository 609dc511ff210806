"""What the engine tells the journal: the five kinds of record, as values.

They are commutative facts about one *labelling*, which is (image_id, generation); :mod:`deepo_beam.lake.merge`
puts them together again. Times are microseconds since 1970 UTC and decide nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from deepo_beam.types import Facts, ImageRef, ImageResult


class Reason(str, enum.Enum):
    """Why a call is made: first, again after a refusal, or again although one may have been billed."""

    FIRST = "first"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    ANSWER_UNKNOWN = "answer_unknown"
    TASK_LOST = "task_lost"
    TASK_ERROR = "task_error"

    @property
    def may_bill_twice(self) -> bool:
        """An earlier call for the same labelling may have been charged."""
        return self not in (Reason.FIRST, Reason.REFUSED)


@dataclass(frozen=True, slots=True)
class Claimed:
    """One call may be made from now on. Durable before the call is.

    Attributes:
        attempt: ordinal of the call within (run_id, image_id, generation), 1 for the first.
    """

    run_id: str
    image_id: str
    generation: int
    attempt: int
    reason: Reason
    recorded_us: int


@dataclass(frozen=True, slots=True)
class Released:
    """The claimed call was refused before acceptance, or never made: nothing can have been billed.

    Attributes:
        sent: it was put on the wire, and refused.
    """

    run_id: str
    image_id: str
    generation: int
    attempt: int
    sent: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service took the call and named a task: to be polled before anything is posted again."""

    run_id: str
    image: ImageRef
    generation: int
    attempt: int
    task_id: str
    model_version_id: int | None
    facts: Facts
    recorded_us: int

    @property
    def image_id(self) -> str:
        """32 hex digits."""
        return self.image.image_id


@dataclass(frozen=True, slots=True)
class Finished:
    """The labelling has an outcome."""

    run_id: str
    result: ImageResult

    @property
    def image_id(self) -> str:
        """32 hex digits."""
        return self.result.image.image_id

    @property
    def generation(self) -> int:
        """As in :class:`deepo_beam.types.ImageResult`."""
        return self.result.generation


@dataclass(frozen=True, slots=True)
class Noted:
    """The listing said that the image may have changed, but its bytes are those of this labelling.

    Attributes:
        generation: of the labelling that stays.
        size_bytes, modified_us: as the listing said, so that the image need not be read again for the same.
    """

    run_id: str
    image_id: str
    generation: int
    size_bytes: int | None
    modified_us: int | None


Record = Claimed | Released | Accepted | Finished | Noted
