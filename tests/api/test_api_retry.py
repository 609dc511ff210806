"""Retries have attempts and a deadline, jitter, and listen to the service."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepo_beam.api import RetryPolicy, full_jitter_s, parse_retry_after, retrying
from deepo_beam.errors import BadRequestError, ConfigError, ServerError, ThrottledError

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=timezone.utc)


@given(st.integers(0, 10_000), st.floats(0.0, 10.0), st.floats(0.0, 100.0), st.integers())
def test_jitter_is_between_zero_and_the_doubled_base_up_to_the_cap(
    attempt: int, base: float, cap: float, seed: int
) -> None:
    wait = full_jitter_s(attempt, base_s=base, cap_s=cap, rng=random.Random(seed))
    assert 0.0 <= wait <= min(cap, base * 2.0 ** min(attempt, 1000))


@pytest.mark.parametrize(("attempt", "longest"), [(0, 1.0), (1, 2.0), (2, 4.0), (4, 16.0), (9, 60.0)])
def test_jitter_uses_the_whole_range(attempt: int, longest: float) -> None:
    rng = random.Random(1)
    waits = [full_jitter_s(attempt, base_s=1.0, cap_s=60.0, rng=rng) for _ in range(1000)]
    assert min(waits) < 0.02 * longest
    assert max(waits) > 0.98 * longest


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("99999999", 3600.0),
        ("9" * 200, 3600.0),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=2), usegmt=True), 3600.0),
        ("Tue, 24 Nov 2026 14:00:10 +0200", 10.0),
        ("Tuesday, 24-Nov-26 12:00:10 GMT", 10.0),
        ("Tue Nov 24 12:00:10 2026", 10.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("٣", None),
        ("soon", None),
        ("Tue, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_understood_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d{1,9} \w{3} \d{1,9} \d\d:\d\d:\d\d [+-]\d{1,12}", fullmatch=True))
@example("Tue, 24 Nov 0001 12:00:00 +2359")
@example("Tue, 24 Nov 9999 23:59:59 -99999999999")
def test_any_retry_after_is_none_or_within_an_hour(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0.0 <= seconds <= 3600.0


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def function() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return function


def test_a_retryable_error_is_tried_again_until_it_passes(virtual_time: Any) -> None:
    retry = retrying(RetryPolicy(), sleep=virtual_time.sleep, clock=virtual_time.clock, rng=random.Random(0))
    assert retry(failing(ServerError("a"), ServerError("b"))) == "done"
    assert len(virtual_time.slept) == 2


def test_an_error_that_is_not_retryable_is_raised_at_once(virtual_time: Any) -> None:
    retry = retrying(RetryPolicy(), sleep=virtual_time.sleep, clock=virtual_time.clock, rng=random.Random(0))
    error = BadRequestError("no")
    with pytest.raises(BadRequestError) as caught:
        retry(failing(error))
    assert caught.value is error
    assert virtual_time.slept == []


def test_a_bug_is_raised_at_once(virtual_time: Any) -> None:
    retry = retrying(RetryPolicy(), sleep=virtual_time.sleep, clock=virtual_time.clock, rng=random.Random(0))
    with pytest.raises(ZeroDivisionError):
        retry(failing(ZeroDivisionError()))
    assert virtual_time.slept == []


def test_attempts_are_counted_and_the_last_error_itself_is_raised(virtual_time: Any) -> None:
    errors = [ServerError(str(n)) for n in range(9)]
    policy = RetryPolicy(attempts=3, deadline_s=1e9)
    retry = retrying(policy, sleep=virtual_time.sleep, clock=virtual_time.clock, rng=random.Random(0))
    with pytest.raises(ServerError) as caught:
        retry(failing(*errors))
    assert caught.value is errors[2]
    assert len(virtual_time.slept) == 2


def test_the_wait_that_the_service_asks_for_is_the_least(virtual_time: Any) -> None:
    retry = retrying(RetryPolicy(), sleep=virtual_time.sleep, clock=virtual_time.clock, rng=random.Random(0))
    assert retry(failing(ThrottledError("slow", retry_after=33.0))) == "done"
    assert virtual_time.slept == [33.0]


def test_a_wait_that_would_pass_the_deadline_is_not_begun(virtual_time: Any) -> None:
    policy = RetryPolicy(attempts=100, deadline_s=60.0)
    retry = retrying(policy, sleep=virtual_time.sleep, clock=virtual_time.clock, rng=random.Random(0))
    with pytest.raises(ThrottledError):
        retry(failing(*(ThrottledError("slow", retry_after=25.0) for _ in range(9))))
    assert virtual_time.slept == [25.0, 25.0]


@pytest.mark.parametrize("change", [{"attempts": 0}, {"deadline_s": -1.0}, {"base_s": float("nan")}])
def test_a_policy_that_cannot_be_meant_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change)).split("_")[0]):
        RetryPolicy(**change)
