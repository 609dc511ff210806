"""The rate limit is a law, whatever is asked when; and what a refusal does to it."""

import itertools
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepo_beam.engine.rate import Throttle, TokenBucket, bucket_depth

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


# --- the throttle ------------------------------------------------------------------------------------


class Rng(random.Random):
    """Always the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def throttle(rate: float | None) -> Throttle:
    return Throttle(rate, Rng())


def run(throttled: Throttle, start: float, seconds: float) -> list[float]:
    """The takes of a caller that takes whatever it can, each 5 ms."""
    steps = range(round(seconds / 0.005))
    return [start + step * 0.005 for step in steps if throttled.take(start + step * 0.005) == 0.0]


def test_without_a_refusal_the_rate_is_the_one_allowed() -> None:
    throttled = throttle(20.0)
    assert 199 <= len(run(throttled, 0.0, 10.0)) <= 203
    assert (throttled.rate_per_s, throttled.paused_s, throttled.refused_since) == (20.0, 0.0, None)


def test_a_refusal_pauses_at_once_for_as_long_as_the_service_asks() -> None:
    throttled = throttle(None)
    assert throttled.take(0.0) == 0.0
    throttled.refused(0.5, retry_after_s=2.0, accepted_per_s=10.0)
    assert throttled.take(0.5) == pytest.approx(2.0)
    assert throttled.take(2.4) == pytest.approx(0.1)
    assert throttled.take(2.5) == 0.0
    assert throttled.paused_s == pytest.approx(2.0)


def test_a_refusal_that_names_no_time_pauses_for_50_to_200_ms() -> None:
    throttled = throttle(None)
    throttled.take(0.0)
    throttled.refused(0.0, retry_after_s=None, accepted_per_s=0.0)
    assert throttled.take(0.0) == pytest.approx(0.125)


def test_pauses_that_overlap_are_counted_once() -> None:
    throttled = throttle(None)
    throttled.take(0.0)
    throttled.refused(1.0, retry_after_s=2.0, accepted_per_s=5.0)
    throttled.refused(2.0, retry_after_s=3.0, accepted_per_s=5.0)
    throttled.refused(2.1, retry_after_s=0.5, accepted_per_s=5.0)
    assert throttled.paused_s == pytest.approx(4.0)
    assert throttled.take(4.9) == pytest.approx(0.1)


def test_in_the_first_second_nothing_is_known_and_only_paused() -> None:
    throttled = throttle(None)
    throttled.take(0.0)
    throttled.refused(0.9, retry_after_s=None, accepted_per_s=3.0)
    assert throttled.rate_per_s is None
    throttled.refused(1.1, retry_after_s=None, accepted_per_s=50.0)
    assert throttled.rate_per_s == pytest.approx(46.0)


def test_a_burst_of_refusals_is_one_cut() -> None:
    throttled = throttle(100.0)
    throttled.take(0.0)
    for now in (2.0, 2.1, 2.5, 2.9):
        throttled.refused(now, retry_after_s=0.1, accepted_per_s=90.0)
    assert throttled.rate_per_s == pytest.approx(92.0)
    throttled.refused(3.0, retry_after_s=0.1, accepted_per_s=90.0)
    assert throttled.rate_per_s == pytest.approx(0.92 * 92.0)


def test_far_above_the_quota_the_cut_goes_to_what_was_accepted() -> None:
    throttled = throttle(500.0)
    throttled.take(0.0)
    throttled.refused(2.0, retry_after_s=0.1, accepted_per_s=40.0)
    assert throttled.rate_per_s == pytest.approx(0.92 * 40.0)


def test_the_rate_is_never_cut_below_one_call_a_second_but_stays_below_what_is_allowed() -> None:
    for allowed, lowest in ((50.0, 1.0), (None, 1.0), (0.25, 0.25)):
        throttled = throttle(allowed)
        throttled.take(0.0)
        throttled.refused(2.0, retry_after_s=0.1, accepted_per_s=0.0)
        assert throttled.rate_per_s == lowest


def test_without_a_further_refusal_the_rate_grows_slowly_then_faster_back_to_what_is_allowed_and_no_further() -> None:
    throttled = throttle(100.0)
    throttled.take(0.0)
    throttled.refused(2.0, retry_after_s=0.0, accepted_per_s=10.0)
    seen = []
    for second in range(2, 30):
        run(throttled, float(second), 1.0)
        seen.append(throttled.rate_per_s)
    assert seen[0] == pytest.approx(9.2)
    growth = [later / earlier - 1 for earlier, later in itertools.pairwise(seen)]
    assert all(0.0 <= each <= 0.5 + 1e-9 for each in growth)
    assert growth[1:4] == pytest.approx([0.02] * 3, abs=0.001)
    assert max(growth) > 0.4
    assert seen[-1] == 100.0


def test_the_first_of_the_refusals_without_an_acceptance_between_is_remembered() -> None:
    throttled = throttle(None)
    throttled.refused(3.0, retry_after_s=None, accepted_per_s=0.0)
    throttled.refused(9.0, retry_after_s=None, accepted_per_s=0.0)
    assert throttled.refused_since == 3.0
    throttled.accepted()
    assert throttled.refused_since is None
    throttled.refused(12.0, retry_after_s=None, accepted_per_s=0.0)
    assert throttled.refused_since == 12.0


steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.01, 0.1, 1.0, 3.0, 10.0]),
        st.sampled_from(["take", "take", "take", "refuse"]),
        st.sampled_from([None, 0.0, 0.5]),
        st.floats(0.0, 100.0),
    ),
    max_size=40,
)


@given(st.sampled_from([1.0, 3.0, 10.0, 50.0, 200.0]), steps)
@example(
    10.0,
    [
        (0.0, "take", None, 0.0),
        (3.0, "take", None, 0.0),
        (0.0, "take", None, 0.0),
        (0.0, "refuse", 0.0, 1.0),  # cuts to 1/s, at which one second's worth is saved up
        (0.0, "take", None, 0.0),
    ],
)
def test_the_law_holds_through_cuts_and_growth(rate: float, schedule: list) -> None:
    throttled, now, taken = Throttle(rate, random.Random(1)), 0.0, []
    for wait, what, retry_after_s, accepted_per_s in schedule:
        now += wait
        if what == "refuse":
            throttled.refused(now, retry_after_s=retry_after_s, accepted_per_s=accepted_per_s)
        elif throttled.take(now) == 0.0:
            taken.append(now)
    assert_within(taken, rate, bucket_depth(rate))
