"""Decisions of the core that are plain to see one at a time; the simulation has them all at once."""

from __future__ import annotations

import random

import pytest

from deepo_beam.api import Output, Prediction, Task, TaskState
from deepo_beam.engine import Core, EngineSettings, NotAttempted, RunFacts, Settled, Unchanged, Work
from deepo_beam.engine.ledger import Flush
from deepo_beam.engine.work import Job
from deepo_beam.errors import (
    BadRequestError,
    BadResultError,
    ConnectError,
    EndpointError,
    ErrorCode,
    ForbiddenError,
    NotFoundError,
    RedirectError,
    ServerError,
    ServiceUnavailableError,
    Stage,
    ThrottledError,
)
from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Record, Released
from deepo_beam.types import Facts, Failure, ImageRef, ImageResult, ModelKind, ModelRef, Status

OWNER = 1


class Driver:
    """A core whose journal always writes at once; ``now`` is moved by hand."""

    def __init__(self, **settings: object) -> None:
        run = RunFacts("run-b", ModelRef(ModelKind.SPEC, "echo-v1"), 21)
        self.now = 100.0
        self.journal: list[Record] = []
        self.core = Core(
            EngineSettings(**{"retry_base_s": 0.0, **settings}),
            run,
            now=self.now,
            wall_us=lambda now: round(now * 1e6),
            rng=random.Random(1),
        )

    def submit(self, *numbers: int, size: int | None = 1000, **changes: object) -> None:
        images = [ImageRef(f"{n:032x}", f"/{n}", f"/{n}", size_bytes=size) for n in numbers]
        self.core.submit([Work(OWNER, 0, image, **changes) for image in images], self.now)

    def flush(self) -> None:
        while isinstance(flush := self.core.next_flush(self.now), Flush):
            self.journal += [entry.record for entry in flush.entries]
            self.core.flushed(flush)

    def take(self) -> Job:
        """The next job, read."""
        self.flush()
        job = self.core.next_post(self.now)
        assert isinstance(job, Job), f"nothing to post before {job}"
        self.core.loaded(job, Facts(size_bytes=1000), 1500)
        return job

    def post(self) -> Job:
        """The next job, on the wire."""
        job = self.take()
        assert self.core.turn(job, self.now) == 0.0
        return job

    def accept(self, task_id: str = "7") -> Job:
        job = self.post()
        self.core.accepted(job, task_id, self.now)
        return job

    def poll(self, *tasks: Task, later_s: float = 1.0) -> tuple[str, ...]:
        """Asks for whatever is due after so long, and answers with these tasks."""
        self.now += later_s
        ids = self.core.next_poll(self.now)
        assert isinstance(ids, tuple), f"nothing to ask for before {ids}"
        self.core.polled(ids, tasks, self.now)
        return ids

    def records(self, kind: type) -> list:
        self.core.durable(OWNER)
        self.flush()
        return [record for record in self.journal if isinstance(record, kind)]

    def outcome(self) -> ImageResult:
        (outcome,) = self.core.take_outcomes(OWNER)
        assert isinstance(outcome, Settled), f"{outcome}"
        return outcome.result


def done(task_id: str = "7", *, predicted: bool = True) -> Task:
    labels = (Prediction(1, "cat", 0.75, 0.5),) if predicted else ()
    return Task(task_id, TaskState.SUCCESS, outputs=(Output(labels),))


# --- one image ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("predicted", "status"), [(True, Status.SUCCEEDED), (False, Status.NO_DETECTION)])
def test_the_way_of_an_image_and_its_records(predicted: bool, status: Status) -> None:
    driver = Driver()
    driver.submit(1)
    driver.accept("7")
    assert [record.task_id for record in driver.records(Accepted)] == ["7"]
    assert driver.poll(done("7", predicted=predicted)) == ("7",)
    result = driver.outcome()
    assert (result.status, result.task_id, result.calls, result.attempts) == (status, "7", 1, 1)
    assert (result.failure, result.facts, result.timings.wait_ms) == (None, Facts(size_bytes=1000), 1000)
    assert [record.result for record in driver.records(Finished)] == [result]
    assert [type(record) for record in driver.journal] == [Claimed, Accepted, Finished]
    assert driver.core.durable(OWNER)


def test_where_the_time_of_an_image_went_is_told_in_milliseconds() -> None:
    driver = Driver()
    driver.submit(1)
    driver.now += 0.5
    job = driver.post()
    driver.now += 0.25
    driver.core.accepted(job, "7", driver.now)
    driver.poll(done("7"), later_s=2.0)
    timings = driver.outcome().timings
    assert (timings.queue_ms, timings.submit_ms, timings.wait_ms) == (500, 250, 2000)


