"""One engine for each run in each process, shared by all its bundles, and the flag that stops them all."""

from __future__ import annotations

import threading

from deepo_beam.engine import Counters, Engine
from deepo_beam.errors import RunStoppedError
from deepo_beam.lake.workers import Heartbeat, new_worker_id
from deepo_beam.run import RunPlan
from deepo_beam.service import JournalWriter, ServiceTransport

_lock = threading.Lock()
_processes: dict[str, LabellingProcess] = {}
_stop_reason: str | None = None


class LabellingProcess:
    """This process's part of a run: its engine and its heartbeat."""

    def __init__(self, plan: RunPlan) -> None:
        """Read the key, start the threads.

        Raises:
            PreflightError: there is no usable key on this machine.
        """
        worker = new_worker_id()
        self._transport = ServiceTransport(plan)
        self._journal = JournalWriter(plan.output, plan.run_id, worker) if plan.output is not None else None
        self.users = 0
        self.engine = Engine(plan.engine, plan.facts, self._transport, self._journal)
        self._heartbeat = Heartbeat(plan.output, plan.run_id, worker, self._look) if plan.output is not None else None

    def beat(self) -> None:
        """Let the summary and the progress know what was done up to now.

        Raises:
            StorageError: the report may not have been written.
        """
        if self._heartbeat is not None:
            self._heartbeat.beat()

    def close(self) -> None:
        """End the threads."""
        if self._heartbeat is not None:
            self._heartbeat.close()
        self.engine.close()
        self._transport.close()
        if self._journal is not None:
            self._journal.close()

    def _look(self) -> tuple[Counters, str | None, int]:
        fatal = self.engine.fatal
        if fatal is not None:
            return self.engine.counters(), str(fatal), fatal.exit_code
        return self.engine.counters(), _stop_reason, RunStoppedError.exit_code if _stop_reason else 0


def acquire(plan: RunPlan) -> LabellingProcess:
    """This process's part of the run, made if need be; to be released as often as acquired.

    Raises:
        PreflightError: there is no usable key on this machine.
    """
    with _lock:
        process = _processes.get(plan.run_id)
        if process is None:
            process = _processes[plan.run_id] = LabellingProcess(plan)
            if _stop_reason is not None:
                process.engine.stop()
        process.users += 1
        return process


def release(plan: RunPlan) -> None:
    """Its last user ends it."""
    with _lock:
        process = _processes[plan.run_id]
        process.users -= 1
        if process.users:
            return
        process.close()  # under the lock: one run has one engine at a time in a process
        del _processes[plan.run_id]


def will_stop(reason: str) -> None:
    """Say that :func:`stop_all` comes; takes no lock, so that a signal handler may call it."""
    global _stop_reason
    _stop_reason = reason


def stop_all(reason: str) -> None:
    """Post nothing more in this process; what is in flight is waited for, for a while."""
    will_stop(reason)
    with _lock:
        running = list(_processes.values())
    for process in running:
        process.engine.stop()


def forget_stop() -> None:
    """The stopped runs have ended; the next one in this process is free to post."""
    global _stop_reason
    _stop_reason = None


def stopping() -> bool:
    """Whether :func:`stop_all` was called in this process."""
    return _stop_reason is not None
