"""How fast to post: a token bucket, and the cut that a 429 makes in it. Pure; the clock is handed in."""

from __future__ import annotations

import random

_CUT = 0.9  # of the rate at which the service refused
_CLOSE = 0.97  # of it: where approaching ends and probing begins
_APPROACH_S = 2.0
_PROBE_S = 20.0
_FAR_OFF = 0.75  # of the guess, if the service refuses again at once
_METER_S = 1.25  # after a pause, until a second's worth of acceptances is a second's worth again
_ADAPT_S = 0.25


def bucket_depth(rate_per_s: float) -> float:
    """Calls that may be saved up: 1 below 100/s, else 10 ms worth."""
    return max(1.0, 0.01 * rate_per_s)


class TokenBucket:
    """At most ``rate x w + depth + 1 / sharers`` takes in any window of w seconds (the generic cell rate algorithm).

    Saving up ``depth`` calls makes up for a thread that wakes late; without it every late wake-up would be
    quota lost for good. Over all that share a rate, that is ``rate x w + sharers x depth + 1``.
    """

    def __init__(self, rate_per_s: float | None) -> None:
        """Full bucket, shared with nobody; None is no limit."""
        self._rate = rate_per_s
        self._sharers = 1
        self._due = 0.0

    def share(self, sharers: int) -> None:
        """So many buckets (>= 1) are filled from one rate, of which this one's is a part."""
        before, self._sharers = self._saved_s(), sharers
        self._due += self._saved_s() - before

    def set_rate(self, rate_per_s: float | None) -> None:
        """From now on; what was taken stays taken, and the next call stays when it was."""
        before, limited = self._saved_s(), self._rate is not None
        self._rate = rate_per_s
        if limited and rate_per_s is not None:
            self._due += self._saved_s() - before

    def take(self, now: float) -> float:
        """Take one call and return 0.0, or take nothing and return the seconds (> 0) until one is there."""
        if self._rate is None:
            return 0.0
        earliest = self._due - self._saved_s()
        if now < earliest:
            return earliest - now
        self._due = max(now, self._due) + 1.0 / self._rate
        return 0.0

    def _saved_s(self) -> float:
        """How far a call may come before its time."""
        if self._rate is None:
            return 0.0
        return (bucket_depth(self._rate) - 1.0 + 1.0 / self._sharers) / self._rate


def cautious_rate(calm_s: float, refused_at: float, *, sure: bool) -> float:
    """The rate to ask for after a refusal. Pure.

    From 0.9 to 0.97 of the rate at which the service refused in two seconds, then to all of it in twenty, for each
    refusal costs a pause; then twice as much every six seconds, for the quota must have moved. A rate that was
    only guessed is not lingered at: twice as much every two seconds.

    Args:
        calm_s: seconds (>= 0) since the last refusal.
        refused_at: calls/s (> 0) at which the service refused.
        sure: that rate was seen, not guessed.
    """
    if calm_s < _APPROACH_S:
        return refused_at * (_CUT + (_CLOSE - _CUT) * calm_s / _APPROACH_S)
    beyond_s = calm_s - _APPROACH_S
    if not sure:
        return refused_at * _CLOSE * float(2.0 ** min(beyond_s / 2.0, 30.0))
    if beyond_s < _PROBE_S:
        return refused_at * (_CLOSE + (1.0 - _CLOSE) * beyond_s / _PROBE_S)
    return refused_at * float(2.0 ** min((beyond_s - _PROBE_S) / 6.0, 30.0))


class Throttle:
    """The allowed rate, lowered while the service refuses (429): a pause, a cut, and a careful way back."""

    def __init__(self, rate_per_s: float | None, rng: random.Random) -> None:
        """``rate_per_s``: what the user allows, None for no limit."""
        self._allowed = rate_per_s
        self._current = rate_per_s
        self._bucket = TokenBucket(rate_per_s)
        self._rng = rng
        self._resume_at = 0.0
        self._refused_at: float | None = None
        self._sure = False
        self._cut_at = float("-inf")
        self._adapted_at = float("-inf")
        self.refused_since: float | None = None
        self.paused_s = 0.0

    @property
    def rate_per_s(self) -> float | None:
        """What is asked at most at present; None for no limit."""
        return self._current

    def share(self, rate_per_s: float, sharers: int) -> None:
        """So many processes (>= 1) share the user's rate from now on."""
        rate_per_s = rate_per_s / sharers
        self._bucket.share(sharers)
        if rate_per_s == self._allowed:
            return
        self._allowed = rate_per_s
        if self._refused_at is None or self._current is None or self._current > rate_per_s:
            self._current = rate_per_s
            self._bucket.set_rate(rate_per_s)

    def take(self, now: float) -> float:
        """As :meth:`TokenBucket.take`, pauses included."""
        if now < self._resume_at:
            return self._resume_at - now
        if self._refused_at is not None and now - self._adapted_at >= _ADAPT_S:
            self._adapt(now, self._refused_at)
        return self._bucket.take(now)

    def refused_for_s(self, now: float) -> float:
        """For how long every call was refused, pauses that the service asked for left out."""
        return 0.0 if self.refused_since is None else now - max(self.refused_since, self._resume_at)

    def accepted(self) -> None:
        """The service took a call."""
        self.refused_since = None

    def refused(self, now: float, *, posted_at: float, retry_after_s: float | None, accepted_per_s: float) -> None:
        """The service answered 429.

        Args:
            now: monotonic seconds.
            posted_at: when the call was made; one made before the last cut says nothing about the rate since.
            retry_after_s: how long the service asks to wait, None if it does not say.
            accepted_per_s: what it took in the last second.
        """
        if self.refused_since is None:
            self.refused_since = now
        if posted_at > self._cut_at:
            self._cut(now, accepted_per_s)
        pause = retry_after_s if retry_after_s is not None else self._rng.uniform(0.05, 0.2)
        resume_at = max(self._resume_at, now + pause)
        self.paused_s += resume_at - max(now, self._resume_at)
        self._resume_at = resume_at

    def _cut(self, now: float, accepted_per_s: float) -> None:
        calm_s = now - max(self._cut_at, self._resume_at)
        if self._current is None or accepted_per_s < 0.5 * self._current:
            self._refused_at, self._sure = accepted_per_s, False
        elif calm_s < _METER_S:  # what was accepted is lowered by the pause: only our own rate tells anything
            self._refused_at, self._sure = _FAR_OFF * self._current, False
        else:
            self._refused_at, self._sure = min(self._current, accepted_per_s), True
        self._refused_at = max(1.0, self._refused_at)
        self._cut_at = now
        self._adapt(now, self._refused_at)

    def _adapt(self, now: float, refused_at: float) -> None:
        calm_s = max(0.0, now - max(self._cut_at, self._resume_at))
        rate = cautious_rate(calm_s, refused_at, sure=self._sure)
        if self._allowed is not None and rate >= self._allowed:
            rate = self._allowed
            self._refused_at = self._refused_at if calm_s < _APPROACH_S + _PROBE_S else None
        self._current, self._adapted_at = rate, now
        self._bucket.set_rate(rate)