def test_a_result_carries_the_version_that_the_run_asked_which_posted_it() -> None:
    driver = Driver()
    image = ImageRef(f"{1:032x}", "/1", "/1")
    driver.submit(1, resume=Accepted("run-a", image, 0, 3, "77", 20, Facts(), 0))
    driver.poll(done("77"), later_s=0.0)
    assert ((result := driver.outcome()).model_version_id, result.calls) == (20, 0)


def test_a_task_that_was_accepted_by_an_earlier_run_is_polled_first_and_posted_only_if_it_is_lost() -> None:
    driver = Driver(lost_grace_s=2.0)
    image = ImageRef(f"{1:032x}", "/1", "/1")
    driver.submit(1, resume=Accepted("run-a", image, 0, 3, "77", 20, Facts(), 0), attempts_used=3)
    assert driver.core.next_post(driver.now) == float("inf")
    assert driver.poll(later_s=0.0) == ("77",)
    assert driver.poll(later_s=2.1) == ("77",)
    driver.now += 0.1
    driver.accept("8")
    (claim,) = driver.records(Claimed)
    assert (claim.reason, claim.attempt) == (Reason.TASK_LOST, 4)
    driver.poll(done("8"))
    result = driver.outcome()
    assert (result.model_version_id, result.calls, result.task_id) == (21, 1, "8")
    assert driver.core.counters.billed_twice == {"task_lost": 1}


def test_an_unknown_task_is_asked_for_again_for_a_while_before_it_counts_as_lost() -> None:
    driver = Driver(lost_grace_s=2.0)
    driver.submit(1)
    driver.accept("7")
    driver.poll()
    driver.poll(done("7"), later_s=1.5)
    assert driver.outcome().calls == 1


def test_a_task_whose_result_cannot_be_trusted_fails_without_another_call() -> None:
    driver = Driver()
    driver.submit(1)
    driver.accept("7")
    driver.poll(Task("7", TaskState.SUCCESS, problem=BadResultError("no roi")))
    failure = driver.outcome().failure
    assert (failure.stage, failure.code, failure.message) == (Stage.PARSE, ErrorCode.BAD_RESULT, "no roi")
    assert not failure.retryable


def test_a_task_that_ends_in_error_is_run_once_more_and_then_given_up() -> None:
    driver = Driver(max_task_reruns=1)
    driver.submit(1)
    for task_id in ("7", "8"):
        driver.accept(task_id)
        driver.poll(Task(task_id, TaskState.ERROR, error="cannot decode"))
    result = driver.outcome()
    assert (result.failure.code, result.failure.message) == (ErrorCode.TASK_ERROR, "cannot decode")
    assert (result.failure.retryable, result.calls, result.attempts, result.task_id) == (True, 2, 2, "8")
    assert [claim.reason for claim in driver.records(Claimed)] == [Reason.FIRST, Reason.TASK_ERROR]


def test_a_task_id_that_is_given_to_two_images_is_no_answer_for_the_second() -> None:
    driver = Driver(max_reposts=1)
    driver.submit(1, 2)
    driver.accept("7")
    driver.accept("7")
    assert driver.core.in_flight == 1
    driver.accept("8")  # asked once more
    driver.poll(done("7"), done("8"))
    assert driver.core.counters.billed_twice == {"answer_unknown": 1}
    assert {outcome.result.task_id for outcome in driver.core.take_outcomes(OWNER)} == {"7", "8"}


def test_a_refusal_that_is_final_and_not_the_images_fault_stops_the_run() -> None:
    driver = Driver()
    driver.submit(1, 2)
    refused = ConnectError("TLS: certificate has expired")
    refused.retryable = False
    driver.core.refused(driver.post(), refused, driver.now)
    assert driver.core.fatal is refused
    assert {type(outcome) for outcome in driver.core.take_outcomes(OWNER)} == {NotAttempted}


def test_a_retry_after_beyond_all_patience_stops_the_run_at_once() -> None:
    driver = Driver(outage_deadline_s=900.0)
    driver.submit(1, 2)
    driver.core.refused(driver.post(), ThrottledError("quota of the day", retry_after=3600.0), driver.now)
    assert "asks to wait 3600 s" in str(driver.core.fatal)
    assert driver.core.counters.failed == 0


