"""What the command says: log lines and the summary, on standard error."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from deepo_beam.errors import DeepoBeamError, StorageError

if TYPE_CHECKING:
    from deepo_beam.lake.summary import Summary


# What plain apache-beam says at each import or start of a worker, by its version; nothing here needs any of it.
_BEAM_NOISE = ("apitools not found", "crcmod package not found", "No semi_persistent_directory found")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object a line."""
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up_logging(level: str, style: str) -> None:
    """Log to standard error.

    Args:
        level: of :mod:`logging`, upper-case.
        style: ``text``, or ``json``: one object a line.
    """
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.addFilter(_is_news)
    handler.setFormatter(_JsonFormatter() if style == "json" else plain)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    threading.excepthook = _tell_of_thread


def _tell_of_thread(args: threading.ExceptHookArgs) -> None:
    """As Python does it, but for the end of a worker process, of which the command has a sentence of its own."""
    if not str(args.exc_value).startswith("Worker subprocess exited"):
        threading.__excepthook__(args)


def _is_news(record: logging.LogRecord) -> bool:
    """Not what Beam says every time, nor its traceback of an error that the command reports in a line."""
    error = record.exc_info[1] if record.exc_info else None
    return not any(noise in record.getMessage() for noise in _BEAM_NOISE) and not isinstance(error, DeepoBeamError)


def print_json(summary: Summary) -> None:
    """The summary as one JSON object on standard output.

    Raises:
        StorageError: it cannot be written there.
    """
    try:
        typer.echo(json.dumps(dataclasses.asdict(summary)))
    except BrokenPipeError:
        raise  # whoever reads has seen enough
    except OSError as error:
        where = f"{summary.output}/runs/{summary.run_id}/summary.json"
        raise StorageError(f"standard output cannot be written: {error.strerror}; the summary is in {where}") from None


def print_summary(summary: Summary) -> None:
    """The summary for people, on standard error; if nobody can be told (a log on a full disk), the run is no worse."""
    with suppress(OSError):
        typer.echo("\n".join(summary_lines(summary)), err=True)


def print_reason(summary: Summary) -> None:
    """Why a run did not end with 0, in a line on standard error, for whoever asked to hear nothing else."""
    failed = f"{summary.failed:,} of {summary.listed:,} images failed: {summary.errors_by_code}"
    reason = summary.accounting or summary.stopped or failed
    with suppress(OSError):
        typer.echo(f"Error: run {summary.run_id}: {reason}", err=True)


def summary_lines(summary: Summary) -> list[str]:
    """The summary for people. Pure."""
    lines: list[str] = []
    say = lines.append
    say(f"run {summary.run_id} of {summary.output}, {summary.model}{_version(summary)}")
    say(
        f"  listed {summary.listed:,} = {summary.succeeded:,} succeeded + {summary.no_detection:,} without labels"
        f" + {summary.failed:,} failed + {summary.reused:,} reused + {summary.skipped:,} skipped"
        f" + {summary.duplicate:,} duplicate + {summary.not_attempted:,} not attempted"
    )
    say(
        f"  {summary.calls:,} calls ({summary.retries:,} retries, {summary.possibly_billed_twice:,} possibly"
        f" billed twice), {summary.polls:,} polls, {summary.labels:,} labels,"
        f" {summary.seconds:,.1f} s, {summary.images_per_s:,.1f} images/s"
    )
    for name, numbers in (("errors", summary.errors_by_code), ("other versions", summary.other_versions)):
        if numbers:
            say(f"  {name}: " + ", ".join(f"{key} {count:,}" for key, count in numbers.items()))
    if summary.skipped:
        say("  skipped ones failed before, for good or too often: --retry all or --max-attempts tries them again")
    if summary.stopped:
        say(f"  stopped: {summary.stopped}")
    if summary.accounting:
        say(f"  the accounts do not add up: {summary.accounting}")
    if summary.published:
        say(f"  tables: {summary.output}/labels/run_id={summary.run_id}/ (images/, errors/ beside it)")
    return lines


def _version(summary: Summary) -> str:
    return "" if summary.model_version_id is None else f" version {summary.model_version_id}"
