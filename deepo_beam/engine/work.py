"""What goes into the engine and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepo_beam.records import Accepted, Reason, Record
from deepo_beam.types import Facts, ImageRef, ImageResult, ModelRef, Status


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What every record of a run carries: its id, the model asked, and the pinned version (None: not pinned)."""

    run_id: str
    model: ModelRef
    model_version_id: int | None


@dataclass(frozen=True, slots=True)
class Work:
    """One labelling to be done.

    Attributes:
        owner: whom the outcome goes to (one bundle attempt).
        bucket: of the journal, 0 <= bucket.
        generation: see :class:`deepo_beam.types.ImageResult`.
        reason: why its next call is made.
        resume: a task accepted earlier: it is polled, and nothing is posted unless it is lost.
        attempts_used: the highest ordinal of a call claimed before, so that they go on.
        failed_attempts: failed tries in earlier runs, which count towards the limit.
        known_sha256: it is posted only if its bytes have another hash than those of the generation before, 64 hex
            digits; None: it is posted.
    """

    owner: int
    bucket: int
    image: ImageRef
    generation: int = 0
    reason: Reason = Reason.FIRST
    resume: Accepted | None = None
    attempts_used: int = 0
    failed_attempts: int = 0
    known_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Its bytes are those of the generation before, whose labels stay."""

    work: Work


@dataclass(frozen=True, slots=True)
class NotAttempted:
    """The run stopped before this image had an outcome; the same command goes on with it."""

    work: Work


@dataclass(frozen=True, slots=True)
class Settled:
    """The labelling has an outcome."""

    work: Work
    result: ImageResult


Outcome = Settled | Unchanged | NotAttempted


@dataclass(frozen=True, slots=True)
class Entry:
    """One record on its way to the journal."""

    owner: int
    bucket: int
    record: Record


@dataclass(eq=False, slots=True)
class Job:
    """The engine's own notes on one :class:`Work`; only the core changes them.

    Attributes:
        attempt: ordinal of the call that is claimed or was made last.
        tries: calls that failed, or whose task did; ``suspected`` are those not yet held against the image,
            because the service may have been down.
        reposts: calls repeated although an earlier one may have been billed.
        claimed: it holds a claim for a call that has not been made.
        changed: it was compared, and its bytes are not those of the generation before.
        probe: its call asks whether the service is back.
        unanswered_s: for how long polls had gone unanswered when its task was accepted.
        unreadable: answers for its task alone that could not be read, the first at ``unreadable_since``.
        cancelled: its owner is gone; what is on the wire is still recorded.
    """

    work: Work
    queued_at: float
    reason: Reason
    attempt: int
    calls: int = 0
    tries: int = 0
    suspected: int = 0
    reposts: int = 0
    task_reruns: int = 0
    loads: int = 0
    held_bytes: int = 0
    facts: Facts = field(default_factory=Facts)
    task_id: str | None = None
    first_failed_at: float | None = None
    taken_at: float = 0.0
    posted_at: float = 0.0
    accepted_at: float = 0.0
    missing_since: float | None = None
    unanswered_s: float = 0.0
    unreadable: int = 0
    unreadable_since: float = 0.0
    claimed: bool = False
    changed: bool = False
    probe: bool = False
    slow: bool = False
    cancelled: bool = False


@dataclass(slots=True)
class Counters:
    """What one process did since it started; every field only grows, but for ``in_flight``.

    Attributes:
        calls: inference posts put on the wire, whatever their answer.
        retries: of those, the ones that repeat an earlier call for the same image.
        refused: posts answered by 429.
        polls: calls to the task list.
        throttled_s: seconds in which the service's refusals kept us from posting.
        billed_twice: calls made although an earlier one may have been billed, by reason.
        in_flight: accepted or being posted, not finished.
    """

    calls: int = 0
    retries: int = 0
    refused: int = 0
    polls: int = 0
    succeeded: int = 0
    no_detection: int = 0
    failed: int = 0
    not_attempted: int = 0
    throttled_s: float = 0.0
    billed_twice: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0

    def called(self, job: Job) -> None:
        """A call goes out for ``job``."""
        self.calls += 1
        self.retries += job.calls > 1
        if job.reason.may_bill_twice:
            self.billed_twice[job.reason.value] = self.billed_twice.get(job.reason.value, 0) + 1

    def not_billed(self, job: Job) -> None:
        """The last call for ``job`` turned out not to have been billed."""
        if job.reason.may_bill_twice:
            self.billed_twice[job.reason.value] -= 1

    def ended(self, status: Status) -> None:
        """An image has an outcome."""
        self.succeeded += status is Status.SUCCEEDED
        self.no_detection += status is Status.NO_DETECTION
        self.failed += status is Status.FAILED

    @property
    def settled(self) -> int:
        """Images with an outcome."""
        return self.succeeded + self.no_detection + self.failed