def test_tasks_grow_no_older_while_no_poll_is_answered() -> None:
    driver = Driver(stuck_min_s=10.0, stuck_max_s=10.0)
    driver.submit(1)
    driver.accept("7")
    driver.now += 1.0
    ids = driver.core.next_poll(driver.now)
    driver.core.poll_failed(ids, ServerError("down", status=502), driver.now)
    driver.now += 500.0
    driver.core.polled(driver.core.next_poll(driver.now), [Task("7", TaskState.PENDING)], driver.now)
    assert driver.core.take_outcomes(OWNER) == []
    driver.poll(done("7"), later_s=5.0)
    assert driver.outcome().status is Status.SUCCEEDED


def test_an_outage_of_the_polls_makes_no_later_task_younger() -> None:
    driver = Driver(stuck_min_s=10.0, stuck_max_s=10.0)
    image = ImageRef(f"{1:032x}", "/1", "/1")
    driver.submit(1, resume=Accepted("run-a", image, 0, 3, "7", 20, Facts(), 0))
    driver.core.poll_failed(driver.core.next_poll(driver.now), ServerError("down", status=502), driver.now)
    driver.poll(done("7"), later_s=500.0)
    driver.submit(2)
    driver.accept("8")
    driver.poll(Task("8", TaskState.PENDING), later_s=11.0)
    codes = [outcome.result.failure and outcome.result.failure.code for outcome in driver.core.take_outcomes(OWNER)]
    assert codes == [None, ErrorCode.TASK_STUCK]


def test_a_run_whose_polls_are_never_answered_stops_and_fails_no_image() -> None:
    driver = Driver(outage_deadline_s=900.0, drain_s=0.0)
    driver.submit(1)
    driver.accept("7")
    for _ in range(400):
        driver.now += 5.0
        ids = driver.core.next_poll(driver.now)
        if isinstance(ids, tuple):
            driver.core.poll_failed(ids, NotFoundError("HTTP 404"), driver.now)
    assert "answered no poll for 900 s; the last time: HTTP 404" in str(driver.core.fatal)
    assert {type(outcome) for outcome in driver.core.take_outcomes(OWNER)} == {NotAttempted}


def test_a_task_that_two_bundle_attempts_wait_for_is_asked_for_once() -> None:
    driver = Driver()
    image = ImageRef(f"{1:032x}", "/1", "/1")
    for _ in range(2):
        driver.submit(1, resume=Accepted("run-a", image, 0, 3, "77", 20, Facts(), 0))
    assert driver.poll(done("77"), later_s=0.0) == ("77",)
    assert len(driver.core.take_outcomes(OWNER)) == 2


def test_a_task_of_an_earlier_run_teaches_nothing_about_latency() -> None:
    driver = Driver()
    image = ImageRef(f"{1:032x}", "/1", "/1")
    driver.submit(1, resume=Accepted("run-a", image, 0, 3, "77", 20, Facts(), 0))
    driver.poll(done("77"), later_s=0.0)
    driver.now += 1.0
    driver.submit(2)
    driver.accept("8")
    assert driver.core.next_poll(driver.now) == pytest.approx(driver.now + 0.09)  # the guess of the start


def test_a_task_that_was_seen_again_is_missing_only_since_then() -> None:
    driver = Driver(lost_grace_s=2.0)
    driver.submit(1)
    driver.accept("7")
    driver.poll()
    driver.poll(Task("7", TaskState.PENDING), later_s=1.0)
    driver.poll(later_s=1.5)
    assert driver.core.counters.billed_twice == {}
    driver.poll(done("7"), later_s=1.5)
    assert driver.outcome().calls == 1


def test_a_slow_task_leaves_the_window_until_it_ends_and_then_no_longer() -> None:
    driver = Driver(max_in_flight=1)
    driver.submit(1, 2, 3)
    driver.accept("7")
    driver.flush()
    assert driver.core.next_post(driver.now) == float("inf")
    driver.poll(Task("7", TaskState.PENDING), later_s=6.0)  # 5 x the latency that is guessed
    driver.accept("8")
    driver.poll(done("7"))
    assert driver.core.next_post(driver.now) == float("inf")


def test_a_throttled_poll_pauses_as_asked_but_never_for_more_than_half_a_minute() -> None:
    driver = Driver()
    driver.submit(1)
    driver.accept("7")
    for asked_s, waited_s in ((20.0, 20.0), (3600.0, 30.0)):
        driver.now += 1.0
        ids = driver.core.next_poll(driver.now)
        assert ids == ("7",)
        driver.core.poll_failed(ids, ThrottledError("slow down", retry_after=asked_s), driver.now)
        assert driver.core.next_poll(driver.now) == pytest.approx(driver.now + waited_s)
        driver.now += waited_s


