"""What the engine observes of the service: latencies and rates over a sliding past. Pure."""

from __future__ import annotations

import math
from collections import deque


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
    return max(64, min(20_000, math.ceil(2.0 * throughput_per_s * p95_latency_s)))


class SenderCount:
    """How many threads post, found by climbing: double while that brings 15 % more, else step back.

    An instant server is served best by few threads (they only contend for the interpreter), a slow one needs
    many; no latency tells the two apart under load, so throughput decides.
    """

    _STEP_S = 0.5
    _SETTLE_S = 10.0

    def __init__(self, limit: int, start: int = 4) -> None:
        """``limit``: the most that is ever wanted (>= 1)."""
        self._limit = limit
        self.wanted = min(start, limit)
        self._before: tuple[int, float] | None = None
        self._next = 0.0
        self._posts = 0
        self._busy = 0
        self._since: float | None = None

    def posted(self, now: float, *, all_busy: bool) -> None:
        """A post ended; ``all_busy``: every wanted sender was at work, so more might have helped."""
        if self._since is None:
            self._since, self._next = now, now + self._STEP_S
        self._posts += 1
        self._busy += all_busy
        if now >= self._next:
            self._judge(now)

    def _judge(self, now: float) -> None:
        assert self._since is not None
        rate = self._posts / max(now - self._since, 1e-6)
        saturated = self._busy >= 0.9 * self._posts
        self._posts = self._busy = 0
        self._since, self._next = now, now + self._STEP_S
        if not saturated:
            self._before = None
            return
        if self._before is not None and rate < 1.15 * self._before[1]:
            self.wanted, self._before = self._before[0], None
            self._next = now + self._SETTLE_S
            return
        if self.wanted < self._limit:
            self._before = (self.wanted, rate)
            self.wanted = min(self._limit, 2 * self.wanted)
