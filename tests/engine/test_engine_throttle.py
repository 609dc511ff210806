"""What a refusal does to the rate, and what is told and heard of it."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_engine_rate import assert_within

from deepo_beam.engine.cuts import Cut
from deepo_beam.engine.rate import bucket_depth
from deepo_beam.engine.throttle import Throttle


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


@pytest.mark.parametrize(("accepted", "per_s", "refused_at"), [(0, 200.0, 200.0), (9, 10.0, 125.0), (10, 10.0, 10.0)])
def test_far_above_the_quota_the_cut_goes_to_what_was_accepted_or_after_few_calls_to_a_quarter(
    accepted: int, per_s: float, refused_at: float
) -> None:
    throttled = throttle(500.0)
    for _ in range(accepted):
        throttled.accepted()
    refuse(throttled, 2.0, retry_after_s=0.1, accepted_per_s=per_s)
    assert throttled.cut(2.0) == Cut(1, refused_at, sure=False, calm_s=0.0)


def test_without_a_limit_the_first_cut_goes_to_what_was_accepted_or_to_a_beginning() -> None:
    for accepted_per_s, refused_at in ((200.0, 200.0), (0.0, 25.0)):
        throttled = throttle(None)
        refuse(throttled, 2.0, retry_after_s=0.1, accepted_per_s=accepted_per_s)
        assert throttled.cut(2.0) == Cut(1, refused_at, sure=False, calm_s=0.0)


def test_the_rate_is_never_cut_far_below_one_call_a_second_and_stays_below_what_is_allowed() -> None:
    for allowed, lowest in ((50.0, 0.9), (None, 0.9), (0.25, 0.25)):
        throttled = throttle(allowed)
        for number in range(12):
            refuse(throttled, 2.0 + number, retry_after_s=0.5, accepted_per_s=0.0)
        assert throttled.rate_per_s == pytest.approx(lowest)


def test_a_refusal_while_the_rate_comes_back_shows_that_too_much_had_been_learnt() -> None:
    throttled = throttle(200.0)
    refuse(throttled, 2.0, retry_after_s=0.0, accepted_per_s=150.0)
    run(throttled, 2.0, 2.0)
    refuse(throttled, 4.0, retry_after_s=0.0, accepted_per_s=150.0)
    assert throttled.cut(4.0).refused_at == pytest.approx(0.95 * 0.97 * 150.0, rel=0.01)


def test_a_share_of_the_rate_holds_at_once_after_a_refusal_too() -> None:
    throttled = throttle(100.0)
    throttled.take(0.0)
    refuse(throttled, 2.0, retry_after_s=0.0, accepted_per_s=90.0)
    throttled.share(10)
    assert throttled.rate_per_s == pytest.approx(8.1)
    throttled.share(1)  # the others left: the refusal is remembered
    assert throttled.rate_per_s == pytest.approx(81.0)


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
        throttle.share(sharers)
    for step in range(200):
        now = step * 0.1 / rate
        for throttle in throttles:
            while throttle.take(now) == 0.0:
                taken.append(now)
    assert_within(taken, rate, sharers * bucket_depth(rate / sharers))


# --- several processes ---------------------------------------------------------------------------------


def test_what_is_told_of_a_refusal_is_of_all_processes_and_has_an_age() -> None:
    throttled = throttle(200.0)
    throttled.share(4)
    assert throttled.cut(0.0) is None
    refuse(throttled, 2.0, retry_after_s=1.0, accepted_per_s=45.0)
    assert throttled.cut(2.5) == Cut(1, 180.0, sure=True, calm_s=0.0)  # in the pause
    assert throttled.cut(5.0) == Cut(1, 180.0, sure=True, calm_s=2.0)


def test_who_hears_of_a_first_cut_takes_it_over_as_old_as_it_is() -> None:
    throttled = throttle(200.0)
    throttled.share(4)
    throttled.hear(Cut(3, 100.0, sure=True, calm_s=2.0), 50.0)
    assert throttled.rate_per_s == pytest.approx(97.0 / 4)
    assert throttled.cut(50.5) == Cut(3, 100.0, sure=True, calm_s=2.5)
    assert throttled.paused_s == 0.0


def test_without_a_limit_too_a_newcomer_has_its_part_of_what_is_known() -> None:
    throttled = throttle(None)
    throttled.share(2)
    assert throttled.rate_per_s is None
    throttled.hear(Cut(1, 100.0, sure=True, calm_s=0.0), 50.0)
    assert throttled.rate_per_s == pytest.approx(45.0)


def after_a_cut_at_2_s(sharers: int = 2) -> Throttle:
    throttled = throttle(400.0)
    throttled.share(sharers)
    refuse(throttled, 2.0, retry_after_s=0.0, accepted_per_s=200.0 / sharers)
    assert throttled.cut(2.0) == Cut(1, 200.0, sure=True, calm_s=0.0)
    return throttled


def test_the_cut_of_another_begins_the_way_back_anew_at_the_own_rate() -> None:
    throttled = after_a_cut_at_2_s()
    run(throttled, 18.0, 0.1)
    assert throttled.rate_per_s == pytest.approx(100.0)
    throttled.hear(Cut(2, 150.0, sure=True, calm_s=0.0), 18.5)
    assert throttled.rate_per_s == pytest.approx(90.0)
    assert throttled.cut(18.5) == Cut(2, 200.0, sure=True, calm_s=0.0)


def test_a_cut_that_is_known_is_not_made_again_but_estimates_draw_together() -> None:
    throttled = after_a_cut_at_2_s()
    throttled.hear(Cut(1, 100.0, sure=True, calm_s=0.2), 3.0)
    assert throttled.cut(3.0) == Cut(1, 150.0, sure=True, calm_s=1.0)
    throttled.hear(Cut(1, 150.0, sure=True, calm_s=3.0), 4.0)  # it was made before this process was refused
    assert throttled.cut(4.0) == Cut(1, 150.0, sure=True, calm_s=3.0)


def test_news_do_not_begin_the_way_back_in_a_pause() -> None:
    throttled = throttle(400.0)
    throttled.share(2)
    refuse(throttled, 2.0, retry_after_s=10.0, accepted_per_s=100.0)
    throttled.hear(Cut(1, 200.0, sure=True, calm_s=0.0), 3.0)
    throttled.take(11.9)
    assert throttled.rate_per_s == pytest.approx(0.9 * 100.0)
    assert throttled.cut(13.0).calm_s == pytest.approx(1.0)


def test_a_cut_older_than_the_own_one_is_no_news() -> None:
    throttled = after_a_cut_at_2_s()
    throttled.hear(Cut(2, 200.0, sure=True, calm_s=0.0), 3.0)
    known = throttled.cut(4.0)
    throttled.hear(Cut(1, 20.0, sure=False, calm_s=9.0), 4.0)
    assert throttled.cut(4.0) == known


def test_a_call_made_before_a_cut_was_heard_of_does_not_cut_again() -> None:
    throttled = after_a_cut_at_2_s()
    throttled.hear(Cut(2, 200.0, sure=True, calm_s=0.0), 10.0)
    throttled.refused(10.1, posted_at=9.9, retry_after_s=0.5, accepted_per_s=100.0)
    assert throttled.cut(10.2) == Cut(2, 200.0, sure=True, calm_s=0.0)
    assert throttled.take(10.2) == pytest.approx(0.4)  # the pause is kept all the same


def test_the_first_refusal_after_a_cut_may_be_the_fault_of_others_but_not_the_second() -> None:
    throttled = after_a_cut_at_2_s()
    refuse(throttled, 2.5, retry_after_s=0.0, accepted_per_s=100.0)
    assert throttled.cut(2.5) == Cut(1, 200.0, sure=True, calm_s=0.0)
    refuse(throttled, 2.6, retry_after_s=0.0, accepted_per_s=100.0)
    assert throttled.cut(2.6).number == 1  # the same one
    assert throttled.cut(2.6).refused_at == pytest.approx(0.75 * 180.0, rel=0.02)
    refuse(throttled, 10.0, retry_after_s=0.0, accepted_per_s=100.0)
    assert throttled.cut(10.0).number == 2


def test_where_calls_are_few_one_refusal_is_no_reason_for_a_cut() -> None:
    throttled = throttle(20.0)
    throttled.share(4)
    for _ in range(10):
        throttled.accepted()
    refuse(throttled, 2.0, retry_after_s=0.5, accepted_per_s=5.0)
    assert throttled.cut(2.0) is None
    assert throttled.take(2.0) == pytest.approx(0.5)
    refuse(throttled, 3.0, retry_after_s=0.5, accepted_per_s=5.0)
    assert throttled.cut(3.0) == Cut(1, 20.0, sure=True, calm_s=0.0)


def test_where_calls_are_few_many_refusals_tell_the_quota() -> None:
    throttled = throttle(20.0)
    throttled.share(4)
    for _ in range(2):
        throttled.accepted()
        refuse(throttled, 2.0, retry_after_s=0.5, accepted_per_s=5.0)
    assert throttled.cut(2.0) == Cut(1, 10.0, sure=True, calm_s=0.0)


def test_where_calls_are_few_and_most_are_refused_how_low_the_quota_is_stays_a_guess() -> None:
    throttled = throttle(20.0)
    throttled.share(4)
    for now in (1.0, 3.0, 5.0):
        refuse(throttled, now, retry_after_s=0.1)
    told = throttled.cut(5.0)
    assert told is not None
    assert (told.refused_at, told.sure) == (pytest.approx(5.0), False)


def test_one_that_rests_because_others_post_says_nothing_of_how_long_it_was_refused() -> None:
    throttled = throttle(20.0)
    refuse(throttled, 3.0, retry_after_s=1.0)
    throttled.rest()
    assert throttled.refused_for_s(1000.0) == 0.0
    assert throttled.take(3.5) == pytest.approx(0.5)  # the pause is kept all the same


def test_the_clock_without_pauses_stands_still_in_each() -> None:
    throttled = throttle(100.0)
    assert throttled.unpaused_s(5.0) == 5.0
    refuse(throttled, 5.0, retry_after_s=2.0)
    refuse(throttled, 6.0, retry_after_s=2.0)
    assert [throttled.unpaused_s(now) for now in (5.0, 6.5, 8.0, 9.5)] == [5.0, 5.0, 5.0, 6.5]


heard = st.builds(Cut, st.integers(1, 4), st.floats(1.0, 500.0), st.booleans(), st.floats(0.0, 60.0))
shared_steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.1, 1.0, 10.0]),
        st.integers(0, 2),
        st.sampled_from(["take", "take", "take"]) | st.just("refuse") | heard,
    ),
    max_size=60,
)


@given(st.sampled_from([1.0, 20.0, 99.0, 500.0]), shared_steps)
def test_the_law_holds_for_all_together_whatever_they_are_refused_and_hear(rate: float, schedule: list) -> None:
    sharers, now, taken = 3, 0.0, []
    throttles = [Throttle(rate, random.Random(number)) for number in range(sharers)]
    for throttled in throttles:
        throttled.share(sharers)
    for wait, number, what in schedule:
        now += wait
        if isinstance(what, Cut):
            throttles[number].hear(what, now)
        elif what == "refuse":
            refuse(throttles[number], now, retry_after_s=0.0, accepted_per_s=rate / 4)
        elif throttles[number].take(now) == 0.0:
            taken.append(now)
        assert throttles[number].rate_per_s <= rate / sharers * (1 + 1e-9)
    assert_within(taken, rate, sharers * bucket_depth(rate / sharers))