# --- refusals ----------------------------------------------------------------------------------------


def test_a_bad_request_fails_the_image_at_once_and_was_not_billed() -> None:
    driver = Driver()
    driver.submit(1)
    driver.core.refused(driver.post(), BadRequestError("inputs: too small", status=400), driver.now)
    result = driver.outcome()
    assert (result.failure.stage, result.failure.code) == (Stage.SUBMIT, ErrorCode.PAYLOAD_REFUSED)
    assert (result.failure.http_status, result.failure.retryable, result.calls) == (400, False, 1)
    (released,) = driver.records(Released)
    assert released.sent


def test_a_refusal_for_the_rate_is_no_try_and_comes_first_again() -> None:
    driver = Driver()
    driver.submit(1, 2)
    first = driver.post()
    driver.core.refused(first, ThrottledError("slow down", retry_after=0.5), driver.now)
    driver.now += 0.6
    taken = [driver.post(), driver.post()]
    assert first in taken
    assert (first.tries, first.calls) == (0, 2)
    assert [claim.reason for claim in driver.records(Claimed)] == [Reason.FIRST] * 3
    assert driver.core.counters.refused == 1


@pytest.mark.parametrize(
    "error", [ForbiddenError("no"), NotFoundError("gone"), RedirectError("elsewhere"), EndpointError("no")]
)
def test_what_is_not_the_images_fault_stops_the_run_and_fails_no_image(error: EndpointError) -> None:
    driver = Driver()
    driver.submit(1, 2, 3)
    driver.core.refused(driver.post(), error, driver.now)
    outcomes = driver.core.take_outcomes(OWNER)
    assert [type(outcome) for outcome in outcomes] == [NotAttempted] * 3
    assert driver.core.fatal is error
    assert driver.records(Finished) == []
    claims = {(record.image_id, record.attempt) for record in driver.records(Claimed)}
    assert {(record.image_id, record.attempt) for record in driver.records(Released)} == claims


def test_a_call_of_which_the_answer_is_not_known_is_repeated_twice_at_most() -> None:
    driver = Driver(max_reposts=2)
    driver.submit(1)
    for _ in range(3):
        driver.core.refused(driver.post(), ServerError("oops", status=502), driver.now)
        driver.now += 0.1
    result = driver.outcome()
    assert (result.failure.code, result.failure.http_status, result.calls) == (ErrorCode.ANSWER_UNKNOWN, 502, 3)
    assert driver.core.counters.billed_twice == {"answer_unknown": 2}
    assert driver.records(Released) == []


def test_a_call_that_failed_before_another_error_is_one_of_the_attempts() -> None:
    driver = Driver()
    driver.submit(1)
    driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
    driver.now += 0.1
    driver.core.refused(driver.post(), BadRequestError("too small", status=400), driver.now)
    assert (result := driver.outcome()).failure.http_status == 400
    assert (result.attempts, result.calls) == (2, 2)


def test_no_image_is_charged_for_failures_while_the_service_takes_nothing() -> None:
    driver = Driver(attempts=2, outage_posts=20)
    driver.submit(1, 2)
    for _ in range(8):
        driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
        driver.now += 0.1
    assert driver.core.take_outcomes(OWNER) == []


def test_a_refusal_for_the_rate_shows_that_the_service_is_up() -> None:
    driver = Driver(outage_posts=2)
    driver.submit(1, 2, 3)
    for error in (
        ServiceUnavailableError("busy", status=503),
        ThrottledError("slow down", retry_after=0.0),
        ServiceUnavailableError("busy", status=503),
    ):
        driver.core.refused(driver.post(), error, driver.now)
        driver.now += 0.1
    driver.post()


def test_a_process_with_a_retry_to_come_is_not_idle() -> None:
    driver = Driver(retry_base_s=10.0)
    assert driver.core.idle
    driver.submit(1)
    driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
    assert not driver.core.idle


def test_a_refused_image_comes_before_those_that_were_never_posted() -> None:
    driver = Driver(rate_per_s=1.0)
    driver.submit(*range(8))
    first = driver.post()
    driver.core.refused(first, ThrottledError("slow down", retry_after=0.5), driver.now)
    following = []
    for _ in range(3):
        driver.now += 10.0
        following.append(driver.post())
    assert first in following


