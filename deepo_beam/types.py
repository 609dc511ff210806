"""The values that travel between stages. All are frozen, small, picklable; none holds image bytes."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from deepo_beam.errors import ErrorCode, Stage

# Which failed images of earlier runs are tried again: retryable ones, none, all.
RetryRule = Literal["failed", "none", "all"]
# Which labelled images are labelled again: none, those of another model version, all.
Relabel = Literal["none", "outdated", "all"]
# How changed files are noticed: by what the listing says, by asking the store for each, not at all.
DetectChanges = Literal["listing", "stat", "never"]


class ModelKind(str, enum.Enum):
    """What is asked to label: a specification (its current version) or one fixed version."""

    SPEC = "spec"
    VERSION = "version"


class Payload(str, enum.Enum):
    """How an image travels: base64 in JSON, a multipart file, or its http(s) URL."""

    BASE64 = "base64"
    MULTIPART = "multipart"
    URL = "url"


class Status(str, enum.Enum):
    """How the labelling of an image ended; the ``status`` column of ``images/``."""

    SUCCEEDED = "succeeded"
    NO_DETECTION = "no_detection"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A specification (``public`` text id or private integer id) or a version (integer id), ids as text."""

    kind: ModelKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.id}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an image has no labels.

    Attributes:
        stage: the step in which it failed.
        code: the stable code.
        message: for people; cut to 1,000 characters, the key never in it.
        retryable: a later run may try it again.
        http_status: of the reply that decided it, None where there was none.
    """

    stage: Stage
    code: ErrorCode
    message: str
    retryable: bool
    http_status: int | None = None


class ImageRef(NamedTuple):
    """One listed image, before anything was read of it.

    A million are made at the start of a run, so no dataclass: a frozen one takes five times as long.

    Attributes:
        image_id: 32 hex digits, see :mod:`deepo_beam.identity`.
        image_uri: the normalised URI, as it appears in every table (no signatures in it).
        location: what to open; differs from ``image_uri`` where normalisation dropped something.
        crop: canonical JSON of a bbox or polygon (0..1 of the image), None for the whole image.
        external_id: the user's own id of the image.
        attributes: the other columns of the manifest as (name, text) pairs, sorted by name.
        size_bytes: as listed, None where the listing did not say.
        modified_us: as listed, microseconds since 1970 UTC.
        source: the input it came from, and the line: ``photos.csv:17``.
        input_index, line: the order of the listing, for "the first wins".
        problem: set where no usable URI was found; the image is failed at once.
    """

    image_id: str
    image_uri: str
    location: str
    crop: str | None = None
    external_id: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    size_bytes: int | None = None
    modified_us: int | None = None
    source: str | None = None
    input_index: int = 0
    line: int = 0
    problem: Failure | None = None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header of an image says; nothing is decoded.

    Attributes:
        media_type: ``image/jpeg``, ``image/png``, ``image/webp``, ``image/gif``, ``image/bmp``, ``image/tiff``.
        width, height: pixels (>= 1) in stored orientation.
        exif_orientation: 1..8, None where the file has none.
    """

    media_type: str
    width: int
    height: int
    exif_orientation: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What reading an image told; all None where it could not be read.

    Attributes:
        info: from the header; None where the bytes are no image.
        content_sha256: 64 hex digits over the bytes as read.
        size_bytes: of the bytes as read.
        modified_us: microseconds since 1970 UTC as the store says, None where it does not.
    """

    info: ImageInfo | None = None
    content_sha256: str | None = None
    size_bytes: int | None = None
    modified_us: int | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds (>= 0) that an image spent queued, being posted, and waiting for its task."""

    queue_ms: int = 0
    submit_ms: int = 0
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The outcome of one labelling: what ``LabelImages`` yields and what the journal keeps.

    Attributes:
        image: the listed image.
        model: what was asked.
        model_version_id: the version that answered; None if it could not be pinned.
        status: succeeded (at least one prediction), no_detection, or failed.
        outputs: the API's ``data.outputs``, validated, as compact JSON; None if failed.
        failure: why, if failed.
        facts: what reading it told.
        task_id: the last task of this image, as text.
        attempts: tries of this image in this run that failed or finished, >= 0; refusals by 429, and calls that
            failed because the service was down, do not count.
        calls: inference posts put on the wire for it in this run.
        timings: where its time went.
        finished_us: microseconds since 1970 UTC.
        generation: 0 for the first outcome asked for, one more each time that a run decides to try an
            image again that has one (a failed one, a changed file, a new model version).
    """

    image: ImageRef
    model: ModelRef
    model_version_id: int | None
    status: Status
    outputs: str | None = None
    failure: Failure | None = None
    facts: Facts = field(default_factory=Facts)
    task_id: str | None = None
    attempts: int = 0
    calls: int = 0
    timings: Timings = field(default_factory=Timings)
    finished_us: int = 0
    generation: int = 0
