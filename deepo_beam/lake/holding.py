"""Hold an output: by a lock on local disk, elsewhere by a lease that is kept with heartbeats."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from deepo_beam import storage
from deepo_beam.clock import lease_clock
from deepo_beam.errors import ObjectNotFoundError, OutputHeldError, RunStoppedError, StorageError
from deepo_beam.lake.holder import Holder
from deepo_beam.lake.journal import Store
from deepo_beam.lake.lease import BEAT_S, Contest, Rival
from deepo_beam.lake.lock import OutputLock, lock_for_run, lock_for_worker
from deepo_beam.lake.workers import (
    LAUNCHER,
    WorkerReport,
    delete_report,
    read_all_reports,
    reports_of_others,
    write_report,
)


@contextmanager
def held_output(output: str, run_id: str) -> Iterator[None]:
    """Hold an output while the block runs.

    Args:
        output: normalised URI.
        run_id: of the run that begins.

    Raises:
        OutputHeldError: another run holds it; names host, pid and since when.
        StorageError: it cannot be read or written.
    """
    holder = Holder.this_process(run_id)
    with ExitStack() as stack:
        if storage.is_local(output):
            stack.callback(lock_for_run(output, holder).close)
            forget_others(output, run_id)
            for left in storage.list_temporaries(output):  # by a write that was cut off
                storage.delete(left.uri)
        else:
            stack.callback(OutputLease(output, holder, LAUNCHER).close)
        yield


def join_output(output: str, run_id: str, worker: str, *, launched: bool) -> OutputLock | OutputLease | NoHold:
    """Take part in a run that holds an output; to be closed by the caller.

    Args:
        output: normalised URI.
        run_id: of the run.
        worker: 8 hex digits, of this process.
        launched: the run has a launcher, which holds the output; otherwise this process does, too.

    Raises:
        OutputHeldError: another run holds it.
        PreflightError: it is a folder that this machine does not have.
        RunStoppedError: the launcher is gone.
        StorageError: it cannot be read or written.
    """
    holder = Holder.this_process(run_id)
    if storage.is_local(output):
        return lock_for_worker(output, holder, launched=launched)
    if not launched:
        return OutputLease(output, holder, f"{LAUNCHER}-{worker}")
    check_held(output, run_id)
    return NoHold()


class NoHold:
    """Nothing to be closed: somebody else holds the output."""

    def close(self) -> None:
        """Do nothing."""


def forget_others(output: str, run_id: str, store: Store = storage) -> None:
    """Take away what the processes of earlier runs said: they are gone, and this run holds the output.

    Raises:
        StorageError: they cannot be listed.
    """
    for uri in reports_of_others(output, run_id, store):
        with suppress(StorageError):
            store.delete(uri)


def holder_of(output: str, store: Store = storage) -> Holder | None:
    """The run that holds, or held last, an output that is not on local disk.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return Holder.decode(store.read_bytes(_holder_uri(output, store)))
    except ObjectNotFoundError:
        return None


def check_held(output: str, run_id: str, store: Store = storage) -> None:
    """See that no other run has taken the output over, before something is written that it would trip over.

    On local disk the lock sees to it.

    Raises:
        RunStoppedError: another run has, or this one was ended.
        StorageError: it cannot be read.
    """
    if storage.is_local(output):
        return
    holder = holder_of(output, store)
    if holder is None:
        raise RunStoppedError(f"run {run_id} does not hold the output any more; the next run goes on")
    if holder.run_id != run_id:
        raise RunStoppedError(f"run {run_id} was silent for too long: {holder} holds the output now and goes on")


class OutputLease:
    """An output that is held by this process, until closed."""

    def __init__(
        self,
        output: str,
        holder: Holder,
        worker: str,
        store: Store = storage,
        *,
        clock: Callable[[], float] = lease_clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Announce this run, wait for one lease, hold the output.

        Args:
            output: normalised URI.
            holder: this process.
            worker: its name among those of its run.
            store: where the output is.
            clock: of leases, seconds.
            sleep: waits.

        Raises:
            OutputHeldError: another run holds it, or was first.
            StorageError: it cannot be read or written.
        """
        self._output, self._holder, self._store, self._clock = output, holder, store, clock
        self._report = WorkerReport.of_this_process(holder.run_id, worker, time.time_ns() // 1000)
        try:
            self._win(sleep)
        except BaseException:
            with suppress(StorageError):
                delete_report(output, self._report, store)
            raise
        forget_others(output, holder.run_id, store)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="deepo-beam-lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the next run have it at once."""
        self._end.set()
        self._thread.join()
        with suppress(StorageError):  # then the next run waits for one lease
            found = holder_of(self._output, self._store)
            # Without a launcher others of the run may be at work; and another run may have taken over.
            if self._report.worker == LAUNCHER and found is not None and found.run_id == self._holder.run_id:
                self._store.delete(_holder_uri(self._output, self._store))
            delete_report(self._output, self._report, self._store)

    def _win(self, sleep: Callable[[float], None]) -> None:
        contest = Contest(self._holder.run_id, (self._report.started_us, self._holder.run_id))
        while True:
            self._refresh(contest)
            if (winner := contest.winner()) is not None:
                raise self._held_by(winner)
            if contest.may_take_s(self._clock()) > 0:
                self._store.write_bytes(_holder_uri(self._output, self._store), self._holder.encode())
                if contest.may_take_s(self._clock()) > 0:  # the write took less than what was left of the lease
                    return
            sleep(BEAT_S)

    def _refresh(self, contest: Contest) -> None:
        began = self._clock()
        self._beat()
        wrote = self._clock()
        found = read_all_reports(self._output, self._store)
        rivals = {
            f"{report.run_id}-{report.worker}": Rival(report.run_id, (report.started_us, report.run_id), report.beat)
            for report in found
            if report.run_id != self._holder.run_id
        }
        holder = holder_of(self._output, self._store)
        contest.refreshed(
            rivals, None if holder is None else holder.run_id, began=began, wrote=wrote, ended=self._clock()
        )

    def _beat(self) -> None:
        self._report = dataclasses.replace(self._report, beat=self._report.beat + 1)
        write_report(self._output, self._report, self._store)

    def _held_by(self, winner: Rival) -> OutputHeldError:
        found = holder_of(self._output, self._store)
        who = str(found) if found is not None and found.run_id == winner.run_id else f"run {winner.run_id}"
        return OutputHeldError(f"another run holds {self._output}: {who}; wait for it, or stop it")

    def _loop(self) -> None:
        while not self._end.wait(BEAT_S):
            # A missed beat is told by its absence; workers look for the holder themselves.
            with suppress(StorageError):
                self._beat()


def _holder_uri(output: str, store: Store) -> str:
    return store.join(output, "workers", "holder.json")
