"""What the service knows and answers, as frozen values.

Facts are those of the Deepomatic API v0.7. Ids are text where the API has text or does not promise a
number, and integers where it does.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from deepo_beam.errors import BadResultError

T = TypeVar("T")
Roi = Literal["NONE", "BBOX"]


@dataclass(frozen=True, slots=True)
class BBox:
    """A box, normalised to 0..1 of the image as sent, origin top-left; xmin <= xmax and ymin <= ymax."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


@dataclass(frozen=True, slots=True)
class LabelInfo:
    """A label that a model can give: its id, and its name of at most 1,024 bytes of UTF-8."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One output of a model.

    Attributes:
        roi: ``BBOX`` for detection (each prediction has a box), else ``NONE``.
        exclusive: with ``NONE``: True is classification (one label fits), False is tagging.
        labels: what it can answer.
    """

    roi: Roi
    exclusive: bool
    labels: tuple[LabelInfo, ...]


@dataclass(frozen=True, slots=True)
class Specification:
    """A recognition specification: what a model can output.

    Attributes:
        id: text for a public one, the digits of an integer for a private one.
        name, description: for people; empty where the service sent none.
        task_id: the kind of recognition, as text, None where it is not told.
        update_date: ISO 8601 as sent, None where it is not told.
        metadata: whatever its owner put there.
        outputs: None in lists, where the service hides them.
        current_version_id: None if there is nothing to run yet, or in a list of public ones (hidden).
        public: whether it was read below ``/recognition/public/``.
    """

    id: str
    name: str
    description: str
    task_id: str | None
    update_date: str | None
    metadata: Mapping[str, object] = field(hash=False)
    outputs: tuple[OutputSpec, ...] | None
    current_version_id: int | None
    public: bool


@dataclass(frozen=True, slots=True)
class Version:
    """One fixed version of a specification.

    Attributes:
        id: of the version.
        spec_id: of its specification, as text, None where it is not told.
        network_id: of its network, as text, None where it is not told.
        post_processings: JSON as sent; thresholds per label.
        update_date: ISO 8601 as sent, None where it is not told.
    """

    id: int
    spec_id: str | None
    network_id: str | None
    post_processings: object = field(hash=False)
    update_date: str | None


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the key belongs to; None for what the service does not tell."""

    id: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One label given to an image.

    Attributes:
        label_id: 64 bits, signed.
        label_name: at most 1,024 bytes of UTF-8, no lone surrogates.
        score: 0..1.
        threshold: finite; the prediction counts as predicted from this score on.
        region_id: of the region it was found in, None without one.
        bbox: where, None without a region.
    """

    label_id: int
    label_name: str
    score: float
    threshold: float
    region_id: int | None = None
    bbox: BBox | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """The answer of one output: labels at or above their threshold, and (if asked for) those below.

    Both in the order of the service, which sorts by falling score.
    """

    predicted: tuple[Prediction, ...]
    discarded: tuple[Prediction, ...] = ()


class TaskState(str, enum.Enum):
    """How far a task is. ``UNKNOWN`` stands for a status that the API does not have."""

    PENDING = "pending"
    SUCCESS = "success"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Task:
    """One accepted inference.

    Exactly one of these holds: pending; ``outputs`` is set; ``error`` is set; ``problem`` is set. So one bad
    task in a page spoils only itself.

    Attributes:
        id: as text.
        state: as the service says.
        error: the service's message if the state is error, at most 300 characters, never empty.
        outputs: the validated result if the state is success and it can be trusted.
        problem: why the result or the status cannot be trusted.
    """

    id: str
    state: TaskState
    error: str | None = None
    outputs: tuple[Output, ...] | None = None
    problem: BadResultError | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a collection: its entries, and whether the service says that more follow."""

    results: tuple[T, ...]
    has_next: bool
