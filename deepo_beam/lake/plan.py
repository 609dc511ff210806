"""What is to be done with each listed image of a bucket, given what the journal knows. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deepo_beam.errors import ErrorCode
from deepo_beam.lake.merge import ImageState
from deepo_beam.records import Accepted, Reason
from deepo_beam.types import ImageRef, ImageResult, RetryRule, Status

_PAID_FOR = {
    ErrorCode.ANSWER_UNKNOWN: Reason.ANSWER_UNKNOWN,
    ErrorCode.TASK_LOST: Reason.TASK_LOST,
    ErrorCode.TASK_STUCK: Reason.TASK_LOST,
}


class Disposition(str, enum.Enum):
    """Why an entry of the listing is labelled in this run, or not; the ``disposition`` of the listing."""

    LABEL = "label"
    DUPLICATE = "duplicate"
    REUSED = "reused"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Labelling:
    """One image to label; the fields are those of :class:`deepo_beam.engine.Work`."""

    image: ImageRef
    generation: int = 0
    reason: Reason = Reason.FIRST
    resume: Accepted | None = None
    attempts_used: int = 0
    failed_attempts: int = 0


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """One entry of the listing.

    Attributes:
        image: as listed.
        disposition: what becomes of it.
        conflict: a duplicate whose attributes or own id differ from the first.
        labelling: what is left to do.
        result: what this very run has come to already.
    """

    image: ImageRef
    disposition: Disposition
    conflict: bool = False
    labelling: Labelling | None = None
    result: ImageResult | None = None


def plan_bucket(
    entries: Iterable[ImageRef],
    states: Mapping[str, ImageState],
    *,
    run_id: str,
    retry: RetryRule,
    max_attempts: int,
) -> list[PlannedEntry]:
    """Decide on every entry of one bucket.

    Args:
        entries: in any order; the first of an image id is the one with the smallest (input_index, line).
        states: what the journal knows, by image id.
        run_id: an outcome of this very run is not asked for again.
        retry: which failed images of earlier runs are tried again.
        max_attempts: failed attempts of an image over all runs, after which it is skipped.

    Returns:
        One planned entry for each, sorted by (input_index, line).
    """
    first: dict[str, ImageRef] = {}
    planned = []
    for image in sorted(entries, key=lambda entry: (entry.input_index, entry.line, entry.image_uri)):
        winner = first.setdefault(image.image_id, image)
        if winner is not image:
            conflict = (winner.attributes, winner.external_id) != (image.attributes, image.external_id)
            planned.append(PlannedEntry(image, Disposition.DUPLICATE, conflict=conflict))
            continue
        state = states.get(image.image_id)
        planned.append(_plan_image(image, state, run_id=run_id, retry=retry, max_attempts=max_attempts))
    return planned


def _plan_image(
    image: ImageRef, state: ImageState | None, *, run_id: str, retry: RetryRule, max_attempts: int
) -> PlannedEntry:
    if state is None:
        return PlannedEntry(image, Disposition.LABEL, labelling=Labelling(image))
    if state.finished is None:
        labelling = Labelling(
            image,
            generation=state.generation,
            reason=Reason.IN_DOUBT if state.maybe_billed else Reason.FIRST,
            resume=state.accepted,
            attempts_used=state.attempts_used,
            failed_attempts=state.failed_attempts,
        )
        return PlannedEntry(image, Disposition.LABEL, labelling=labelling)
    if state.finished.run_id == run_id:
        return PlannedEntry(image, Disposition.LABEL, result=state.finished.result)
    result = state.finished.result
    if result.status is not Status.FAILED:
        return PlannedEntry(image, Disposition.REUSED)
    assert result.failure is not None
    wanted = retry == "all" or (retry == "failed" and result.failure.retryable)
    if not wanted or state.failed_attempts >= max_attempts:
        return PlannedEntry(image, Disposition.SKIPPED)
    # A task that was accepted and came to nothing was billed, most likely: to ask again is to pay again.
    reason = _PAID_FOR.get(result.failure.code, Reason.TASK_ERROR) if state.maybe_billed else Reason.FIRST
    labelling = Labelling(image, generation=state.generation + 1, reason=reason, failed_attempts=state.failed_attempts)
    return PlannedEntry(image, Disposition.LABEL, labelling=labelling)
