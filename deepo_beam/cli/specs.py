"""``deepo-beam specs``: which models there are, and what one of them answers."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer


def specs(
    spec_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Show one, with its labels.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Only public ones.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Only private ones.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    api_url: Annotated[str | None, typer.Option(help="The API's host. [env: DEEPOMATIC_API_URL]")] = None,
    api_key_file: Annotated[str | None, typer.Option(help="A file that holds the key.")] = None,
    verify_tls: Annotated[bool | None, typer.Option("--verify-tls/--no-verify-tls")] = None,
) -> None:
    """List recognition specifications, or show one with its outputs and labels.

    Example: deepo-beam specs imagenet-inception-v3
    """
    from deepo_beam.api import Client
    from deepo_beam.config import label_config
    from deepo_beam.preflight import named_api_errors

    flags = {"api_url": api_url, "api_key_file": api_key_file, "verify_tls": verify_tls}
    config = label_config(flags)
    settings = config.api_settings()
    what = f"specification {spec_id}" if spec_id is not None else "list of specifications"
    with Client(settings, config.credentials) as client, named_api_errors(settings.host, what):
        if spec_id is not None:
            found = [client.specification(spec_id)]
        else:
            kinds = [kind for kind, wanted in ((True, public or not private), (False, private or not public)) if wanted]
            found = [spec for kind in kinds for spec in client.specifications(kind)]
    if as_json:
        values = [dataclasses.asdict(spec) for spec in found]
        typer.echo(json.dumps(values[0] if spec_id is not None else values, indent=2))
        return
    for spec in found:
        _show(spec, whole=spec_id is not None)


def _show(spec: Any, *, whole: bool) -> None:
    version = "" if spec.current_version_id is None else f"  version {spec.current_version_id}"
    typer.echo(f"{spec.id:<24} {'public ' if spec.public else 'private'}{version}  {spec.name}")
    if not whole:
        return
    if spec.current_version_id is None:
        typer.echo("  no current version: nothing to run yet")
    for index, output in enumerate(spec.outputs or ()):
        names = ", ".join(label.name for label in output.labels)
        kind = "detection" if output.roi == "BBOX" else "classification" if output.exclusive else "tagging"
        typer.echo(f"  output {index}: {kind}, {len(output.labels)} labels: {names}")
