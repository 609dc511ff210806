"""The engine's threads, over a service and a store that are made up: real threads, and quick."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from deepo_beam.api import Output, Prediction, Task, TaskState
from deepo_beam.engine import (
    Engine,
    EngineClosedError,
    EngineSettings,
    LoadedImage,
    LoadFailure,
    NotAttempted,
    RunFacts,
    Session,
    Settled,
    Work,
)
from deepo_beam.errors import AuthenticationError, ErrorCode, ServerError, Stage, StorageError, ThrottledError
from deepo_beam.records import Accepted, Claimed, Finished, Record, Released
from deepo_beam.types import Facts, Failure, ImageRef, ModelKind, ModelRef, Status

RUN = RunFacts("run-a", ModelRef(ModelKind.SPEC, "echo-v1"), 21)
LIMIT_S = 20.0  # what hangs so long hangs for ever


def image(number: int, size: int = 1000) -> ImageRef:
    return ImageRef(f"{number:032x}", f"/{number}", f"/{number}", size_bytes=size)


@dataclass
class Service:
    """Answers each post after ``post_s`` and each task at its first poll; keeps what it was asked."""

    post_s: float = 0.0
    on_load: Callable[[ImageRef], LoadFailure | None] = lambda image: None
    on_post: Callable[[str], None] = lambda image_id: None
    on_poll: Callable[[], None] = lambda: None
    posts: list[str] = field(default_factory=list)
    held: int = 0
    peak: int = 0
    _tasks: dict[str, str] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, image: ImageRef) -> LoadedImage | LoadFailure:
        failure = self.on_load(image)
        if failure is not None:
            return failure
        size = image.size_bytes or 1000
        with self._lock:
            self.held += size
            self.peak = max(self.peak, self.held)
        body = image.image_id.encode().ljust(size)
        return LoadedImage(Facts(size_bytes=size), body, "text/plain")

    def post(self, image: LoadedImage) -> str:
        image_id = image.body[:32].decode()
        try:
            with self._lock:
                self.posts.append(image_id)
            self.on_post(image_id)
            if self.post_s:
                time.sleep(self.post_s)
            with self._lock:
                task_id = str(next(self._ids))
                self._tasks[task_id] = image_id
            return task_id
        finally:
            with self._lock:
                self.held -= len(image.body)

    def poll(self, task_ids: Sequence[str]) -> list[Task]:
        assert 1 <= len(task_ids) <= 100
        self.on_poll()
        return [Task(task_id, TaskState.SUCCESS, outputs=self._answer(task_id)) for task_id in task_ids]

    def _answer(self, task_id: str) -> tuple[Output, ...]:
        return (Output((Prediction(1, self._tasks.get(task_id, "known"), 0.75, 0.5),)),)


@dataclass
class JournalOfRecords:
    records: list[Record] = field(default_factory=list)
    on_write: Callable[[], None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, number: int, segments: dict[int, list[Record]]) -> None:
        self.on_write()
        with self._lock:
            self.records += [record for records in segments.values() for record in records]

    def of_kind(self, kind: type) -> list[Record]:
        with self._lock:
            return [record for record in self.records if isinstance(record, kind)]


def assert_every_claim_is_answered(journal: JournalOfRecords) -> None:
    """By an outcome; where there is none, by the task that was accepted, or by being released."""
    settled = {record.image_id for record in journal.of_kind(Finished)}
    claims = {(record.image_id, record.attempt) for record in journal.of_kind(Claimed)}
    answers = [*journal.of_kind(Released), *journal.of_kind(Accepted)]
    answered = {(record.image_id, record.attempt) for record in answers}
    assert {claim for claim in claims if claim[0] not in settled} == {
        answer for answer in answered if answer[0] not in settled
    }
    assert answered <= claims


@pytest.fixture
def start() -> Iterator[Callable[..., Engine]]:
    """Makes engines, which are closed at the end; further arguments are those of EngineSettings."""
    engines: list[Engine] = []

    def make(service: Service, journal: JournalOfRecords | None = None, **settings: object) -> Engine:
        engines.append(Engine(EngineSettings(**settings), RUN, service, journal))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
        assert not any(thread.is_alive() for thread in engine._threads)


def works(session: Session, numbers: Sequence[int], **changes: object) -> list[Work]:
    return [Work(session.owner, number % 8, image(number), **changes) for number in numbers]


def label(engine: Engine, numbers: Sequence[int]) -> dict[str, Settled | NotAttempted]:
    """One session from its begin to its end; outcome by image id."""
    session = engine.open()
    session.submit(works(session, numbers))
    session.wait()
    outcomes = session.take_outcomes()
    assert len(outcomes) == len(numbers)
    return {outcome.work.image.image_id: outcome for outcome in outcomes}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.002)


# --- labelling ---------------------------------------------------------------------------------------


def test_every_image_has_its_own_answer_and_is_posted_once(start) -> None:
    service = Service(post_s=0.001)
    outcomes = label(start(service), range(300))
    assert Counter(service.posts) == Counter(image(number).image_id for number in range(300))
    for image_id, outcome in outcomes.items():
        assert outcome.result.status is Status.SUCCEEDED
        assert image_id in outcome.result.outputs
        assert (outcome.result.calls, outcome.result.attempts) == (1, 1)
        assert (outcome.result.model_version_id, outcome.result.facts) == (21, Facts(size_bytes=1000))


def test_when_waiting_is_over_everything_is_in_the_journal(start) -> None:
    journal = JournalOfRecords()
    outcomes = label(start(Service(), journal), range(100))
    finished = {record.image_id: record.result for record in journal.of_kind(Finished)}
    assert finished == {image_id: outcome.result for image_id, outcome in outcomes.items()}
    assert {record.run_id for record in journal.records} == {"run-a"}
    assert Counter(record.image_id for record in journal.of_kind(Claimed)) == Counter(list(outcomes))


def test_no_image_is_posted_before_its_claim_is_durable(start) -> None:
    journal = JournalOfRecords(on_write=lambda: time.sleep(0.005))
    too_early: list[str] = []

    def check(image_id: str) -> None:
        if image_id not in {record.image_id for record in journal.of_kind(Claimed)}:
            too_early.append(image_id)

    label(start(Service(on_post=check), journal), range(150))
    assert too_early == []


def test_a_session_goes_on_from_one_bucket_to_the_next_before_the_first_has_finished(start) -> None:
    gate = threading.Event()
    service = Service(on_poll=lambda: gate.wait(LIMIT_S) or pytest.fail("nobody opened it"))
    engine = start(service)
    session = engine.open()
    session.submit(works(session, range(10)))
    session.submit(works(session, range(10, 20)))
    assert session.take_outcomes() == []
    gate.set()
    session.wait()
    assert len(session.take_outcomes()) == 20


def test_two_sessions_at_once_each_get_their_own_images_and_nothing_else(start) -> None:
    engine = start(Service(post_s=0.001), JournalOfRecords())
    seen: dict[int, set[str]] = {}

    def one(first: int) -> None:
        seen[first] = set(label(engine, range(first, first + 100)))

    threads = [threading.Thread(target=one, args=(first,)) for first in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert seen == {first: {image(n).image_id for n in range(first, first + 100)} for first in (0, 1000, 2000)}


def test_an_image_that_cannot_be_loaded_is_a_result_and_no_call(start) -> None:
    failure = Failure(Stage.VALIDATE, ErrorCode.NOT_AN_IMAGE, "text", retryable=False)
    bad = LoadFailure(failure, Facts(size_bytes=4))
    service = Service(on_load=lambda ref: bad if int(ref.image_id, 16) % 2 else None)
    journal = JournalOfRecords()
    engine = start(service, journal)
    outcomes = label(engine, range(20))
    failed = [outcome.result for outcome in outcomes.values() if outcome.result.failure]
    assert [(result.failure, result.facts, result.calls) for result in failed] == [
        (failure, Facts(size_bytes=4), 0)
    ] * 10
    assert len(service.posts) == 10
    assert {record.sent for record in journal.of_kind(Released)} == {False}
    assert (engine.counters().failed, engine.counters().succeeded) == (10, 10)


def test_refusals_and_broken_calls_are_tried_again(start) -> None:
    once: set[str] = set()

    def refuse_first(image_id: str) -> None:
        if image_id not in once:
            once.add(image_id)
            raise ThrottledError("slow down", retry_after=0.001) if int(image_id, 16) % 2 else ServerError("oops")

    engine = start(Service(on_post=refuse_first), JournalOfRecords(), retry_base_s=0.001)
    outcomes = label(engine, range(10))
    assert {outcome.result.status for outcome in outcomes.values()} == {Status.SUCCEEDED}
    assert {outcome.result.calls for outcome in outcomes.values()} == {2}
    counters = engine.counters()
    assert (counters.calls, counters.refused, counters.billed_twice) == (20, 5, {"answer_unknown": 5})


def test_a_task_of_an_earlier_run_is_asked_for_and_not_posted_again(start) -> None:
    service = Service()
    engine = start(service, JournalOfRecords())
    session = engine.open()
    known = Accepted("run-0", image(1), 0, 1, "77", 20, Facts(size_bytes=5), 0)
    session.submit(works(session, [1], resume=known, attempts_used=1))
    session.wait()
    (outcome,) = session.take_outcomes()
    assert service.posts == []
    assert (outcome.result.calls, outcome.result.task_id, outcome.result.model_version_id) == (0, "77", 20)
    assert outcome.result.facts == Facts(size_bytes=5)


def test_the_counters_that_are_given_out_are_a_copy(start) -> None:
    engine = start(Service())
    counters = engine.counters()
    counters.billed_twice["in_doubt"] = 5
    label(engine, range(3))
    assert (counters.calls, engine.counters().calls, engine.counters().billed_twice) == (0, 3, {})


# --- memory ------------------------------------------------------------------------------------------


def test_bytes_held_before_their_post_stay_within_the_limit(start) -> None:
    service = Service(post_s=0.01)
    engine = start(service, max_buffer_bytes=1_000_000)
    session = engine.open()
    session.submit([Work(session.owner, 0, image(number, size=300_000)) for number in range(30)])
    session.wait()
    assert len(session.take_outcomes()) == 30
    assert 300_000 <= service.peak <= 1_000_000
    assert engine._core._held_bytes == 0


def test_an_image_larger_than_the_whole_buffer_goes_alone(start) -> None:
    service = Service(post_s=0.005)
    engine = start(service, max_buffer_bytes=1000)
    session = engine.open()
    session.submit([Work(session.owner, 0, image(number, size=5000)) for number in range(4)])
    session.wait()
    assert len(session.take_outcomes()) == 4
    assert service.peak == 5000


def test_no_more_images_are_in_flight_than_asked_for(start) -> None:
    gate = threading.Event()
    service = Service(on_poll=lambda: gate.wait(LIMIT_S) or pytest.fail("nobody opened it"))
    engine = start(service, max_in_flight=5)
    session = engine.open()
    session.submit(works(session, range(20)))
    until(lambda: len(service.posts) == 5)
    time.sleep(0.05)
    assert len(service.posts) == 5
    gate.set()
    session.wait()
    assert len(session.take_outcomes()) == 20


# --- stopping ----------------------------------------------------------------------------------------


def test_after_a_stop_nothing_is_posted_and_every_image_is_given_back(start) -> None:
    service, journal = Service(), JournalOfRecords()
    engine = start(service, journal, rate_per_s=100.0)
    session = engine.open()
    session.submit(works(session, range(60)))
    until(lambda: len(service.posts) >= 3)
    engine.stop()
    posted = len(service.posts)
    session.wait()
    kinds = Counter(type(outcome) for outcome in session.take_outcomes())
    assert kinds.total() == 60
    assert posted <= len(service.posts) <= posted + 1  # one may have been on its way to the wire
    assert kinds[Settled] == len(service.posts)
    assert engine.fatal is None
    assert_every_claim_is_answered(journal)


def test_what_is_submitted_after_a_stop_is_given_back_at_once(start) -> None:
    service = Service()
    engine = start(service)
    engine.stop()
    assert {type(outcome) for outcome in label(engine, range(5)).values()} == {NotAttempted}
    assert service.posts == []


def test_a_key_that_is_refused_stops_the_engine_and_fails_no_image(start) -> None:
    def refuse(image_id: str) -> None:
        raise AuthenticationError("wrong key", status=401)

    engine = start(Service(on_post=refuse), JournalOfRecords())
    outcomes = label(engine, range(20))
    assert {type(outcome) for outcome in outcomes.values()} == {NotAttempted}
    assert isinstance(engine.fatal, AuthenticationError)
    assert engine.counters().failed == 0


def test_a_cancelled_session_gets_nothing_more_and_disturbs_no_other(start) -> None:
    service, journal = Service(), JournalOfRecords()
    engine = start(service, journal, rate_per_s=200.0)
    gone, other = engine.open(), engine.open()
    gone.submit(works(gone, range(50)))
    gone.cancel()
    other.submit(works(other, range(100, 120)))
    other.wait()
    assert len(other.take_outcomes()) == 20
    gone.wait()
    assert gone.take_outcomes() == []
    assert sum(int(image_id, 16) < 100 for image_id in service.posts) < 50
    assert_every_claim_is_answered(journal)


def test_cancelling_a_session_that_was_done_does_nothing(start) -> None:
    engine = start(Service())
    session = engine.open()
    session.submit(works(session, range(5)))
    session.wait()
    session.cancel()
    assert session.take_outcomes() == []
    assert len(label(engine, range(5))) == 5


def test_closing_wakes_a_caller_that_waits(start) -> None:
    gate = threading.Event()
    engine = start(Service(on_poll=lambda: gate.wait(LIMIT_S) or pytest.fail("nobody opened it")))
    raised: list[BaseException] = []

    def wait() -> None:
        session = engine.open()
        session.submit(works(session, range(3)))
        try:
            session.wait()
        except EngineClosedError as error:
            raised.append(error)

    caller = threading.Thread(target=wait)
    caller.start()
    until(lambda: engine.counters().polls > 0)
    threading.Timer(0.02, gate.set).start()
    engine.close()
    caller.join(LIMIT_S)
    assert [str(error) for error in raised] == ["the labelling engine was closed"]
    with pytest.raises(EngineClosedError, match="was closed"):
        label(engine, [1])


def test_what_the_service_accepted_is_in_the_journal_when_the_engine_has_closed(start) -> None:
    gate = threading.Event()
    service = Service(on_poll=lambda: gate.wait(LIMIT_S) or pytest.fail("nobody opened it"))
    journal = JournalOfRecords()
    engine = start(service, journal, flush_interval_s=3600.0)
    session = engine.open()
    session.submit(works(session, range(5)))
    until(lambda: len(engine._core._tasks) == 5)
    threading.Timer(0.02, gate.set).start()
    engine.close()
    assert len(journal.of_kind(Accepted)) == 5


def test_closing_over_a_store_that_fails_ends_all_the_same(start) -> None:
    broken = threading.Event()

    def fail_later() -> None:
        if broken.is_set():
            raise StorageError("no space left")

    service = Service()
    engine = start(service, JournalOfRecords(on_write=fail_later), flush_interval_s=3600.0)
    session = engine.open()
    session.submit(works(session, range(5)))
    until(lambda: len(service.posts) == 5)
    broken.set()
    engine.close()


def test_closing_twice_is_fine_and_an_engine_that_was_never_used_closes_at_once(start) -> None:
    engine = start(Service())
    started = time.monotonic()
    engine.close()
    engine.close()
    assert time.monotonic() - started < 2.0


# --- bugs and stores that fail -----------------------------------------------------------------------


class BugError(Exception):
    """What no code expects."""


def bug(*_: object) -> None:
    raise BugError("of ours")


@pytest.mark.parametrize("where", ["on_load", "on_post", "on_poll", "on_write"])
def test_a_bug_in_any_thread_reaches_the_caller_and_ends_the_engine(start, where: str) -> None:
    journal = JournalOfRecords(on_write=bug) if where == "on_write" else JournalOfRecords()
    service = Service() if where == "on_write" else Service(**{where: bug})
    engine = start(service, journal)
    session = engine.open()
    with pytest.raises(EngineClosedError, match="the labelling engine failed") as ended:
        label(engine, range(200))
    assert isinstance(ended.value.__cause__, BugError)
    session.cancel()
    with pytest.raises(EngineClosedError):
        label(engine, [1])


def test_a_store_that_fails_for_a_while_loses_nothing(start) -> None:
    failures = iter([StorageError("no space left")])

    def fail_first() -> None:
        error = next(failures, None)
        if error is not None:
            raise error

    journal = JournalOfRecords(on_write=fail_first)
    outcomes = label(start(Service(), journal), range(10))
    assert {record.image_id for record in journal.of_kind(Finished)} == set(outcomes)
    assert next(failures, None) is None


def test_a_store_that_keeps_failing_ends_the_run_without_a_call_and_without_waiting_for_ever(start) -> None:
    def fail() -> None:
        raise StorageError("no space left")

    service = Service()
    engine = start(service, JournalOfRecords(on_write=fail), store_deadline_s=0.5)
    outcomes = label(engine, range(10))
    assert {type(outcome) for outcome in outcomes.values()} == {NotAttempted}
    assert service.posts == []
    assert "the output cannot be written: no space left" in str(engine.fatal)
    assert engine.fatal.exit_code == 5


def test_an_image_with_a_problem_fails_at_once_with_it(start) -> None:
    problem = Failure(Stage.LIST, ErrorCode.INVALID_URI, "no such scheme", retryable=False)
    service, journal = Service(), JournalOfRecords()
    engine = start(service, journal)
    session = engine.open()
    session.submit([Work(session.owner, 0, image(1)._replace(problem=problem))])
    session.wait()
    (outcome,) = session.take_outcomes()
    assert (outcome.result.failure, outcome.result.calls, service.posts) == (problem, 0, [])
    assert [type(record) for record in journal.records] == [Finished]
