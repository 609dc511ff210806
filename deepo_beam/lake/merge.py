"""Records to one state per image: pure, and needs neither clock nor order.

The state of an image is a function of the *set* of its records, so any order, any grouping into segments and
any repetition of them gives the same. The newest generation of an image decides; in a generation, a success stands
over a failure, then what was published first, then the smallest task id. So what is in the tables goes on standing
when a later publish covers another outcome and passes it over; and labels that come late follow a failure that is in
the tables already, as if it had been tried again.

A claim is answered by the accepted or released record of the same run, generation and attempt. Two claims of
one run and attempt that differ (bundle attempts that overlapped) need two answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from deepo_beam.records import Accepted, Claimed, Finished, Noted, Record, Released
from deepo_beam.types import Status


@dataclass(frozen=True, slots=True)
class ImageState:
    """What the journal knows of one image.

    Attributes:
        image_id: 32 hex digits.
        generation: the newest of any record (>= 0); all below is about this one where not said otherwise.
        finished: its outcome; None while it has none (then ``previous`` may still hold older labels).
        settled_by: the runs that have an outcome of this generation, sorted; ``finished`` is that of one of them.
        published: ``finished`` is in the tables.
        accepted: the open task, to be polled before anything is posted: not finished, and no later attempt
            is known; of several in one attempt that with the smallest id.
        in_doubt: claims that nothing answers (>= 0), so perhaps billed; 0 once finished.
        maybe_billed: calls since the last success for which the service may have charged (>= 0), finished or
            not, of any generation: tasks accepted and claims that nothing answers. One more call then may be
            paid twice.
        attempts_used: the highest attempt of any run (>= 0). A run that claims on from here, not from its own
            highest, closes the open tasks of earlier runs by it.
        claims: those not released, of all runs, sorted: calls made, or about to be.
        noted: listings under which its bytes were found to be those of ``finished``, sorted.
        duplicates: finished records beyond the first (>= 0); none is published once ``finished`` is.
        previous: the outcome of the newest older generation that has one.
        previous_published: ``previous`` is in the tables.
        failed_attempts: the attempts of all failed outcomes, over generations, since the last success (>= 0).
        failed_since_us: when the earliest of those finished, microseconds since 1970 UTC; None: none failed.
    """

    image_id: str
    generation: int
    finished: Finished | None
    settled_by: tuple[str, ...]
    published: bool
    accepted: Accepted | None
    in_doubt: int
    maybe_billed: int
    attempts_used: int
    claims: tuple[Claimed, ...]
    noted: tuple[Noted, ...]
    duplicates: int
    previous: Finished | None
    previous_published: bool
    failed_attempts: int
    failed_since_us: int | None

    @property
    def to_publish(self) -> Finished | None:
        """The newest outcome of any generation, unless it is in the tables; older ones are passed over."""
        if self.finished is not None:
            return None if self.published else self.finished
        return None if self.previous_published else self.previous

    @property
    def superseded(self) -> bool:
        """An older generation has an outcome, which this generation replaces or is to replace."""
        return self.previous is not None

    @property
    def claimed_runs(self) -> tuple[str, ...]:
        """The runs that hold ``claims``, sorted."""
        return tuple(sorted({claim.run_id for claim in self.claims}))


def merge(entries: Iterable[tuple[Record, int | None]]) -> dict[str, ImageState]:
    """The state of every image that has a record.

    Args:
        entries: (record, number) in any order, repeated or not; number: of the complete publish (>= 0) that covers the
            segment in which the record stands, so if finished it is in the tables, or was passed over for good;
            None: none does.

    Returns:
        Image id to state, sorted by image id.
    """
    images: dict[str, dict[int, _Generation]] = {}
    for record, number in entries:
        generations = images.setdefault(record.image_id, {})
        if (generation := generations.get(record.generation)) is None:
            generation = generations[record.generation] = _Generation()
        generation.add(record, number)
    return {image_id: _state(image_id, images[image_id]) for image_id in sorted(images)}


@dataclass(slots=True)
class _Attempt:
    """What is known of one (run, attempt)."""

    claims: set[Claimed] = field(default_factory=set)
    task_ids: set[str] = field(default_factory=set)
    released: bool = False

    @property
    def held(self) -> list[Claimed]:
        """Claims that are not released, sorted."""
        claims = list(self.claims)
        if len(claims) > 1:
            claims.sort(key=lambda claim: (claim.recorded_us, claim.reason.value))
        return claims[1:] if self.released else claims

    @property
    def unanswered(self) -> int:
        return max(0, len(self.claims) - self.released - len(self.task_ids))


@dataclass(slots=True)
class _Generation:
    """The records of one image in one generation; repetition changes nothing that is read from it."""

    finished: list[tuple[Finished, int | None]] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    attempts: dict[tuple[int, str], _Attempt] = field(default_factory=dict)
    notes: set[Noted] = field(default_factory=set)

    def add(self, record: Record, number: int | None) -> None:
        if isinstance(record, Finished):
            self._add_finished(record, number)
            return
        if isinstance(record, Noted):
            self.notes.add(record)
            return
        attempt = self.attempts.setdefault((record.attempt, record.run_id), _Attempt())
        if isinstance(record, Accepted):
            attempt.task_ids.add(record.task_id)
            self.accepted.append(record)
        elif isinstance(record, Released):
            attempt.released = True
        else:
            attempt.claims.add(record)

    def _add_finished(self, record: Finished, number: int | None) -> None:
        if not self.finished:
            self.finished.append((record, number))
            return
        for index, (other, other_number) in enumerate(self.finished):
            if other == record:
                self.finished[index] = (other, earlier(number, other_number))
                return
        self.finished.append((record, number))

    @property
    def outcome(self) -> tuple[Finished | None, int | None]:
        if len(self.finished) < 2:  # nearly always; the order costs ten times as much as the rest
            return self.finished[0] if self.finished else (None, None)
        return min(self.finished, key=standing_order)

    @property
    def unanswered(self) -> int:
        return sum(attempt.unanswered for attempt in self.attempts.values())

    @property
    def maybe_billed(self) -> int:
        return self.unanswered + len({accepted.task_id for accepted in self.accepted})

    @property
    def attempts_used(self) -> int:
        return max((number for number, _ in self.attempts), default=0)

    @property
    def open_task(self) -> Accepted | None:
        if self.finished:
            return None
        last = self.attempts_used
        candidates = [accepted for accepted in self.accepted if accepted.attempt == last]
        return candidates[0] if len(candidates) == 1 else min(candidates, key=_accepted_order, default=None)


def _state(image_id: str, generations: dict[int, _Generation]) -> ImageState:
    newest = max(generations)
    current = generations[newest]
    finished, published_by = current.outcome
    if len(generations) == 1:  # nearly always
        previous, previous_by = None, None
        failed = [finished] if finished is not None and finished.result.status is Status.FAILED else []
        maybe_billed = current.maybe_billed
    else:
        outcomes = [generations[number].outcome for number in sorted(generations, reverse=True)]
        previous, previous_by = next((older for older in outcomes[1:] if older[0]), (None, None))
        failed = _failed_since_success([outcome for outcome, _ in outcomes if outcome])
        maybe_billed = sum(generation.maybe_billed for generation in _since_success(generations))
    attempts = [current.attempts[key] for key in sorted(current.attempts)]
    return ImageState(
        image_id=image_id,
        generation=newest,
        finished=finished,
        settled_by=tuple(sorted({each.run_id for each, _ in current.finished})),
        published=published_by is not None,
        accepted=current.open_task,
        in_doubt=0 if finished else current.unanswered,
        maybe_billed=maybe_billed,
        attempts_used=current.attempts_used,
        claims=tuple(claim for attempt in attempts for claim in attempt.held),
        noted=tuple(sorted(current.notes, key=repr)) if current.notes else (),
        duplicates=max(0, len(current.finished) - 1),
        previous=previous,
        previous_published=previous_by is not None,
        failed_attempts=sum(outcome.result.attempts for outcome in failed),
        failed_since_us=min((outcome.result.finished_us for outcome in failed), default=None),
    )


def _since_success(generations: dict[int, _Generation]) -> Iterator[_Generation]:
    """The newest generation, and older ones as long as they failed."""
    for age, number in enumerate(sorted(generations, reverse=True)):
        outcome, _ = generations[number].outcome
        if age and (outcome is None or outcome.result.status is not Status.FAILED):
            return
        yield generations[number]


def _failed_since_success(newest_first: list[Finished]) -> list[Finished]:
    failed = []
    for outcome in newest_first:
        if outcome.result.status is not Status.FAILED:
            break
        failed.append(outcome)
    return failed


def earlier(number: int | None, other: int | None) -> int | None:
    """The first of two publishes; None: no publish."""
    return min((each for each in (number, other) if each is not None), default=None)


def standing_order(entry: tuple[Finished, int | None]) -> tuple[bool, bool, int, int, str, str]:
    """Of the outcomes of one generation, each with its publish as in :func:`merge`, the smallest stands."""
    finished, number = entry
    task_id = finished.result.task_id or ""
    failed = finished.result.status is Status.FAILED
    # The text of the whole record last: two that differ at all must not tie.
    return (failed, number is None, number or 0, len(task_id), task_id, repr(finished))


def _accepted_order(accepted: Accepted) -> tuple[int, str, str]:
    return (len(accepted.task_id), accepted.task_id, repr(accepted))
