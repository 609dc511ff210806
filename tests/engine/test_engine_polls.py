"""Which task ids are asked for, and when: paced, at most 100 at a time, those that are due first."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.engine.polls import MAX_IDS, PollSchedule


def drain(polls: PollSchedule, now: float, until: float) -> list[tuple[float, tuple[str, ...]]]:
    """Asks whenever the schedule says so; the calls with their times."""
    calls = []
    while now < until:
        answer = polls.take(now)
        if isinstance(answer, float):
            assert answer > now, "it would be asked for ever"
            now = answer
        else:
            calls.append((now, answer))
    return calls


def seen_latencies(polls: PollSchedule, latency_s: float, count: int = 40) -> None:
    for _ in range(count):
        polls.observed(latency_s, 0.0)


def test_without_a_task_there_is_nothing_to_ask_for_ever() -> None:
    assert PollSchedule().take(5.0) == float("inf")


def test_a_first_task_is_asked_for_after_a_guess() -> None:
    polls = PollSchedule()
    polls.add("a", 10.0)
    assert polls.take(10.0) == pytest.approx(10.09)
    assert polls.take(10.1) == ("a",)
    assert polls.take(10.1) == float("inf")


def test_a_task_is_asked_for_just_before_the_time_at_which_most_were_done() -> None:
    polls = PollSchedule()
    seen_latencies(polls, 2.0)
    polls.add("a", 10.0)
    assert polls.take(11.7) == pytest.approx(11.8)
    assert polls.take(11.81) == ("a",)


def test_a_task_of_an_earlier_run_is_asked_for_at_once() -> None:
    polls = PollSchedule()
    seen_latencies(polls, 60.0)
    polls.add_known("old", 10.0)
    assert polls.take(10.0) == ("old",)


@pytest.mark.parametrize(("age", "pause"), [(0.0, 0.05), (0.5, 0.05), (2.0, 0.1), (100.0, 5.0)])
def test_a_pending_task_is_asked_for_again_after_a_twentieth_of_its_age(age: float, pause: float) -> None:
    polls = PollSchedule()
    polls.again("a", age, 10.0)
    assert polls.take(10.0) == pytest.approx(10.0 + pause)


def test_the_ids_that_were_due_first_are_asked_for_first_a_hundred_at_a_time() -> None:
    polls = PollSchedule()
    for number in reversed(range(250)):
        polls.again(str(number), 0.0, number / 1000)  # due 50 ms later
    calls = drain(polls, 1.0, 2.0)
    assert [len(ids) for _, ids in calls] == [MAX_IDS, MAX_IDS, 50]
    assert [int(task_id) for _, ids in calls for task_id in ids] == list(range(250))


def test_until_one_is_seen_finished_no_task_is_asked_for_before_it_is_as_old_as_one_that_was_pending() -> None:
    polls = PollSchedule()
    polls.add("old", 0.0)
    assert polls.take(0.1) == ("old",)
    polls.again("old", 3.0, 3.0)
    polls.add("new", 3.0)
    polls.again("younger", 1.0, 3.0)
    drained = dict.fromkeys(task_id for at, ids in drain(polls, 3.0, 4.9) for task_id in ids)
    assert list(drained) == ["old"]
    assert {task_id for at, ids in drain(polls, 4.9, 5.9) for task_id in ids} == {"younger", "new"}
    polls.observed(0.2, 6.0)
    polls.again("another", 1.0, 6.0)
    assert polls.take(6.06) == ("another",)


def test_a_call_that_is_not_full_waits_30_ms_for_company() -> None:
    polls = PollSchedule()
    for _ in range(2000):
        polls.observed(0.1, 10.0)  # enough throughput for 60 calls a second
    polls.add_known("a", 10.0)
    assert polls.take(10.0) == ("a",)
    polls.add_known("b", 10.02)
    assert polls.take(10.02) == pytest.approx(10.03)
    assert polls.take(10.031) == ("b",)


def test_a_full_call_does_not_wait_for_company() -> None:
    polls = PollSchedule()
    for _ in range(2000):
        polls.observed(0.1, 10.0)
    polls.add_known("a", 10.0)
    polls.take(10.0)
    for number in range(100):
        polls.add_known(str(number), 10.0)
    assert len(polls.take(10.03)) == 100


@pytest.mark.parametrize(("finished_per_s", "calls_per_s"), [(0, 10.0), (100, 10.0), (1000, 60.0)])
def test_calls_are_paced_by_what_finishes(finished_per_s: int, calls_per_s: float) -> None:
    polls = PollSchedule()
    for number in range(5000):
        polls.add_known(str(number), 0.0)
    for number in range(2 * finished_per_s):
        polls.observed(0.1, -2.0 + number / max(1, finished_per_s))
    calls = drain(polls, 0.0, 0.5)
    assert len(calls) == pytest.approx(0.5 * calls_per_s, rel=0.25, abs=1)


@given(st.lists(st.tuples(st.floats(0.0, 0.2), st.sampled_from(["add", "again", "known", "failed"])), max_size=80))
def test_calls_without_a_finished_task_are_never_more_than_ten_a_second(steps: list[tuple[float, str]]) -> None:
    polls, now, calls = PollSchedule(), 0.0, []
    for number, (wait, what) in enumerate(steps):
        now += wait
        if what == "add":
            polls.add(str(number), now)
        elif what == "again":
            polls.again(str(number), 1.0, now)
        elif what == "known":
            polls.add_known(str(number), now)
        else:
            polls.failed((str(number),), now, pause_s=0.01, error="HTTP 502")
        if not isinstance(polls.take(now), float):
            calls.append(now)
    assert all(later - earlier >= 0.1 - 1e-9 for earlier, later in itertools.pairwise(calls))


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 30)), max_size=20))
def test_no_id_is_forgotten_and_none_is_asked_for_twice_unasked(arrivals: list[tuple[float, int]]) -> None:
    polls, now, number = PollSchedule(), 0.0, 0
    asked: Counter[str] = Counter()
    for wait, count in arrivals:
        for _, ids in drain(polls, now, now + wait):
            asked.update(ids)
        now += wait
        for _ in range(count):
            polls.add(str(number), now)
            number += 1
    for _, ids in drain(polls, now, now + 60.0):
        asked.update(ids)
        assert len(ids) <= MAX_IDS
    assert asked == Counter(map(str, range(number)))


def test_after_a_call_that_failed_all_calls_pause_and_its_ids_come_again() -> None:
    polls = PollSchedule()
    polls.add_known("a", 0.0)
    polls.add_known("b", 0.0)
    ids = polls.take(0.0)
    polls.failed(ids, 0.5, pause_s=3.0, error="HTTP 502")
    polls.add_known("c", 0.6)
    assert polls.take(0.6) == pytest.approx(3.5)
    assert set(polls.take(3.6)) == {"a", "b", "c"}


def test_failures_in_a_row_are_counted_until_an_answer() -> None:
    polls = PollSchedule()
    polls.failed((), 0.0, pause_s=0.1, error="HTTP 502")
    polls.failed((), 1.0, pause_s=0.1, error="HTTP 502")
    assert polls.failures == 2
    polls.answered(1, 2.0)
    assert polls.failures == 0


def test_the_95th_percentile_is_a_guess_before_the_first_answer() -> None:
    polls = PollSchedule()
    assert polls.p95_s() == 1.0
    for number in range(1, 101):
        polls.observed(number / 100, 0.0)
    assert polls.p95_s() == pytest.approx(0.95, abs=0.06)


def test_time_in_which_no_poll_was_answered_is_told_and_ends_with_an_answer() -> None:
    polls = PollSchedule()
    polls.failed((), 1.0, pause_s=0.1, error="HTTP 502")
    polls.failed((), 5.0, pause_s=0.1, error="HTTP 503")
    assert (polls.unanswered_since, polls.unanswered_s(11.0), polls.last_error) == (1.0, 10.0, "HTTP 503")
    polls.answered(1, 12.0)
    assert (polls.unanswered_since, polls.unanswered_s(99.0)) == (None, 11.0)


def test_an_answer_that_cannot_be_read_is_asked_for_in_halves_until_one_id_is_left() -> None:
    polls, bad = PollSchedule(), "17"
    for number in range(100):
        polls.add_known(str(number), 0.0)
    answered: Counter[str] = Counter()
    calls, now = 0, 0.0
    while answered.total() < 99:
        ids = polls.take(now)
        if isinstance(ids, float):
            assert ids > now
            now = ids
            continue
        calls += 1
        if bad in ids:
            polls.failed(ids, now, pause_s=0.1, error="not JSON", unreadable=True)
        else:
            answered.update(ids)
            polls.answered(len(ids), now)
    assert set(answered.values()) == {1}
    assert calls < 100
    assert now < 60


def test_calls_are_smaller_after_an_answer_that_was_too_long_and_grow_again() -> None:
    polls = PollSchedule()
    for number in range(1000):
        polls.add_known(str(number), 0.0)
    ids = polls.take(0.0)
    polls.failed(ids, 0.0, pause_s=0.0, error="too long", unreadable=True)
    sizes, now = [], 0.1
    while isinstance(ids := polls.take(now), tuple) or ids < float("inf"):
        if isinstance(ids, float):
            now = ids
            continue
        sizes.append(len(ids))
        polls.answered(len(ids), now)
    assert sizes[:5] == [50, 50, 55, 60, 65]
    assert max(sizes) == MAX_IDS
    assert sum(sizes) == 1000
