"""How fast to post: a token bucket, and the cut that a 429 makes in it. Pure; the clock is handed in."""

from __future__ import annotations

import random

_CUT = 0.92  # of the observed rate, at a 429
_GROWTH_PER_S = 0.02  # of the present rate, for every second without one
_CAUTIOUS_S = 5.0  # after so long without one, growth doubles every second: the quota has moved
_FASTEST_GROWTH_PER_S = 0.5
_CUT_INTERVAL_S = 1.0  # one cut for one burst of refusals


def bucket_depth(rate_per_s: float) -> float:
    """Calls that may be saved up: 1 below 100/s, else 10 ms worth."""
    return max(1.0, 0.01 * rate_per_s)


class TokenBucket:
    """At most ``rate x w + depth + 1`` takes in any window of w seconds (the generic cell rate algorithm).

    Saving up ``depth`` calls makes up for a thread that wakes late; without it every late wake-up would be
    quota lost for good.
    """

    def __init__(self, rate_per_s: float | None) -> None:
        """Full bucket; None is no limit."""
        self._rate = rate_per_s
        self._due = 0.0

    def set_rate(self, rate_per_s: float | None) -> None:
        """From now on; what was taken stays taken, and the next call stays when it was."""
        if self._rate is not None and rate_per_s is not None:
            self._due += bucket_depth(rate_per_s) / rate_per_s - bucket_depth(self._rate) / self._rate
        self._rate = rate_per_s

    def take(self, now: float) -> float:
        """Take one call and return 0.0, or take nothing and return the seconds (> 0) until one is there."""
        if self._rate is None:
            return 0.0
        earliest = self._due - bucket_depth(self._rate) / self._rate
        if now < earliest:
            return earliest - now
        self._due = max(now, self._due) + 1.0 / self._rate
        return 0.0


class Throttle:
    """The allowed rate, lowered while the service refuses: additive caution, multiplicative cut.

    A 429 pauses the head of the queue and cuts the rate to 0.92 of what it is, or of what was accepted in the
    last second if that is far less;
    every second without one lets it grow by 2 %, and after five of them ever faster, up to the allowed rate.
    """

    def __init__(self, rate_per_s: float | None, rng: random.Random) -> None:
        """``rate_per_s``: what the user allows, None for no limit."""
        self._allowed = rate_per_s
        self._current = rate_per_s
        self._bucket = TokenBucket(rate_per_s)
        self._rng = rng
        self._resume_at = 0.0
        self._first_take: float | None = None
        self._last_change = 0.0
        self._last_cut = float("-inf")
        self.refused_since: float | None = None
        self.paused_s = 0.0

    @property
    def rate_per_s(self) -> float | None:
        """What is asked at most at present; None for no limit."""
        return self._current

    def take(self, now: float) -> float:
        """As :meth:`TokenBucket.take`, pauses included."""
        if now < self._resume_at:
            return self._resume_at - now
        self._first_take = now if self._first_take is None else self._first_take
        self._grow(now)
        return self._bucket.take(now)

    def accepted(self) -> None:
        """The service took a call."""
        self.refused_since = None

    def refused(self, now: float, *, retry_after_s: float | None, accepted_per_s: float) -> None:
        """The service answered 429; ``accepted_per_s`` is what it took in the last second."""
        if self.refused_since is None:
            self.refused_since = now
        if self._first_take is None or now - self._first_take < _CUT_INTERVAL_S:
            pass  # too early to know what the service takes in a second: only pause
        elif now - self._last_cut >= _CUT_INTERVAL_S:
            # Near the service's limit what was accepted is lowered by the pauses themselves: then our rate is
            # the better guess. Far above it, it is not.
            near = self._current is not None and accepted_per_s > 0.5 * self._current
            base = self._current if near and self._current is not None else accepted_per_s
            self._set(max(1.0, _CUT * base), now)
            self._last_cut = now
        pause = retry_after_s if retry_after_s is not None else self._rng.uniform(0.05, 0.2)
        resume_at = max(self._resume_at, now + pause)
        self.paused_s += resume_at - max(now, self._resume_at)
        self._resume_at = resume_at

    def _grow(self, now: float) -> None:
        if self._current is None or self._current == self._allowed or now - self._last_change < 1.0:
            return
        calm_s = now - self._last_cut
        growth = min(_FASTEST_GROWTH_PER_S, _GROWTH_PER_S * 2.0 ** max(0.0, calm_s - _CAUTIOUS_S))
        grown = self._current * (1.0 + growth)
        self._set(grown if self._allowed is None else min(self._allowed, grown), now)

    def _set(self, rate_per_s: float, now: float) -> None:
        self._current = rate_per_s if self._allowed is None else min(rate_per_s, self._allowed)
        self._bucket.set_rate(self._current)
        self._last_change = now
