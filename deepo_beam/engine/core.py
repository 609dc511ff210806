"""The decisions of the labelling engine: a state machine without threads, clock or network.

An image goes ``backlog -> claimed -> taken (read, waits for its turn) -> on the wire -> waiting for its task
-> settled``; a refusal, a lost or a failed task sends it back to the backlog. The shell asks what to do next
(``next_post``, ``next_poll``, ``next_flush``) and tells what came of it. Every method takes ``now`` in
monotonic seconds, so that a simulation can drive it through any schedule.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from deepo_beam.api import Task
from deepo_beam.api.retry import full_jitter_s
from deepo_beam.engine.blame import Blame
from deepo_beam.engine.budget import Budget
from deepo_beam.engine.cuts import Cut
from deepo_beam.engine.endings import Endings
from deepo_beam.engine.ledger import Flush, Ledger, claims_per_s
from deepo_beam.engine.meters import MOST_IN_FLIGHT, RateMeter, SenderCount, window_size
from deepo_beam.engine.outbox import Outbox
from deepo_beam.engine.repeats import is_exhausted, may_repost, may_rerun
from deepo_beam.engine.settings import EngineSettings
from deepo_beam.engine.tasks import Answered, TaskFailed, TaskLost, Tasks, Verdict
from deepo_beam.engine.throttle import Throttle
from deepo_beam.engine.work import Counters, Job, Outcome, RunFacts, Work
from deepo_beam.errors import (
    ApiError,
    AuthenticationError,
    BadReplyError,
    BadRequestError,
    DeepoBeamError,
    EndpointError,
    ForbiddenError,
    RunStoppedError,
    Stage,
    ThrottledError,
    TooManyFailuresError,
)
from deepo_beam.records import Reason
from deepo_beam.text import clean_text
from deepo_beam.types import Facts, Failure, Status

_NEVER = float("inf")
_LONGEST_POLL_PAUSE_S = 30.0  # whatever a service asks for: tasks that were paid for are waited for
_ENOUGH_TO_JUDGE = 100  # settled images, before a share of failures means anything
_SIZE_GUESS = 1_000_000  # bytes that an image of unlisted size is taken to hold until it is read


class Core:
    """One process's engine. Not thread-safe: the shell holds a lock around every call."""

    def __init__(
        self,
        settings: EngineSettings,
        run: RunFacts,
        *,
        now: float,
        wall_us: Callable[[float], int],
        rng: random.Random,
    ) -> None:
        """Nothing to do yet.

        Args:
            settings: the numbers to work by.
            run: goes into every record.
            now: monotonic seconds.
            wall_us: turns monotonic seconds into microseconds since 1970 UTC, for the records.
            rng: for jitter only.
        """
        self.counters = Counters()
        self.fatal: DeepoBeamError | None = None
        self.store_failed = False
        self._store_error = "it does not answer"
        self._settings = settings
        self._wall_us = wall_us
        self._rng = rng
        self._throttle = Throttle(settings.rate_per_s, rng)
        self._blame = Blame(settings.outage_posts)
        self._tasks = Tasks(settings)
        self._budget = Budget(pooled=settings.pooled_budget)
        self._ledger = Ledger(settings, run.run_id, self._budget, now)
        self._outbox = Outbox()
        self._endings = Endings(run, self._ledger, self._budget, self._outbox, self.counters, wall_us)
        self._senders = SenderCount(settings.max_senders)
        self._accepted_rate = RateMeter(window_s=1.0)
        self._post_rate = RateMeter()
        self._delayed: list[tuple[float, int, Job]] = []
        self._ticket = itertools.count()
        self._compare: deque[Job] = deque()
        self._taken: set[Job] = set()
        self._held_bytes = 0
        self._stop_at: float | None = None
        self._drained_at = _NEVER

    # --- work in, outcomes out -----------------------------------------------------------------------

    def submit(self, works: Iterable[Work], now: float, allotments: Mapping[int, int] | None = None) -> None:
        """Queue labellings; every one comes back as exactly one outcome, unless its owner is cancelled.

        Args:
            works: of any buckets.
            now: monotonic seconds.
            allotments: calls (>= 0) that may be made for each of these buckets; a bucket without has no limit.
        """
        for work in works:
            self._outbox.expect(work.owner)
            self._budget.opened(work.bucket)
            job = Job(work, queued_at=now, reason=work.reason, attempt=work.attempts_used)
            if work.image.problem is not None:
                job.tries += 1
                self._settle(job, Status.FAILED, now, failure=work.image.problem)
            elif work.resume is not None:
                job.facts, job.taken_at = work.resume.facts, now
                self._tasks.add(job, work.resume.task_id, now, known=True)
            elif work.known_sha256 is not None and self._stop_at is None:
                self._compare.append(job)
            else:
                self._enqueue(job)
        for bucket, calls in (allotments or {}).items():
            self._budget.allot(bucket, calls)

    def take_outcomes(self, owner: int) -> list[Outcome]:
        """What has settled since the last call."""
        return self._outbox.take(owner)

    def outstanding(self, owner: int) -> int:
        """Labellings of this owner without an outcome."""
        return self._outbox.outstanding(owner)

    def durable(self, owner: int) -> bool:
        """Everything that is known of this owner's images is in the journal; asks for a flush if not."""
        if self._ledger.unwritten(owner) == 0:
            return True
        self._ledger.hurry()
        return False

    def on_the_wire(self, owner: int) -> bool:
        """A sender is at work on an image of this owner."""
        return any(job.work.owner == owner for job in self._taken)

    def backlog(self) -> int:
        """Labellings queued and not yet taken by a sender."""
        return len(self._ledger.backlog) + len(self._ledger.claimed) + len(self._compare)

    def backlog_wanted(self, now: float) -> int:
        """A backlog from which the senders do not starve for a second."""
        return max(64, round(self._post_rate.per_s(now)))

    def cancel(self, owner: int) -> None:
        """Forget an owner. What is on the wire is still recorded, so that it is not paid for again."""
        self._outbox.forget(owner)
        self._ledger.backlog.extend(self._budget.withdraw())
        delayed = [item[2] for item in self._delayed]
        for job in itertools.chain(self._ledger.jobs(), self._compare, delayed, self._tasks, self._taken):
            job.cancelled = job.cancelled or job.work.owner == owner
        for job in (*self._ledger.remove_cancelled(), *self._compare, *delayed, *self._tasks):
            if job.cancelled:
                self._endings.given_up(job)
        for job in self._tasks:
            if job.cancelled:
                self._tasks.remove(job)
        self._compare = deque(job for job in self._compare if not job.cancelled)
        self._delayed = [item for item in self._delayed if not item[2].cancelled]
        heapq.heapify(self._delayed)

    # --- posting -------------------------------------------------------------------------------------

    def share_rate(self, sharers: int) -> None:
        """The allowed rate is for so many processes (>= 1) from now on."""
        self._throttle.share(sharers)

    def cut(self, now: float) -> Cut | None:
        """What this process knows of the service's quota, None: nothing was refused."""
        return self._throttle.cut(now)

    @property
    def lowered_per_s(self) -> float | None:
        """Calls/s of all processes, while a service that refused keeps them below what is allowed; else None."""
        return self._throttle.lowered_per_s

    def hear(self, others: Cut, now: float) -> None:
        """What the other processes of the run know of it together."""
        self._throttle.hear(others, now)

    def rest(self, now: float) -> None:
        """This process posts nothing at present, for others do: it cannot see for how long the service is sick."""
        self._throttle.rest()
        self._blame.breaker.rest(now)

    @property
    def idle(self) -> bool:
        """There is nothing to post at present."""
        return not (self._ledger.jobs() or self._compare or self._taken or self._delayed)

    @property
    def senders_wanted(self) -> int:
        """Threads that should post at present."""
        return self._senders.wanted

    def next_post(self, now: float) -> Job | float:
        """The job to read and post now, or the time to ask again (infinite: when something has changed)."""
        self._watch(now)
        self._promote(now)
        queue = self._compare or self._ledger.claimed
        if self._stop_at is not None or not queue:
            return self._delayed[0][0] if self._delayed else _NEVER
        if queue is not self._compare:
            pause_s = 0.1 if self._ledger.stalled(now) else self._blame.breaker.may_post(now)
            if pause_s > 0:
                return now + pause_s
        size = queue[0].work.image.size_bytes or _SIZE_GUESS
        room = self._held_bytes + size <= self._settings.max_buffer_bytes or not self._taken
        if not room or len(self._taken) >= self._senders.wanted or not self._window_has_room(now):
            return _NEVER
        job = queue.popleft()
        job.taken_at = now
        self._hold(job, size)
        self._taken.add(job)
        return job

    def loaded(self, job: Job, facts: Facts, held_bytes: int) -> bool:
        """The image was read; ``held_bytes`` (>= 0) are kept until it is posted. False: it is not to be posted now."""
        job.facts = facts
        if job.claimed:  # one that was to be compared was found to have changed
            self._hold(job, held_bytes)
            return True
        self._drop(job)
        if _as_known(job):
            self._endings.unchanged(job)
        else:
            job.changed = True
            self._enqueue(job)
        return False

    def load_failed(self, job: Job, failure: Failure, facts: Facts, now: float) -> None:
        """The image cannot be read, or is none. A failing store is asked again, a bad image is not."""
        job.facts = facts
        job.loads += 1
        self._drop(job)
        if not job.claimed and _as_known(job):
            self._endings.unchanged(job)
            return
        self._endings.release(job)
        if failure.stage is Stage.READ and failure.retryable and job.loads < self._settings.load_attempts:
            self._retry_later(job, now, job.loads)
        else:
            job.tries += 1
            self._settle(job, Status.FAILED, now, failure=failure)

    def turn(self, job: Job, now: float, *, lease_left_s: float = _NEVER) -> float | None:
        """May it be posted at once? 0.0: yes, and it counts as posted; > 0: seconds to wait; None: never.

        Args:
            job: claimed and read.
            now: monotonic seconds.
            lease_left_s: seconds for which this process may post, <= 0: not now; infinite where it needs no lease.
        """
        if self._stop_at is not None or job.cancelled:
            self._drop(job)
            self._endings.not_attempted(job)
            return None
        if lease_left_s <= 0 or self._ledger.stalled(now):
            return 0.1
        wait_s = self._blame.breaker.may_post(now) or self._throttle.take(now)
        if wait_s > 0:
            return wait_s
        job.probe = self._blame.breaker.starts_post()
        job.claimed, job.posted_at = False, now
        job.calls += 1
        self._budget.sent(job.work.bucket)
        self._post_rate.add(now)
        self.counters.called(job)
        return 0.0

    def accepted(self, job: Job, task_id: str, now: float) -> None:
        """The service took the call."""
        if self._tasks.is_of_another(task_id, job):
            self.refused(job, BadReplyError(f"the service gave task id {task_id} to two images"), now)
            return
        self._posted(job, now)
        self._throttle.accepted()
        self._blame.accepted()
        self._accepted_rate.add(self._throttle.unpaused_s(now))
        self._endings.accepted(job, task_id, now)
        if job.cancelled:
            self._endings.given_up(job)
        else:
            self._tasks.add(job, task_id, now)

    def refused(self, job: Job, error: ApiError, now: float) -> None:
        """The call failed: decide who is at fault, and whether it is made again."""
        self._posted(job, now)
        if not error.maybe_billed:
            self._endings.released(job, sent=True)
            self.counters.not_billed(job)
        if isinstance(error, ThrottledError):
            self._throttled(job, error, now)
        elif isinstance(error, EndpointError):
            self.stop_with(error, now)
            self._endings.not_attempted(job)
        elif not isinstance(error, BadRequestError) and not error.retryable:
            self.stop_with(error, now)  # TLS refused, say: not this image's fault, and no other will fare better
            self._endings.not_attempted(job)
        elif isinstance(error, BadRequestError):
            self._blame.breaker.answered()
            job.tries += 1
            self._settle(job, Status.FAILED, now, failure=_submit_failure(error))
        else:
            self._failed_call(job, error, now)

    # --- polling -------------------------------------------------------------------------------------

    def next_poll(self, now: float) -> tuple[str, ...] | float:
        """Up to 100 task ids to ask for now, or the time to ask again."""
        self._watch(now)
        due = self._tasks.next_poll(now)
        self.counters.polls += not isinstance(due, float)
        return due

    def polled(self, ids: Sequence[str], tasks: Iterable[Task], now: float) -> None:
        """The service answered a poll for ``ids``; an id without a task is unknown to it."""
        for job, verdict in self._tasks.answered(ids, tasks, now):
            self._learned(job, verdict, now)

    def poll_failed(self, ids: Sequence[str], error: ApiError, now: float) -> None:
        """A poll was not answered: ask again later, for it costs nothing; a revoked key ends the run."""
        if isinstance(error, (AuthenticationError, ForbiddenError)):
            self.stop_with(error, now)
        unreadable = isinstance(error, BadReplyError)
        if unreadable:
            for job, verdict in self._tasks.unreadable(ids, error, now):
                self._learned(job, verdict, now)
        polls = self._tasks.polls
        pause_s = full_jitter_s(polls.failures, base_s=0.1, cap_s=5.0, rng=self._rng)
        if isinstance(error, ThrottledError):
            pause_s = max(pause_s, min(error.retry_after or 0.0, _LONGEST_POLL_PAUSE_S))
        polls.failed(tuple(ids), now, pause_s=pause_s, error=str(error), unreadable=unreadable)

    # --- the journal ---------------------------------------------------------------------------------

    def next_flush(self, now: float) -> Flush | float:
        """What to write durably now, claims first, or the time to ask again. Two may be out at a time."""
        self._watch(now)
        self._promote(now)
        # While the service is down one claimed call is enough: the probe.
        may_claim = self._stop_at is None and not (self._blame.breaker.open and self._ledger.claimed)
        rate = claims_per_s(self._post_rate.per_s(now), self._throttle.rate_per_s) if may_claim else 0.0
        self._ledger.backlog.extend(self._budget.affordable())
        claims = self._ledger.next_claims(now, posts_per_s=rate, wall_us=self._wall_us(now))
        for job in self._budget.hopeless():
            self._endings.not_attempted(job)
        if isinstance(claims, Flush):
            return claims
        facts = self._ledger.next_facts(now)
        if isinstance(facts, Flush):
            return facts
        return min(claims, facts, self._delayed[0][0] if self._delayed else _NEVER)

    def last_flush(self, now: float) -> Flush | float:
        """As :meth:`next_flush`, for an engine that ends: without waiting for the interval."""
        self._ledger.hurry()
        return self.next_flush(now)

    def flushed(self, flush: Flush) -> None:
        """It is durable."""
        self._ledger.flushed(flush)

    def flush_failed(self, flush: Flush, error: DeepoBeamError, now: float) -> None:
        """It is not known to be durable, and is tried again until the store's deadline."""
        self._ledger.flush_failed(flush, now, pause_s=self._rng.uniform(0.2, 1.0))
        self._store_error = str(error)

    # --- stopping ------------------------------------------------------------------------------------

    def stop(self, now: float) -> None:
        """Post nothing more. What is in flight is waited for, for a while; the rest is not attempted."""
        if self._stop_at is not None:
            return
        self._stop_at, self._drained_at = now, now + self._settings.drain_s
        delayed = [item[2] for item in self._delayed]
        waiting = [*self._ledger.withdraw(), *self._compare, *delayed, *self._budget.withdraw()]
        self._delayed.clear()
        self._compare.clear()
        for job in waiting:
            self._endings.not_attempted(job)

    def stop_with(self, error: DeepoBeamError, now: float) -> None:
        """As :meth:`stop`, because of this."""
        self.fatal = self.fatal or error
        self.stop(now)
        if isinstance(error, (AuthenticationError, ForbiddenError)):  # nor can its tasks be asked for
            self._drained_at = now

    def _watch(self, now: float) -> None:
        """The deadlines of the whole run."""
        limit = self._settings.outage_deadline_s
        down_since = self._blame.breaker.down_since
        if down_since is not None and now - down_since > limit:
            self.stop_with(RunStoppedError(f"the service was down for {limit:.0f} s"), now)
        if self._throttle.refused_for_s(now) > limit:
            self.stop_with(RunStoppedError(f"the service refused every call (429) for {limit:.0f} s"), now)
        if self._ledger.failing_for_s(now) > self._settings.store_deadline_s and not self.store_failed:
            self.store_failed = True
            self.stop_with(RunStoppedError(f"the output cannot be written: {self._store_error}"), now)
        polls = self._tasks.polls
        if polls.unanswered_since is not None and now - polls.unanswered_since > limit:
            message = f"the service answered no poll for {limit:.0f} s; the last time: {polls.last_error}"
            self.stop_with(RunStoppedError(message), now)
        if self._stop_at is not None and now > self._drained_at:
            for job in self._tasks:
                self._tasks.remove(job)
                self._endings.not_attempted(job)

    # --- what becomes of a job -----------------------------------------------------------------------

    def _learned(self, job: Job, verdict: Verdict, now: float) -> None:
        if isinstance(verdict, Answered):
            self._settle(job, verdict.status, now, outputs=verdict.outputs)
            return
        job.tries += 1
        again = False
        if isinstance(verdict, TaskLost):
            again = may_repost(job, Reason.TASK_LOST, self._settings)
        elif isinstance(verdict, TaskFailed):
            again = may_rerun(job, self._settings)
        if again:
            self._retry_later(job, now, job.tries)
        else:
            self._settle(job, Status.FAILED, now, failure=verdict.failure)

    def _throttled(self, job: Job, error: ThrottledError, now: float) -> None:
        self._blame.breaker.answered()
        limit = self._settings.outage_deadline_s
        if error.retry_after is not None and error.retry_after > limit:
            message = f"the service refuses calls (429) and asks to wait {error.retry_after:.0f} s; run again then"
            self.stop_with(RunStoppedError(message), now)
        self._throttle.refused(
            now,
            posted_at=job.posted_at,
            retry_after_s=error.retry_after,
            accepted_per_s=self._accepted_rate.per_s(self._throttle.unpaused_s(now)),
        )
        self.counters.refused += 1
        self.counters.throttled_s = self._throttle.paused_s
        self._enqueue(job, first=True)

    def _failed_call(self, job: Job, error: ApiError, now: float) -> None:
        self._blame.failed(job, now)
        if error.maybe_billed:
            again = may_repost(job, Reason.ANSWER_UNKNOWN, self._settings)
        else:
            again = not is_exhausted(job, now, self._settings)
            job.reason = job.reason if job.reason.may_bill_twice else Reason.REFUSED
        if again:
            self._retry_later(job, now, job.tries + job.suspected)
        else:
            job.tries, job.suspected = job.tries + job.suspected, 0
            self._settle(job, Status.FAILED, now, failure=_submit_failure(error))

    def _enqueue(self, job: Job, *, first: bool = False) -> None:
        if self._stop_at is not None or job.cancelled:
            self._endings.not_attempted(job)
        elif first:
            self._ledger.backlog.appendleft(job)
        else:
            self._ledger.backlog.append(job)

    def _retry_later(self, job: Job, now: float, tries: int) -> None:
        if self._stop_at is not None or job.cancelled:
            self._endings.not_attempted(job)
            return
        base_s, cap_s = self._settings.retry_base_s, self._settings.retry_cap_s
        wait_s = full_jitter_s(tries, base_s=base_s, cap_s=cap_s, rng=self._rng)
        heapq.heappush(self._delayed, (now + wait_s, next(self._ticket), job))

    def _promote(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            job = heapq.heappop(self._delayed)[2]
            # A claim says that a new labelling was begun: not before the image is known to have changed.
            to_be_compared = job.work.known_sha256 is not None and not job.changed
            (self._compare if to_be_compared else self._ledger.backlog).appendleft(job)

    def _settle(
        self,
        job: Job,
        status: Status,
        now: float,
        *,
        outputs: str | None = None,
        failure: Failure | None = None,
    ) -> None:
        self._endings.settled(job, status, now, outputs=outputs, failure=failure)
        self._judge_failures(now)

    def _judge_failures(self, now: float) -> None:
        limit, settled = self._settings.max_failure_rate, self.counters.settled
        if limit is not None and settled >= _ENOUGH_TO_JUDGE and self.counters.failed > limit * settled:
            share = self.counters.failed / settled
            message = f"{share:.1%} of {settled:,} images failed, more than --max-failure-rate {limit:g} allows"
            self.stop_with(TooManyFailuresError(message), now)

    # --- book-keeping --------------------------------------------------------------------------------

    def _posted(self, job: Job, now: float) -> None:
        self._senders.posted(now, all_busy=len(self._taken) >= self._senders.wanted)
        self._drop(job)

    def _hold(self, job: Job, size: int) -> None:
        self._held_bytes += size - job.held_bytes
        job.held_bytes = size

    def _drop(self, job: Job) -> None:
        """The sender is done with it."""
        self._hold(job, 0)
        self._taken.discard(job)

    @property
    def in_flight(self) -> int:
        """Labellings that a sender has taken or whose task is waited for."""
        return len(self._taken) + len(self._tasks)

    def _window_has_room(self, now: float) -> bool:
        limit = self._settings.max_in_flight
        if limit is None:
            polls = self._tasks.polls  # before one task has been seen finished, nobody knows how long they take
            limit = window_size(self._post_rate.per_s(now), polls.p95_s()) if polls.has_seen_one else MOST_IN_FLIGHT
        return len(self._taken) + self._tasks.in_window < limit


def _as_known(job: Job) -> bool:
    """Its bytes are those of the generation before."""
    known = job.work.known_sha256
    return known is not None and job.facts.content_sha256 == known


def _submit_failure(error: ApiError) -> Failure:
    message = clean_text(str(error), max_chars=1000)
    return Failure(Stage.SUBMIT, error.code, message, error.retryable, error.status)
