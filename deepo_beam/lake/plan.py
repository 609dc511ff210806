"""What is to be done with each listed image of a bucket, given what the journal knows. Pure."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from deepo_beam.engine import Work
from deepo_beam.errors import ErrorCode
from deepo_beam.lake.merge import ImageState
from deepo_beam.lake.settled import Settled, in_brief
from deepo_beam.records import Accepted, Reason
from deepo_beam.types import DetectChanges, ImageRef, ImageResult, Relabel, RetryRule, Status

_PAID_FOR = {
    ErrorCode.ANSWER_UNKNOWN: Reason.ANSWER_UNKNOWN,
    ErrorCode.TASK_LOST: Reason.TASK_LOST,
    ErrorCode.TASK_STUCK: Reason.TASK_LOST,
}


class Disposition(str, enum.Enum):
    """Why an entry of the listing is labelled in this run, or not; the ``disposition`` of the listing."""

    LABEL = "label"
    COMPARE = "compare"
    DUPLICATE = "duplicate"
    REUSED = "reused"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Labelling:
    """One image to label; most fields are those of :class:`deepo_beam.engine.Work`.

    Attributes:
        labelled_us: when it got the labels that it has, microseconds since 1970 UTC; 0: it has none.
    """

    image: ImageRef
    generation: int = 0
    reason: Reason = Reason.FIRST
    resume: Accepted | None = None
    attempts_used: int = 0
    failed_attempts: int = 0
    known_sha256: str | None = None
    labelled_us: int = 0


def work_of(labelling: Labelling, *, owner: int, bucket: int) -> Work:
    """A labelling as the engine takes it.

    Args:
        labelling: to be done.
        owner: whom the outcome goes to.
        bucket: of the journal.
    """
    return Work(
        owner=owner,
        bucket=bucket,
        image=labelling.image,
        generation=labelling.generation,
        reason=labelling.reason,
        resume=labelling.resume,
        attempts_used=labelling.attempts_used,
        failed_attempts=labelling.failed_attempts,
        known_sha256=labelling.known_sha256,
    )


@dataclass(frozen=True, slots=True)
class PlanRules:
    """What a user wants done with known images.

    Attributes:
        run_id: an outcome of this very run is not asked for again.
        retry: which failed images of earlier runs are tried again.
        max_attempts: failed attempts of an image over all runs, after which it is skipped (>= 1).
        relabel: which labelled images are labelled again.
        model_version_id: the version of this run, None if it is not pinned.
        detect_changes: how changed files are noticed.
    """

    run_id: str
    retry: RetryRule = "failed"
    max_attempts: int = 5
    relabel: Relabel = "none"
    model_version_id: int | None = None
    detect_changes: DetectChanges = "listing"


class PlannedEntry(NamedTuple):
    """One entry of the listing.

    Attributes:
        image: as listed.
        disposition: what becomes of it.
        changed: it is labelled again because the listing says that it changed.
        conflict: a duplicate whose attributes or own id differ from the first.
        labelling: what is left to do.
        result: what this very run has come to already.
    """

    image: ImageRef
    disposition: Disposition
    changed: bool = False
    conflict: bool = False
    labelling: Labelling | None = None
    result: ImageResult | None = None


Known = Mapping[str, ImageState | Settled]


def plan_bucket(entries: Iterable[ImageRef], known: Known, rules: PlanRules) -> list[PlannedEntry]:
    """Decide on every entry of one bucket.

    Args:
        entries: in any order; the first of an image id is the one with the smallest (input_index, line).
        known: what the journal knows, by image id.
        rules: what the user wants.

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
        planned.append(_plan_image(image, known.get(image.image_id), rules))
    return planned


def _plan_image(image: ImageRef, known: ImageState | Settled | None, rules: PlanRules) -> PlannedEntry:
    if known is None:
        return PlannedEntry(image, Disposition.LABEL, labelling=Labelling(image))
    if isinstance(known, Settled):
        return _plan_labelled(image, known, rules, published=True)
    if known.finished is None:
        return PlannedEntry(image, Disposition.LABEL, labelling=_unfinished(image, known))
    result = known.finished.result
    if known.finished.run_id == rules.run_id:
        return PlannedEntry(image, Disposition.LABEL, result=result)
    outcome = in_brief(known.finished, known.noted)
    if result.status is not Status.FAILED:
        return _plan_labelled(image, outcome, rules, published=known.published)
    again = _failed_again(image, known)
    if _to_try_again(known, rules):
        return PlannedEntry(image, Disposition.LABEL, labelling=again)
    if _may_have_changed(image, outcome, rules):
        return _plan_changed(image, outcome, again)
    return PlannedEntry(image, Disposition.SKIPPED)


