"""``deepo-beam compact``: a journal of many nights in one segment for each bucket, and in as many buckets as wanted."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from deepo_beam.cli.outputs import OutputArgument, open_output


def compact(
    output: OutputArgument,
    buckets: Annotated[
        int | None,
        typer.Option(metavar="N", help="Divide the journal into so many parts, 1 to 99,999. [default: as it is]"),
    ] = None,
) -> None:
    """Make the journal of an output small and quick to read again; label does it by itself every 32 runs.

    With --buckets every later run works with so many parts: fewer for an output of few images (each part is an object
    to read and to write), more for one of tens of millions (a part is read into memory as a whole). The tables stay as
    they are, and nothing is called. Kill it at any moment: the output has as many parts as before, or as many as were
    wanted, and the next label or compact clears up.

    Example: deepo-beam compact s3://lake/labels --buckets 64
    """
    from deepo_beam.config import LabelConfig
    from deepo_beam.lake.compact import compact as compact_output
    from deepo_beam.lake.complete import mend
    from deepo_beam.lake.holding import check_held, held_output
    from deepo_beam.lake.rebucket import rebucket
    from deepo_beam.run import new_run_id

    if buckets is not None:
        LabelConfig.parse({"buckets": buckets}, where="options")
    uri, _ = open_output(output)
    run_id = new_run_id()
    held = partial(check_held, uri, run_id)
    with held_output(uri, run_id):
        _, dataset = open_output(output)  # again: until now somebody else may have held it
        replaced = mend(uri, dataset, check_held=held).swept + compact_output(uri, dataset)
        typer.echo(f"{uri}: {replaced:,} segments replaced")
        if buckets is not None and buckets != dataset.buckets:
            rebucket(uri, dataset, buckets, run_id, check_held=held)
            typer.echo(f"{uri}: {buckets:,} buckets instead of {dataset.buckets:,}")
