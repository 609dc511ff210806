"""What the engine observes: quantiles, rates, the window and the number of senders that follow from them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.engine.meters import Quantiles, RateMeter, SenderCount, window_size

# --- quantiles ---------------------------------------------------------------------------------------


def test_without_a_value_a_quantile_is_the_default() -> None:
    assert Quantiles().at(0.5, 7.0) == 7.0


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=32), st.floats(0.0, 1.0))
def test_of_few_values_a_quantile_is_exact(values: list[float], q: float) -> None:
    quantiles = Quantiles()
    for value in values:
        quantiles.add(value)
    assert quantiles.at(q, -1.0) == sorted(values)[min(len(values) - 1, int(q * len(values)))]


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=300), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_quantiles_are_observed_values_and_grow_with_q(values: list[float], q: float, other: float) -> None:
    quantiles = Quantiles()
    for value in values:
        quantiles.add(value)
    low, high = quantiles.at(min(q, other), -1.0), quantiles.at(max(q, other), -1.0)
    assert low in values
    assert low <= high


def test_old_values_are_forgotten() -> None:
    quantiles = Quantiles(size=64)
    for value in [100.0] * 64 + [1.0] * 64:
        quantiles.add(value)
    assert quantiles.at(0.99, 0.0) == 1.0


# --- rates -------------------------------------------------------------------------------------------


def test_no_event_is_no_rate() -> None:
    meter = RateMeter()
    assert meter.per_s(5.0) == 0.0


@pytest.mark.parametrize("rate", [5, 100, 1000])
def test_a_steady_rate_is_measured_to_a_tenth(rate: int) -> None:
    meter = RateMeter(window_s=2.0)
    for event in range(10 * rate):
        meter.add(event / rate)
    assert meter.per_s(10.0) == pytest.approx(rate, rel=0.1)


def test_a_rate_is_known_before_its_window_has_passed() -> None:
    meter = RateMeter(window_s=2.0)
    for event in range(50):
        meter.add(100.0 + event / 100)
    assert meter.per_s(100.5) == pytest.approx(100.0, rel=0.1)


def test_a_first_event_is_no_infinite_rate() -> None:
    meter = RateMeter()
    meter.add(3.0)
    assert meter.per_s(3.0) == 4.0


def test_what_is_older_than_the_window_does_not_count() -> None:
    meter = RateMeter(window_s=2.0)
    for event in range(100):
        meter.add(event / 100)
    assert meter.per_s(3.5) == 0.0
    meter.add(3.6)
    assert meter.per_s(3.6) == pytest.approx(0.5)


def test_an_event_counts_for_the_window_and_not_a_slot_longer() -> None:
    meter = RateMeter(window_s=2.0, slots=20)
    meter.add(0.05)
    assert meter.per_s(1.95) > 0.0
    assert meter.per_s(2.05) == 0.0


@given(st.lists(st.floats(0.0, 1.0), max_size=200))
def test_a_rate_is_never_more_than_all_events_in_a_quarter_of_a_second(waits: list[float]) -> None:
    meter, now = RateMeter(), 0.0
    for wait in waits:
        now += wait
        meter.add(now)
        assert 0.0 <= meter.per_s(now) <= len(waits) / 0.25


# --- the window --------------------------------------------------------------------------------------


@given(st.floats(0.0, 1e5), st.floats(0.0, 1e4))
def test_the_window_is_twice_what_littles_law_asks_for_within_its_limits(rate: float, latency: float) -> None:
    size = window_size(rate, latency)
    assert 64 <= size <= 20_000
    if 64 < size < 20_000:
        assert 2 * rate * latency <= size < 2 * rate * latency + 1


# --- senders -----------------------------------------------------------------------------------------


def climb(
    senders: SenderCount, per_s: Callable[[int], float], until: float, *, since: float = 0.0, busy: bool = True
) -> list[int]:
    """Lets a service that takes ``per_s(senders)`` posts/s work for so long; the numbers wanted on the way."""
    now, wanted = since, [senders.wanted]
    while now < until:
        now += 1.0 / per_s(senders.wanted)
        senders.posted(now, all_busy=busy)
        if senders.wanted != wanted[-1]:
            wanted.append(senders.wanted)
    return wanted


def test_a_slow_service_is_given_more_senders_up_to_the_limit() -> None:
    senders = SenderCount(limit=100, start=8)
    assert climb(senders, lambda wanted: 5.0 * wanted, 2.5) == [8, 16, 32, 64, 100]


def test_all_128_are_at_work_within_a_second_and_a_tenth_where_a_post_takes_50_ms() -> None:
    assert climb(SenderCount(limit=128), lambda wanted: 20.0 * wanted, 1.1)[-1] == 128


def test_where_more_senders_bring_nothing_one_step_back_is_taken() -> None:
    senders = SenderCount(limit=128, start=8)
    assert climb(senders, lambda wanted: min(80.0, 5.0 * wanted), 2.5) == [8, 16, 32, 16]


def test_after_a_step_back_it_is_tried_again_ever_more_rarely() -> None:
    assert climb(SenderCount(limit=128, start=8), lambda _: 100.0, 1.4) == [8, 16, 8]
    assert climb(SenderCount(limit=128, start=8), lambda _: 100.0, 1.0 + 2.0 + 4.0 + 1.5) == [8, 16] * 3 + [8]


def test_a_service_that_becomes_slow_has_all_its_senders_within_the_longest_rest_and_a_few_seconds() -> None:
    senders = SenderCount(limit=128, start=8)
    climb(senders, lambda _: 100.0, 200.0)
    assert climb(senders, lambda wanted: 2.0 * wanted, 235.0, since=200.0)[-1] == 128


def test_senders_that_a_moment_s_noise_has_won_are_given_back() -> None:
    senders = SenderCount(limit=128, start=4)
    senders.wanted = 64
    wanted = climb(senders, lambda wanted: 1500.0 - 3.0 * wanted, 150.0)
    assert wanted[-1] in (4, 8)  # the latter while it is tried again


def test_also_from_the_limit_fewer_are_tried_and_kept_only_if_they_are_as_fast() -> None:
    senders = SenderCount(limit=128, start=64)
    assert climb(senders, lambda wanted: 20.0 * wanted, 4.5) == [64, 128, 64, 128]


def test_senders_that_are_not_all_busy_are_enough() -> None:
    senders = SenderCount(limit=128, start=8)
    assert climb(senders, lambda _: 100.0, 8.0, busy=False) == [8]


def test_after_a_lull_the_climb_begins_anew_and_is_not_compared_with_what_was_before() -> None:
    senders = SenderCount(limit=128, start=8)

    def half_a_second(start: float, posts: int, *, busy: bool) -> int:
        for number in range(1, posts + 1):
            senders.posted(start + 0.5 * number / posts, all_busy=busy)
        return senders.wanted

    senders.posted(0.0, all_busy=True)
    assert half_a_second(0.0, 40, busy=True) == 16
    assert half_a_second(0.5, 4, busy=False) == 16
    assert half_a_second(1.0, 40, busy=True) == 32  # all busy: more are tried, though it is no faster than at first


def test_there_are_never_more_than_the_limit() -> None:
    assert SenderCount(limit=3).wanted == 3
    senders = SenderCount(limit=1)
    assert climb(senders, lambda wanted: 10.0 * wanted, 8.0) == [1]
