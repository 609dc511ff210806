"""A process's heartbeat: it reports, looks for the others, and learns whether it may post and how fast."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from deepo_beam import storage
from deepo_beam.clock import lease_clock
from deepo_beam.engine import Counters, Cut, together
from deepo_beam.errors import DeepoBeamError, RunStoppedError, StorageError
from deepo_beam.lake.holding import check_held
from deepo_beam.lake.journal import Store
from deepo_beam.lake.lease import BEAT_S, Lease, Membership
from deepo_beam.lake.publish import is_published
from deepo_beam.lake.stops import Stop, ask_to_stop, asked_to_stop
from deepo_beam.lake.workers import WorkerReport, read_reports, write_report

IDLE_S = 3.0  # a process with nothing to post, or that is not needed, leaves its share to the others after this


@dataclass(frozen=True, slots=True)
class Activity:
    """What a process says of itself.

    Attributes:
        counters: since it started.
        idle: it has nothing to post.
        stop: why it stopped, None: it did not.
        cut: what it knows of the service's quota, None: nothing was refused.
        lowered_per_s: calls/s of all processes, while refusals keep them below what is allowed; else None.
    """

    counters: Counters
    idle: bool
    stop: Stop | None
    cut: Cut | None = None
    lowered_per_s: float | None = None


class Labeller(Protocol):
    """The part of a process that posts, as its heartbeat sees it."""

    def look(self) -> Activity:
        """What it does."""

    def share_rate(self, sharers: int) -> None:
        """From now on the allowed rate is for so many processes (>= 1)."""

    def rest(self) -> None:
        """Others post, and this process does not."""

    def hear(self, others: Cut) -> None:
        """What the other processes of the run know of the service's quota together."""

    def stop(self, reason: str) -> None:
        """Post nothing more: somebody asked for it."""

    def abandon(self, error: DeepoBeamError) -> None:
        """Post nothing more: the run does not hold the output any more."""

    def crash(self, error: BaseException) -> None:
        """A bug ended the heartbeat."""


class Heartbeat:
    """Beats until closed, and at will.

    Args:
        output: of the run.
        report: of this process, before its first beat.
        labeller: of this process.
        alone: it is the only process of its run, so nobody else reads ``stop.json`` or shares the rate.
        locked: the output is held by a lock that ends with the run's processes; otherwise by a lease, which must
            be looked for.
        rated: the run has a rate, which a newcomer may use a part of only when the others know of it.
        leave: called once, when the run is complete and this process has nothing to do: some runners keep workers
            alive, which would hold the output against the next run. Then it beats no more. None: it goes with its run.
        store: where to write.
    """

    def __init__(
        self,
        output: str,
        report: WorkerReport,
        labeller: Labeller,
        *,
        alone: bool,
        locked: bool,
        rated: bool = True,
        leave: Callable[[], None] | None = None,
        store: Store = storage,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        """Start beating, at once."""
        self._output, self._report, self._labeller, self._store, self._clock = output, report, labeller, store, clock
        self._alone, self._locked = alone, locked
        self._unlimited = alone and locked
        self._membership = Membership(report.worker, alone=alone or not rated)
        self._lease = Lease(float("-inf"), float("inf")) if self._unlimited else self._membership.lease
        self._busy_at = clock()
        self._surplus_at = float("-inf")
        self._leave, self._left = leave, False
        self._told = False
        self._end = threading.Event()
        self._beating = threading.Lock()  # an older look must not replace a newer one
        self._thread = threading.Thread(target=self._loop, name="deepo-beam-heartbeat", daemon=True)
        self._thread.start()

    def lease_left_s(self) -> float:
        """Seconds for which this process may post; <= 0: it may not. Called just before every post."""
        return self._lease.left_s(self._clock())

    def beat(self) -> None:
        """Report now.

        Raises:
            StorageError: it may not have been written.
        """
        with self._beating:
            if not self._left:
                self._refresh()

    def close(self) -> None:
        """Stop beating; what was reported stays, for the summary."""
        self._end.set()
        self._thread.join()

    def _loop(self) -> None:
        try:
            while True:
                # A missed beat is told by its absence, and by a lease that runs out.
                with suppress(StorageError):
                    self.beat()
                if self._left or self._end.wait(BEAT_S):
                    return
        except BaseException as error:
            self._labeller.crash(error)
            raise

    def _refresh(self) -> None:
        began = self._clock()
        activity = self._labeller.look()
        sharing = self._is_sharing(activity, began)
        self._report = dataclasses.replace(
            self._report,
            beat=self._report.beat + 1,
            sharing=sharing,
            cut=activity.cut,
            counters=activity.counters,
            stopped=None if activity.stop is None else activity.stop.reason,
            exit_code=0 if activity.stop is None else activity.stop.exit_code,
        )
        write_report(self._output, self._report, self._store)
        wrote = self._clock()
        if not self._alone:
            self._pass_on_stop(activity.stop)
        if not self._locked:
            try:
                check_held(self._output, self._report.run_id, self._store)
            except RunStoppedError as error:
                self._labeller.abandon(error)
                return
        if not self._unlimited:
            self._look_at_others(sharing, began, wrote)
        if self._leave is not None and not sharing and is_published(self._output, self._report.run_id, self._store):
            self._left = True
            self._leave()

    def _is_sharing(self, activity: Activity, now: float) -> bool:
        if not self._membership.is_needed(activity.lowered_per_s):
            self._surplus_at = now
        steady = now - self._surplus_at >= IDLE_S or self._membership.sharers == 1
        if not activity.idle and steady:
            self._busy_at = now
        # Where others rest, one that has posted all its images does not keep them waiting.
        patience = IDLE_S if activity.lowered_per_s is None else BEAT_S
        if self._alone or now - self._busy_at < patience:
            return True
        self._membership.leave()
        self._lease = self._membership.lease
        return False

    def _look_at_others(self, sharing: bool, began: float, wrote: float) -> None:
        reports = [] if self._alone else read_reports(self._output, self._report.run_id, self._store)
        others = {each.worker: each for each in reports if each.sharing and each.worker != self._report.worker}
        gone = [each.worker for each in reports if not each.sharing]
        beats = {worker: each.beat for worker, each in others.items()}
        if sharing:
            self._membership.refreshed(beats, gone, began=began, wrote=wrote, ended=self._clock())
        else:
            self._membership.watched(beats, gone, began=wrote, ended=self._clock())
            self._labeller.rest()
        heard = self._membership.moving()
        if (cut := together(each.cut for worker, each in others.items() if worker in heard)) is not None:
            self._labeller.hear(cut)  # before a newcomer's lease begins
        self._labeller.share_rate(self._membership.sharers)  # before the lease goes on with it
        self._lease = self._membership.lease

    def _pass_on_stop(self, own: Stop | None) -> None:
        asked = asked_to_stop(self._output, self._report.run_id, self._store)
        if asked is not None:
            self._labeller.stop(asked.reason)
        elif own is not None and not self._told:
            ask_to_stop(self._output, self._report.run_id, own, self._store)
            self._told = True
