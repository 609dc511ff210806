"""The options of the emulator: one frozen value, checked once, with the help text of each flag."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from deepo_beam.errors import ConfigError
from deepo_beam.units import parse_size

RETRY_AFTER_STYLES = ("seconds", "date", "none")


def parse_outage(text: str) -> tuple[float, float]:
    """``10:5`` is ``(10.0, 5.0)``: the second at which an outage starts and how long it lasts.

    Raises:
        ValueError: not two numbers >= 0 with a colon between them.
    """
    start, colon, length = text.partition(":")
    try:
        outage = float(start), float(length)
    except ValueError:
        colon = ""
    if not colon or not all(math.isfinite(value) and value >= 0 for value in outage):
        raise ValueError(f"{text!r} is not an outage: write its start and its length in seconds, like 10:5")
    return outage


def _flag(default: Any, help_: str, parse: Callable[[str], Any] = float) -> Any:
    return field(default=default, metadata={"help": help_, "parse": parse})


@dataclass(frozen=True, slots=True)
class Options:
    """What ``deepo-beam emulator`` was asked for; shares in 0..1, times in seconds, counted from the start.

    Raises:
        ConfigError: a value is out of its range; the message names the flag.
    """

    host: str = _flag("127.0.0.1", "Address to listen on.", str)
    port: int = _flag(0, "Port to listen on; 0 picks a free one.", int)
    latency: float = _flag(0.0, "Seconds from accepted to success.")
    latency_jitter: float = _flag(0.0, "Up to so many seconds more, uniformly.")
    post_latency: float = _flag(0.0, "Seconds to accept a post.")
    rate: float | None = _flag(None, "Posts per second; 429 above it.")
    burst: int | None = _flag(
        None, "Depth of the token bucket; by default a tenth of a second's worth, at least 2.", int
    )
    retry_after: str = _flag("seconds", "What a 429 says in Retry-After: seconds, date or none.", str)
    fail_posts: float = _flag(0.0, "Share of posts answered 503, 500, 502, 504 in turn, not accepted.")
    cut_replies: float = _flag(0.0, "Share of accepted posts whose connection is cut before the answer.")
    task_errors: float = _flag(0.0, "Share of tasks that end in error.")
    lose_tasks: float = _flag(0.0, "Share of tasks that are forgotten (404, absent from lists).")
    stuck_tasks: float = _flag(0.0, "Share of tasks that stay pending for good.")
    fail_polls: float = _flag(0.0, "Share of polls answered 503, 500, 502, 504 in turn.")
    slow_polls: float = _flag(0.0, "Seconds that every poll hangs.")
    outage: tuple[float, float] | None = _flag(
        None, "START:LENGTH in seconds: every API call is answered 503.", parse_outage
    )
    new_version_at: float | None = _flag(None, "Second at which the current versions move on.")
    max_body: int | None = _flag(None, "Largest body of a post, like 4MB; 413 above it.", parse_size)
    api_key: str | None = _flag(None, "The only key that passes; by default any key does.", str)
    seed: int = _flag(0, "Makes the faults repeat.", int)
    allow_urls: bool = _flag(False, "Fetch URL sources from other hosts than this one.", bool)

    def __post_init__(self) -> None:
        shares = ("fail_posts", "cut_replies", "task_errors", "lose_tasks", "stuck_tasks", "fail_polls")
        times = ("latency", "latency_jitter", "post_latency", "slow_polls", "new_version_at")
        for name in shares:
            self._check(name, 0 <= getattr(self, name) <= 1, "a share from 0 to 1, like 0.05")
        for name in times:
            value = getattr(self, name)
            self._check(name, value is None or (math.isfinite(value) and value >= 0), "seconds, like 0.2")
        rate = self.rate
        self._check("rate", rate is None or (math.isfinite(rate) and rate > 0), "posts per second, like 50")
        self._check("burst", self.burst is None or self.burst >= 1, "a number of posts, like 5")
        self._check("port", 0 <= self.port <= 65535, "a port from 0 to 65535")
        self._check("retry_after", self.retry_after in RETRY_AFTER_STYLES, "seconds, date or none")
        self._check("api_key", self.api_key != "", "a key that is not empty")

    def _check(self, name: str, good: bool, wanted: str) -> None:
        if not good:
            raise ConfigError(f"{flag_of(name)} {getattr(self, name)}: give {wanted}")


def flag_of(name: str) -> str:
    """``fail_posts`` is ``--fail-posts``."""
    return "--" + name.replace("_", "-")


def help_of(name: str) -> str:
    """The help text of an option."""
    return str(next(option for option in fields(Options) if option.name == name).metadata["help"])


def from_texts(texts: dict[str, str]) -> Options:
    """Options from the texts of flags, by their names with underscores (``{"max_body": "4MB"}``).

    Raises:
        ConfigError: an unknown name, or a value that cannot be read or is out of its range.
    """
    parsers = {option.name: option.metadata["parse"] for option in fields(Options)}
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in parsers:
            raise ConfigError(f"{flag_of(name)}: no such option; there are {', '.join(map(flag_of, parsers))}")
        try:
            values[name] = parsers[name](text)
        except ValueError as error:
            raise ConfigError(f"{flag_of(name)}: {error}") from error
    return Options(**values)
