from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.emulator.faults import (
    FailureCycle,
    Fate,
    TokenBucket,
    chance,
    fate,
    in_outage,
    reply_is_cut,
    retry_after,
    seconds_to_finish,
)
from deepo_beam.emulator.options import Options

KEYS = [b"image %d" % i for i in range(2000)]


@given(st.integers(), st.sampled_from(["post", "lost"]), st.binary(), st.integers(0, 10))
def test_a_chance_is_a_number_below_one_and_repeats(seed, kind, what, nth):
    drawn = chance(seed, kind, what, nth)
    assert 0 <= drawn < 1
    assert drawn == chance(seed, kind, what, nth)


def test_chances_are_uniform_and_differ_by_seed_kind_thing_and_time():
    drawn = [chance(0, "post", key) for key in KEYS]
    assert 0.45 < sum(drawn) / len(drawn) < 0.55
    variants = {
        chance(0, "a", b"x"),
        chance(1, "a", b"x"),
        chance(0, "b", b"x"),
        chance(0, "a", b"y"),
        chance(0, "a", b"x", 1),
    }
    assert len(variants) == 5


@pytest.mark.parametrize(
    ("name", "ends"), [("task_errors", Fate.ERROR), ("lose_tasks", Fate.LOST), ("stuck_tasks", Fate.STUCK)]
)
def test_a_share_of_the_tasks_meets_its_fate_and_a_new_attempt_is_drawn_anew(name, ends):
    options = Options(**{name: 0.1}, seed=3)
    met = [key for key in KEYS if fate(options, key, 0) is ends]
    assert 0.07 < len(met) / len(KEYS) < 0.13
    assert 0 < sum(fate(options, key, 1) is ends for key in met) < len(met) / 2
    assert {fate(options, key, 0) for key in KEYS} == {ends, Fate.FINE}


def test_shares_of_nothing_and_of_all_are_just_that():
    everything = Options(cut_replies=1.0, task_errors=1.0)
    for key in KEYS[:50]:
        assert not reply_is_cut(Options(), key, 0)
        assert reply_is_cut(everything, key, 0)
        assert fate(everything, key, 0) is Fate.ERROR


def test_jitter_adds_up_to_its_length():
    options = Options(latency=0.2, latency_jitter=0.1)
    times = [seconds_to_finish(options, key, 0) for key in KEYS]
    assert 0.2 <= min(times) < 0.21
    assert 0.29 < max(times) < 0.3
    assert seconds_to_finish(Options(latency=0.2), b"x", 0) == 0.2


def test_failures_are_503_500_502_504_in_turn_and_repeat_by_the_seed():
    cycles = [FailureCycle(7, "post", 0.25) for _ in range(2)]
    runs = [[cycle.next_status() for _ in range(1000)] for cycle in cycles]
    failures = [status for status in runs[0] if status is not None]
    assert runs[0] == runs[1]
    assert 200 < len(failures) < 300
    assert failures[:5] == [503, 500, 502, 504, 503]
    assert FailureCycle(7, "post", 0.0).next_status() is None


@given(st.floats(0.1, 500), st.integers(1, 20), st.lists(st.floats(0, 0.3), max_size=200))
def test_a_bucket_gives_at_most_its_depth_and_the_rate_times_the_window(rate, burst, gaps):
    bucket, now, given_at = TokenBucket(rate, burst, 0.0), 0.0, []
    for gap in gaps:
        now += gap
        if bucket.take(now) == 0.0:
            given_at.append(now)
    for index, start in enumerate(given_at):
        for end_index in range(index, len(given_at)):
            window = given_at[end_index] - start
            assert end_index - index + 1 <= burst + rate * window + 1e-6


def test_a_bucket_says_when_it_will_have_a_token_and_then_has_it():
    bucket = TokenBucket(4.0, 1, 10.0)
    assert bucket.take(10.0) == 0.0
    assert bucket.take(10.0) == 0.25
    assert bucket.take(10.0 + 0.25) == 0.0


def test_by_default_a_bucket_holds_a_tenth_of_a_second_and_at_least_two():
    for rate, depth in ((1.0, 2), (50.0, 5), (200.0, 20)):
        bucket = TokenBucket(rate, None, 0.0)
        assert sum(bucket.take(0.0) == 0.0 for _ in range(100)) == depth


def test_retry_after_is_whole_seconds_an_http_date_or_nothing():
    assert retry_after("none", 3.0, 0.0) is None
    assert retry_after("seconds", 0.01, 0.0) == "1"
    assert retry_after("seconds", 2.2, 0.0) == "3"
    date = retry_after("date", 2.2, 1_700_000_000.5)
    assert date == "Tue, 14 Nov 2023 22:13:23 GMT"
    assert parsedate_to_datetime(date).timestamp() == 1_700_000_003


def test_an_outage_lasts_from_its_start_for_its_length():
    options = Options(outage=(10.0, 5.0))
    assert [in_outage(options, second) for second in (9.9, 10.0, 14.9, 15.0)] == [False, True, True, False]
    assert not in_outage(Options(), 0.0)
