"""Several processes of one run against a service with a quota of its own, in virtual time.

Each is the real core and the real heartbeat. A heartbeat runs in a thread that holds the world's baton while it
runs and gives it back whenever the store takes time, so that a slow look at the others overlaps with everything else
as it would, and a seed repeats to the last call.
"""

from __future__ import annotations

import bisect
import itertools
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from unittest.mock import patch

from sim.clock import Actor, Clock
from sim.store import Name

from deepo_beam.api import Output, Task, TaskState
from deepo_beam.engine import Core, Cut, EngineSettings, RunFacts, Work
from deepo_beam.engine.ledger import Flush
from deepo_beam.engine.work import Job
from deepo_beam.errors import DeepoBeamError, ObjectNotFoundError, StorageError, ThrottledError
from deepo_beam.lake import heartbeat
from deepo_beam.lake.heartbeat import Activity, Heartbeat
from deepo_beam.lake.lease import BEAT_S
from deepo_beam.lake.workers import WorkerReport
from deepo_beam.types import Facts, ImageRef, ModelKind, ModelRef

OUTPUT, RUN = "mem://out", "run-a"
_FACTS = Facts(size_bytes=80_000)


@dataclass(frozen=True)
class Setting:
    """Rates in calls/s, times in seconds, shares 0..1.

    Attributes:
        told: the rate that the run is allowed, None for no limit.
        quota: what the service accepts, from second to second: ``{0: 100, 60: 50}``.
        retry_after: what a refusal says: ``seconds`` (whole ones), ``date`` (up to a second ahead), ``none``, or
            ``any`` of them.
        posts_per_s: what a process can make at most, None for as many as it may.
        lost_beats: share of the heartbeats that the store fails to write.
        burst: calls that the service saves up; None: a tenth of a second's worth, at least 2.
        post_s, latency, store_s: of a call, a task, an operation of the store; ``late_s``: of a sender that is woken.
        starts: second at which each process begins; ``ends``: at which it dies.
    """

    processes: int = 2
    told: float | None = 200.0
    quota: Mapping[float, float] = field(default_factory=lambda: {0.0: 100.0})
    burst: float | None = None
    retry_after: str = "seconds"
    posts_per_s: float | None = None
    post_s: tuple[float, float] = (0.005, 0.03)
    late_s: tuple[float, float] = (0.0, 0.002)
    latency: tuple[float, float] = (0.2, 0.3)
    store_s: tuple[float, float] = (0.001, 0.01)
    lost_beats: float = 0.0
    starts: tuple[float, ...] = ()
    ends: Mapping[int, float] = field(default_factory=dict)


class Service:
    """A token bucket that is filled at a rate which moves."""

    def __init__(self, setting: Setting, rng: random.Random) -> None:
        self.setting, self.rng = setting, rng
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.done: dict[str, float] = {}
        self._tokens, self._at = 0.0, 0.0  # somebody else has just used it up

    def quota(self, now: float) -> float:
        """In force at a time."""
        return next(rate for since, rate in sorted(self.setting.quota.items(), reverse=True) if since <= now)

    def _depth(self, now: float) -> float:
        return self.setting.burst or max(2.0, self.quota(now) / 10)

    def post(self, now: float) -> str | ThrottledError:
        self._tokens = min(self._depth(now), self._tokens + (now - self._at) * self.quota(now))
        self._at = now
        if self._tokens < 1:
            self.refused.append(now)
            return ThrottledError("slow down", retry_after=self._retry_after())
        self._tokens -= 1
        self.accepted.append(now)
        task_id = str(len(self.accepted))
        self.done[task_id] = now + self.rng.uniform(*self.setting.latency)
        return task_id

    def _retry_after(self) -> float | None:
        style = self.setting.retry_after
        if style == "any":
            style = self.rng.choice(["none", "seconds", "date"])
        return {"none": None, "seconds": 1.0, "date": self.rng.uniform(0.0, 1.0)}[style]

    def tasks(self, ids: tuple[str, ...], now: float) -> list[Task]:
        done = (Output(()),)
        return [
            Task(each, TaskState.SUCCESS, outputs=done) if self.done[each] <= now else Task(each, TaskState.PENDING)
            for each in ids
        ]


class LongClock(Clock):
    """For minutes of hundreds of calls a second."""

    MOST_EVENTS = 2_000_000


