"""The ``deepo-beam`` command: one module for each of its commands.

Exit codes: 0 done; 1 a bug; 2 usage, configuration, another dataset; 3 more failures than allowed;
4 accounting broken; 5 stopped early, resumable; 6 preflight or credentials; 7 another run holds the output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from deepo_beam._version import __version__
from deepo_beam.cli.commands import SETTINGS, Commands
from deepo_beam.errors import DeepoBeamError
from deepo_beam.storage.settings import store_variables
from deepo_beam.text import cut_middle

_LONGEST_MESSAGE = 2000  # characters: what is named in it may be as long as a command line

app = typer.Typer(
    name="deepo-beam",
    cls=Commands,
    no_args_is_help=True,
    help="Label images in bulk with Deepomatic models, into Parquet tables.",
    **SETTINGS,
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Show the version and end.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None, beam_flags: Sequence[str] = ()) -> None:
    """Run the command; an error of ours is one line on standard error, anything else is a bug and says so.

    Args:
        arguments: after the command's name; None takes those of the process. What follows a ``--`` is Beam's.
        beam_flags: Beam's own options.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as some schedulers start their jobs
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as the process lives
    ours = list(sys.argv[1:] if arguments is None else arguments)
    if "--" in ours:
        position = ours.index("--")
        ours, beam_flags = ours[:position], [*beam_flags, *ours[position + 1 :]]
    os.environ.update(store_variables(beam_flags))
    try:
        app(args=ours, obj=tuple(beam_flags), prog_name="deepo-beam")
    except DeepoBeamError as error:
        message = str(error).partition(" [while running '")[0]  # where in the pipeline is Beam's to know
        typer.echo(f"Error: {cut_middle(message, _LONGEST_MESSAGE)}", err=True)
        sys.exit(error.exit_code)
