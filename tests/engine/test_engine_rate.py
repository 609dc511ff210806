"""The rate limit is a law, whatever is asked when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.engine.rate import TokenBucket, bucket_depth

rates = st.sampled_from([0.1, 1.0, 3.0, 20.0, 99.0, 100.0, 250.0, 1000.0]) | st.floats(0.01, 2000.0)
# What passes between two calls, in units of 1/rate: nothing, a little, or a long rest.
pauses = st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.5, 0.99, 1.0, 1.01, 7.0]) | st.floats(0.0, 20.0), max_size=60)


def assert_within(taken: list[float], rate: float, depth: float) -> None:
    """In no window are there more takes than rate x w + depth + 1."""
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            allowed = rate * (taken[last] - start) + depth + 1
            assert last - first + 1 <= allowed + 1e-6, f"{last - first + 1} in {taken[last] - start} s at {rate}/s"


@given(rates, pauses, st.booleans(), st.floats(0.0, 1e6))
def test_no_window_ever_has_more_takes_than_the_rate_and_the_depth_allow(
    rate: float, waits: list[float], patient: bool, now: float
) -> None:
    bucket, taken = TokenBucket(rate), []
    for wait in waits:
        now += wait / rate
        missing = bucket.take(now)
        if missing and patient:
            now += missing
            missing = bucket.take(now + 1e-9)  # the sum of two floats may fall just short
        if not missing:
            taken.append(now)
    assert_within(taken, rate, bucket_depth(rate))


@given(rates, st.integers(2, 40))
def test_a_caller_that_always_waits_as_told_gets_the_whole_rate(rate: float, count: int) -> None:
    bucket, now, taken = TokenBucket(rate), 0.0, []
    while len(taken) < count:
        missing = bucket.take(now)
        if missing:
            assert missing > 0
            now += missing * (1 + 1e-9) + 1e-12
        else:
            taken.append(now)
    assert taken[-1] <= (count - 1) / rate * (1 + 1e-6) + 1e-6


def test_a_take_that_is_refused_takes_nothing() -> None:
    bucket = TokenBucket(1.0)
    assert [bucket.take(0.0), bucket.take(0.0)] == [0.0, 0.0]  # one, and one saved up
    assert [bucket.take(0.0), bucket.take(0.0), bucket.take(0.5)] == [1.0, 1.0, 0.5]
    assert bucket.take(1.0) == 0.0


@pytest.mark.parametrize(("rate", "depth"), [(0.1, 1.0), (1.0, 1.0), (99.0, 1.0), (100.0, 1.0), (500.0, 5.0)])
def test_one_call_is_saved_up_below_100_a_second_and_10_ms_worth_above(rate: float, depth: float) -> None:
    assert bucket_depth(rate) == depth


def test_no_limit_is_no_limit() -> None:
    bucket = TokenBucket(None)
    assert all(bucket.take(0.0) == 0.0 for _ in range(1000))
