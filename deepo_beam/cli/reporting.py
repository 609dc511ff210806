"""What the command says: log lines and the summary, on standard error."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from deepo_beam.errors import DeepoBeamError, StorageError

if TYPE_CHECKING:
    from deepo_beam.lake.summary import Summary


# What every import of plain apache-beam says, by its version; nothing here needs either.
_BEAM_NOISE = ("apitools not found", "crcmod package not found")


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


def _is_news(record: logging.LogRecord) -> bool:
    """Not what plain Beam says at each import, nor its traceback of an error that the command reports in a line."""
    error = record.exc_info[1] if record.exc_info else None
    return not record.getMessage().startswith(_BEAM_NOISE) and not isinstance(error, DeepoBeamError)


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
    """The summary for people; if nobody can be told (a log on a full disk), the run is no worse for it."""

    def say(text: str) -> None:
        with suppress(OSError):
            typer.echo(text, err=True)

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
    if summary.published:
        say(f"  tables: {summary.output}/labels/run_id={summary.run_id}/ (images/, errors/ beside it)")


def _version(summary: Summary) -> str:
    return "" if summary.model_version_id is None else f" version {summary.model_version_id}"
