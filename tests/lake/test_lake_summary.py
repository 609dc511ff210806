"""The numbers of a run: sums over buckets and workers, the identity, and the exit code."""

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.engine import Counters
from deepo_beam.lake.summary import OUTCOMES, Summary, summarise
from deepo_beam.lake.tally import BucketTally
from deepo_beam.lake.workers import WorkerReport


def tally(images: int = 0, labels: int = 0, *, codes: dict = {}, twice: dict = {}, versions: dict = {}, **counts: int):  # noqa: B006 - never changed
    return BucketTally(0, ("s",), images, labels, Counter(counts), Counter(twice), Counter(codes), Counter(versions))


def report(stopped: str | None = None, exit_code: int = 0, worker: str = "a", **counters: object) -> WorkerReport:
    return WorkerReport("run-a", worker, "here", 1, Counters(**counters), stopped=stopped, exit_code=exit_code)


def summary(
    *tallies: BucketTally, reports: tuple[WorkerReport, ...] = (), version: int | None = 12, seconds: float = 2.0
):
    return summarise(
        tallies,
        reports,
        run_id="run-a",
        output="mem://out",
        model="spec echo-v1",
        model_version_id=version,
        seconds=seconds,
    )


def test_a_run_of_nothing_is_done_and_adds_up() -> None:
    seen = summary()
    assert (seen.listed, seen.exit_code, seen.adds_up, seen.images_per_s) == (0, 0, True, 0.0)
    assert (seen.run_id, seen.output, seen.model, seen.model_version_id) == ("run-a", "mem://out", "spec echo-v1", 12)


def test_numbers_are_summed_over_buckets() -> None:
    seen = summary(
        tally(
            2, 3, codes={"throttled": 1}, twice={"task_lost": 1}, listed=2, succeeded=1, failed=1, calls=4, retries=2
        ),
        tally(1, 5, codes={"throttled": 1, "empty_file": 2}, twice={"in_doubt": 2}, listed=3, failed=3, calls=1),
    )
    assert (seen.listed, seen.succeeded, seen.failed, seen.calls, seen.retries) == (5, 1, 4, 5, 2)
    assert (seen.published, seen.labels) == (3, 8)
    assert seen.errors_by_code == {"empty_file": 2, "throttled": 2}
    assert (seen.possibly_billed_twice, seen.billed_twice_by_kind) == (3, {"in_doubt": 2, "task_lost": 1})


def test_a_budget_that_ran_out_is_told_with_what_is_left_of_it() -> None:
    counts = Counter(listed=5, succeeded=2, not_attempted=3, calls=7)
    spent = summarise(
        [tally(**counts)], (), run_id="r", output="o", model="m", model_version_id=1, seconds=1.0, max_calls=9
    )
    assert (spent.exit_code, spent.calls_unused) == (5, 2)
    assert spent.stopped == "the 9 calls of --max-calls are spent; the next run goes on"
    counts = Counter(listed=2, succeeded=2, calls=2)
    done = summarise(
        [tally(**counts)], (), run_id="r", output="o", model="m", model_version_id=1, seconds=1.0, max_calls=9
    )
    assert (done.exit_code, done.calls_unused, done.stopped) == (0, 0, None)


@pytest.mark.parametrize(
    ("limit", "failed", "code"),
    [(None, 4, 3), (None, 3, 0), (0.5, 2, 0), (0.5, 3, 3), (1.0, 4, 0), (0.0, 1, 3), (0.0, 0, 0)],
)
def test_more_failures_than_allowed_are_3(limit: float | None, failed: int, code: int) -> None:
    counts = tally(listed=4, failed=failed, succeeded=4 - failed)
    seen = summarise(
        [counts], (), run_id="r", output="o", model="m", model_version_id=1, seconds=1.0, max_failure_rate=limit
    )
    assert seen.exit_code == code


def test_polls_and_throttled_seconds_are_summed_over_workers() -> None:
    seen = summary(reports=(report(polls=3, throttled_s=1.25), report(worker="b", polls=4, throttled_s=0.5)))
    assert (seen.polls, seen.throttled_s) == (7, 1.75)


def test_only_reused_images_of_another_version_are_told() -> None:
    buckets = tally(listed=6, reused=6, versions={"11": 2, "12": 3, "": 1})
    assert summary(buckets, version=12).other_versions == {"": 1, "11": 2}
    assert summary(buckets, version=None).other_versions == {"11": 2, "12": 3}


def test_the_speed_is_that_of_images_with_an_outcome() -> None:
    seen = summary(tally(listed=10, succeeded=4, no_detection=1, failed=1, reused=4), seconds=2.0)
    assert (seen.seconds, seen.images_per_s) == (2.0, 3.0)
    assert seen.after(4.0).images_per_s == 1.5
    assert seen.after(0.0).images_per_s == 0.0


# --- the identity and the exit code ------------------------------------------------------------------


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_of_the_seven_outcomes_is_part_of_the_identity(name: str) -> None:
    assert summary(tally(**{"listed": 1, name: 1})).adds_up
    lost = summary(tally(**{"listed": 2, name: 1}))
    assert not lost.adds_up
    assert lost.exit_code == 4


@given(st.lists(st.fixed_dictionaries({name: st.integers(0, 5) for name in OUTCOMES}), max_size=4), st.integers(0, 1))
def test_a_summary_adds_up_exactly_if_its_buckets_do(buckets: list[dict[str, int]], lost: int) -> None:
    tallies = [tally(**counts, listed=sum(counts.values())) for counts in buckets]
    seen = summary(*tallies, tally(listed=lost))
    assert seen.adds_up == (lost == 0)
    assert (seen.exit_code == 4) == (lost != 0)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"succeeded": 1, "failed": 9}, 0),
        ({"no_detection": 1, "failed": 9}, 0),
        ({"failed": 1}, 3),
        ({"failed": 1, "reused": 5}, 3),
        ({"failed": 1, "not_attempted": 5}, 5),
        ({"skipped": 3, "duplicate": 1}, 0),
        ({"reused": 3}, 0),
        ({"not_attempted": 1, "succeeded": 5}, 5),
    ],
)
def test_the_exit_code_says_how_the_run_ended(counts: dict[str, int], expected: int) -> None:
    assert summary(tally(**counts, listed=sum(counts.values()))).exit_code == expected


def test_a_run_that_was_stopped_exits_by_what_stopped_it() -> None:
    reports = (report(), report("the key was refused", 6, worker="b"))
    seen = summary(tally(listed=2, failed=1, not_attempted=1), reports=reports)
    assert (seen.stopped, seen.exit_code) == ("the key was refused", 6)


def test_a_process_that_stopped_is_forgotten_if_others_did_its_work() -> None:
    seen = summary(tally(listed=2, succeeded=2), reports=(report("stopped by SIGTERM", 5),))
    assert (seen.stopped, seen.exit_code) == (None, 0)


def test_a_broken_accounting_outweighs_what_stopped_the_run() -> None:
    assert summary(tally(listed=1), reports=(report("a signal", 5),)).exit_code == 4


def test_a_summary_survives_json() -> None:
    seen = summary(tally(listed=1, failed=1, codes={"throttled": 1}))
    assert Summary(**dataclasses.asdict(seen)) == seen
