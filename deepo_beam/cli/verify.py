"""``deepo-beam verify``: an output against its manifests."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from deepo_beam.cli.outputs import OutputArgument, open_output


def verify(
    output: OutputArgument,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Check an output against its manifests; changes nothing.

    Looks for files that are missing, altered or extra, what a killed run left behind, rows that are there twice, and
    damage to the journal. A line for each finding, and exit 4 if there is one.

    Example: deepo-beam verify s3://lake/labels
    """
    from deepo_beam import storage
    from deepo_beam.lake.holding import holder_of
    from deepo_beam.lake.lock import find_holder
    from deepo_beam.lake.verify import as_json as values_of
    from deepo_beam.lake.verify import verify as verify_output

    uri, dataset = open_output(output)
    held = (find_holder(uri) if storage.is_local(uri) else holder_of(uri)) is not None
    # Before the tables are read: what is written meanwhile is no orphan.
    temporaries = [found.uri for found in storage.list_temporaries(uri)] if storage.is_local(uri) else []
    found = verify_output(uri, dataset, held=held, temporaries=temporaries)
    if as_json:
        typer.echo(json.dumps(values_of(found, uri)))
    else:
        for finding in found.findings:
            typer.echo(f"{finding.kind} {finding.path}: {finding.message}")
        result = f"{len(found.findings):,} to be looked after" if found.findings else "all is well"
        names = ("runs", "snapshots", "files", "rows", "segments")
        checked = ", ".join(f"{name} {found.checked[name]:,}" for name in names)
        note = "; a run is at work, or was killed: what it has begun was left out" if held else ""
        typer.echo(f"{uri}: {result}; checked: {checked}{note}")
    if found.findings:
        raise typer.Exit(4)
