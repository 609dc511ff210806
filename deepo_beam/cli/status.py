"""``deepo-beam status``: what a run in progress, or the last one, has done."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from deepo_beam.cli.outputs import OutputArgument, open_output
from deepo_beam.cli.reporting import summary_lines

if TYPE_CHECKING:
    from deepo_beam.lake.status import RunStatus

_LOOK_S = 1.0


def status(
    output: OutputArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Until no run is at work any more.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit as the run did: 5 if it was cut off, 7 while it is at work.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Say what the run at work, or the last one, has done. Reads only.

    Example: deepo-beam status s3://lake/labels --wait --exit-code
    """
    from deepo_beam.lake.status import look_at_runs

    uri, _ = open_output(output)
    found = look_at_runs(uri)
    while wait and found and found[0].state == "running":
        time.sleep(_LOOK_S)
        found = look_at_runs(uri)
    if as_json:
        typer.echo(json.dumps({"output": uri, "runs": [_values(run) for run in found]}))
    else:
        lines = [line for run in found for line in status_lines(run, uri, time.time())]
        typer.echo("\n".join(lines) or f"{uri}: no run yet")
    if exit_code and found:
        raise typer.Exit(found[0].exit_code)


def status_lines(run: RunStatus, output: str, now_s: float) -> list[str]:
    """A run for people. Pure.

    Args:
        run: which.
        output: of the run.
        now_s: seconds since 1970 UTC.
    """
    if run.summary is not None:
        return summary_lines(run.summary)
    if run.state == "cut off":
        mend = f"the next label, or `deepo-beam publish {output}`, completes it"
        told = f"while it published: {mend}" if run.publishing else "before it had tables: the next label goes on"
        counters = [report.counters for report in run.reports]
        done = f"{sum(c.settled for c in counters):,} labelled, {sum(c.calls for c in counters):,} calls, as last told"
        return [f"run {run.run_id} of {output} was cut off {told}", *([f"  {done}"] if counters else [])]
    from deepo_beam.cli.progress import progress_line

    doing = "publishing" if run.publishing else "at work"
    where = f" on {run.holder.host}, pid {run.holder.pid}" if run.holder is not None else ""
    seconds = now_s - run.started_us / 1e6 if run.started_us else 0.0
    return [
        f"run {run.run_id} of {output} is {doing}{where}",
        "  " + progress_line(list(run.reports), max(0.001, seconds)),
    ]


def _values(run: RunStatus) -> dict[str, object]:
    return {
        "run_id": run.run_id,
        "state": run.state,
        "exit_code": run.exit_code,
        "summary": None if run.summary is None else dataclasses.asdict(run.summary),
        "workers": [dataclasses.asdict(report) for report in run.reports],
    }
