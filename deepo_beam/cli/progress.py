"""How far a run is, from the reports of its workers: a line that lives on a terminal, or one now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from deepo_beam.errors import StorageError
from deepo_beam.inputs import listed
from deepo_beam.lake.workers import WorkerReport, read_reports
from deepo_beam.run import RunPlan

_TERMINAL_S = 0.5
_LOG_S = 5.0


@contextmanager
def progress(plan: RunPlan | None, *, quiet: bool) -> Iterator[None]:
    """Show progress on standard error while the block runs.

    Args:
        plan: of the run; None: nothing is done but to list, in this process.
        quiet: show nothing.
    """
    if quiet:
        yield
        return
    end = threading.Event()
    loop = _live_loop if sys.stderr.isatty() else _log_loop
    thread = threading.Thread(target=loop, args=(_Line(plan), end), name="deepo-beam-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def progress_line(reports: list[WorkerReport], seconds: float, *, listed: int = 0) -> str:
    """One line of text. Pure.

    Args:
        reports: of the processes that label; there are none while images are listed.
        seconds: (> 0) since the start.
        listed: images so far; 0 also where that is not known, for another process lists.
    """
    counters = [report.counters for report in reports]
    settled = sum(c.settled for c in counters)
    failed = sum(c.failed for c in counters)
    in_flight = sum(c.in_flight for c in counters)
    calls = sum(c.calls for c in counters)
    throttled = sum(c.throttled_s for c in counters)
    parts = [
        f"{settled:,} labelled",
        f"{failed:,} failed",
        f"{in_flight:,} in flight",
        f"{calls:,} calls",
        f"{settled / seconds:,.0f} images/s",
        f"{seconds:,.0f} s",
        *([f"{throttled:,.0f} s throttled (429)"] if throttled >= 1 else []),
    ]
    so_far = [f"{listed:,} so far"] if listed else []
    return "  ".join(parts if counters else ["listing", *so_far, f"{seconds:,.0f} s"])


class _Line:
    """What is to be said now, since it was made."""

    def __init__(self, plan: RunPlan | None) -> None:
        self._plan = plan
        self._started = time.monotonic()
        self._listed = listed()

    def __str__(self) -> str:
        seconds = max(0.001, time.monotonic() - self._started)
        return progress_line(self._reports(), seconds, listed=listed() - self._listed)

    def _reports(self) -> list[WorkerReport]:
        if self._plan is None or self._plan.output is None:
            return []
        try:
            return read_reports(self._plan.output, self._plan.run_id)
        except StorageError:
            return []  # the run itself will say what is wrong with the store


def _live_loop(line: _Line, end: threading.Event) -> None:
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        while not end.wait(_TERMINAL_S):
            live.update(Text(str(line)), refresh=True)


def _log_loop(line: _Line, end: threading.Event) -> None:
    while not end.wait(_LOG_S):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