def _plan_labelled(image: ImageRef, outcome: Settled, rules: PlanRules, *, published: bool) -> PlannedEntry:
    # What no table holds yet is of a run that was killed: to label that again would be to pay for it twice.
    if published and _outdated(outcome, rules):
        return PlannedEntry(image, Disposition.LABEL, labelling=_labelled_again(image, outcome))
    if _may_have_changed(image, outcome, rules):
        return _plan_changed(image, outcome, _labelled_again(image, outcome))
    return PlannedEntry(image, Disposition.REUSED)


def _plan_changed(image: ImageRef, outcome: Settled, again: Labelling) -> PlannedEntry:
    if outcome.content_sha256 is None:  # it was never read here: sent by its URL, or unreadable
        return PlannedEntry(image, Disposition.LABEL, changed=True, labelling=again)
    labelling = dataclasses.replace(again, known_sha256=outcome.content_sha256)
    return PlannedEntry(image, Disposition.COMPARE, changed=True, labelling=labelling)


def _unfinished(image: ImageRef, state: ImageState) -> Labelling:
    """It was begun and has no outcome."""
    return Labelling(
        image,
        generation=state.generation,
        reason=Reason.IN_DOUBT if state.maybe_billed else Reason.FIRST,
        resume=state.accepted,
        attempts_used=state.attempts_used,
        failed_attempts=state.failed_attempts,
    )


def _labelled_again(image: ImageRef, outcome: Settled) -> Labelling:
    """It has labels, and is to have others."""
    return Labelling(image, generation=outcome.generation + 1, labelled_us=outcome.finished_us)


def _failed_again(image: ImageRef, state: ImageState) -> Labelling:
    """It failed, and is to have another outcome."""
    assert state.finished is not None
    failure = state.finished.result.failure
    assert failure is not None
    # A task that was accepted and came to nothing was billed, most likely: to ask again is to pay again.
    paid_for = _PAID_FOR.get(failure.code, Reason.TASK_ERROR)
    return Labelling(
        image,
        generation=state.generation + 1,
        reason=paid_for if state.maybe_billed else Reason.FIRST,
        failed_attempts=state.failed_attempts,
    )


def _to_try_again(state: ImageState, rules: PlanRules) -> bool:
    assert state.finished is not None
    failure = state.finished.result.failure
    assert failure is not None
    wanted = rules.retry == "all" or (rules.retry == "failed" and failure.retryable)
    return wanted and state.failed_attempts < rules.max_attempts


def _outdated(outcome: Settled, rules: PlanRules) -> bool:
    if rules.relabel == "none":
        return False
    version = outcome.model_version_id
    known = version is not None and rules.model_version_id is not None
    return rules.relabel == "all" or (known and version != rules.model_version_id)


def _may_have_changed(image: ImageRef, outcome: Settled, rules: PlanRules) -> bool:
    """Whether the listing says something of a file that was not said of it when it was read.

    A listing that says nothing is trusted.
    """
    if rules.detect_changes == "never" or (image.size_bytes is None and image.modified_us is None):
        return False
    return not (
        _says_the_same(image, outcome.size_bytes, outcome.modified_us)
        or any(_says_the_same(image, note.size_bytes, note.modified_us) for note in outcome.noted)
    )


def _says_the_same(image: ImageRef, size: int | None, modified_us: int | None) -> bool:
    same_size = image.size_bytes is None or size is None or image.size_bytes == size
    return same_size and (image.modified_us is None or image.modified_us == modified_us)


def version_of(known: ImageState | Settled | None) -> int | None:
    """The model version that answered for an image; None if none did, or it was not pinned."""
    if isinstance(known, Settled):
        return known.model_version_id
    return known.finished.result.model_version_id if known is not None and known.finished else None


def share_calls(work: Mapping[int, int], calls: int) -> dict[int, int]:
    """Share out a budget by the work that there is, to the last call.

    Args:
        work: labellings (>= 0) by bucket.
        calls: of the whole run (>= 0).

    Returns:
        Calls by bucket; their sum is ``calls``, if there is any work. Where there are fewer calls than work, no bucket
        gets more than its work.
    """
    total = sum(work.values())
    if not total:
        return dict.fromkeys(work, 0)
    shares = {bucket: calls * labellings // total for bucket, labellings in work.items()}
    left = calls - sum(shares.values())
    by_need = sorted(work, key=lambda bucket: (-(calls * work[bucket] % total), bucket))
    for bucket in by_need[:left]:
        shares[bucket] += 1
    return shares
