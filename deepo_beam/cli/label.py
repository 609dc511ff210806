"""``deepo-beam label``: configuration in, tables out, exit code by the summary."""

from __future__ import annotations

from typing import Annotated

import typer

from deepo_beam.cli.memory import limit_arenas, loading
from deepo_beam.cli.options import with_label_options
from deepo_beam.cli.plan import show_plan
from deepo_beam.cli.reporting import print_json, print_reason, print_summary, set_up_logging
from deepo_beam.config import command_options, label_config


@with_label_options
def label(
    ctx: typer.Context,
    flags: dict[str, object],
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="Options from YAML; flags win over it.")
    ] = None,
    yes: Annotated[bool | None, typer.Option("--yes", help="Do not ask before a first run.")] = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run", help="Only say what would be done and cost: plan.")
    ] = None,
    json: Annotated[
        bool | None, typer.Option("--json", help="The summary as one JSON object on standard output.")
    ] = None,
    quiet: Annotated[bool | None, typer.Option("--quiet", help="No progress, no summary.")] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", help="Of messages on standard error. [default: WARNING]")
    ] = None,
    log_format: Annotated[str | None, typer.Option("--log-format", help="text or json. [default: text]")] = None,
) -> None:
    """Label images and leave Parquet tables.

    Kill it at any moment and run it again: what is known is not paid for again. Beam options follow after --.

    Example: deepo-beam label 's3://lake/photos/**.jpg' --output s3://lake/labels --spec my-model --rate 20/s
    """
    given = {"yes": yes, "dry_run": dry_run, "json": json, "quiet": quiet}
    options = command_options({**given, "log_level": log_level, "log_format": log_format}, config)
    set_up_logging(options.log_level, options.log_format)
    limit_arenas()
    with loading():
        from deepo_beam import bulk  # loads Beam, which --help need not wait for
        from deepo_beam.cli import stopping
        from deepo_beam.cli.asking import confirm_first_run
        from deepo_beam.cli.progress import progress

    wanted = label_config(flags, config)
    if options.dry_run:
        show_plan(wanted, ctx.obj or (), as_json=options.as_json)
        return
    bulk.use_stores(wanted, ctx.obj or ())
    confirm_first_run(wanted, assume_yes=options.yes)
    with bulk.held_run(wanted) as named:
        wanted, plan = bulk.prepare_run(named, ctx.obj or ())
        with stopping.on_signals(plan), progress(plan, quiet=options.quiet):
            summary = bulk.run(wanted, plan, ctx.obj or ())
    if options.as_json:
        print_json(summary)
    if not options.quiet:
        print_summary(summary)
    elif summary.exit_code:
        print_reason(summary)
    raise typer.Exit(summary.exit_code)
