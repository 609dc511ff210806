"""Threads, a clock and a lock around the core: one engine labels for all bundles of a process.

Senders take an image each, read it, wait for their turn and post it; pollers ask for tasks; two flushers write
the journal. They share nothing but the core, under one lock that is never held during I/O. A bug in any
of them ends the engine: every caller gets the exception.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from deepo_beam.engine.core import Core
from deepo_beam.engine.cuts import Cut
from deepo_beam.engine.ledger import LANES, Flush, by_bucket
from deepo_beam.engine.settings import EngineSettings
from deepo_beam.engine.transport import JournalSink, LoadedImage, LoadFailure, Transport
from deepo_beam.engine.work import Counters, Job, Outcome, RunFacts, Work
from deepo_beam.errors import ApiError, DeepoBeamError, StorageError

T = TypeVar("T")
_POLLERS = 4  # a poll that hangs must not hold up the others
_LOOK_AGAIN_S = 0.05  # pollers and the flusher look at the core so often: cheaper than waking them by event
_STORE_PATIENCE_S = 10.0  # an engine that ends waits so long for a store that does not answer
_CANCEL_PATIENCE_S = 30.0  # a bundle that was given up waits so long for its own calls on the wire
_CALLER_LOOKS_S = 0.02  # cheaper than waking a caller for every image


class EngineClosedError(RuntimeError):
    """The engine was closed, or ended by a bug, while somebody waited for it."""


class Engine:
    """Labels streams of images with bounded memory. Thread-safe."""

    def __init__(
        self,
        settings: EngineSettings,
        run: RunFacts,
        transport: Transport,
        journal: JournalSink | None,
        *,
        lease_left_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """Start the threads; ``journal`` None keeps no record.

        Args:
            settings: the numbers to work by.
            run: goes into every record.
            transport: the service and the store of images.
            journal: where records become durable.
            lease_left_s: seconds for which this process may post; asked just before each post.
        """
        started, wall = time.monotonic(), time.time()
        self._core = Core(
            settings,
            run,
            now=started,
            wall_us=lambda now: round((wall + now - started) * 1e6),
            rng=random.Random(),  # noqa: S311 - jitter, not cryptography
        )
        self._transport = transport
        self._journal = journal
        self._lease_left_s = lease_left_s
        self._lock = threading.Lock()
        self._posts = threading.Condition(self._lock)
        self._polls = threading.Condition(self._lock)
        self._flushes = threading.Condition(self._lock)
        self._turns = threading.Condition(self._lock)
        self._sessions = threading.Condition(self._lock)
        self._gate = threading.Lock()
        self._closing = False
        self._crash: BaseException | None = None
        self._owners = itertools.count(1)
        self._threads: list[threading.Thread] = []
        self._senders = 0
        with self._lock:
            for _ in range(LANES):
                self._spawn("flusher", self._flush_loop)
            for _ in range(_POLLERS):
                self._spawn("poller", self._poll_loop)
            self._spawn_senders()

    # --- for the callers -----------------------------------------------------------------------------

    def open(self) -> Session:
        """A place to submit work and to get its outcomes back."""
        return Session(self, next(self._owners))

    def counters(self) -> Counters:
        """A copy of what was done so far."""
        with self._lock:
            counters = self._core.counters
            twice = dict(counters.billed_twice)
            return dataclasses.replace(counters, billed_twice=twice, in_flight=self._core.in_flight)

    @property
    def fatal(self) -> DeepoBeamError | None:
        """Why the engine stopped by itself, None if it did not."""
        return self._core.fatal

    def stop(self) -> None:
        """Post nothing more; what is in flight is waited for, for a while."""
        with self._lock:
            self._core.stop(time.monotonic())
            self._wake_all()

    def stop_with(self, error: DeepoBeamError) -> None:
        """As :meth:`stop`, because of this."""
        with self._lock:
            self._core.stop_with(error, time.monotonic())
            self._wake_all()

    def share_rate(self, sharers: int) -> None:
        """The allowed rate is for so many processes (>= 1) from now on."""
        with self._lock:
            self._core.share_rate(sharers)

    def rest(self) -> None:
        """This process posts nothing at present, for others do."""
        with self._lock:
            self._core.rest(time.monotonic())

    def cut(self) -> Cut | None:
        """What this process knows of the service's quota, None: nothing was refused."""
        with self._lock:
            return self._core.cut(time.monotonic())

    @property
    def lowered_per_s(self) -> float | None:
        """Calls/s of all processes, while a service that refused keeps them below what is allowed; else None."""
        with self._lock:
            return self._core.lowered_per_s

    def hear(self, others: Cut) -> None:
        """What the other processes of the run know of it together."""
        with self._lock:
            self._core.hear(others, time.monotonic())

    @property
    def idle(self) -> bool:
        """There is nothing to post at present."""
        with self._lock:
            return self._core.idle

    def crash(self, error: BaseException) -> None:
        """End with a bug, wherever it was: every caller gets it."""
        with self._lock:
            self._crash = self._crash or error
            self._closing = True
            self._wake_all()

    def close(self) -> None:
        """End the threads, and write once more what they learnt: a task that was accepted is worth its record."""
        with self._lock:
            self._core.stop(time.monotonic())
            self._closing = True
            self._wake_all()
        for thread in self._threads:
            thread.join(_STORE_PATIENCE_S if thread.name.endswith("flusher") else None)
        self._write_last_facts()

    def _write_last_facts(self) -> None:
        """Also after a bug: then once, and whatever comes of it."""
        patience = time.monotonic() + (0.0 if self._crash else _STORE_PATIENCE_S)
        while True:
            flush = self._core.last_flush(time.monotonic())
            if isinstance(flush, float):
                if flush > patience:
                    return
                time.sleep(max(0.0, flush - time.monotonic()))
                continue
            try:
                self._flush(flush)
            except Exception:
                if self._crash is None:
                    raise
                return  # the bug that ended the engine, once more: its first occurrence is reported

    # --- for sessions --------------------------------------------------------------------------------

    def _submit(self, works: Sequence[Work], allotments: Mapping[int, int] | None) -> None:
        with self._lock:
            self._check()
            self._core.submit(works, time.monotonic(), allotments)
            self._wake_all()
            # Returning while some of it still waits to be posted keeps the pipe full between two buckets.
            self._wait_until(lambda: self._core.backlog() <= self._core.backlog_wanted(time.monotonic()))

    def _wait_until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._sessions.wait(_CALLER_LOOKS_S)
            self._check()

    def _check(self) -> None:
        if self._crash is not None:
            raise EngineClosedError("the labelling engine failed") from self._crash
        if self._closing:
            raise EngineClosedError("the labelling engine was closed")

    # --- threads -------------------------------------------------------------------------------------

    def _spawn(self, name: str, loop: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._run, args=(loop,), name=f"deepo-beam-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _spawn_senders(self) -> None:
        while self._senders < self._core.senders_wanted:
            self._senders += 1
            self._spawn("sender", self._send_loop)

    def _run(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:
            self.crash(error)

    def _wake_all(self) -> None:
        for condition in (self._posts, self._polls, self._flushes, self._turns, self._sessions):
            condition.notify_all()

    def _next(self, ask: Callable[[float], T | float], condition: threading.Condition, most_s: float) -> T | None:
        """Wait, under the lock, until the core has something to do; None when closing."""
        while not self._closing:
            now = time.monotonic()
            answer = ask(now)
            if not isinstance(answer, float):
                return answer
            condition.wait(max(0.0, min(answer - now, most_s)))
        return None

    def _send_loop(self) -> None:
        while True:
            with self._lock:
                job = self._next(self._core.next_post, self._posts, 1.0)
            if job is None:
                return
            self._send(job)

    def _send(self, job: Job) -> None:
        loaded = self._transport.load(job.work.image)
        if isinstance(loaded, LoadFailure):
            with self._lock:
                self._core.load_failed(job, loaded.failure, loaded.facts, time.monotonic())
            return
        with self._lock:
            to_be_posted = self._core.loaded(job, loaded.facts, len(loaded.body))
        if to_be_posted and self._wait_for_turn(job):
            self._post(job, loaded)

    def _wait_for_turn(self, job: Job) -> bool:
        """One sender at a time waits for the rate limit, so that no two wake for one call."""
        with self._gate, self._lock:
            while True:
                wait_s = self._core.turn(job, time.monotonic(), lease_left_s=self._lease_left_s())
                if not wait_s:
                    return wait_s is not None
                self._turns.wait(min(wait_s, 0.5))

    def _post(self, job: Job, loaded: LoadedImage) -> None:
        try:
            task_id = self._transport.post(loaded)
        except ApiError as error:
            with self._lock:
                self._core.refused(job, error, time.monotonic())
                self._turns.notify()
            return
        with self._lock:
            self._core.accepted(job, task_id, time.monotonic())
            self._turns.notify()
            self._spawn_senders()

    def _poll_loop(self) -> None:
        while True:
            with self._lock:
                ids = self._next(self._core.next_poll, self._polls, _LOOK_AGAIN_S)
            if ids is None:
                return
            self._poll(ids)

    def _poll(self, ids: Sequence[str]) -> None:
        try:
            tasks = self._transport.poll(ids)
        except ApiError as error:
            with self._lock:
                self._core.poll_failed(ids, error, time.monotonic())
            return
        with self._lock:
            self._core.polled(ids, tasks, time.monotonic())
            self._posts.notify(self._core.senders_wanted)

    def _flush_loop(self) -> None:
        while True:
            with self._lock:
                flush = self._next(self._core.next_flush, self._flushes, _LOOK_AGAIN_S)
            if flush is None:
                return
            self._flush(flush)

    def _flush(self, flush: Flush) -> None:
        try:
            if self._journal is not None:
                segments = by_bucket(flush.entries)
                self._journal.write(flush.number, {b: [entry.record for entry in es] for b, es in segments.items()})
        except StorageError as error:
            with self._lock:
                self._core.flush_failed(flush, error, time.monotonic())
            return
        with self._lock:
            self._core.flushed(flush)
            self._posts.notify(self._core.senders_wanted)


class Session:
    """One bundle attempt's share of an engine. Used by one thread."""

    def __init__(self, engine: Engine, owner: int) -> None:
        """Opened by :meth:`Engine.open`."""
        self._engine = engine
        self.owner = owner

    def submit(self, works: Sequence[Work], allotments: Mapping[int, int] | None = None) -> None:
        """Queue labellings (with this ``owner``) and return when most of them have been posted.

        Args:
            works: of any buckets.
            allotments: calls that may be made for each bucket, None for no limit.
        """
        self._engine._submit(works, allotments)

    def take_outcomes(self) -> list[Outcome]:
        """What has settled since the last call, in no order."""
        with self._engine._lock:
            return self._engine._core.take_outcomes(self.owner)

    def wait(self) -> None:
        """Return when every labelling has an outcome and all that is known of them is durable."""
        engine, core = self._engine, self._engine._core
        with engine._lock:

            def drained() -> bool:
                if core.outstanding(self.owner):
                    return False
                if core.durable(self.owner) or core.store_failed:
                    return True
                engine._flushes.notify()
                return False

            engine._wait_until(drained)

    def cancel(self) -> None:
        """Forget the labellings. Returns when what is on the wire is recorded, for whoever tries again reads it."""
        engine, core = self._engine, self._engine._core
        patience = time.monotonic() + _CANCEL_PATIENCE_S
        with engine._lock:
            core.cancel(self.owner)
            while not engine._closing and time.monotonic() < patience:
                if not core.on_the_wire(self.owner) and (core.durable(self.owner) or core.store_failed):
                    return
                engine._sessions.wait(_CALLER_LOOKS_S)
