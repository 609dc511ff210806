"""``workers/<run>-<worker>.json``: what each process of a run does, rewritten every 1.5 s, for progress and summary."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from deepo_beam import storage
from deepo_beam.engine import Counters
from deepo_beam.errors import ObjectNotFoundError, StorageError
from deepo_beam.lake.journal import Store

BEAT_S = 1.5


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One process.

    Attributes:
        run_id: the run that it works for.
        worker: 8 hex digits, its own.
        host, pid: where it runs.
        counters: since it started.
        stopped: why it stopped by itself, None while it has not.
        exit_code: what the command should exit with for that reason.
    """

    run_id: str
    worker: str
    host: str
    pid: int
    counters: Counters
    stopped: str | None = None
    exit_code: int = 0


def new_worker_id() -> str:
    """8 hex digits."""
    return secrets.token_hex(4)


def write_report(output: str, report: WorkerReport, store: Store = storage) -> None:
    """Replace the report of a process.

    Raises:
        StorageError: it may or may not have been written.
    """
    uri = store.join(output, "workers", f"{report.run_id}-{report.worker}.json")
    store.write_bytes(uri, json.dumps(dataclasses.asdict(report)).encode())


def read_reports(output: str, run_id: str, store: Store = storage) -> list[WorkerReport]:
    """The reports of a run's processes, by worker.

    Raises:
        StorageError: they cannot be read.
    """
    reports = []
    for listed in store.list_objects(store.join(output, "workers"), recursive=False):
        if not listed.uri.rpartition("/")[2].startswith(f"{run_id}-"):
            continue
        try:
            values = json.loads(store.read_bytes(listed.uri))
        except ObjectNotFoundError:
            continue
        if values["run_id"] == run_id:
            reports.append(WorkerReport(**{**values, "counters": Counters(**values["counters"])}))
    return sorted(reports, key=lambda report: report.worker)


class Heartbeat:
    """Writes a process's report until closed, and at will."""

    def __init__(
        self,
        output: str,
        run_id: str,
        worker: str,
        look: Callable[[], tuple[Counters, str | None, int]],
        store: Store = storage,
    ) -> None:
        """Start beating.

        Args:
            output: of the run.
            run_id: of the run.
            worker: from :func:`new_worker_id`.
            look: gives the counters, why the process stopped (None: it did not), and the exit code for that.
            store: where to write.
        """
        self._output, self._run_id, self._worker, self._look, self._store = (
            output,
            run_id,
            worker,
            look,
            store,
        )
        self._end = threading.Event()
        self._writing = threading.Lock()  # an older look must not replace a newer one
        self._thread = threading.Thread(target=self._loop, name="deepo-beam-heartbeat", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Write the report now.

        Raises:
            StorageError: as :func:`write_report`.
        """
        with self._writing:
            self._beat()

    def _beat(self) -> None:
        counters, stopped, exit_code = self._look()
        report = WorkerReport(
            run_id=self._run_id,
            worker=self._worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            counters=counters,
            stopped=stopped,
            exit_code=exit_code,
        )
        write_report(self._output, report, self._store)

    def close(self) -> None:
        """Stop beating."""
        self._end.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._end.wait(BEAT_S):
            # A missed beat is told by its absence; the journal's own writes decide about the run.
            with suppress(StorageError):
                self.beat()