def test_a_cut_goes_to_what_the_service_took_and_not_to_what_it_was_asked() -> None:
    driver = Driver(rate_per_s=100.0)
    driver.submit(*range(200))
    for number in range(50):
        driver.now += 0.02
        if number % 5:
            driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
        else:
            driver.accept(str(number))
    driver.core.refused(driver.post(), ThrottledError("slow down", retry_after=0.0), driver.now)
    job, posted = driver.take(), 0
    for _ in range(100):
        driver.now += 0.01
        if driver.core.turn(job, driver.now) == 0.0:
            driver.core.accepted(job, f"later-{posted}", driver.now)
            job, posted = driver.take(), posted + 1
    assert 5 <= posted <= 12  # nine tenths of ten a second


def test_the_pauses_that_a_service_asks_for_are_counted() -> None:
    driver = Driver()
    driver.submit(1)
    driver.core.refused(driver.post(), ThrottledError("slow down", retry_after=2.0), driver.now)
    assert driver.core.counters.throttled_s == pytest.approx(2.0)


def test_a_service_that_refuses_every_call_for_too_long_ends_the_run_and_one_that_took_a_call_does_not() -> None:
    for takes_one in (False, True):
        driver = Driver(outage_deadline_s=900.0)
        driver.submit(1, 2, 3)
        driver.core.refused(driver.post(), ThrottledError("slow down", retry_after=0.0), driver.now)
        driver.now += 1.0
        if takes_one:
            driver.accept("7")
        driver.now += 901.0
        driver.core.next_post(driver.now)
        assert (driver.core.fatal is None) == takes_one


def test_a_service_that_is_down_for_too_long_ends_the_run() -> None:
    driver = Driver(outage_deadline_s=900.0, outage_posts=1)
    driver.submit(1, 2)
    driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
    driver.now += 900.0
    driver.core.next_post(driver.now)
    assert driver.core.fatal is None
    driver.now += 1.0
    driver.core.next_post(driver.now)
    assert "the service was down for 900 s" in str(driver.core.fatal)


def test_while_the_service_is_down_one_claim_is_enough() -> None:
    driver = Driver(rate_per_s=1.0, outage_posts=1)
    driver.submit(*range(8))
    driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
    claims = len(driver.records(Claimed))
    driver.now += 0.5
    assert len(driver.records(Claimed)) == claims == 2


def test_failed_calls_of_earlier_runs_count_among_the_attempts() -> None:
    for earlier, ends in ((2, False), (3, True)):
        driver = Driver(attempts=5, retry_base_s=0.0)
        driver.submit(1, failed_attempts=earlier)
        driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
        driver.submit(2)
        jobs = [driver.post(), driver.post()]
        again = next(job for job in jobs if job.work.failed_attempts)
        driver.core.accepted(next(job for job in jobs if job is not again), "7", driver.now)
        driver.core.refused(again, ServiceUnavailableError("busy", status=503), driver.now)
        assert bool(driver.core.take_outcomes(OWNER)) == ends


def test_an_image_is_not_tried_for_longer_than_its_time_while_the_service_takes_others() -> None:
    for seconds, ends in ((299.0, False), (301.0, True)):
        driver = Driver(attempts=50, stuck_max_s=300.0)
        driver.submit(1)
        first = driver.post()
        driver.core.refused(first, ServiceUnavailableError("busy", status=503), driver.now)
        driver.submit(2)
        jobs = [driver.post(), driver.post()]
        driver.core.accepted(next(job for job in jobs if job is not first), "7", driver.now)
        driver.now += seconds
        driver.core.refused(first, ServiceUnavailableError("busy", status=503), driver.now)
        assert bool(driver.core.take_outcomes(OWNER)) == ends


def test_a_doubt_stays_the_reason_of_a_call_that_was_refused_and_is_made_again() -> None:
    driver = Driver()
    driver.submit(1, reason=Reason.IN_DOUBT)
    driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
    driver.post()
    assert [claim.reason for claim in driver.records(Claimed)] == [Reason.IN_DOUBT] * 2


def test_a_second_bill_is_not_counted_for_a_call_that_was_refused() -> None:
    driver = Driver()
    driver.submit(1, reason=Reason.IN_DOUBT)
    job = driver.post()
    assert driver.core.counters.billed_twice == {"in_doubt": 1}
    driver.core.refused(job, ServiceUnavailableError("busy", status=503), driver.now)
    assert not any(driver.core.counters.billed_twice.values())