class Baton:
    """Lets threads take turns with the events of a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._back = threading.Semaphore(0)

    def start(self, run: Callable[[], None]) -> None:
        """Let something run in a thread of its own until it first sleeps, or ends."""

        def thread() -> None:
            try:
                run()
            finally:
                self._back.release()

        threading.Thread(target=thread, daemon=True).start()
        self._back.acquire()

    def sleep(self, seconds: float) -> None:
        """To be called by such a thread."""
        mine = threading.Semaphore(0)

        def wake() -> None:
            mine.release()
            self._back.acquire()

        self._clock.after(seconds, wake)
        self._back.release()
        mine.acquire()


class SlowStore:
    """Objects in a dict; what a process does with them takes time, and may fail."""

    def __init__(self, setting: Setting, baton: Baton, rng: random.Random) -> None:
        self._setting, self._baton, self._rng = setting, baton, rng
        self._objects: dict[str, bytes] = {}

    def read_bytes(self, uri: str) -> bytes:
        self._pass()
        if uri not in self._objects:
            raise ObjectNotFoundError(uri)
        return self._objects[uri]

    def write_bytes(self, uri: str, data: bytes) -> None:
        self._pass()
        if self._rng.random() < self._setting.lost_beats:
            raise StorageError("503 Slow Down")
        self._objects[uri] = data
        self._pass()

    def list_objects(self, folder: str, *, recursive: bool = True) -> Iterator[Name]:
        self._pass()
        return iter([Name(uri) for uri in sorted(self._objects) if uri.startswith(folder)])

    def join(self, base: str, *parts: str) -> str:
        return "/".join((base, *parts))

    def _pass(self) -> None:
        self._baton.sleep(self._rng.uniform(*self._setting.store_s))


class Member(Actor):
    """A process: core, heartbeat, and a shell in virtual time."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        super().__init__(f"worker-{number}")
        self.crowd, self.clock, self.number = crowd, crowd.clock, number
        self.rng = random.Random(f"{crowd.seed} {number}")
        self.posts: list[float] = []
        self.core = Core(
            EngineSettings(rate_per_s=crowd.setting.told),
            RunFacts(RUN, ModelRef(ModelKind.SPEC, "echo-v1"), 21),
            now=self.clock.now,
            wall_us=lambda now: round(now * 1e6),
            rng=random.Random(self.rng.random()),
        )
        self._images = 0
        self._polling = False
        self._gate: deque[Job] = deque()
        self._gate_waits = False
        self._wake_at = float("inf")
        report = WorkerReport(RUN, f"{number:08x}", "host", number, self.core.counters)
        with patch.object(heartbeat.threading.Thread, "start"):  # it beats when the world says so
            self.heartbeat = Heartbeat(
                OUTPUT,
                report,
                self,
                alone=crowd.setting.processes == 1,
                locked=True,
                store=crowd.store,
                clock=lambda: self.clock.now + 1e6 * number,  # no two clocks agree
            )
        crowd.baton.start(self._beat_on)
        self.pump()

    def _beat_on(self) -> None:
        while self.alive:
            with suppress(StorageError):
                self.heartbeat.beat()
            self.crowd.baton.sleep(BEAT_S)

    # --- as the heartbeat sees it --------------------------------------------------------------------

    def look(self) -> Activity:
        core = self.core
        return Activity(core.counters, core.idle, None, core.cut(self.clock.now), core.lowered_per_s)

    def share_rate(self, sharers: int) -> None:
        self.core.share_rate(sharers)

    def rest(self) -> None:
        self.core.rest(self.clock.now)

    def hear(self, others: Cut) -> None:
        self.core.hear(others, self.clock.now)

    def stop(self, reason: str) -> None:
        raise AssertionError(reason)

    def abandon(self, error: DeepoBeamError) -> None:
        raise error

    def crash(self, error: BaseException) -> None:
        raise error

    # --- the engine's shell ---------------------------------------------------------------------------

    def pump(self) -> None:
        """Start all that the core wants now, and wake when it may want something again."""
        core, now = self.core, self.clock.now
        if core.backlog() < 100:
            core.submit([Work(1, 0, self._image()) for _ in range(100)], now)
        while not isinstance(flush := core.next_flush(now), float):
            self._after(0.005, lambda flush=flush: self._flushed(flush))
        while not isinstance(job := core.next_post(now), float):
            self._after(0.002, lambda job=job: self._loaded(job))
        wake = min(flush, job, now + 1.0)
        if not self._polling:
            ids = core.next_poll(now)
            if isinstance(ids, float):
                wake = min(wake, ids)
            else:
                self._polling = True
                self._after(0.005, lambda: self._polled(ids))
        core.take_outcomes(1)
        if wake < self._wake_at:
            self._wake_at = wake = max(wake, now + 1e-3)
            self._after(wake - now, self._awake)

    def _awake(self) -> None:
        if self._wake_at <= self.clock.now + 1e-9:
            self._wake_at = float("inf")

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        def happen() -> None:
            then()
            self.pump()

        self.clock.after(seconds, happen, self)

    def _image(self) -> ImageRef:
        self._images += 1
        image_id = f"{self.number:08x}{self._images:024x}"
        return ImageRef(image_id, f"/{image_id}", f"/{image_id}", size_bytes=80_000)

    def _flushed(self, flush: Flush) -> None:
        self.core.flushed(flush)

    def _loaded(self, job: Job) -> None:
        if self.core.loaded(job, _FACTS, 107_000):
            self._gate.append(job)
            self._open_gate()

    def _open_gate(self) -> None:
        while self._gate and not self._gate_waits:
            wait_s = self.core.turn(self._gate[0], self.clock.now, lease_left_s=self.heartbeat.lease_left_s())
            assert wait_s is not None
            if wait_s:
                self._gate_waits = True
                self._after(min(wait_s, 0.5) + self.rng.uniform(*self.crowd.setting.late_s), self._gate_again)
                return
            self._post(self._gate.popleft())
            if self.crowd.setting.posts_per_s is not None:
                self._gate_waits = True
                self._after(1.0 / self.crowd.setting.posts_per_s, self._gate_again)

    def _gate_again(self) -> None:
        self._gate_waits = False
        self._open_gate()

    def _post(self, job: Job) -> None:
        self.posts.append(self.clock.now)
        took_s = self.rng.uniform(*self.crowd.setting.post_s)

        def arrive() -> None:
            reply = self.crowd.service.post(self.clock.now)
            self._after(took_s / 2, lambda: self._replied(job, reply))

        self._after(took_s / 2, arrive)

    def _replied(self, job: Job, reply: str | ThrottledError) -> None:
        if isinstance(reply, str):
            self.core.accepted(job, reply, self.clock.now)
        else:
            self.core.refused(job, reply, self.clock.now)
        self._open_gate()

    def _polled(self, ids: tuple[str, ...]) -> None:
        self._polling = False
        self.core.polled(ids, self.crowd.service.tasks(ids, self.clock.now), self.clock.now)


