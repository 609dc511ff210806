"""``deepo-beam plan``: what ``label`` with the same options would do and cost; ``label --dry-run`` is the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from deepo_beam.cli.memory import cycles_looked_for_seldom, loading
from deepo_beam.cli.options import with_label_options
from deepo_beam.cli.reporting import set_up_logging

if TYPE_CHECKING:
    from deepo_beam.config import LabelConfig
    from deepo_beam.lake.estimate import Estimate


@with_label_options
def plan(
    ctx: typer.Context,
    flags: dict[str, object],
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="Options from YAML; flags win over it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Say what label with the same options would do and cost. Calls no inference, writes nothing.

    Example: deepo-beam plan 's3://lake/photos/**.jpg' --output s3://lake/labels --spec my-model --rate 20/s
    """
    set_up_logging("WARNING", "text")
    from deepo_beam.config import label_config

    show_plan(label_config(flags, config), ctx.obj or (), as_json=as_json)


def show_plan(config: LabelConfig, beam_flags: Sequence[str] = (), *, as_json: bool) -> None:
    """List, read the journal, and say what would be done.

    Args:
        config: as for ``label``.
        beam_flags: Beam's own options, of which those of stores count.
        as_json: for programs.

    Raises:
        ConfigError, PreflightError, StorageError: as for ``label``.
    """
    with loading():
        from deepo_beam import bulk
        from deepo_beam.cli.progress import progress

    bulk.use_stores(config, beam_flags)
    with cycles_looked_for_seldom(), progress(None, quiet=False):
        found = bulk.estimate_run(config)
    typer.echo(json.dumps(dataclasses.asdict(found)) if as_json else "\n".join(plan_lines(found)))


def plan_lines(found: Estimate) -> list[str]:
    """A plan for people. Pure."""
    parts = {
        "new": found.new,
        "perhaps asked for by a killed run": found.in_doubt,
        "asked for already": found.open_tasks,
        "changed": found.changed,
        "maybe changed": found.maybe_changed,
        "to be labelled again": found.relabelled,
        "failed, to be tried again": found.retried,
        "failed, left alone": found.skipped,
        "duplicate": found.duplicate,
        "unusable": found.unusable,
    }
    told = "".join(f" + {count:,} {name}" for name, count in parts.items() if count)
    lines = [f"listed {found.listed:,} = {found.known:,} known{told}"]
    cost = f"{_range(found.calls_min, found.calls_max, _count)} calls"
    cost += f", {_range(found.bytes_min, found.bytes_max, _bytes)} of images"
    if found.seconds_min is not None and found.seconds_max is not None:
        cost += f", {_range(found.seconds_min, found.seconds_max, _time)} at this rate"
    lines.append(cost)
    for version, count in found.other_versions.items():
        name = f"version {version}" if version else "an unknown version"
        lines.append(f"{count:,} known images carry {name}: --relabel outdated labels those of another version again")
    return lines


def _range(least: float, most: float, show: Callable[[float], str]) -> str:
    return show(least) if show(least) == show(most) else f"{show(least)} to {show(most)}"


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _bytes(number: float) -> str:
    return decimal(round(number))


def _time(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if whole < 60:
        return f"{whole} s"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {whole % 60:02} s"