def test_a_call_that_was_made_is_not_said_to_be_unused_when_the_run_stops() -> None:
    driver = Driver()
    driver.submit(1, 2)
    posted = driver.post()
    driver.core.refused(posted, ForbiddenError("no"), driver.now)
    sent = {record.image_id: [] for record in driver.records(Released)}
    for record in driver.records(Released):
        sent[record.image_id].append(record.sent)
    assert sent == {f"{1:032x}": [True], f"{2:032x}": [False]}
    assert driver.core.counters.not_attempted == 2


def test_a_retry_is_told_to_whoever_writes_the_claims() -> None:
    driver = Driver(retry_base_s=10.0)
    driver.submit(1)
    driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
    assert len(driver.records(Released)) == 1
    assert driver.core.next_flush(driver.now) <= driver.now + 30.0


def test_attempts_of_earlier_runs_count() -> None:
    driver = Driver(attempts=5, max_task_reruns=3)
    driver.submit(1, failed_attempts=4)
    driver.accept("7")
    driver.poll(Task("7", TaskState.ERROR, error="cannot decode"))
    assert driver.outcome().attempts == 1


def test_a_store_of_images_that_fails_is_asked_again_and_a_bad_image_is_not() -> None:
    driver = Driver(load_attempts=3)
    slow = Failure(Stage.READ, ErrorCode.READ_FAILED, "slow down", retryable=True)
    driver.submit(1)
    for _ in range(3):
        driver.core.load_failed(driver.take(), slow, Facts(), driver.now)
        driver.now += 0.1
    assert (result := driver.outcome()).failure == slow
    assert (result.calls, result.attempts) == (0, 1)
    assert [record.sent for record in driver.records(Released)] == [False] * 3


def test_an_entry_that_cannot_be_used_fails_at_once_and_that_is_one_attempt() -> None:
    driver = Driver()
    problem = Failure(Stage.LIST, ErrorCode.INVALID_URI, "photos.csv:2: names no object", retryable=False)
    driver.core.submit([Work(OWNER, 0, ImageRef(f"{1:032x}", "s3://", "", problem=problem))], driver.now)
    assert (result := driver.outcome()).failure == problem
    assert (result.attempts, result.calls) == (1, 0)
    assert driver.records(Claimed) == []


# --- stopping, cancelling, holding ---------------------------------------------------------------------


def test_after_a_stop_what_is_in_flight_is_waited_for_only_so_long() -> None:
    driver = Driver(drain_s=30.0)
    driver.submit(1, 2)
    driver.accept("7")
    driver.accept("8")
    driver.core.stop(driver.now)
    driver.poll(done("7"), Task("8", TaskState.PENDING))
    assert [type(outcome) for outcome in driver.core.take_outcomes(OWNER)] == [Settled]
    driver.now += 30.0
    driver.core.next_poll(driver.now)
    assert [type(outcome) for outcome in driver.core.take_outcomes(OWNER)] == [NotAttempted]
    assert [record.task_id for record in driver.records(Accepted)] == ["8"]  # the outcome names the other


def test_the_first_reason_to_stop_is_the_one_that_is_told() -> None:
    driver = Driver()
    driver.submit(1, 2)
    jobs = [driver.post(), driver.post()]
    for job, error in zip(jobs, (first := ForbiddenError("no"), EndpointError("pay")), strict=True):
        driver.core.refused(job, error, driver.now)
    assert driver.core.fatal is first


@pytest.mark.parametrize("left_s", [0.0, -1.0])
def test_without_a_lease_nothing_is_posted_and_nothing_is_lost(left_s: float) -> None:
    driver = Driver()
    driver.submit(1)
    job = driver.take()
    assert driver.core.turn(job, driver.now, lease_left_s=left_s) > 0
    assert (job.calls, driver.core.counters.calls) == (0, 0)
    assert driver.core.turn(job, driver.now, lease_left_s=0.1) == 0.0


def test_a_call_that_was_on_the_wire_when_its_owner_was_cancelled_is_still_recorded() -> None:
    driver = Driver()
    driver.submit(1, 2)
    first, second = driver.post(), driver.post()
    driver.core.cancel(OWNER)
    driver.core.accepted(first, "7", driver.now)
    driver.core.refused(second, ServerError("oops"), driver.now)
    assert [record.task_id for record in driver.records(Accepted)] == ["7"]
    assert driver.core.in_flight == 0
    assert driver.core.next_poll(driver.now + 100) == float("inf")
    assert driver.core.take_outcomes(OWNER) == []


def test_outcomes_of_an_owner_that_was_cancelled_are_handed_to_nobody() -> None:
    driver = Driver()
    driver.submit(1)
    driver.accept("7")
    driver.poll(done("7"))
    driver.core.cancel(OWNER)
    assert driver.core.take_outcomes(OWNER) == []


