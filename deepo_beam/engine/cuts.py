"""What processes know of a quota that refused them (429), and what follows from it for the rate. Pure.

A process that is refused makes a cut, and tells it with its heartbeat; the others make it, too, and begin the careful
way back with it. So N processes find a quota as one would. A cut has a number and an age: no two clocks are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_CUT = 0.9  # of the rate at which the service refused
_CLOSE = 0.97  # of it: where approaching ends and probing begins
_APPROACH_S = 2.0
_PROBE_S = 14.0
_SEARCH_S = 6.3  # beyond it, until twice that rate; three times after 8 s, ten times after 13


@dataclass(frozen=True, slots=True)
class Cut:
    """What a process knows of the quota, as it tells it to the others.

    Attributes:
        number: of the last cut that it made or heard of, from 1; a new one has a higher number than those known.
        refused_at: calls/s (> 0) of all processes together at which the service refuses, as far as this one can tell.
        sure: that was seen, not guessed.
        calm_s: seconds (>= 0) since the cut, by the clock of whoever tells it.
    """

    number: int
    refused_at: float
    sure: bool
    calm_s: float


def together(cuts: Iterable[Cut | None]) -> Cut | None:
    """What several tell: the last cut, and the mean of what those who know of it say; None: nobody was refused."""
    told = [cut for cut in cuts if cut is not None]
    last = max((cut.number for cut in told), default=0)
    told = [cut for cut in told if cut.number == last]
    if not told:
        return None
    refused_at = sum(cut.refused_at for cut in told) / len(told)
    return Cut(last, refused_at, any(cut.sure for cut in told), max(cut.calm_s for cut in told))


def cautious_rate(calm_s: float, refused_at: float, *, sure: bool) -> float:
    """The rate to ask for after a refusal. Pure.

    From 0.9 to 0.97 of the rate at which the service refused in two seconds, then to all of it in fourteen, for each
    refusal costs a pause; then gently and ever faster beyond it, for the quota may have moved. A rate that
    was only guessed is not lingered at: twice as much every two seconds.

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
    return refused_at * (1.0 + ((beyond_s - _PROBE_S) / _SEARCH_S) ** 3)
