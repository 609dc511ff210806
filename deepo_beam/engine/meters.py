"""What the engine observes of the service: latencies and rates over a sliding past. Pure."""

from __future__ import annotations

import math
from collections import deque

MOST_IN_FLIGHT = 20_000  # task ids


class Quantiles:
    """Quantiles of the last ``size`` values; sorted anew only after every 32nd."""

    def __init__(self, size: int = 512) -> None:
        """Empty."""
        self._values: deque[float] = deque(maxlen=size)
        self._sorted: list[float] = []
        self._stale = 0

    def add(self, value: float) -> None:
        """Observe one value."""
        self._values.append(value)
        self._stale += 1
        if self._stale >= 32 or len(self._values) <= 32:
            self._sorted = sorted(self._values)
            self._stale = 0

    def at(self, q: float, default: float) -> float:
        """The q-quantile (0..1), or ``default`` while nothing was observed."""
        if not self._sorted:
            return default
        return self._sorted[min(len(self._sorted) - 1, int(q * len(self._sorted)))]


class RateMeter:
    """Events per second over the last ``window_s`` seconds, in ``slots`` steps."""

    def __init__(self, window_s: float = 2.0, slots: int = 20) -> None:
        """No event yet."""
        self._step = window_s / slots
        self._slots = slots
        self._counts: deque[tuple[int, int]] = deque()
        self._total = 0
        self._started: float | None = None

    def add(self, now: float) -> None:
        """One event."""
        if self._started is None:
            self._started = now
        slot = int(now / self._step)
        if self._counts and self._counts[-1][0] == slot:
            self._counts[-1] = (slot, self._counts[-1][1] + 1)
        else:
            self._counts.append((slot, 1))
        self._total += 1

    def per_s(self, now: float) -> float:
        """Events per second (>= 0), over what has passed while that is less than the window."""
        oldest = int(now / self._step) - self._slots
        while self._counts and self._counts[0][0] <= oldest:
            self._total -= self._counts.popleft()[1]
        if self._started is None:
            return 0.0
        span = min(self._slots * self._step, max(now - self._started, 0.25))
        return self._total / span


def window_size(throughput_per_s: float, p95_latency_s: float) -> int:
    """Task ids to keep in flight: twice what Little's law asks for, within 64 and 20,000."""
    return max(64, min(MOST_IN_FLIGHT, math.ceil(2.0 * throughput_per_s * p95_latency_s)))


class SenderCount:
    """How many threads post, found by trying: twice as many if that brings 15 % more, half as many if it costs nothing.

    An instant server is served best by few threads (they only contend for the interpreter), a slow one needs
    many; no latency tells the two apart under load, so throughput decides. What a moment's noise won is lost
    again when half as many are tried.
    """

    _POSTS_A_SENDER = 4  # that a rate is told by, within 0.1 and 0.5 s
    _LOOK_S = (0.1, 0.5)
    _REST_S = (1.0, 30.0)  # after a try: twice as long each time

    def __init__(self, limit: int, start: int = 4) -> None:
        """``start`` (>= 1): the least that is ever wanted; ``limit`` (>= 1): the most."""
        self._limit = limit
        self._least = self.wanted = min(start, limit)
        self._before: tuple[int, float] | None = None  # what is tried is compared with
        self._down_next = False
        self._rest_s = self._REST_S[0]
        self._since: float | None = None
        self._posts = 0
        self._busy = 0

    def posted(self, now: float, *, all_busy: bool) -> None:
        """A post ended; ``all_busy``: every wanted sender was at work, so more might have helped."""
        if self._since is None:
            self._since = now
        seconds = now - self._since
        if seconds < 0:  # at rest
            return
        self._posts += 1
        self._busy += all_busy
        shortest_s, longest_s = self._LOOK_S
        if seconds >= longest_s or (seconds >= shortest_s and self._posts >= self._POSTS_A_SENDER * self.wanted):
            rate, saturated = self._posts / seconds, self._busy >= 0.9 * self._posts
            self._since, self._posts, self._busy = now, 0, 0
            self._judge(now, rate, saturated=saturated)

    def _judge(self, now: float, rate: float, *, saturated: bool) -> None:
        before, self._before = self._before, None
        if not saturated:
            return
        if before is None:
            self._try(now, rate)
            return
        fewer = self.wanted < before[0]
        if rate < (1.0 if fewer else 1.15) * before[1]:
            self.wanted = before[0]
        elif not fewer:
            self._rest_s = self._REST_S[0]
            self._try(now, rate)
            return
        self._rest(now, down_next=not fewer)

    def _try(self, now: float, rate: float) -> None:
        tried = max(self._least, self.wanted // 2) if self._down_next else self.wanted
        self._down_next = False
        if tried == self.wanted:
            tried = min(self._limit, 2 * self.wanted)
        if tried == self.wanted:
            self._rest(now, down_next=True)
        else:
            self._before, self.wanted = (self.wanted, rate), tried

    def _rest(self, now: float, *, down_next: bool) -> None:
        self._since, self._down_next = now + self._rest_s, down_next
        self._rest_s = min(2.0 * self._rest_s, self._REST_S[1])
