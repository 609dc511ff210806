"""When to write to the journal, and what: claims before calls, facts soon after them. Pure.

A call needs a durable claim, so that a crash leaves a note of what may have been billed. Claims are made for
what is posted in the next two seconds (1 to 500), and renewed while a second's worth is left, so that posting does
not wait for the store. Facts are written every two seconds. The two have a lane each: a large write of facts must not
keep the next claims waiting.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from deepo_beam.engine.budget import Budget
from deepo_beam.engine.settings import EngineSettings
from deepo_beam.engine.work import Entry, Job
from deepo_beam.records import Accepted, Claimed, Finished
from deepo_beam.types import ImageResult

LANES = 2
_MAX_PENDING = 5_000
_CLAIM_HORIZON_S = 2.0
_CLAIM_RENEWAL_S = 1.0
_CLAIMS_AT_START_PER_S = 50.0
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Flush:
    """Entries to be written durably, all or again.

    Attributes:
        number: its ordinal, from 1.
        entries: of any bucket.
        claims: these are claims, not facts.
    """

    number: int
    entries: tuple[Entry, ...]
    claims: bool


class _Lane:
    """One flush at a time, until it is durable."""

    def __init__(self) -> None:
        self._flush: Flush | None = None
        self._out = False
        self._since = 0.0
        self._retry_at = 0.0
        self._failing_since: float | None = None

    @property
    def free(self) -> bool:
        return self._flush is None

    def start(self, flush: Flush, now: float) -> Flush:
        self._flush, self._out, self._since = flush, True, now
        return flush

    def again(self, now: float) -> Flush | float:
        """The failed flush, when its pause is over."""
        if self._out or self._flush is None:
            return _NEVER
        if now < self._retry_at:
            return self._retry_at
        self._out = True
        return self._flush

    def done(self) -> None:
        self._flush, self._out, self._failing_since = None, False, None

    def failed(self, now: float, pause_s: float) -> None:
        self._out, self._retry_at = False, now + pause_s
        self._failing_since = now if self._failing_since is None else self._failing_since

    def unwritten_for_s(self, now: float) -> float:
        return 0.0 if self._flush is None else now - self._since

    def failing_for_s(self, now: float) -> float:
        return self.unwritten_for_s(now) if self._failing_since is None else now - self._failing_since


class Ledger:
    """The records on their way to the journal, and the jobs on their way through a claim."""

    def __init__(self, settings: EngineSettings, run_id: str, budget: Budget, now: float) -> None:
        """Nothing pending."""
        self._settings = settings
        self._budget = budget
        self._run_id = run_id
        self.backlog: deque[Job] = deque()
        self.claimed: deque[Job] = deque()
        self._claiming: list[Job] = []
        self._facts: list[Entry] = []
        self._unwritten: Counter[int] = Counter()
        self._numbers = itertools.count(1)
        self._claim_lane = _Lane()
        self._fact_lane = _Lane()
        self._last_facts = now
        self._hurry = False

    def record(self, entry: Entry) -> None:
        """A fact to be written soon."""
        self._facts.append(entry)
        self._unwritten[entry.owner] += 1

    def unwritten(self, owner: int) -> int:
        """Records of this owner that are not durable yet."""
        return self._unwritten[owner]

    def hurry(self) -> None:
        """Somebody waits for what is pending: write it now."""
        self._hurry = True

    def stalled(self, now: float) -> bool:
        """A flush is overdue: nothing more may be posted until the store answers."""
        limit = self._settings.flush_stall_s
        return self._claim_lane.unwritten_for_s(now) > limit or self._fact_lane.unwritten_for_s(now) > limit

    def failing_for_s(self, now: float) -> float:
        """Seconds since the store began to fail, or not to answer; 0 while it does."""
        return max(self._claim_lane.failing_for_s(now), self._fact_lane.failing_for_s(now))

    def next_claims(self, now: float, *, posts_per_s: float, wall_us: int) -> Flush | float:
        """The claims to write now, or the time to ask again.

        Args:
            now: monotonic seconds.
            posts_per_s: what is posted at present, or may be; 0 makes no new claims.
            wall_us: for the records.
        """
        if not self._claim_lane.free:
            return self._claim_lane.again(now)
        target = claim_target(posts_per_s)
        # Of calls so fast that 500 last less than a second, a quarter at a time: each write costs an object a bucket.
        renewed_at = min(round(_CLAIM_RENEWAL_S * posts_per_s), 3 * target // 4)
        if posts_per_s <= 0 or not self.backlog or len(self.claimed) > renewed_at:
            return _NEVER
        entries = self._claim(target - len(self.claimed), wall_us)
        if not entries:
            return _NEVER
        return self._claim_lane.start(Flush(next(self._numbers), tuple(entries), claims=True), now)

    def next_facts(self, now: float) -> Flush | float:
        """The facts to write now, or the time to ask again."""
        if not self._fact_lane.free:
            return self._fact_lane.again(now)
        if not self._facts:
            return _NEVER
        due = self._last_facts + self._settings.flush_interval_s
        if now < due and not self._hurry and len(self._facts) < _MAX_PENDING:
            return due
        facts, self._facts = self._without_answered(self._facts), []
        self._last_facts, self._hurry = now, False
        return self._fact_lane.start(Flush(next(self._numbers), tuple(facts), claims=False), now)

    def _without_answered(self, facts: list[Entry]) -> list[Entry]:
        """Without the accepted tasks whose outcomes become durable together with them: most, of a fast service.

        An outcome answers for the claims of its labelling, and names its task.
        """
        settled = {_labelling(entry.record.result) for entry in facts if isinstance(entry.record, Finished)}
        kept, answered = [], Counter[int]()
        for entry in facts:
            if isinstance(entry.record, Accepted) and _labelling(entry.record) in settled:
                answered[entry.owner] += 1
            else:
                kept.append(entry)
        self._unwritten.subtract(answered)
        return kept

    def flushed(self, flush: Flush) -> None:
        """It is durable: its claims may be used."""
        self._unwritten.subtract(entry.owner for entry in flush.entries)
        if flush.claims:
            self.claimed.extend(self._claiming)
            self._claiming = []
        self._lane(flush).done()

    def flush_failed(self, flush: Flush, now: float, *, pause_s: float) -> None:
        """It is not known to be durable; it is written again, as it is, after a pause."""
        self._lane(flush).failed(now, pause_s)

    def withdraw(self) -> list[Job]:
        """Take back every job that waits, with a claim or without."""
        jobs = self.jobs()
        self.claimed.clear()
        self.backlog.clear()
        self._claiming = []
        return jobs

    def jobs(self) -> list[Job]:
        """Every job that waits here."""
        return [*self.backlog, *self.claimed, *self._claiming]

    def remove_cancelled(self) -> list[Job]:
        """Drop the cancelled jobs and return them."""
        removed = [job for job in self.jobs() if job.cancelled]
        self.claimed = deque(job for job in self.claimed if not job.cancelled)
        self.backlog = deque(job for job in self.backlog if not job.cancelled)
        self._claiming = [job for job in self._claiming if not job.cancelled]
        return removed

    def _lane(self, flush: Flush) -> _Lane:
        return self._claim_lane if flush.claims else self._fact_lane

    def _claim(self, count: int, wall_us: int) -> list[Entry]:
        entries: list[Entry] = []
        while self.backlog and len(entries) < count:
            job = self.backlog.popleft()
            if not self._budget.claim(job):
                continue
            work = job.work
            job.attempt += 1
            job.claimed = True
            claim = Claimed(self._run_id, work.image.image_id, work.generation, job.attempt, job.reason, wall_us)
            entries.append(Entry(work.owner, work.bucket, claim))
            self._claiming.append(job)
            self._unwritten[work.owner] += 1
        return entries


def _labelling(record: Accepted | ImageResult) -> tuple[str, int]:
    return record.image.image_id, record.generation


def claim_target(posts_per_s: float) -> int:
    """Calls to hold claims for: two seconds' worth, 1 to 500."""
    return max(1, min(500, math.ceil(_CLAIM_HORIZON_S * posts_per_s)))


def claims_per_s(observed_per_s: float, allowed_per_s: float | None) -> float:
    """What to expect of the next two seconds: twice what was seen, as soon as something was."""
    expected = max(_CLAIMS_AT_START_PER_S, 2.0 * observed_per_s)
    return expected if allowed_per_s is None else min(expected, allowed_per_s)


def by_bucket(entries: Iterable[Entry]) -> dict[int, list[Entry]]:
    """The entries of a flush, one list for each segment to write."""
    buckets: dict[int, list[Entry]] = {}
    for entry in entries:
        buckets.setdefault(entry.bucket, []).append(entry)
    return buckets
