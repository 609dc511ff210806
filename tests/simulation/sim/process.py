"""One process of a run: the engine's core with a shell in virtual time, and its bundle attempts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deepo_beam.engine import Core, Cut, EngineSettings, RunFacts
from deepo_beam.engine.ledger import Flush, by_bucket
from deepo_beam.engine.work import Job
from deepo_beam.errors import ApiError, DeepoBeamError, ErrorCode, RunStoppedError, Stage, StorageError
from deepo_beam.lake import holding, listing, plan, publish, tally
from deepo_beam.lake.dataset import check_journal
from deepo_beam.lake.heartbeat import Activity, Heartbeat
from deepo_beam.lake.journal import FIRST_JOURNAL, Journal, segment_name
from deepo_beam.lake.lease import BEAT_S
from deepo_beam.lake.plan import PlanRules
from deepo_beam.lake.stops import Stop
from deepo_beam.lake.workers import WorkerReport
from deepo_beam.types import Facts, Failure, ImageRef, ModelKind, ModelRef
from sim.clock import Actor, KilledError
from sim.store import InstantView, View

if TYPE_CHECKING:
    from sim.life import Life

OUTPUT = "mem://out"
MODEL = ModelRef(ModelKind.SPEC, "echo-v1")
POLLERS = 4
_NEVER = float("inf")
_SHORT_S = 0.05  # a wait of the shell that nothing ends, as in the engine


@dataclass(frozen=True)
class RunInfo:
    """What every process of a run knows of it."""

    run_id: str
    rules: PlanRules
    settings: EngineSettings
    version: int
    started_us: int
    journal: str = FIRST_JOURNAL


@dataclass(eq=False)
class Attempt:
    """One attempt to label the buckets of a bundle."""

    owner: int
    bundle: Mapping[int, Sequence[ImageRef]]
    allotments: Mapping[int, int] | None
    ended: Callable[[Attempt, bool], None]
    submitted: bool = False
    over: bool = False
    calls: dict[int, int] = field(default_factory=dict)


class Process(Actor):
    """A worker."""

    def __init__(self, life: Life, name: str, run: RunInfo) -> None:
        super().__init__(name)
        self.life, self.run, self.clock = life, run, life.clock
        self.rng = random.Random(f"{life.scenario.seed} {name}")
        self.writer = f"{self.rng.getrandbits(32):08x}"
        self.heartbeat: Heartbeat | None = None
        self.stopped: str | None = None
        self.closing = False
        self._view = View(life.store, self, life.chaos.acts)
        self._journal = Journal(OUTPUT, run.journal, InstantView(life.store, self, life.chaos.acts))
        skew_us = 1_760_000_000_000_000 + self.rng.randrange(-3_000_000, 3_000_000)
        self.core = Core(
            run.settings,
            RunFacts(run.run_id, MODEL, run.version),
            now=self.clock.now,
            wall_us=lambda now: skew_us + round(now * 1e6),
            rng=random.Random(self.rng.random()),
        )
        self.attempts: list[Attempt] = []
        self._covered: Mapping[int, Mapping[str, int]] | None = None
        self._owners = 0
        self._wake_at = _NEVER
        self._pumping = False
        self._polls_out = 0
        self._gate: list[Job] = []
        self._gate_waits = False
        self._writing: list[tuple[int, str, list]] = []
        self._beating = False

    # --- bundle attempts -----------------------------------------------------------------------------

    def begin(
        self,
        bundle: Mapping[int, Sequence[ImageRef]],
        allotments: Mapping[int, int] | None,
        ended: Callable[[Attempt, bool], None],
    ) -> Attempt:
        """Attempt a bundle soon; ``ended`` is told when it is over, and whether it did all that there was to do."""
        self._owners += 1
        attempt = Attempt(self._owners, bundle, allotments, ended)
        self.attempts.append(attempt)
        self.life.truth.began(self, attempt)
        self._after(0.001, lambda: self._attempt(attempt))
        return attempt

    def give_up(self, attempt: Attempt) -> None:
        """Forget it; what is on the wire is still recorded."""
        if not attempt.over:
            self._over(attempt)
            self.core.cancel(attempt.owner)

    def stop(self, why: str) -> None:
        """Post nothing more."""
        self.stopped = self.stopped or why
        self.core.stop(self.clock.now)
        self.pump()

    def kill(self) -> None:
        """The process dies; each write in progress is done, or not."""
        if not self.alive:
            return
        self.clock.say(self.name, "dies")
        self.alive = False
        for part in self._writing:
            if self.rng.random() < 0.5:
                with suppress(StorageError):
                    self._journal.append(*part)
        for attempt in list(self.attempts):
            self._over(attempt)

    def close(self) -> None:
        """The run is over: write once more what is known, and end."""
        self.closing = True
        self.core.stop(self.clock.now)
        while not isinstance(flush := self.core.last_flush(self.clock.now), float):
            try:
                for bucket, entries in by_bucket(flush.entries).items():
                    self._journal.append(bucket, self._segment(flush), [entry.record for entry in entries])
            except StorageError:
                break
            self.core.flushed(flush)
        self.alive = False

    def _attempt(self, attempt: Attempt) -> None:
        try:
            for bucket, images in attempt.bundle.items():
                if attempt.over:
                    return
                self._submit(attempt, bucket, images)
        except KilledError:
            return
        except (StorageError, RunStoppedError) as error:
            self.clock.say(self.name, "bundle fails: {}", error)
            self.core.cancel(attempt.owner)
            self._end(attempt, well=False)
            return
        attempt.submitted = True
        self.pump()

    def _submit(self, attempt: Attempt, bucket: int, images: Sequence[ImageRef]) -> None:
        """As the labelling DoFn does."""
        if self._covered is None:
            self._join()
            self._covered = publish.coverage(publish.load_intents(OUTPUT, self.run.journal, self._view)[0])
        self.life.truth.plans(self, bucket)
        covered = self._covered.get(bucket, {})
        history = Journal(OUTPUT, self.run.journal, self._view).read_history(bucket, covered)
        planned = plan.plan_bucket(images, tally.known_of(history, covered), self.run.rules)
        listing.write_listing(OUTPUT, self.run.run_id, bucket, planned, self._view)
        works = [
            plan.work_of(entry.labelling, owner=attempt.owner, bucket=bucket)
            for entry in planned
            if entry.labelling is not None
        ]
        allotments = None
        if attempt.allotments is not None:
            allotments = {
                bucket: tally.calls_left(attempt.allotments.get(bucket, 0), history.segments, self.run.run_id)
            }
        if attempt.over:
            return
        self.clock.say(self.name, "plans bucket {}: {} to label, calls {}", bucket, len(works), allotments)
        self.core.submit(works, self.clock.now, allotments)
        self.pump()

    def _join(self) -> None:
        """Take part in the run."""
        scenario = self.life.scenario
        if not scenario.local:
            holding.check_held(OUTPUT, self.run.run_id, self._view)
        check_journal(OUTPUT, self.run.journal, self._view)
        report = WorkerReport(
            self.run.run_id, self.writer, "host", 1, self.core.counters, started_us=self.run.started_us
        )
        self.heartbeat = Heartbeat(
            OUTPUT,
            report,
            self,
            alone=scenario.in_process,
            locked=scenario.local,
            store=self._view,
            clock=lambda: self.clock.now,
        )
        self._beat_on()

    def _look_for_ends(self) -> None:
        for attempt in list(self.attempts):
            if attempt.submitted and not attempt.over:
                for outcome in self.core.take_outcomes(attempt.owner):
                    self.life.truth.outcome(self, attempt, outcome)
                done = not self.core.outstanding(attempt.owner)
                if done and (self.core.durable(attempt.owner) or self.core.store_failed):
                    self._end(attempt, well=True)

    def _end(self, attempt: Attempt, *, well: bool) -> None:
        self._over(attempt)
        self._after(0.0, lambda: self._report(attempt, well))

    def _report(self, attempt: Attempt, well: bool) -> None:
        if self._beating:
            self._after(0.05, lambda: self._report(attempt, well))
        elif self._beat():
            attempt.ended(attempt, well)

    def _over(self, attempt: Attempt) -> None:
        attempt.over = True
        self.attempts.remove(attempt)
        self.life.truth.ended(self, attempt)

    # --- its heartbeat -------------------------------------------------------------------------------

    def look(self) -> Activity:
        """What the heartbeat says of it."""
        fatal = self.core.fatal
        stop = Stop(str(fatal), fatal.exit_code) if fatal else Stop(self.stopped) if self.stopped else None
        core = self.core
        return Activity(core.counters, core.idle, stop, core.cut(self.clock.now), core.lowered_per_s)

    def share_rate(self, sharers: int) -> None:
        """So many processes post."""
        self.core.share_rate(sharers)

    def rest(self) -> None:
        """Others post."""
        self.core.rest(self.clock.now)

    def hear(self, others: Cut) -> None:
        """What the others know of the service's quota."""
        self.core.hear(others, self.clock.now)

    def abandon(self, error: DeepoBeamError) -> None:
        """The run does not hold the output any more."""
        self.core.stop_with(error, self.clock.now)

    def crash(self, error: BaseException) -> None:
        """Nothing in the heartbeat may fail in a way that it does not expect."""
        raise error

    def _beat_on(self) -> None:
        if not self._beating and not self._beat():
            return
        if not (self.life.scenario.in_process and self.life.scenario.local):  # its beats would tell nobody anything
            self._after(BEAT_S, self._beat_on)

    def _beat(self) -> bool:
        """Report, look for the others; False: it died meanwhile."""
        if self.heartbeat is None:
            return True
        self._beating = True
        try:
            with suppress(StorageError):
                self.heartbeat.beat()
        except KilledError:
            return False
        finally:
            self._beating = False
        return True

    def _lease_left_s(self) -> float:
        return 0.0 if self.heartbeat is None else self.heartbeat.lease_left_s()

    # --- the engine's shell, in virtual time ---------------------------------------------------------

    def pump(self) -> None:
        """Start all that the core wants now, and wake when it may want something again."""
        if not self.alive or self._pumping:
            return
        self._pumping = True
        core, now, faults = self.core, self.clock.now, self.life.scenario.faults
        while not isinstance(job := core.next_post(now), float):
            self._after(self.rng.uniform(*faults.load_s), lambda job=job: self._loaded(job))
        wake = job
        while self._polls_out < POLLERS:
            ids = core.next_poll(now)
            if isinstance(ids, float):
                wake = min(wake, ids)
                break
            self._polls_out += 1
            slow = 2.0 if self.rng.random() < faults.slow_polls else 0.005
            self._after(slow, lambda ids=ids: self._polled(ids))
        self._look_for_ends()
        while not isinstance(flush := core.next_flush(now), float):
            self._flush(flush)
        self._look_for_ends()
        wake = min(wake, flush, now + 1.0 if self.attempts or len(core._tasks) else _NEVER)
        self._pumping = False
        if wake < self._wake_at:
            self._wake_at = max(wake, now + 1e-4)
            self._after(self._wake_at - now, self._awake, pump=False)

    def _awake(self) -> None:
        if self._wake_at <= self.clock.now + 1e-9:
            self._wake_at = _NEVER
        self.pump()

    def _after(self, seconds: float, then: Callable[[], None], *, pump: bool = True) -> None:
        def happen() -> None:
            self.life.chaos.acts(self)
            if self.alive:
                then()
                if pump:
                    self.pump()

        self.clock.after(seconds, happen, self)

    def _loaded(self, job: Job) -> None:
        image, faults = job.work.image, self.life.scenario.faults
        content = self.life.contents[image.image_id]
        facts = Facts(size_bytes=80_000, content_sha256=content, modified_us=image.modified_us)
        if int(image.image_id[2:6], 16) / 65_536 < faults.bad_images:
            failure = Failure(Stage.VALIDATE, ErrorCode.NOT_AN_IMAGE, "text", retryable=False)
            self.core.load_failed(job, failure, facts, self.clock.now)
        elif not self.life.store.well and self.rng.random() < faults.unreadable:
            failure = Failure(Stage.READ, ErrorCode.READ_FAILED, "slow down", retryable=True)
            self.core.load_failed(job, failure, Facts(), self.clock.now)
        elif self.core.loaded(job, facts, 107_000):
            self._gate.append(job)
            self._open_gate()

    def _open_gate(self) -> None:
        """One job at a time waits for its turn."""
        while self._gate and not self._gate_waits:
            wait_s = self.core.turn(self._gate[0], self.clock.now, lease_left_s=self._lease_left_s())
            if wait_s:
                self._gate_waits = True
                self._after(min(wait_s, 0.5), self._gate_again)
                return
            job = self._gate.pop(0)
            if wait_s is not None:
                self._post(job)

    def _gate_again(self) -> None:
        self._gate_waits = False
        self._open_gate()

    def _post(self, job: Job) -> None:
        """On the wire; it arrives even if the process dies meanwhile, or not."""
        image_id, content = job.work.image.image_id, job.facts.content_sha256 or ""
        self.life.truth.posted(self, job)
        took_s = self.rng.uniform(*self.life.scenario.faults.post_s)
        arrives = 0.5 * took_s

        def arrive() -> None:
            if not self.alive and self.rng.random() < 0.5:
                return
            before = len(self.life.service.tasks)
            reply = self.life.service.post(image_id, content, job.work.generation, self.run.run_id, self.clock.now)
            if len(self.life.service.tasks) > before:
                self.life.truth.billed(self, job)
            self.clock.say(self.name, "posts {} for the {}. time: {!r}", image_id[:8], job.attempt, reply)
            if self.alive:
                self._after(took_s - arrives, lambda: self._replied(job, reply))

        self.clock.after(arrives, arrive)

    def _replied(self, job: Job, reply: str | ApiError) -> None:
        if isinstance(reply, str):
            self.life.truth.accepted(self, job, reply)
            self.core.accepted(job, reply, self.clock.now)
        else:
            self.core.refused(job, reply, self.clock.now)
        self._open_gate()

    def _polled(self, ids: tuple[str, ...]) -> None:
        self._polls_out -= 1
        reply = self.life.service.poll(ids, self.clock.now)
        if isinstance(reply, ApiError):
            self.core.poll_failed(ids, reply, self.clock.now)
        else:
            self.core.polled(ids, reply, self.clock.now)

    # --- the journal ---------------------------------------------------------------------------------

    def _segment(self, flush: Flush) -> str:
        return segment_name(self.run.run_id, self.writer, flush.number)

    def _flush(self, flush: Flush) -> None:
        """One segment for each bucket, at once, as the journal's writer does."""
        parts = [
            (bucket, self._segment(flush), [entry.record for entry in entries])
            for bucket, entries in by_bucket(flush.entries).items()
        ]
        left, errors = len(parts), list[StorageError]()

        def write(part: tuple[int, str, list]) -> None:
            nonlocal left
            self._writing.remove(part)
            left -= 1
            try:
                self._journal.append(*part)
            except StorageError as error:
                errors.append(error)
            if left == 0:
                self._after(self._store_s(), lambda: self._flushed(flush, errors))

        for part in parts:
            self._writing.append(part)
            self._after(self._store_s(), lambda part=part: write(part))

    def _store_s(self) -> float:
        faults = self.life.scenario.faults
        slow = self.rng.random() < faults.slow_writes and not self.life.store.well
        return self.rng.uniform(*faults.store_s) + (self.rng.uniform(1.0, 8.0) if slow else 0.0)

    def _flushed(self, flush: Flush, errors: list[StorageError]) -> None:
        if errors:
            self.core.flush_failed(flush, errors[0], self.clock.now)
        else:
            self.core.flushed(flush)
            self._open_gate()
