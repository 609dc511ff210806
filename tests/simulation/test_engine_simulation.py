"""The engine's core through seeded faults in virtual time: nothing is lost, doubled, overdrawn or stuck."""

from __future__ import annotations

import random

import pytest
from world import Scenario, Simulation

from deepo_beam.engine import EngineSettings, NotAttempted, Settled
from deepo_beam.errors import ErrorCode, RunStoppedError
from deepo_beam.types import Status


def _random_scenario(rng: random.Random) -> Scenario:
    def some(share: float) -> float:
        return rng.choice([0.0, 0.0, share, 2 * share])

    latency = rng.choice([0.0, 0.05, 0.2, 2.0])
    return Scenario(
        images=rng.choice([1, 7, 60, 300]),
        latency=(0.8 * latency, 1.2 * latency + 0.01),
        post_time=rng.choice([(0.001, 0.002), (0.04, 0.06), (0.01, 1.0)]),
        flush_time=rng.choice([(0.001, 0.01), (0.05, 0.5)]),
        rate=rng.choice([None, 5.0, 50.0, 200.0]),
        service_rate=rng.choice([None, None, 40.0]),
        max_in_flight=rng.choice([None, 1, 10]),
        unavailable=some(0.1),
        broken=some(0.05),
        cut=some(0.02),
        too_large=some(0.02),
        bad_images=some(0.05),
        unreadable=some(0.05),
        task_errors=some(0.05),
        lost=some(0.05),
        stuck=some(0.01),
        failed_polls=some(0.2),
        slow_polls=some(0.2),
        failed_flushes=some(0.1),
        outage=rng.choice([None, None, (0.5, 20.0)]),
    )


@pytest.mark.parametrize("block", range(10))
def test_every_image_has_one_outcome_whatever_fails(block: int) -> None:
    for seed in range(20 * block, 20 * (block + 1)):
        scenario = _random_scenario(random.Random(seed))
        try:
            Simulation(scenario, seed).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {scenario}: {error}") from error


def test_without_faults_each_image_is_one_call() -> None:
    simulation = Simulation(Scenario(images=1000), seed=1)
    simulation.run()
    assert simulation.core.counters.calls == 1000
    assert simulation.core.counters.retries == 0
    assert simulation.core.counters.polls <= 0.06 * 1000
    assert simulation.core.counters.succeeded + simulation.core.counters.no_detection == 1000


def test_the_allowed_rate_is_used_and_not_exceeded() -> None:
    simulation = Simulation(Scenario(images=2000, rate=50.0), seed=2)
    simulation.run()
    posts = simulation.service.posts
    assert (len(posts) - 1) / (posts[-1] - posts[0]) > 0.97 * 50


def test_a_service_with_a_lower_quota_is_found_and_used_at_nine_tenths_of_it() -> None:
    simulation = Simulation(Scenario(images=3000, service_rate=40.0), seed=3)
    simulation.run()
    assert sum(simulation.service.accepted.values()) == 3000
    later = [post for post in simulation.service.posts if post > 30.0]
    assert len(later) / (later[-1] - 30.0) > 0.9 * 40
    refused_later = simulation.service.refused_after(30.0)
    assert refused_later < 0.02 * len(later)


def test_the_window_is_never_larger_than_asked_for() -> None:
    scenario = Scenario(images=300, max_in_flight=10)
    simulation = Simulation(scenario, seed=4)
    peak = 0
    accept = simulation.core.accepted

    def watched(job, task_id, now):
        nonlocal peak
        accept(job, task_id, now)
        peak = max(peak, simulation.core.in_flight)

    simulation.core.accepted = watched
    simulation.run()
    assert 5 <= peak <= 10


def test_an_outage_charges_no_image() -> None:
    simulation = Simulation(Scenario(images=300, latency=(1.0, 2.0), outage=(0.2, 120.0)), seed=5)
    simulation.run()
    assert simulation.core.counters.failed == 0
    assert len(simulation.service.posts) < 300 + 60


