"""``deepo-beam label``: configuration in, tables out, exit code by the summary."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from deepo_beam.cli.memory import limit_arenas
from deepo_beam.cli.options import with_label_options
from deepo_beam.cli.plan import show_plan
from deepo_beam.cli.reporting import LogFormat, print_summary, set_up_logging


@with_label_options
def label(
    ctx: typer.Context,
    flags: dict[str, object],
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="Options from YAML; flags win over it.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a first run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done and cost: plan.")] = False,
    json_summary: Annotated[
        bool, typer.Option("--json", help="The summary as one JSON object on standard output.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")] = False,
    log_level: Annotated[str, typer.Option("--log-level", help="Of messages on standard error.")] = "WARNING",
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="text or json.")] = LogFormat.TEXT,
) -> None:
    """Label images and leave Parquet tables.

    Kill it at any moment and run it again: what is known is not paid for again. Beam options follow after --.

    Example: deepo-beam label 's3://lake/photos/**.jpg' --output s3://lake/labels --spec my-model --rate 20/s
    """
    set_up_logging(log_level, log_format)
    limit_arenas()
    from deepo_beam import bulk  # loads Beam, which --help need not wait for
    from deepo_beam.cli import stopping
    from deepo_beam.cli.asking import confirm_first_run
    from deepo_beam.cli.progress import progress
    from deepo_beam.config import label_config
    from deepo_beam.lake.lock import held_output

    wanted = label_config(flags, config)
    if dry_run:
        show_plan(wanted, as_json=json_summary)
        return
    confirm_first_run(wanted, assume_yes=yes)
    with held_output(wanted.output_uri):
        wanted, plan = bulk.prepare_run(wanted, ctx.obj or ())
        with stopping.on_signals(), progress(plan, quiet=quiet):
            summary = bulk.run(wanted, plan, ctx.obj or ())
    if json_summary:
        typer.echo(json.dumps(dataclasses.asdict(summary)))
    if not quiet:
        print_summary(summary)
    raise typer.Exit(summary.exit_code)
