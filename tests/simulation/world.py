"""A model of the service and of the store, and a scheduler in virtual time that drives the engine's core.

One seed decides everything: the faults, the latencies, the order of events. A run either ends, or the
simulation says that it hangs; what must always hold is checked while it goes and at its end.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from deepo_beam.api import Output, Prediction, Task, TaskState
from deepo_beam.engine import Core, EngineSettings, RunFacts, Settled, Work
from deepo_beam.engine.ledger import LANES, Flush
from deepo_beam.engine.rate import bucket_depth
from deepo_beam.engine.work import Job
from deepo_beam.errors import (
    AnswerLostError,
    ApiError,
    ErrorCode,
    PayloadTooLargeError,
    ServerError,
    ServiceUnavailableError,
    Stage,
    StorageError,
    ThrottledError,
)
from deepo_beam.records import Accepted, Claimed, Finished, Record, Released
from deepo_beam.types import Facts, Failure, ImageRef, ModelKind, ModelRef, Status

POLLERS = 4


@dataclass(frozen=True)
class Scenario:
    """Shares are 0..1, times seconds, the rate calls/s."""

    images: int = 200
    latency: tuple[float, float] = (0.1, 0.3)
    post_time: tuple[float, float] = (0.002, 0.02)
    load_time: tuple[float, float] = (0.0, 0.01)
    flush_time: tuple[float, float] = (0.001, 0.05)
    rate: float | None = None
    service_rate: float | None = None
    max_in_flight: int | None = None
    unavailable: float = 0.0
    broken: float = 0.0
    cut: float = 0.0
    too_large: float = 0.0
    bad_images: float = 0.0
    unreadable: float = 0.0
    task_errors: float = 0.0
    lost: float = 0.0
    stuck: float = 0.0
    failed_polls: float = 0.0
    slow_polls: float = 0.0
    failed_flushes: float = 0.0
    outage: tuple[float, float] | None = None


@dataclass
class SimulatedTask:
    image_id: str
    done_at: float
    state: TaskState
    known: bool = True


@dataclass
class Service:
    """What the service does to a post and to a poll, and what it has seen."""

    scenario: Scenario
    rng: random.Random
    tasks: dict[str, SimulatedTask] = field(default_factory=dict)
    accepted: Counter[str] = field(default_factory=Counter)
    posts: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _due: float = 0.0

    def post(self, image_id: str, now: float) -> str | ApiError:
        self.posts.append(now)
        s, rng = self.scenario, self.rng
        if s.outage is not None and s.outage[0] <= now < s.outage[0] + s.outage[1]:
            return ServiceUnavailableError("down")
        if s.service_rate is not None:
            burst = max(2.0, 0.1 * s.service_rate)
            if now < self._due - burst / s.service_rate:
                self.refused.append(now)
                return ThrottledError("slow down", retry_after=rng.choice([None, 0.5]))
            self._due = max(now, self._due) + 1 / s.service_rate
        if rng.random() < s.unavailable:
            return ServiceUnavailableError("busy")
        if rng.random() < s.too_large:
            return PayloadTooLargeError("too large", status=413)
        if rng.random() < s.broken:
            if rng.random() < 0.5:
                self._accept(image_id, now)
            return ServerError("broken", status=500)
        task_id = self._accept(image_id, now)
        return AnswerLostError("cut") if rng.random() < s.cut else task_id

    def _accept(self, image_id: str, now: float) -> str:
        s, rng = self.scenario, self.rng
        task_id = str(next(self._ids))
        state = TaskState.ERROR if rng.random() < s.task_errors else TaskState.SUCCESS
        done_at = float("inf") if rng.random() < s.stuck else now + rng.uniform(*s.latency)
        self.tasks[task_id] = SimulatedTask(image_id, done_at, state, known=rng.random() >= s.lost)
        self.accepted[image_id] += 1
        return task_id

    def poll(self, ids: tuple[str, ...], now: float) -> list[Task] | ApiError:
        assert 1 <= len(ids) <= 100
        outage = self.scenario.outage
        if outage is not None and outage[0] <= now < outage[0] + outage[1]:
            return ServiceUnavailableError("down")
        if self.rng.random() < self.scenario.failed_polls:
            return ServerError("broken", status=502)
        return [self._task(task_id, now) for task_id in ids if self.tasks[task_id].known]

    def _task(self, task_id: str, now: float) -> Task:
        task = self.tasks[task_id]
        if now < task.done_at:
            return Task(task_id, TaskState.PENDING)
        if task.state is TaskState.ERROR:
            return Task(task_id, TaskState.ERROR, error="cannot decode")
        return Task(task_id, TaskState.SUCCESS, outputs=answer(task.image_id))

    def refused_after(self, seconds: float) -> int:
        return sum(1 for time in self.refused if time > seconds)

    @property
    def accepted_again(self) -> int:
        return sum(count - 1 for count in self.accepted.values())


def answer(image_id: str) -> tuple[Output, ...]:
    """What the service answers for an image: nothing for one in sixteen."""
    if image_id.endswith("0"):
        return (Output(()),)
    return (Output((Prediction(int(image_id[-1], 16), image_id, 0.75, 0.5),)),)


class Simulation:
    """One run of the core through one scenario."""

    def __init__(self, scenario: Scenario, seed: int, *, settings: EngineSettings | None = None) -> None:
        self.scenario = scenario
        self.rng = random.Random(seed)
        self.service = Service(scenario, random.Random(seed + 1))
        self.settings = settings or EngineSettings(
            rate_per_s=scenario.rate, max_in_flight=scenario.max_in_flight, max_buffer_bytes=2_000_000
        )
        run = RunFacts("run", ModelRef(ModelKind.SPEC, "echo-v1"), 21)
        self.core = Core(self.settings, run, now=0.0, wall_us=lambda now: round(now * 1e6), rng=random.Random(seed + 2))
        self.now = 0.0
        self.journal: list[Record] = []
        self.durable: set[tuple[str, int, int]] = set()
        self.sent: Counter[tuple[str, int, int]] = Counter()
        self.outcomes: dict[str, Settled] = {}
        self.posting = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = itertools.count()
        self._polls_out = 0
        self._flushes_out = 0
        self._gate: list[Job] = []
        self._gate_busy = False

    def images(self) -> list[ImageRef]:
        rng = random.Random(7)
        ids = [f"{rng.getrandbits(128):032x}" for _ in range(self.scenario.images)]
        return [ImageRef(image_id, f"/{image_id}", f"/{image_id}", size_bytes=80_000) for image_id in ids]

    def run(self, *, until: float = 3_600.0) -> None:
        """Label every image; AssertionError if it hangs or something that must hold does not."""
        works = [Work(1, int(image.image_id[:2], 16), image) for image in self.images()]
        self.core.submit(works, self.now)
        while self.core.outstanding(1) or not self.core.durable(1):
            wake = self._pump()
            self._take_outcomes()
            if not self.core.outstanding(1) and self.core.durable(1):
                break
            due = self._events[0][0] if self._events else float("inf")
            self.now = min(due, max(wake, self.now + 1e-6))
            assert self.now < until, f"hangs: {self.core.outstanding(1)} of {len(works)} outstanding at {self.now}"
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
        self._check_end(works)

    # --- the shell, in virtual time -----------------------------------------------------------------

    def _after(self, seconds: tuple[float, float] | float, then: Callable[[], None]) -> None:
        delay = seconds if isinstance(seconds, float) else self.rng.uniform(*seconds)
        heapq.heappush(self._events, (self.now + delay, next(self._ticket), then))

    def _pump(self) -> float:
        """Start all that the core wants now; the time at which to ask again."""
        wakes = []
        while not isinstance(job := self.core.next_post(self.now), float):
            self._after(self.scenario.load_time, lambda job=job: self._loaded(job))
        wakes.append(job)
        while self._polls_out < POLLERS:
            ids = self.core.next_poll(self.now)
            if isinstance(ids, float):
                wakes.append(ids)
                break
            self._polls_out += 1
            slow = 2.0 if self.rng.random() < self.scenario.slow_polls else 0.005
            self._after(slow, lambda ids=ids: self._polled(ids))
        while not isinstance(flush := self.core.next_flush(self.now), float):
            self._flushes_out += 1
            assert self._flushes_out <= LANES
            self._after(self.scenario.flush_time, lambda flush=flush: self._flushed(flush))
        wakes.append(flush)
        return min(wakes)

    def _loaded(self, job: Job) -> None:
        image = job.work.image
        share = int(image.image_id[2:6], 16) / 65_536
        if share < self.scenario.bad_images:
            failure = Failure(Stage.VALIDATE, ErrorCode.NOT_AN_IMAGE, "text", retryable=False)
            self.core.load_failed(job, failure, Facts(), self.now)
        elif self.rng.random() < self.scenario.unreadable:
            failure = Failure(Stage.READ, ErrorCode.READ_FAILED, "slow down", retryable=True)
            self.core.load_failed(job, failure, Facts(), self.now)
        else:
            self.core.loaded(job, Facts(size_bytes=80_000), 107_000)
            self._gate.append(job)
            self._open_gate()

    def _open_gate(self) -> None:
        """One job at a time waits for its turn."""
        while self._gate and not self._gate_busy:
            wait_s = self.core.turn(self._gate[0], self.now)
            if wait_s:
                self._gate_busy = True
                self._after(min(wait_s, 0.5), self._gate_again)
                return
            job = self._gate.pop(0)
            if wait_s is not None:
                self._post(job)

    def _gate_again(self) -> None:
        self._gate_busy = False
        self._open_gate()

    def _post(self, job: Job) -> None:
        call = (job.work.image.image_id, job.work.generation, job.attempt)
        assert call in self.durable, f"posted without a durable claim: {call}"
        self.sent[call] += 1
        assert self.sent[call] == 1, f"one claim, two calls: {call}"
        self.posting += 1
        reply = self.service.post(job.work.image.image_id, self.now)
        self._after(self.scenario.post_time, lambda: self._replied(job, reply))

    def _replied(self, job: Job, reply: str | ApiError) -> None:
        self.posting -= 1
        if isinstance(reply, str):
            self.core.accepted(job, reply, self.now)
        else:
            self.core.refused(job, reply, self.now)

    def _polled(self, ids: tuple[str, ...]) -> None:
        self._polls_out -= 1
        reply = self.service.poll(ids, self.now)
        if isinstance(reply, ApiError):
            self.core.poll_failed(ids, reply, self.now)
        else:
            self.rng.shuffle(reply)
            self.core.polled(ids, reply, self.now)

    def _flushed(self, flush: Flush) -> None:
        self._flushes_out -= 1
        if self.rng.random() < self.scenario.failed_flushes:
            self.core.flush_failed(flush, StorageError("no space left"), self.now)
            return
        records = [entry.record for entry in flush.entries]
        self.journal += records
        self.durable |= {(r.image_id, r.generation, r.attempt) for r in records if isinstance(r, Claimed)}
        self.core.flushed(flush)

    def flush_all(self) -> bool:
        """Write what is still to be written."""
        while not isinstance(flush := self.core.last_flush(self.now), float):
            self._flushes_out += 1
            self._flushed(flush)
        return True

    def _take_outcomes(self) -> None:
        for outcome in self.core.take_outcomes(1):
            image_id = outcome.work.image.image_id
            assert image_id not in self.outcomes, f"two outcomes for {image_id}"
            self.outcomes[image_id] = outcome

    # --- what must hold ------------------------------------------------------------------------------

    def _check_end(self, works: list[Work]) -> None:
        assert set(self.outcomes) == {work.image.image_id for work in works}, "outcomes are missing"
        counters = self.core.counters
        assert counters.calls == len(self.service.posts)
        reported = sum(counters.billed_twice.values())
        assert self.service.accepted_again <= reported, "paid twice and not reported"
        finished = {r.image_id: r.result for r in self.journal if isinstance(r, Finished)}
        for image_id, outcome in self.outcomes.items():
            if isinstance(outcome, Settled):
                assert finished[image_id] == outcome.result
                self._check_result(image_id, outcome)
        self._check_rate()
        self._check_claims()

    def _check_result(self, image_id: str, outcome: Settled) -> None:
        result = outcome.result
        assert self.service.accepted[image_id] <= 1 + self.settings.max_reposts + self.settings.max_task_reruns
        if result.status is Status.FAILED:
            assert result.failure is not None
            assert result.outputs is None
        else:
            assert result.failure is None
            assert result.outputs is not None
            expected = Status.NO_DETECTION if image_id.endswith("0") else Status.SUCCEEDED
            assert result.status is expected
            assert (image_id in result.outputs) == (expected is Status.SUCCEEDED)

    def _check_rate(self) -> None:
        rate = self.scenario.rate
        if rate is None:
            return
        posts = self.service.posts
        for first, start in enumerate(posts):
            for last in range(first, min(first + 100, len(posts))):
                allowed = rate * (posts[last] - start) + bucket_depth(rate) + 1
                assert last - first + 1 <= allowed + 1e-6, f"{last - first + 1} calls in {posts[last] - start} s"

    def _check_claims(self) -> None:
        """Every claim is answered: by acceptance, by release, or it is one whose answer was lost."""
        claimed = {(r.image_id, r.generation, r.attempt) for r in self.journal if isinstance(r, Claimed)}
        released = {(r.image_id, r.generation, r.attempt) for r in self.journal if isinstance(r, Released)}
        accepted = {(r.image_id, r.generation, r.attempt) for r in self.journal if isinstance(r, Accepted)}
        assert released | accepted <= claimed
        assert not released & accepted
        lost_answers = claimed - released - accepted
        unknown = sum(1 for call in lost_answers if call not in self.sent)
        assert not unknown, "a claim was neither used nor released"
