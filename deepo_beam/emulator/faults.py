"""The faults that one asks for: every decision is a pure function of the seed and of what it is about."""

from __future__ import annotations

import enum
import hashlib
import math
from email.utils import formatdate

from deepo_beam.emulator.options import Options

SERVER_ERRORS = (503, 500, 502, 504)
"""What failing posts and polls are answered with, in turn."""


class Fate(enum.Enum):
    """How a task ends: as its model says, in error, forgotten by the server, or never."""

    FINE = "fine"
    ERROR = "error"
    LOST = "lost"
    STUCK = "stuck"


def chance(seed: int, kind: str, what: bytes, nth: int = 0) -> float:
    """A number in [0, 1), the same for the same arguments on any machine, else as if drawn uniformly.

    Args:
        seed: of the emulator.
        kind: the decision, so that two of them are independent.
        what: the thing decided about, an image's key or nothing.
        nth: which time that thing comes, from 0.
    """
    text = b"%d %b %b %d" % (seed, kind.encode(), what, nth)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()[:6], "big") / 2**48


def fate(options: Options, key: bytes, nth: int) -> Fate:
    """How the ``nth`` task (from 0) of an image ends, in whatever order the images arrive."""
    for share, name in (
        (options.lose_tasks, Fate.LOST),
        (options.stuck_tasks, Fate.STUCK),
        (options.task_errors, Fate.ERROR),
    ):
        if share and chance(options.seed, name.value, key, nth) < share:
            return name
    return Fate.FINE


def seconds_to_finish(options: Options, key: bytes, nth: int) -> float:
    """Seconds from accepted to finished: the latency and this task's part of the jitter."""
    if not options.latency_jitter:
        return options.latency
    return options.latency + options.latency_jitter * chance(options.seed, "jitter", key, nth)


def reply_is_cut(options: Options, key: bytes, nth: int) -> bool:
    """Whether the connection is cut after the ``nth`` task of an image was accepted."""
    return bool(options.cut_replies) and chance(options.seed, "cut", key, nth) < options.cut_replies


def in_outage(options: Options, second: float) -> bool:
    """Whether the service is out, so many seconds after the start."""
    if options.outage is None:
        return False
    start, length = options.outage
    return start <= second < start + length


class FailureCycle:
    """A share of calls that fail, decided by the number of the call, with each status of a cycle in turn."""

    def __init__(self, seed: int, kind: str, share: float) -> None:
        self._seed, self._kind, self._share = seed, kind, share
        self._calls = self._failures = 0

    def next_status(self) -> int | None:
        """The 5xx of the call that comes now, None if it does not fail."""
        if not self._share:
            return None
        call, self._calls = self._calls, self._calls + 1
        if chance(self._seed, self._kind, b"", call) >= self._share:
            return None
        self._failures += 1
        return SERVER_ERRORS[(self._failures - 1) % len(SERVER_ERRORS)]


class TokenBucket:
    """A quota of calls; full at the start.

    Args:
        rate: tokens per second, > 0.
        burst: its depth, >= 1; None is a tenth of a second's worth, at least 2.
        now: seconds of any clock that only moves on.
    """

    def __init__(self, rate: float, burst: int | None, now: float) -> None:
        self._rate = rate
        self._depth = float(burst) if burst is not None else max(2.0, rate / 10)
        self._tokens, self._at = self._depth, now

    def take(self, now: float) -> float:
        """Takes a token: 0.0, or else the seconds (> 0) until there is one, and takes nothing."""
        self._tokens = min(self._depth, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate


def retry_after(style: str, wait: float, wall_now: float) -> str | None:
    """The value of a ``Retry-After`` header.

    Args:
        style: ``seconds`` (whole ones, at least 1), ``date`` (an HTTP date) or ``none``.
        wait: seconds until a token is there.
        wall_now: seconds since 1970.
    """
    if style == "none":
        return None
    if style == "date":
        return formatdate(math.ceil(wall_now + wait), usegmt=True)
    return str(max(1, math.ceil(wait)))
