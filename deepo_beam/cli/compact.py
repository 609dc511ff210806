"""``deepo-beam compact``: a journal of many nights in one segment for each bucket."""

from __future__ import annotations

import typer

from deepo_beam.cli.outputs import OutputArgument, open_output


def compact(output: OutputArgument) -> None:
    """Make the journal of an output small and quick to read again; label does it by itself every 32 runs.

    Example: deepo-beam compact s3://lake/labels
    """
    from deepo_beam.lake.compact import compact as compact_output
    from deepo_beam.lake.complete import roll_forward
    from deepo_beam.lake.holding import held_output
    from deepo_beam.run import new_run_id

    uri, dataset = open_output(output)
    with held_output(uri, new_run_id()):
        roll_forward(uri)
        replaced = compact_output(uri, dataset.buckets)
    typer.echo(f"{uri}: {replaced:,} segments replaced")
