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
from deepo_beam.lake.workers import WorkerReport, read_reports
from deepo_beam.run import RunPlan

_TERMINAL_S = 0.5
_LOG_S = 5.0


@contextmanager
def progress(plan: RunPlan, *, quiet: bool) -> Iterator[None]:
    """Show progress on standard error while the block runs."""
    if quiet:
        yield
        return
    end = threading.Event()
    loop = _live_loop if sys.stderr.isatty() else _log_loop
    thread = threading.Thread(target=loop, args=(plan, end), name="deepo-beam-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def progress_line(reports: list[WorkerReport], seconds: float) -> str:
    """One line of text; ``seconds`` (> 0) since the start. Pure."""
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
    return "  ".join(parts if counters else ["listing", f"{seconds:,.0f} s"])


def _line(plan: RunPlan, started: float) -> str:
    assert plan.output is not None
    try:
        reports = read_reports(plan.output, plan.run_id)
    except StorageError:
        reports = []  # the run itself will say what is wrong with the store
    return progress_line(reports, max(0.001, time.monotonic() - started))


def _live_loop(plan: RunPlan, end: threading.Event) -> None:
    started = time.monotonic()
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        while not end.wait(_TERMINAL_S):
            live.update(Text(_line(plan, started)), refresh=True)


def _log_loop(plan: RunPlan, end: threading.Event) -> None:
    started = time.monotonic()
    while not end.wait(_LOG_S):
        sys.stderr.write(_line(plan, started) + "\n")
        sys.stderr.flush()
