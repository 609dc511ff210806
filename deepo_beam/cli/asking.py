"""Before a first run from a terminal: say what would be called, and ask."""

from __future__ import annotations

import sys

import typer

from deepo_beam.cli.plan import plan_lines
from deepo_beam.config import LabelConfig
from deepo_beam.errors import RunStoppedError
from deepo_beam.preflight import check_output


def confirm_first_run(config: LabelConfig, *, assume_yes: bool) -> None:
    """Ask on a terminal, unless the output is known or the run is limited; otherwise do nothing.

    Raises:
        RunStoppedError: the answer was no.
        ConfigError, PreflightError, StorageError: as for ``label``.
    """
    limited = config.max_calls is not None or config.sample is not None or config.limit is not None
    by_a_person = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    if assume_yes or limited or "-" in config.inputs or not by_a_person:
        return
    if check_output(config) is not None:
        return
    from deepo_beam import bulk  # loads Beam, which nobody who is not asked need wait for
    from deepo_beam.cli.progress import progress

    with progress(None, quiet=False):
        found = bulk.estimate_run(config)
    for line in plan_lines(found):
        typer.echo(line, err=True)
    if not typer.confirm(f"Each call of {config.model} is paid for. Go on?", default=True, err=True):
        raise RunStoppedError("nothing was sent")
