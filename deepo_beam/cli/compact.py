"""``deepo-beam compact``: a journal of many nights in one segment for each bucket."""

from __future__ import annotations

from typing import Annotated

import typer


def compact(output: Annotated[str, typer.Argument(metavar="DIR", help="An output of label.")]) -> None:
    """Make the journal of an output small and quick to read again; label does it by itself every 32 runs.

    Example: deepo-beam compact s3://lake/labels
    """
    from deepo_beam.errors import ConfigError
    from deepo_beam.identity import normalise_uri
    from deepo_beam.lake.compact import compact as compact_output
    from deepo_beam.lake.dataset import find_dataset
    from deepo_beam.lake.lock import held_output
    from deepo_beam.lake.publish import roll_forward

    try:
        uri = normalise_uri(output).rstrip("/")
    except ValueError as error:
        raise ConfigError(f"the output {output!r} cannot be used: {error}") from None
    dataset = find_dataset(uri)
    if dataset is None:
        raise ConfigError(f"{output} is no output of deepo-beam: it has no dataset.json")
    with held_output(uri):
        roll_forward(uri)
        replaced = compact_output(uri, dataset.buckets)
    typer.echo(f"{uri}: {replaced:,} segments replaced")
