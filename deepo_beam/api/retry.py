"""When to try again: full jitter, what ``Retry-After`` asks for, attempts and one total deadline."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import tenacity

from deepo_beam.errors import ConfigError, DeepoBeamError

MAX_RETRY_AFTER_S = 3600.0
_MAX_DOUBLINGS = 60  # beyond, 2.0 ** n passes any cap
_SECONDS = re.compile(r"[0-9]{1,300}(\.[0-9]{1,300})?")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to keep trying one call.

    Attributes:
        attempts: tries in all, 1 or more.
        deadline_s: seconds from the first try after which none begins.
        base_s: the first wait is between 0 and this, the next between 0 and twice this, and so on ...
        cap_s: ... up to this.

    Raises:
        ConfigError: a value is out of its range.
    """

    attempts: int = 5
    deadline_s: float = 60.0
    base_s: float = 0.5
    cap_s: float = 20.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigError(f"retry attempts: {self.attempts} is too few, give 1 or more")
        for name in ("deadline_s", "base_s", "cap_s"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"retry {name}: {getattr(self, name)} is no time, give 0 or more seconds")


def full_jitter_s(attempt: int, *, base_s: float, cap_s: float, rng: random.Random) -> float:
    """Seconds to wait after the failed try number ``attempt`` (0 for the first).

    Uniform in [0, min(cap_s, base_s * 2**attempt)], so that many clients do not come back together.
    """
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(attempt, _MAX_DOUBLINGS)))


def parse_retry_after(value: str | None, now: datetime | None) -> float | None:
    """Seconds (0..3,600) that a ``Retry-After`` header asks to wait, in either form of RFC 9110.

    Args:
        value: the header: seconds (decimals are understood too) or an HTTP date; None without one.
        now: what a date is compared with; without a time zone it is UTC. None: dates are not understood.

    Returns:
        The wait, None where the header says nothing that can be understood.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    if now is None:
        return None
    try:
        seconds = (_aware(parsedate_to_datetime(text)) - _aware(now)).total_seconds()
    except (TypeError, ValueError, OverflowError):  # TypeError: what Python 3.10 raises for no date at all
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def retrying(
    policy: RetryPolicy, *, sleep: Callable[[float], None], clock: Callable[[], float], rng: random.Random
) -> tenacity.Retrying:
    """A tenacity ``Retrying`` for one call: ``retrying(...)(function, *arguments)``.

    Retries errors whose ``retryable`` is true, after the longer of full jitter and the error's
    ``retry_after``. Gives up after ``policy.attempts``, or at once when the next wait would end past the
    deadline, and then raises the last error itself. The deadline runs from the creation of the object.
    """
    started = clock()

    def wait(state: tenacity.RetryCallState) -> float:
        jitter = full_jitter_s(state.attempt_number - 1, base_s=policy.base_s, cap_s=policy.cap_s, rng=rng)
        error = state.outcome.exception() if state.outcome else None
        return max(jitter, getattr(error, "retry_after", None) or 0.0)

    def stop(state: tenacity.RetryCallState) -> bool:
        too_late = clock() + state.upcoming_sleep > started + policy.deadline_s
        return too_late or state.attempt_number >= policy.attempts

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: isinstance(e, DeepoBeamError) and e.retryable),
        wait=wait,
        stop=stop,
        sleep=sleep,
        reraise=True,
    )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
