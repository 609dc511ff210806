"""What the runs on an output are doing, or have done; from what they leave in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from deepo_beam import storage
from deepo_beam.errors import ObjectNotFoundError
from deepo_beam.lake.holder import Holder
from deepo_beam.lake.lease import BEAT_S
from deepo_beam.lake.lock import find_holder
from deepo_beam.lake.manifest import READS_AT_ONCE
from deepo_beam.lake.publish import is_published, read_summary, run_uri
from deepo_beam.lake.summary import Summary
from deepo_beam.lake.workers import WorkerReport, read_reports

State = Literal["running", "complete", "cut off"]
RESUMABLE, HELD = 5, 7  # exit codes of the command


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run.

    Attributes:
        run_id: which.
        state: cut off: nobody works on it, and it has no tables.
        started_us: microseconds since 1970 UTC, by the clock of the store; None if it does not say.
        reports: of its processes, the last of each.
        summary: None unless complete.
        holder: the process that holds the output, if this run is running on local disk; None: it is not known.
        publishing: it has begun to publish.
    """

    run_id: str
    state: State
    started_us: int | None
    reports: tuple[WorkerReport, ...]
    summary: Summary | None
    holder: Holder | None
    publishing: bool

    @property
    def exit_code(self) -> int:
        """Of the command that ran it; 5 if it was cut off, 7 while it runs."""
        if self.summary is not None:
            return self.summary.exit_code
        return HELD if self.state == "running" else RESUMABLE


def look_at_runs(output: str, sleep: Callable[[float], None] = time.sleep) -> list[RunStatus]:
    """The newest run; and, while that is not complete, the one completed last before it.

    Args:
        output: normalised URI.
        sleep: takes seconds; where the output is not on local disk, two looks tell whether a run is alive.

    Raises:
        StorageError: it cannot be read.
    """
    ordered = _by_start(output)
    found: list[RunStatus] = []
    for started_us, run_id in reversed(ordered):
        status = _look(output, run_id, started_us, sleep, newest=not found)
        if not found or status.state == "complete":
            found.append(status)
        if status.state == "complete":
            break
    return found


def _by_start(output: str) -> list[tuple[int, str]]:
    def started_us(run_id: str) -> int | None:
        try:
            return storage.stat(run_uri(output, run_id, "config.json")).modified_us or 0
        except ObjectNotFoundError:
            return None

    run_ids = [folder.rpartition("/")[2] for folder in storage.list_folders(storage.join(output, "runs"))]
    with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="deepo-beam-status") as pool:
        starts = zip(pool.map(started_us, run_ids), run_ids, strict=True)
        return sorted((start, run_id) for start, run_id in starts if start is not None)


def _look(output: str, run_id: str, started_us: int, sleep: Callable[[float], None], *, newest: bool) -> RunStatus:
    # Before its mark is looked for: a run that ends meanwhile is complete, not cut off.
    holder = find_holder(output) if newest and storage.is_local(output) else None
    reports = read_reports(output, run_id)
    alive = holder is not None and holder.run_id in (run_id, "")
    if newest and not storage.is_local(output) and not is_published(output, run_id):
        sleep(2 * BEAT_S)
        reports, before = read_reports(output, run_id), reports
        alive = reports != before
    summary = None
    if is_published(output, run_id):
        summary = read_summary(output, run_id)
    state: State = "complete" if summary is not None else "running" if alive else "cut off"
    return RunStatus(
        run_id,
        state,
        started_us or None,
        tuple(reports),
        summary,
        holder if alive else None,
        storage.exists(run_uri(output, run_id, "publish.json")),
    )
