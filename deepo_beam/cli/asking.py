"""Before a first run from a terminal: say what would be called, and ask."""

from __future__ import annotations

import sys

import typer

from deepo_beam.config import LabelConfig
from deepo_beam.preflight import check_output


def confirm_first_run(config: LabelConfig, *, assume_yes: bool) -> None:
    """Ask on a terminal, unless the output is known or the run is limited; otherwise do nothing.

    Raises:
        typer.Abort: the answer was no.
        ConfigError: model or output cannot be meant.
    """
    limited = config.sample is not None or config.limit is not None
    if assume_yes or limited or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    if check_output(config) is not None:
        return
    what = ", ".join(config.inputs) or "no input"
    pace = f", at most {config.rate:g} calls/s" if config.rate else ""
    typer.confirm(
        f"Label every image of {what} with {config.model}: one paid call each{pace}. Go on?",
        default=True,
        abort=True,
        err=True,
    )