def test_a_cancelled_owner_stays_so_when_another_is_cancelled() -> None:
    driver = Driver()
    driver.submit(1)
    job = driver.post()
    driver.core.cancel(OWNER)
    driver.core.cancel(OWNER + 1)
    driver.core.accepted(job, "7", driver.now)
    assert driver.core.in_flight == 0


@pytest.mark.parametrize("how", ["cancelled", "stopped"])
def test_an_image_that_waits_for_a_call_is_given_up_with_its_owner_or_run(how: str) -> None:
    driver = Driver()
    images = [ImageRef(f"{n:032x}", f"/{n}", f"/{n}", size_bytes=1) for n in range(2)]
    driver.core.submit([Work(OWNER, 0, image) for image in images], driver.now, {0: 1})
    driver.flush()  # one is claimed, and the other waits for what may become of that
    if how == "cancelled":
        driver.core.cancel(OWNER)
    else:
        driver.core.stop(driver.now)
        assert [type(outcome) for outcome in driver.core.take_outcomes(OWNER)] == [NotAttempted] * 2
    driver.flush()
    assert len(driver.records(Claimed)) == 1
    assert driver.core.idle
    assert driver.core.outstanding(OWNER) == 0


def test_images_of_unknown_size_are_taken_to_be_a_megabyte_until_they_are_read() -> None:
    driver = Driver(max_buffer_bytes=3_000_000)
    driver.submit(*range(10), size=None)
    driver.flush()
    taken = [driver.core.next_post(driver.now) for _ in range(3)]
    assert all(isinstance(job, Job) for job in taken)
    assert driver.core.next_post(driver.now) == float("inf")
    for job in taken:
        driver.core.loaded(job, Facts(), 100_000)
    assert isinstance(driver.core.next_post(driver.now), Job)


# --- images that may have changed ---------------------------------------------------------------------

KNOWN = "a" * 64


def compare(driver: Driver, content_sha256: str | None = KNOWN) -> bool:
    """Submit a labelling of generation 3 that is to be done only if its bytes are new, and read it."""
    driver.submit(1, generation=3, known_sha256=KNOWN)
    job = driver.core.next_post(driver.now)
    assert isinstance(job, Job)
    return driver.core.loaded(job, Facts(content_sha256=content_sha256), 1500)


def test_an_image_with_the_bytes_that_are_known_is_noted_and_never_claimed() -> None:
    driver = Driver()
    assert compare(driver) is False
    (outcome,) = driver.core.take_outcomes(OWNER)
    assert isinstance(outcome, Unchanged)
    assert driver.records(Noted) == [Noted("run-b", f"{1:032x}", 2, 1000, None)]
    assert driver.records(Claimed) == driver.records(Finished) == []
    assert (driver.core.counters.calls, driver.core.in_flight, driver.core.outstanding(OWNER)) == (0, 0, 0)


def test_an_image_with_new_bytes_is_claimed_read_once_more_and_posted() -> None:
    driver = Driver()
    assert compare(driver, "b" * 64) is False
    assert driver.core.take_outcomes(OWNER) == []
    driver.flush()
    job = driver.core.next_post(driver.now)
    assert driver.core.loaded(job, Facts(content_sha256="b" * 64), 1500) is True
    assert driver.core.turn(job, driver.now) == 0.0
    driver.core.accepted(job, "7", driver.now)
    driver.poll(done("7"))
    assert driver.outcome().generation == 3
    assert driver.records(Noted) == []


def test_an_image_that_changed_is_not_compared_again_after_a_refusal() -> None:
    driver = Driver()
    compare(driver, "b" * 64)
    driver.core.refused(driver.post(), ServiceUnavailableError("busy", status=503), driver.now)
    driver.core.next_post(driver.now)
    driver.flush()
    job = driver.core.next_post(driver.now)
    assert driver.core.loaded(job, Facts(content_sha256=KNOWN), 1500) is True
    assert driver.records(Noted) == []


def test_an_image_that_changed_back_after_its_claim_is_posted_for_its_labelling_was_begun() -> None:
    driver = Driver()
    compare(driver, "b" * 64)
    driver.flush()
    job = driver.core.next_post(driver.now)
    assert driver.core.loaded(job, Facts(content_sha256=KNOWN), 1500) is True
    assert driver.records(Noted) == driver.records(Released) == []