def test_a_service_that_stays_down_stops_the_run_and_fails_nothing() -> None:
    simulation = Simulation(Scenario(images=300, outage=(0.2, 1e9)), seed=6)
    simulation.run()
    assert isinstance(simulation.core.fatal, RunStoppedError)
    assert simulation.core.counters.failed == 0
    assert any(isinstance(outcome, NotAttempted) for outcome in simulation.outcomes.values())


def test_a_store_that_fails_stops_posting_and_then_the_run() -> None:
    simulation = Simulation(Scenario(images=300, failed_flushes=1.0), seed=7)
    simulation.core.submit([], 0.0)
    with pytest.raises(AssertionError, match="hangs"):
        simulation.run(until=120.0)  # nothing becomes durable, which is what the caller waits for
    assert isinstance(simulation.core.fatal, RunStoppedError)
    assert simulation.core.store_failed
    assert not simulation.service.posts


def test_a_stuck_task_is_given_up_and_does_not_hold_up_the_others() -> None:
    simulation = Simulation(Scenario(images=500, stuck=0.02, max_in_flight=20), seed=8)
    simulation.run()
    failed = [o.result for o in simulation.outcomes.values() if o.result.status is Status.FAILED]
    assert failed
    assert {result.failure.code for result in failed} == {ErrorCode.TASK_STUCK}
    others = [o.result.finished_us for o in simulation.outcomes.values() if o.result.status is not Status.FAILED]
    assert max(others) < 30e6


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"unavailable": 0.7}, ErrorCode.SERVICE_UNAVAILABLE),
        ({"cut": 0.9}, ErrorCode.ANSWER_UNKNOWN),
        ({"broken": 0.9}, ErrorCode.ANSWER_UNKNOWN),
        ({"too_large": 0.5}, ErrorCode.PAYLOAD_TOO_LARGE),
        ({"bad_images": 0.5}, ErrorCode.NOT_AN_IMAGE),
        ({"unreadable": 0.8}, ErrorCode.READ_FAILED),
        ({"task_errors": 0.8}, ErrorCode.TASK_ERROR),
        ({"lost": 0.8}, ErrorCode.TASK_LOST),
    ],
)
def test_each_fault_has_its_code(fault: dict[str, float], code: ErrorCode) -> None:
    simulation = Simulation(Scenario(images=60, **fault), seed=9)
    simulation.run()
    results = [o.result for o in simulation.outcomes.values() if isinstance(o, Settled)]
    codes = {result.failure.code for result in results if result.failure}
    assert codes == {code}
    assert all(result.attempts <= 5 for result in results)


def test_stopping_attempts_nothing_more_and_gives_every_image_back() -> None:
    simulation = Simulation(Scenario(images=500, rate=50.0), seed=10)
    simulation._after(2.0, lambda: simulation.core.stop(simulation.now))
    simulation.run()
    posts = simulation.service.posts
    assert posts[-1] <= 2.0
    kinds = [type(outcome) for outcome in simulation.outcomes.values()]
    assert kinds.count(NotAttempted) + kinds.count(Settled) == 500
    assert kinds.count(NotAttempted) > 300


def test_a_cancelled_owner_leaves_no_claim_open_and_gets_nothing() -> None:
    simulation = Simulation(Scenario(images=300, rate=100.0), seed=11, settings=EngineSettings(rate_per_s=100.0))
    simulation._after(1.0, lambda: simulation.core.cancel(1))
    with pytest.raises(AssertionError, match="outcomes"):  # they do not come any more
        simulation.run()
    assert simulation.core.outstanding(1) == 0
    while simulation._events:
        simulation._pump()
        time, _, event = simulation._events.pop(0)
        simulation.now = max(simulation.now, time)
        event()
    assert simulation.core.backlog() == 0
    assert simulation.core.durable(1) or simulation.flush_all()
    simulation._check_claims()
