"""What a 429 does to the rate: a pause, a cut, a careful way back; and what other processes know of it.

Pure; the clock is handed in. Every process follows what it sees itself, so it is right also where news come late or not
at all. News make it one cut: who hears of one begins the way back with the others, and the estimates of the quota draw
together, so that shares stay equal and a newcomer has one at once.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace

from deepo_beam.engine.cuts import Cut, cautious_rate
from deepo_beam.engine.rate import TokenBucket

_METER_S = 1.25  # a rate that was held for so long can be seen in what was accepted
_FAR_OFF = 0.75  # of the rate that was asked, if the service refuses again before
_FARTHEST = 0.25  # of it, at once: little may have been accepted only because nobody had asked
_BLIND_PER_S = 25.0  # to begin with, where there was no limit and nothing was accepted
_EARLY_S = 3.0  # a refusal so soon, while the rate is still below what was learnt,
_EARLY = 0.95  # shows that this was too much
_ADAPT_S = 0.25
_NEWS_S = 1.5  # what it takes, about, until a cut is heard of
_ENOUGH = 10  # calls of one process, in a second or since a cut, so that those that were accepted tell a rate
_STRAYS = 2  # refusals that tell something where calls are fewer, among the last
_ANSWERS = 20
_NEVER = float("-inf")


class Throttle:
    """The allowed rate, lowered while the service refuses.

    Rates are those of the whole run, of which this process has the ``1 / sharers`` part, unless they say otherwise.
    """

    def __init__(self, rate_per_s: float | None, rng: random.Random) -> None:
        """``rate_per_s``: what the user allows to all processes together, None for no limit."""
        self._allowed = rate_per_s
        self._current = rate_per_s
        self._sharers = 1
        self._bucket = TokenBucket(rate_per_s)
        self._rng = rng
        self._resume_at = 0.0
        self._cut: Cut | None = None
        self._cut_at = _NEVER
        self._calm_from = _NEVER
        self._adapted_at = _NEVER
        self._answers: deque[bool] = deque(maxlen=_ANSWERS)  # since the cut: was it accepted?
        self.refused_since: float | None = None
        self.paused_s = 0.0

    @property
    def rate_per_s(self) -> float | None:
        """What this process asks at most at present; None for no limit."""
        return None if self._current is None else self._current / self._sharers

    @property
    def lowered_per_s(self) -> float | None:
        """What all ask at most, while refusals keep it below what is allowed; else None."""
        return self._current if self._cut is not None and self._current != self._allowed else None

    def share(self, sharers: int) -> None:
        """So many processes (>= 1) share the rate from now on."""
        if sharers != self._sharers:
            self._sharers = sharers
            self._bucket.share(sharers)
            self._bucket.set_rate(self.rate_per_s)

    def cut(self, now: float) -> Cut | None:
        """What the others should know; None: nobody was refused."""
        return None if self._cut is None else replace(self._cut, calm_s=self._calm_s(now))

    def hear(self, others: Cut, now: float) -> None:
        """What the other processes know together: a cut that is news is made here, too, and estimates draw together."""
        own = self._cut
        if own is not None and others.number < own.number:
            return
        if own is None:
            self._make(others, now)
        elif others.number > own.number:
            then = self._level(now - others.calm_s - _NEWS_S)
            self._make(Cut(others.number, max(own.refused_at, then), own.sure or others.sure, 0.0), now)
        else:
            middle = 0.5 * (own.refused_at + others.refused_at)
            self._cut = replace(own, refused_at=middle, sure=own.sure or others.sure)
        self._calm_from = min(self._calm_from, now - others.calm_s)  # it is older by what the news took
        if now < self._resume_at:  # but in a pause nothing is tried
            self._calm_from = self._resume_at
        self._adapt(now)

    def take(self, now: float) -> float:
        """As :meth:`TokenBucket.take`, pauses included."""
        if now < self._resume_at:
            return self._resume_at - now
        if self._cut is not None and now - self._adapted_at >= _ADAPT_S:
            self._adapt(now)
        return self._bucket.take(now)

    def unpaused_s(self, now: float) -> float:
        """A clock that stands still in pauses: by it, what was accepted before one is not forgotten after it."""
        return now - self.paused_s + max(0.0, self._resume_at - now)

    def refused_for_s(self, now: float) -> float:
        """For how long every call was refused, pauses that the service asked for left out."""
        return 0.0 if self.refused_since is None else now - max(self.refused_since, self._resume_at)

    def rest(self) -> None:
        """This process posts nothing, for others do: that it was refused last says nothing of the service any more."""
        self.refused_since = None

    def accepted(self) -> None:
        """The service took a call."""
        self.refused_since = None
        self._answers.append(True)

    def refused(self, now: float, *, posted_at: float, retry_after_s: float | None, accepted_per_s: float) -> None:
        """The service answered 429.

        Args:
            now: monotonic seconds.
            posted_at: when the call was made; one made before the last cut says nothing about the rate since.
            retry_after_s: how long the service asks to wait, None if it does not say.
            accepted_per_s: what it took of this process in the last second, by :meth:`unpaused_s`.
        """
        if self.refused_since is None:
            self.refused_since = now
        if posted_at > self._cut_at:
            self._answers.append(False)
            if not self._is_stray(now):
                self._learn(now, accepted_per_s)
        self._pause(now, retry_after_s if retry_after_s is not None else self._rng.uniform(0.05, 0.2))

    def _pause(self, now: float, pause_s: float) -> None:
        resume_at = max(self._resume_at, now + pause_s)
        self.paused_s += resume_at - max(now, self._resume_at)
        self._resume_at = resume_at
        self._calm_from = max(self._calm_from, resume_at)
        if self._cut is not None:
            self._adapt(now)

    def _learn(self, now: float, accepted_per_s: float) -> None:
        refused_at, sure = self._guess(now, accepted_per_s)
        number = 1
        if self._cut is not None:  # soon after it, it is the same one, which was not deep enough
            number = self._cut.number + (now - self._calm_from >= _METER_S)
        self._make(Cut(number, max(1.0, refused_at), sure, 0.0), now)

    def _guess(self, now: float, accepted_per_s: float) -> tuple[float, bool]:
        """The rate at which the service refused, and whether that is sure."""
        seen = accepted_per_s * self._sharers
        if self._current is None:
            return max(seen, _BLIND_PER_S), False
        if self._has_few_calls:
            taken = self._answers.count(True) / len(self._answers)
            if taken < 0.5:  # so few calls tell that it is lower, but not how much
                return max(taken, _FARTHEST) * self._current, False
            return self._current * (taken if taken < 0.8 else 1.0), True
        if seen < 0.5 * self._current:
            asked = self._answers.count(True) >= _ENOUGH
            return seen if asked else max(seen, _FARTHEST * self._current), False
        calm_s = now - self._calm_from
        if calm_s < _METER_S:
            return _FAR_OFF * self._current, False
        return min(self._current, seen) * (_EARLY if calm_s < _EARLY_S else 1.0), True

    @property
    def _has_few_calls(self) -> bool:
        return self._sharers > 1 and self._current is not None and self._current < _ENOUGH * self._sharers

    def _is_stray(self, now: float) -> bool:
        """It may come of calls that fell together, or of processes that have not heard of the last cut."""
        if self._sharers == 1 or not (self._has_few_calls or now - self._calm_from < _METER_S):
            return False
        return self._answers.count(False) < _STRAYS

    def _make(self, cut: Cut, now: float) -> None:
        self._cut, self._cut_at, self._calm_from = cut, now, now
        self._answers.clear()

    def _calm_s(self, now: float) -> float:
        return max(0.0, now - self._calm_from)

    def _adapt(self, now: float) -> None:
        self._current, self._adapted_at = self._level(now), now
        self._bucket.set_rate(self.rate_per_s)

    def _level(self, now: float) -> float:
        """What all processes together may ask by then."""
        assert self._cut is not None
        rate = cautious_rate(self._calm_s(now), self._cut.refused_at, sure=self._cut.sure)
        return rate if self._allowed is None else min(rate, self._allowed)
