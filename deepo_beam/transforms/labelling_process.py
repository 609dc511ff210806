"""One engine for each run in each process, shared by all its bundles, and the flag that stops them all."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner

from deepo_beam import storage
from deepo_beam.engine import Counters, Cut, Engine
from deepo_beam.errors import DeepoBeamError
from deepo_beam.lake.dataset import check_journal
from deepo_beam.lake.heartbeat import Activity, Heartbeat
from deepo_beam.lake.holding import join_output
from deepo_beam.lake.journal import Journal
from deepo_beam.lake.patience import PATIENT
from deepo_beam.lake.stops import Stop
from deepo_beam.lake.workers import WorkerReport, new_worker_id
from deepo_beam.run import RunPlan
from deepo_beam.service import JournalWriter, ServiceTransport

_lock = threading.Lock()  # one run has one engine at a time in a process: held while one starts or ends
_listed = threading.Lock()  # of what is listed below, for a moment only: a heartbeat may stop all while one ends
_processes: dict[str, LabellingProcess] = {}
_stop_reason: str | None = None
_LAUNCHER = "DEEPO_BEAM_LAUNCHER"


class LabellingProcess:
    """This process's part of a run: its engine, its hold on the output, its heartbeat."""

    def __init__(self, plan: RunPlan) -> None:
        """Join the run, read the key, start the threads.

        Raises:
            OutputHeldError: another run holds the output.
            PreflightError: there is no usable key on this machine, or no such output.
            RunStoppedError: the run has no launcher any more, or the output was re-bucketed since it was planned.
        """
        self.users = 0
        self.sharers = 1
        self._asked: str | None = None
        self._told, self._telling = Counters(), threading.Lock()
        self._ending, self._hold = ExitStack(), ExitStack()
        with self._ending:
            self._start(plan)
            self._ending = self._ending.pop_all()

    def _start(self, plan: RunPlan) -> None:
        _leave_signals_to_launcher()
        worker = new_worker_id()
        if plan.output is not None:
            self._ending.callback(self._hold.close)
            self._hold.callback(join_output(plan.output, plan.run_id, worker, launched=plan.launched).close)
            check_journal(plan.output, plan.journal, PATIENT)
        transport = ServiceTransport(plan)
        self._ending.callback(transport.close)
        journal = None
        if plan.output is not None:
            journal = JournalWriter(Journal(plan.output, plan.journal), plan.run_id, worker)
            self._ending.callback(journal.close)
        # An output's heartbeat says whether this process may post: not before it has beaten.
        self._heartbeat: Heartbeat | None = None
        lease_left_s = self._no_lease if plan.output is None else self._lease_left_s
        self.engine = Engine(plan.engine, plan.facts, transport, journal, lease_left_s=lease_left_s)
        self._ending.callback(self.engine.close)
        if plan.output is not None:
            self._heartbeat = Heartbeat(
                plan.output,
                WorkerReport.of_this_process(plan.run_id, worker, plan.started_us),
                self,
                alone=plan.alone,
                locked=storage.is_local(plan.output),
                rated=plan.engine.rate_per_s is not None,
                leave=self.leave if plan.launched else None,
            )
            self._ending.callback(self._heartbeat.close)

    def news(self) -> tuple[Counters, Counters]:
        """What was done at the last look, and by now; of several bundles in this process one hears of it."""
        with self._telling:
            before, self._told = self._told, self.engine.counters()
            return before, self._told

    def beat(self) -> None:
        """Let the summary and the progress know what was done up to now.

        Raises:
            StorageError: the report may not have been written.
        """
        if self._heartbeat is not None:
            self._heartbeat.beat()

    def close(self) -> None:
        """End the threads."""
        self._ending.close()

    # --- what the heartbeat sees and does -------------------------------------------------------------

    def look(self) -> Activity:
        """What this process does."""
        engine = self.engine
        return Activity(engine.counters(), engine.idle, self.stopped, engine.cut(), engine.lowered_per_s)

    @property
    def stopped(self) -> Stop | None:
        """Why it posts no more, None if it does."""
        fatal, reason = self.engine.fatal, self._asked or _stop_reason
        if fatal is not None:
            return Stop(str(fatal), fatal.exit_code)
        return None if reason is None else Stop(reason)

    def share_rate(self, sharers: int) -> None:
        """So many processes post."""
        self.sharers = sharers
        self.engine.share_rate(sharers)

    def rest(self) -> None:
        """Others post."""
        self.engine.rest()

    def hear(self, others: Cut) -> None:
        """What the other processes of the run know of the service's quota."""
        self.engine.hear(others)

    def stop(self, reason: str) -> None:
        """Another process of the run asks for it; other runs in this process go on."""
        self._asked = reason
        self.engine.stop()

    def abandon(self, error: DeepoBeamError) -> None:
        """The run does not hold the output any more."""
        self.engine.stop_with(error)

    def leave(self) -> None:
        """The run is complete: let the next one have the output, though the runner keeps this process alive."""
        self.engine.stop()
        self._hold.close()

    def crash(self, error: BaseException) -> None:
        """The heartbeat ended with a bug."""
        self.engine.crash(error)

    @staticmethod
    def _no_lease() -> float:
        return math.inf

    def _lease_left_s(self) -> float:
        return 0.0 if self._heartbeat is None else self._heartbeat.lease_left_s()


def acquire(plan: RunPlan) -> LabellingProcess:
    """This process's part of the run, made if need be; to be released as often as acquired.

    Raises:
        OutputHeldError, PreflightError, RunStoppedError: as :class:`LabellingProcess`.
    """
    with _lock:
        process = _processes.get(plan.run_id)
        if process is None:
            process = LabellingProcess(plan)
            with _listed:
                _processes[plan.run_id] = process
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
        try:
            process.close()
        finally:
            with _listed:
                del _processes[plan.run_id]


def is_alone(runner: PipelineRunner, options: PipelineOptions) -> bool:
    """Whether one process labels all buckets: Beam's own runner, in memory."""
    return isinstance(runner, FnApiRunner) and options.view_as(DirectOptions).direct_running_mode != "multi_processing"


@contextmanager
def launching() -> Iterator[None]:
    """While the block runs, this process is the one that began a run and will be told to stop."""
    os.environ[_LAUNCHER] = f"{os.getpgrp()} {os.getpid()}"  # its workers, if they are processes of it, inherit this
    try:
        yield
    finally:
        os.environ.pop(_LAUNCHER, None)


def _leave_signals_to_launcher() -> None:
    """What a terminal or systemd sends to a launcher's group is for the launcher: workers stop when they are told.

    By the C library, for Python lets only the main thread do it, which in a worker is Beam's.
    """
    group, _, launcher = os.environ.get(_LAUNCHER, "").partition(" ")
    if group != str(os.getpgrp()) or launcher == str(os.getpid()):
        return
    with suppress(AttributeError):  # no such function in this C library: then a signal ends workers at once
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            ctypes.CDLL(None).signal(number.value, signal.SIG_IGN.value)


def will_stop(reason: str) -> None:
    """Say that :func:`stop_all` comes; takes no lock, so that a signal handler may call it."""
    global _stop_reason
    _stop_reason = reason


def stop_all(reason: str) -> None:
    """Post nothing more in this process; what is in flight is waited for, for a while."""
    will_stop(reason)
    with _listed:
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
