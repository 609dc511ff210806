"""The rate limit is a law, whatever is asked when; and what a refusal does to it."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepo_beam.engine.rate import Throttle, TokenBucket, bucket_depth, cautious_rate

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


def refuse(
    throttled: Throttle, now: float, *, retry_after_s: float | None = None, accepted_per_s: float = 10.0
) -> None:
    """As for a call that was made at this very moment."""
    throttled.refused(now, posted_at=now, retry_after_s=retry_after_s, accepted_per_s=accepted_per_s)


def test_a_refusal_pauses_at_once_for_as_long_as_the_service_asks() -> None:
    throttled = throttle(None)
    assert throttled.take(0.0) == 0.0
    refuse(throttled, 0.5, retry_after_s=2.0)
    assert throttled.take(0.5) == pytest.approx(2.0)
    assert throttled.take(2.4) == pytest.approx(0.1)
    assert throttled.take(2.5) == 0.0
    assert throttled.paused_s == pytest.approx(2.0)


def test_a_refusal_that_names_no_time_pauses_for_50_to_200_ms() -> None:
    throttled = throttle(None)
    throttled.take(0.0)
    refuse(throttled, 0.0)
    assert throttled.take(0.0) == pytest.approx(0.125)


def test_pauses_that_overlap_are_counted_once() -> None:
    throttled = throttle(None)
    throttled.take(0.0)
    refuse(throttled, 1.0, retry_after_s=2.0)
    refuse(throttled, 2.0, retry_after_s=3.0)
    refuse(throttled, 2.1, retry_after_s=0.5)
    assert throttled.paused_s == pytest.approx(4.0)
    assert throttled.take(4.9) == pytest.approx(0.1)


def test_a_burst_of_refusals_is_one_cut() -> None:
    throttled = throttle(100.0)
    throttled.take(0.0)
    refuse(throttled, 2.0, retry_after_s=0.1, accepted_per_s=90.0)
    for now in (2.1, 2.5, 2.9):  # of calls that were on the wire already
        throttled.refused(now, posted_at=1.9, retry_after_s=0.1, accepted_per_s=90.0)
    assert throttled.rate_per_s == pytest.approx(0.9 * 90.0)


def test_a_refusal_right_after_a_pause_means_that_the_guess_was_far_off() -> None:
    throttled = throttle(100.0)
    throttled.take(0.0)
    refuse(throttled, 2.0, retry_after_s=0.1, accepted_per_s=90.0)
    refuse(throttled, 2.2, retry_after_s=0.1, accepted_per_s=70.0)
    assert throttled.rate_per_s == pytest.approx(0.9 * 0.75 * 0.9 * 90.0)


def test_far_above_the_quota_the_cut_goes_to_what_was_accepted() -> None:
    throttled = throttle(500.0)
    throttled.take(0.0)
    refuse(throttled, 2.0, retry_after_s=0.1, accepted_per_s=40.0)
    assert throttled.rate_per_s == pytest.approx(0.9 * 40.0)


def test_the_rate_is_never_cut_far_below_one_call_a_second_and_stays_below_what_is_allowed() -> None:
    for allowed, lowest in ((50.0, 0.9), (None, 0.9), (0.25, 0.25)):
        throttled = throttle(allowed)
        throttled.take(0.0)
        refuse(throttled, 2.0, retry_after_s=0.1, accepted_per_s=0.0)
        assert throttled.rate_per_s == pytest.approx(lowest)


def test_after_a_refusal_the_rate_comes_near_probes_and_then_looks_for_a_quota_that_moved() -> None:
    rates = [cautious_rate(float(second), 100.0, sure=True) for second in range(40)]
    assert rates[0] == pytest.approx(90.0)
    assert rates[2] == pytest.approx(97.0)
    assert rates[22] == pytest.approx(100.0)
    assert rates[28] == pytest.approx(200.0)
    assert rates == sorted(rates)


def test_a_share_of_the_rate_holds_at_once_after_a_refusal_too() -> None:
    throttled = throttle(100.0)
    throttled.take(0.0)
    refuse(throttled, 2.0, retry_after_s=0.0, accepted_per_s=90.0)
    throttled.share(100.0, 10)
    assert throttled.rate_per_s == 10.0
    throttled.share(100.0, 1)  # the others left: the refusal is remembered
    assert throttled.rate_per_s == 10.0


def test_a_rate_that_was_only_guessed_is_left_behind_quickly() -> None:
    assert cautious_rate(6.0, 10.0, sure=False) == pytest.approx(4 * 9.7)


def test_without_a_further_refusal_the_rate_comes_back_to_what_is_allowed_and_no_further() -> None:
    throttled = throttle(100.0)
    throttled.take(0.0)
    refuse(throttled, 2.0, retry_after_s=0.0, accepted_per_s=90.0)
    for second in range(2, 40):
        run(throttled, float(second), 1.0)
        assert throttled.rate_per_s <= 100.0
    assert throttled.rate_per_s == 100.0


def test_how_long_everything_was_refused_leaves_out_the_pauses_that_were_asked_for() -> None:
    throttled = throttle(None)
    refuse(throttled, 3.0, retry_after_s=100.0)
    assert throttled.refused_for_s(103.0) == pytest.approx(0.0)
    assert throttled.refused_for_s(110.0) == pytest.approx(7.0)
    throttled.accepted()
    assert throttled.refused_for_s(110.0) == 0.0


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
            refuse(throttled, now, retry_after_s=retry_after_s, accepted_per_s=accepted_per_s)
        elif throttled.take(now) == 0.0:
            taken.append(now)
    assert_within(taken, rate, bucket_depth(rate))


@given(st.sampled_from([1.0, 20.0, 99.0, 500.0]), st.integers(2, 5))
def test_several_that_share_a_rate_keep_it_together(rate: float, sharers: int) -> None:
    throttles = [Throttle(rate, random.Random(0)) for _ in range(sharers)]
    taken = []
    for throttle in throttles:
        throttle.share(rate, sharers)
    for step in range(200):
        now = step * 0.1 / rate
        for throttle in throttles:
            while throttle.take(now) == 0.0:
                taken.append(now)
    assert_within(taken, rate, sharers * bucket_depth(rate / sharers))