def test_an_image_that_cannot_be_read_at_first_is_compared_before_it_is_claimed() -> None:
    driver = Driver()
    driver.submit(1, generation=3, known_sha256=KNOWN)
    job = driver.core.next_post(driver.now)
    driver.core.load_failed(
        job, Failure(Stage.READ, ErrorCode.READ_FAILED, "slow down", retryable=True), Facts(), driver.now
    )
    driver.now += 30.0
    driver.flush()
    job = driver.core.next_post(driver.now)
    assert driver.core.loaded(job, Facts(content_sha256=KNOWN), 1500) is False
    assert [type(outcome) for outcome in driver.core.take_outcomes(OWNER)] == [Unchanged]
    assert driver.records(Claimed) == []


def test_a_bad_image_with_the_bytes_that_are_known_stays_what_it_was() -> None:
    driver = Driver()
    driver.submit(1, generation=1, known_sha256=KNOWN)
    job = driver.core.next_post(driver.now)
    failure = Failure(Stage.VALIDATE, ErrorCode.NOT_AN_IMAGE, "text", retryable=False)
    driver.core.load_failed(job, failure, Facts(content_sha256=KNOWN), driver.now)
    (outcome,) = driver.core.take_outcomes(OWNER)
    assert isinstance(outcome, Unchanged)


def test_images_to_be_compared_are_given_up_by_a_stop_and_by_a_cancel() -> None:
    driver = Driver()
    driver.submit(1, generation=1, known_sha256=KNOWN)
    driver.core.stop(driver.now)
    assert [type(outcome) for outcome in driver.core.take_outcomes(OWNER)] == [NotAttempted]
    driver = Driver()
    driver.submit(1, generation=1, known_sha256=KNOWN)
    driver.core.cancel(OWNER)
    assert isinstance(driver.core.next_post(driver.now), float)


# --- limits of a run ----------------------------------------------------------------------------------


def test_images_for_which_there_is_no_call_are_not_attempted() -> None:
    driver = Driver()
    images = [ImageRef(f"{n:032x}", f"/{n}", f"/{n}", size_bytes=1) for n in range(3)]
    driver.core.submit([Work(OWNER, 0, image) for image in images], driver.now, {0: 1})
    driver.accept("7")
    driver.flush()
    assert [type(outcome) for outcome in driver.core.take_outcomes(OWNER)] == [NotAttempted] * 2
    assert len(driver.records(Claimed)) == 1
    driver.poll(done("7"))
    assert driver.outcome().status is Status.SUCCEEDED


def test_a_retry_needs_a_call_of_the_budget_like_any_other() -> None:
    driver = Driver()
    image = ImageRef(f"{1:032x}", "/1", "/1", size_bytes=1)
    driver.core.submit([Work(OWNER, 0, image)], driver.now, {0: 1})
    driver.core.refused(driver.post(), ThrottledError("slow down", retry_after=0.0), driver.now)
    driver.now += 1
    driver.flush()
    assert [type(outcome) for outcome in driver.core.take_outcomes(OWNER)] == [NotAttempted]
    assert driver.core.counters.calls == 1


def test_a_call_that_was_not_made_is_spent_by_another_image() -> None:
    driver = Driver()
    images = [ImageRef(f"{n:032x}", f"/{n}", f"/{n}", size_bytes=1) for n in range(2)]
    driver.core.submit([Work(OWNER, 0, image) for image in images], driver.now, {0: 1})
    bad = driver.take()
    failure = Failure(Stage.VALIDATE, ErrorCode.NOT_AN_IMAGE, "text", retryable=False)
    driver.core.load_failed(bad, failure, Facts(), driver.now)
    driver.accept("7")
    assert driver.core.counters.calls == 1


def fail(driver: Driver, number: int) -> None:
    driver.submit(number)
    failure = Failure(Stage.VALIDATE, ErrorCode.NOT_AN_IMAGE, "text", retryable=False)
    driver.core.load_failed(driver.take(), failure, Facts(), driver.now)


def test_too_many_failures_stop_the_run_once_there_are_enough_images_to_judge() -> None:
    driver = Driver(max_failure_rate=0.5)
    for number in range(99):
        fail(driver, number)
    assert driver.core.fatal is None
    fail(driver, 99)
    assert driver.core.fatal is not None
    assert driver.core.fatal.exit_code == 3
    assert "100.0% of 100 images failed" in str(driver.core.fatal)


def test_as_many_failures_as_are_allowed_stop_nothing() -> None:
    driver = Driver(max_failure_rate=1.0)
    for number in range(120):
        fail(driver, number)
    assert driver.core.fatal is None
