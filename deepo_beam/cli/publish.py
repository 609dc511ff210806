"""``deepo-beam publish``: tables from the journal, without a call."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from deepo_beam.cli.outputs import OutputArgument, open_output


def publish(
    output: OutputArgument,
    everything: Annotated[
        bool, typer.Option("--all", help="Also write a snapshot: each image's newest labelling, of all runs.")
    ] = False,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=NUMBER", help="A snapshot with another threshold for a label (name or id); may be repeated."
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the snapshot goes. [default: DIR/snapshots/RUN_ID]")
    ] = None,
) -> None:
    """Publish what killed runs left in the journal, and on request a snapshot of everything known.

    Calls nothing and needs no key. A snapshot never becomes part of the tables of the output.

    Example: deepo-beam publish s3://lake/labels --threshold cat=0.7 --to s3://lake/cats
    """
    from deepo_beam.errors import ConfigError
    from deepo_beam.identity import normalise_uri
    from deepo_beam.lake.complete import mend
    from deepo_beam.lake.holding import check_held, held_output
    from deepo_beam.lake.leftover import publish_leftover
    from deepo_beam.lake.snapshot import check_snapshot_folder, known_labels, snapshot_uri, write_snapshot
    from deepo_beam.lake.thresholds import choose_thresholds, parse_thresholds
    from deepo_beam.run import new_run_id

    wanted = parse_thresholds(threshold or ())
    uri, _ = open_output(output)
    run_id = new_run_id()
    try:
        folder = snapshot_uri(uri, run_id) if to is None else normalise_uri(to).rstrip("/")
    except ValueError as error:
        raise ConfigError(f"--to {to!r}: {error}") from None
    if to is not None:
        check_snapshot_folder(uri, folder)
    with held_output(uri, run_id):
        _, dataset = open_output(output)  # again: until now somebody else may have held it
        summaries = mend(uri, dataset, check_held=partial(check_held, uri, run_id)).completed
        for summary in summaries:
            typer.echo(f"completed run {summary.run_id}, which had stopped while it published")
        if (leftover := publish_leftover(uri, dataset, run_id)) is not None:
            summaries.append(leftover)
            typer.echo(f"published {leftover.published:,} images, {leftover.labels:,} labels as run {run_id}")
        elif not summaries:
            typer.echo(f"nothing to publish: the tables of {uri} have all that its journal knows")
        if everything or wanted or to is not None:
            known = known_labels(uri) if wanted else []
            chosen = choose_thresholds(wanted, known, all_scores=dataset.show_discarded)
            if chosen and dataset.max_predictions is not None:
                typer.echo(f"note: answers were cut at --max-predictions {dataset.max_predictions}", err=True)
            made = write_snapshot(uri, dataset, run_id, folder, thresholds=chosen)
            typer.echo(f"snapshot of {made.images:,} images, {made.labels:,} labels: {made.folder}")
    for summary in summaries:
        if summary.accounting:
            typer.echo(f"the accounts of run {summary.run_id} do not add up: {summary.accounting}", err=True)
    raise typer.Exit(max((summary.exit_code for summary in summaries if summary.accounting), default=0))
