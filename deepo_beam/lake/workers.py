"""``workers/<run>-<worker>.json``: what each process of a run does, rewritten every 1.5 s.

Progress, ``status`` and the summary read it, and so do the other processes, to see who is alive.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from deepo_beam import storage
from deepo_beam.engine import Counters, Cut
from deepo_beam.errors import DamagedError, ObjectNotFoundError
from deepo_beam.lake.journal import Store

LAUNCHER = "launcher"  # how the name of a process that only holds the output begins


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One process, as it was at its last heartbeat.

    Attributes:
        run_id: the run that it works for.
        worker: 8 hex digits, its own; or a name that begins with ``launcher``.
        host, pid: where it runs.
        counters: since it started.
        beat: grows with each heartbeat.
        started_us: when its run began, microseconds since 1970 UTC.
        sharing: it takes part in the run's rate.
        cut: what it knows of the service's quota, None: nothing was refused.
        stopped: why it stopped by itself, None while it has not.
        exit_code: what the command should exit with for that reason.
    """

    run_id: str
    worker: str
    host: str
    pid: int
    counters: Counters
    beat: int = 0
    started_us: int = 0
    sharing: bool = True
    cut: Cut | None = None
    stopped: str | None = None
    exit_code: int = 0

    @classmethod
    def of_this_process(cls, run_id: str, worker: str, started_us: int) -> WorkerReport:
        """Of this process, before its first heartbeat."""
        return cls(run_id, worker, socket.gethostname(), os.getpid(), Counters(), started_us=started_us)


def new_worker_id() -> str:
    """8 hex digits."""
    return secrets.token_hex(4)


def write_report(output: str, report: WorkerReport, store: Store = storage) -> None:
    """Replace the report of a process.

    Raises:
        StorageError: it may or may not have been written.
    """
    store.write_bytes(_uri(output, report, store), json.dumps(dataclasses.asdict(report)).encode())


def delete_report(output: str, report: WorkerReport, store: Store = storage) -> None:
    """Take the report of a process away: it is gone.

    Raises:
        StorageError: it may still be there.
    """
    store.delete(_uri(output, report, store))


def read_reports(output: str, run_id: str, store: Store = storage) -> list[WorkerReport]:
    """The reports of the processes that label for a run, by worker.

    Raises:
        StorageError: they cannot be read.
    """
    found = read_all_reports(output, store, of_run=run_id)
    return [report for report in found if report.run_id == run_id and not report.worker.startswith(LAUNCHER)]


def read_all_reports(output: str, store: Store = storage, *, of_run: str | None = None) -> list[WorkerReport]:
    """The reports of all processes, by run and worker; ``of_run`` leaves out most of the others unread.

    Raises:
        StorageError: they cannot be read.
    """
    reports = []
    for name, uri in _listed(output, store):
        if not name.startswith("" if of_run is None else f"{of_run}-"):
            continue
        with suppress(ObjectNotFoundError):
            reports.append(_decode(uri, store.read_bytes(uri)))
    return sorted(reports, key=lambda report: (report.run_id, report.worker))


def reports_of_others(output: str, run_id: str, store: Store = storage) -> list[str]:
    """The URIs of what processes of other runs reported, unread: another version may have written them.

    Raises:
        StorageError: they cannot be listed.
    """
    return [uri for name, uri in _listed(output, store) if run_id not in _runs_of(name)]


def _listed(output: str, store: Store) -> Iterator[tuple[str, str]]:
    """(Name, URI) of each report; who holds the output is told by an object without a dash in its name."""
    for listed in store.list_objects(store.join(output, "workers"), recursive=False):
        name = listed.uri.rpartition("/")[2]
        if "-" in name:
            yield name, listed.uri


def _runs_of(name: str) -> tuple[str, str]:
    """Those that a report of this name may be of: before the worker's own 8 hex digits there may be a word."""
    run_id = name.rpartition("-")[0]
    return run_id, run_id.removesuffix(f"-{LAUNCHER}")


def _decode(uri: str, data: bytes) -> WorkerReport:
    try:
        values = json.loads(data)
        counters, cut = Counters(**values["counters"]), values["cut"] and Cut(**values["cut"])
        return WorkerReport(**{**values, "counters": counters, "cut": cut})
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError(
            f"{uri} is no heartbeat that this deepo-beam can read ({error}): another version may be at work there;"
            " if nothing is, remove it"
        ) from None


def _uri(output: str, report: WorkerReport, store: Store) -> str:
    return store.join(output, "workers", f"{report.run_id}-{report.worker}.json")
