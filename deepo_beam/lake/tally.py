"""What a run did to one bucket, from its listing and its journal alone. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from deepo_beam.lake.journal import History, is_covered, numbered
from deepo_beam.lake.listing import ListedEntry
from deepo_beam.lake.merge import ImageState, merge
from deepo_beam.lake.plan import Disposition, Known, version_of
from deepo_beam.lake.settled import LABEL_MARK, Fresh, Settled
from deepo_beam.records import Claimed, Finished, Record, Released
from deepo_beam.types import Failure, ImageResult, Status

COUNTED = frozenset(("claimed", "released", "finished", "noted"))  # the kinds of record that a tally looks at
Segments = Mapping[str, list[Record]]
Outcomes = Mapping[str, ImageState | Settled | Fresh]
_Call = tuple[str, str, int, int]  # run_id, image_id, generation, attempt


@dataclass(frozen=True, slots=True)
class BucketTally:
    """Sums over one bucket; they add up over buckets.

    Attributes:
        bucket: which.
        segments: of its journal, those that no publish covers yet.
        images: results to be published.
        labels: rows that they make in ``labels``.
        counts: by the names of the summary.
        billed_twice: calls made although an earlier one may have been billed, by reason.
        errors_by_code: of this run's failed images.
        versions: reused images by the model version that labelled them ("" where it was not pinned).
    """

    bucket: int
    segments: tuple[str, ...]
    images: int
    labels: int
    counts: Counter[str]
    billed_twice: Counter[str] = field(default_factory=Counter)
    errors_by_code: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)


def states_of(segments: Segments, covered: Mapping[str, int]) -> dict[str, ImageState]:
    """The state of every image of a bucket; ``covered``: the segments that earlier publishes cover, by their number."""
    return merge(numbered(segments, covered))


def known_of(history: History, covered: Mapping[str, int]) -> Known:
    """What is known of every image of a bucket; ``covered`` as in :func:`states_of`."""
    return {**history.settled, **states_of(history.segments, covered)}


def to_publish(states: Mapping[str, ImageState]) -> list[ImageState]:
    """The images with an outcome that is in no table yet."""
    return [state for state in states.values() if state.to_publish is not None]


def tally_bucket(
    bucket: int,
    listing: Iterable[ListedEntry],
    history: History,
    *,
    covered: Mapping[str, int],
    run_id: str,
) -> BucketTally:
    """Account for every entry of a bucket.

    Args:
        bucket: which.
        listing: of this run.
        history: of the bucket, with ``fresh`` of this run, or of none.
        covered: the segments that complete publishes cover, by their number.
        run_id: of this run.
    """
    segments, states = history.segments, states_of(history.segments, covered)
    known: Outcomes = {**history.settled, **history.fresh, **states}
    unpublished = [state.to_publish.result for state in to_publish(states) if state.to_publish]
    tally = BucketTally(
        bucket=bucket,
        segments=tuple(sorted(name for name in segments if not is_covered(name, covered))),
        images=len(unpublished) + len(history.fresh),
        labels=sum(map(_label_count, unpublished)) + sum(fresh.labels for fresh in history.fresh.values()),
        counts=Counter(),
    )
    _count_entries(tally, listing, known, run_id)
    _count_calls(tally, segments, covered, run_id)
    tally.counts["calls"] += len(history.fresh)
    return tally


def outcome_of(entry: ListedEntry, known: Outcomes, run_id: str) -> str:
    """Which of :data:`deepo_beam.lake.summary.OUTCOMES` a listed entry has, by the journal.

    Args:
        entry: of the listing of a run.
        known: of its bucket, by image id; what is fresh is of that run.
        run_id: of that run.
    """
    if entry.disposition not in (Disposition.LABEL, Disposition.COMPARE):
        return str(entry.disposition.value)
    state = known.get(entry.image_id)
    if isinstance(state, Fresh):
        return state.status
    if not isinstance(state, ImageState) or state.finished is None:  # a settled one is of earlier runs alone
        return "not_attempted"
    status = state.finished.result.status
    # Two runs may have settled it, if a process outlived its run; the tables hold the outcome of one of them.
    if run_id in state.settled_by:
        return str(status.value)
    unchanged = any(note.run_id == run_id for note in state.noted)
    as_before = "skipped" if status is Status.FAILED else "reused"
    return as_before if unchanged else "not_attempted"


def _count_entries(tally: BucketTally, listing: Iterable[ListedEntry], known: Outcomes, run_id: str) -> None:
    entries = list(listing)
    outcomes = [outcome_of(entry, known, run_id) for entry in entries]
    tally.counts.update(outcomes)
    tally.counts["listed"] += len(entries)
    tally.counts["duplicate_conflicts"] += sum(entry.conflict for entry in entries)
    for entry, outcome in zip(entries, outcomes, strict=True):
        if entry.disposition is Disposition.REUSED:
            version = _version_of(known.get(entry.image_id))
            tally.versions["" if version is None else str(version)] += 1
        elif outcome == "failed":
            tally.errors_by_code[_failure_of(known.get(entry.image_id)).code.value] += 1


def _version_of(state: ImageState | Settled | Fresh | None) -> int | None:
    return state.model_version_id if isinstance(state, Fresh) else version_of(state)


def _failure_of(state: ImageState | Settled | Fresh | None) -> Failure:
    assert isinstance(state, ImageState)
    assert state.finished is not None
    assert state.finished.result.failure is not None
    return state.finished.result.failure


def calls_by_image(records: Iterable[Record], run_id: str) -> Counter[tuple[str, int]]:
    """Calls that a run made or may have made, by (image_id, generation): its claims, but for those it did not use."""
    called: Counter[tuple[str, int]] = Counter()
    for (claimed_by, image_id, generation, _), (claims, released) in _claims(records).items():
        if claimed_by == run_id:
            called[image_id, generation] += len(claims) - (released is not None and not released.sent)
    return called


def _claims(records: Iterable[Record]) -> dict[_Call, tuple[set[Claimed], Released | None]]:
    claims: dict[_Call, set[Claimed]] = {}
    released: dict[_Call, Released] = {}
    for record in records:
        if isinstance(record, (Claimed, Released)):
            key = (record.run_id, record.image_id, record.generation, record.attempt)
            if isinstance(record, Claimed):
                claims.setdefault(key, set()).add(record)
            else:
                released[key] = record
    return {key: (held, released.get(key)) for key, held in claims.items()}


def calls_left(allotment: int, segments: Segments, run_id: str) -> int:
    """What earlier attempts of a bucket left of its part of the budget (>= 0): a claim is spent once it is durable.

    Args:
        allotment: calls (>= 0) that this run may make for the bucket.
        segments: of the bucket's journal, all that there are.
        run_id: of this run.
    """
    return max(0, allotment - calls_by_image(chain.from_iterable(segments.values()), run_id).total())


def _count_calls(tally: BucketTally, segments: Segments, covered: Collection[str], run_id: str) -> None:
    """Calls from claims, so that none is forgotten by a crash; claims of unpublished runs are told here."""
    records = list(_of(segments, covered, are_covered=False))
    maybe_billed = _maybe_billed(records)
    tally.billed_twice.update(claim.reason.value for claim in maybe_billed if claim.reason.may_bill_twice)
    tally.billed_twice["overlap"] += _overlapping(maybe_billed, list(_of(segments, covered, are_covered=True)))
    called = calls_by_image(records, run_id)
    tally.counts["calls"] = called.total()
    tally.counts["retries"] = called.total() - sum(1 for count in called.values() if count)


def _maybe_billed(records: Iterable[Record]) -> list[Claimed]:
    """The claims but for those whose call was refused or never made."""
    return [
        claim
        for claims, released in _claims(records).values()
        for claim in sorted(claims, key=lambda claim: claim.recorded_us)[released is not None :]
    ]


def _overlapping(maybe_billed: Iterable[Claimed], covered: Iterable[Record]) -> int:
    """Calls that nothing but attempts that did not see each other can explain, of whatever runs.

    One call of a labelling is paid for anyway; a further one says by its reason why it was made. Covered records were
    told of before, and compaction leaves the outcome alone of them, or that of a later labelling.
    """
    covered = list(covered)
    told = {(claim.image_id, claim.generation) for claim in _maybe_billed(covered) if not claim.reason.may_bill_twice}
    settled: dict[str, int] = {}
    for record in covered:
        if isinstance(record, Finished):
            settled[record.image_id] = max(record.generation, settled.get(record.image_id, 0))
    overlapping = 0
    for claim in maybe_billed:
        if not claim.reason.may_bill_twice:
            labelling = (claim.image_id, claim.generation)
            overlapping += labelling in told or claim.generation <= settled.get(claim.image_id, -1)
            told.add(labelling)
    return overlapping


def _of(segments: Segments, covered: Collection[str], *, are_covered: bool) -> Iterable[Record]:
    """The records of the segments that a publish covers, or of the others."""
    return chain.from_iterable(
        records for name, records in segments.items() if is_covered(name, covered) is are_covered
    )


def _label_count(result: ImageResult) -> int:
    return 0 if result.outputs is None else result.outputs.count(LABEL_MARK)