class Crowd:
    """Processes, a service, a store."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting, self.seed = setting, seed
        self.rng = random.Random(seed)
        self.clock = LongClock()
        self.baton = Baton(self.clock)
        self.store = SlowStore(setting, self.baton, random.Random(seed + 1))
        self.service = Service(setting, random.Random(seed + 2))
        self.members: list[Member] = []
        for number in range(setting.processes):
            at = setting.starts[number] if setting.starts else self.rng.uniform(0.0, 1.0)
            self.clock.after(at, lambda number=number: self.members.append(Member(self, number)))
        for number, at in setting.ends.items():
            self.clock.after(at, lambda number=number: self._end(number))

    def _end(self, number: int) -> None:
        self.members[number].alive = False

    def run(self, until: float) -> Crowd:
        self.clock.pass_until(until)
        for member in self.members:
            member.alive = False
        return self

    @property
    def first(self) -> float:
        """When the first call was made."""
        return min(member.posts[0] for member in self.members if member.posts)

    @property
    def posts(self) -> list[float]:
        """When each call was made, by any process."""
        return sorted(post for member in self.members for post in member.posts)

    def used(self, start: float, end: float) -> float:
        """Share of the quota that was used in a time."""
        accepted = bisect.bisect(self.service.accepted, end) - bisect.bisect(self.service.accepted, start)
        steps = sorted({start, end, *(at for at in self.setting.quota if start < at < end)})
        offered = sum((b - a) * self.service.quota(a) for a, b in itertools.pairwise(steps))
        return accepted / offered

    def refused(self, start: float, end: float) -> float:
        """Share of the calls that were refused in a time."""
        refused = bisect.bisect(self.service.refused, end) - bisect.bisect(self.service.refused, start)
        accepted = bisect.bisect(self.service.accepted, end) - bisect.bisect(self.service.accepted, start)
        return refused / max(1, refused + accepted)
