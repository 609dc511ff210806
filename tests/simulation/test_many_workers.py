"""One rate, or one unknown quota, over several processes, in virtual time: how much of it is used, and how politely."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from crowd import Crowd, Setting

from deepo_beam.engine.rate import bucket_depth
from deepo_beam.engine.throttle import Throttle


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
@pytest.mark.parametrize("rate", [20.0, 200.0])
def test_a_rate_that_is_allowed_is_used_and_never_exceeded(processes: int, rate: float) -> None:
    crowd = Crowd(Setting(processes=processes, told=rate, quota={0.0: 1e9}), seed=1).run(45.0)
    posts = crowd.posts
    start = posts[0] + 10.0
    assert 0.97 <= sum(start <= post < start + 30.0 for post in posts) / (30.0 * rate) <= 1.0 + 1e-2
    depth = bucket_depth(rate / processes)
    lowest = float("inf")
    for number, post in enumerate(posts):
        lowest = min(lowest, number - rate * post)
        assert number + 1 - rate * post - lowest <= processes * depth + 1 + 1e-6, f"too many until {post} s"


@pytest.mark.parametrize(("processes", "style"), [(2, "seconds"), (4, "date"), (4, "none"), (8, "seconds")])
def test_a_quota_below_what_was_told_is_found_and_held(processes: int, style: str) -> None:
    crowd = Crowd(Setting(processes=processes, retry_after=style), seed=1).run(75.0)
    start = crowd.first + 10.0
    assert crowd.used(start, 75.0) > 0.9
    assert crowd.refused(start, 75.0) < 0.02


@pytest.mark.parametrize(("processes", "told", "quota"), [(8, 200.0, 20.0), (4, 20.0, 10.0), (2, 20.0, 15.0)])
def test_a_quota_of_few_calls_for_each_process_is_held_as_by_one(processes: int, told: float, quota: float) -> None:
    crowd = Crowd(Setting(processes=processes, told=told, quota={0.0: quota}, retry_after="any"), seed=1).run(75.0)
    start = crowd.first + 10.0
    assert crowd.used(start, 75.0) > 0.85
    assert crowd.refused(start, 75.0) < 0.015


def test_where_those_that_are_needed_do_not_manage_the_quota_the_others_come_back() -> None:
    setting = Setting(processes=8, told=200.0, quota={0.0: 20.0}, posts_per_s=3.0)
    crowd = Crowd(setting, seed=1).run(120.0)
    assert crowd.used(30.0, 120.0) > 0.7  # where those that are needed could do no more than 0.15 of it


@pytest.mark.parametrize(("processes", "style"), [(1, "seconds"), (2, "none"), (4, "seconds"), (8, "none")])
def test_a_quota_that_moves_is_followed_within_half_a_minute(processes: int, style: str) -> None:
    quota = {0.0: 100.0, 40.0: 50.0, 80.0: 150.0}
    crowd = Crowd(Setting(processes=processes, quota=quota, retry_after=style), seed=1).run(121.0)
    assert crowd.used(70.0, 80.0) > 0.85
    assert crowd.used(110.0, 120.0) > 0.85
    assert crowd.refused(crowd.first + 10.0, 120.0) < 0.02


@pytest.mark.parametrize(("told", "processes"), [(20.0, 4), (200.0, 8)])
def test_after_an_outage_of_refusals_most_of_the_rate_is_back_after_half_a_minute_and_all_of_it_15_s_later(
    told: float, processes: int
) -> None:
    quota = {0.0: 1e9, 15.0: 0.001, 23.0: 1e9}
    crowd = Crowd(Setting(processes=processes, told=told, quota=quota), seed=1).run(83.0)
    # Those that were not needed come back, too, and a newcomer's share is used by nobody for one lease.
    assert sum(53.0 <= post < 68.0 for post in crowd.posts) > 0.8 * 15.0 * told
    assert sum(68.0 <= post < 83.0 for post in crowd.posts) > 0.97 * 15.0 * told


def test_one_cut_for_all_needs_fewer_refusals_than_one_for_each() -> None:
    def refused() -> float:
        crowd = Crowd(Setting(processes=4), seed=1).run(75.0)
        return crowd.refused(crowd.first + 10.0, 75.0)

    together = refused()
    with patch.object(Throttle, "hear"):
        each = refused()
    assert together < 0.5 * each


def test_without_a_limit_the_quota_is_found_too() -> None:
    crowd = Crowd(Setting(processes=4, told=None, retry_after="any"), seed=1).run(75.0)
    assert crowd.used(crowd.first + 10.0, 75.0) > 0.9
    assert crowd.refused(crowd.first + 10.0, 75.0) < 0.02


def test_a_process_that_joins_has_the_cut_at_once_and_one_that_dies_leaves_its_share() -> None:
    starts = (0.0, 0.0, 30.0, 31.0)
    crowd = Crowd(Setting(processes=4, starts=starts, ends={0: 60.0}, retry_after="any"), seed=1).run(90.0)
    assert crowd.used(36.0, 60.0) > 0.9  # until then newcomers have a share and wait for one lease
    assert crowd.refused(30.0, 60.0) < 0.02
    assert crowd.used(67.0, 90.0) > 0.9


def test_the_share_of_a_dead_process_is_taken_up_within_10_s() -> None:
    crowd = Crowd(Setting(processes=4, told=100.0, quota={0.0: 1e9}, ends={2: 30.0}), seed=1).run(61.0)
    assert sum(40.0 <= post < 60.0 for post in crowd.posts) / (20.0 * 100.0) >= 0.97


@pytest.mark.parametrize("latency_s", [5.0, 60.0])
def test_tasks_that_take_long_do_not_keep_the_rate_from_being_used(latency_s: float) -> None:
    latency = (latency_s, 1.1 * latency_s)
    crowd = Crowd(Setting(told=100.0, quota={0.0: 1e9}, latency=latency), seed=1).run(90.0)
    start = crowd.first + 10.0
    assert sum(start <= post < start + 70.0 for post in crowd.posts) / (70.0 * 100.0) >= 0.97


@pytest.mark.parametrize("processes", [2, 8])
def test_news_that_come_late_or_not_at_all_cost_little(processes: int) -> None:
    slow = Setting(processes=processes, store_s=(0.05, 0.15), retry_after="any")
    lossy = Setting(processes=processes, lost_beats=0.1, retry_after="any")
    for setting in (slow, lossy):
        crowd = Crowd(setting, seed=1).run(75.0)
        assert crowd.used(crowd.first + 10.0, 75.0) > 0.85
        assert crowd.refused(crowd.first + 10.0, 75.0) < 0.02


def test_a_crowd_repeats_to_the_last_call() -> None:
    one, other = (Crowd(Setting(processes=3), seed=5).run(20.0) for _ in range(2))
    assert one.service.accepted == other.service.accepted != []
    assert one.service.refused == other.service.refused
