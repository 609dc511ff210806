"""How fast to post at most: a token bucket. Pure; the clock is handed in."""

from __future__ import annotations


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
