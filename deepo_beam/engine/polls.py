"""Which task ids to ask for, and when. Pure; the clock is handed in.

A task is first asked for shortly before the time at which most have been done, then every 5 % of its age (at
least 50 ms). Calls are paced: at most max(10/s, 0.06 x finished images/s), and a call that is not full waits
30 ms for company, so that the cost of polling stays far below that of posting.

An answer that cannot be read may be one task's fault, or too long: its ids are asked for again in halves, and calls
are smaller for a while.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

from deepo_beam.engine.meters import Quantiles, RateMeter

MAX_IDS = 100  # Deepomatic API v0.7: the task list is paged by 100
_MORE_IDS = 5  # that a call has after one that was answered, until it has all that it may
_FIRST_GUESS_S = 0.1
_COMPANY_S = 0.03  # 50 ms would make the answers 40 ms later, at 600 and 1,200 images/s
_LATENCY_GUESS_S = 1.0
_MISSING_AGAIN_S = 0.5


@dataclass
class PollSchedule:
    """The ids that wait, by the time at which they are due."""

    latencies: Quantiles = field(default_factory=Quantiles)
    finished: RateMeter = field(default_factory=RateMeter)
    _due: list[tuple[float, int, str]] = field(default_factory=list)
    _ticket: itertools.count[int] = field(default_factory=itertools.count)
    _next_call: float = 0.0
    _last_call: float = float("-inf")
    _failures: int = 0
    _unanswered_s: float = 0.0
    _pending_s: float = 0.0
    _halves: list[tuple[float, int, tuple[str, ...]]] = field(default_factory=list)
    _most_ids: int = MAX_IDS
    answered_at: float = float("-inf")
    unanswered_since: float | None = None
    last_error: str = ""

    def add(self, task_id: str, now: float) -> None:
        """A task was accepted just now."""
        self._push(now + 0.9 * self.latencies.at(0.1, max(_FIRST_GUESS_S, self._pending_s)), task_id)

    def add_known(self, task_id: str, now: float) -> None:
        """A task of an earlier run: it is probably done."""
        self._push(now, task_id)

    def again(self, task_id: str, age_s: float, now: float) -> None:
        """It was still pending, ``age_s`` (>= 0) after it was accepted."""
        self._pending_s = max(self._pending_s, age_s)
        # Until one has been seen finished the oldest goes ahead: none is asked for at an age at which that was pending.
        until_then_s = 0.0 if self.has_seen_one else self._pending_s - age_s
        self._push(now + max(0.05, 0.05 * age_s, until_then_s), task_id)

    def missing(self, task_id: str, now: float) -> None:
        """The service does not know it, or not yet."""
        self._push(now + _MISSING_AGAIN_S, task_id)

    def observed(self, latency_s: float, now: float) -> None:
        """A task was seen finished, ``latency_s`` after it was accepted."""
        self.latencies.add(latency_s)
        self.finished.add(now)

    @property
    def has_seen_one(self) -> bool:
        """A task was seen finished, so :meth:`p95_s` is no guess."""
        return self.latencies.at(0.5, -1.0) >= 0

    def p95_s(self) -> float:
        """Of the latencies from accepted to seen finished; a guess before the first."""
        return self.latencies.at(0.95, _LATENCY_GUESS_S)

    def take(self, now: float) -> tuple[str, ...] | float:
        """Up to 100 due ids, or the time (monotonic seconds, may be infinite) at which to ask again."""
        if not self._due and not self._halves:
            return float("inf")
        if now < self._next_call:
            return self._next_call
        if self._halves and self._halves[0][0] <= now:
            return self._called(heapq.heappop(self._halves)[2], now)
        wait = self._wait(now)
        if wait is not None:
            return min(wait, self._halves[0][0]) if self._halves else wait
        ids: list[str] = []
        while self._due and len(ids) < self._most_ids and self._due[0][0] <= now:
            ids.append(heapq.heappop(self._due)[2])
        return self._called(tuple(ids), now)

    def _wait(self, now: float) -> float | None:
        """When a call for what is due is worth while; None: now."""
        if not self._due:
            return float("inf")
        if now < self._due[0][0]:
            return max(self._due[0][0], self._last_call + _COMPANY_S)
        if now < self._last_call + _COMPANY_S and not self._full(now):
            return self._last_call + _COMPANY_S
        return None

    def _called(self, ids: tuple[str, ...], now: float) -> tuple[str, ...]:
        self._last_call = now
        self._next_call = now + 1.0 / max(10.0, 0.06 * self.finished.per_s(now))
        return ids

    def answered(self, ids: int, now: float) -> None:
        """A call for so many ``ids`` (>= 1) was answered."""
        self._unanswered_s = self.unanswered_s(now)
        self._failures, self.unanswered_since, self.answered_at = 0, None, now
        if ids >= self._most_ids:
            self._most_ids = min(MAX_IDS, self._most_ids + _MORE_IDS)

    def unanswered_s(self, now: float) -> float:
        """Seconds, all in all, in which no call was answered: nobody can know then whether a task is done."""
        return self._unanswered_s + (0.0 if self.unanswered_since is None else now - self.unanswered_since)

    def failed(self, ids: tuple[str, ...], now: float, *, pause_s: float, error: str, unreadable: bool = False) -> None:
        """A call was not answered; its ids are due again after the pause, and so is any call.

        Args:
            ids: of the call.
            now: monotonic seconds.
            pause_s: >= 0.
            error: what happened.
            unreadable: there was an answer that cannot be read.
        """
        self._failures += 1
        self.unanswered_since = now if self.unanswered_since is None else self.unanswered_since
        self.last_error = error
        self._next_call = max(self._next_call, now + pause_s)
        if unreadable and len(ids) > 1:
            self._most_ids = middle = len(ids) // 2
            for half in (ids[:middle], ids[middle:]):
                heapq.heappush(self._halves, (now + pause_s, next(self._ticket), half))
            return
        for task_id in ids:
            self._push(now + pause_s, task_id)

    @property
    def failures(self) -> int:
        """Calls not answered in a row."""
        return self._failures

    def _full(self, now: float) -> bool:
        # The hundred earliest of a heap are not simply its first hundred, but near enough for a pace.
        return len(self._due) >= self._most_ids and self._due[self._most_ids - 1][0] <= now

    def _push(self, due: float, task_id: str) -> None:
        heapq.heappush(self._due, (due, next(self._ticket), task_id))
