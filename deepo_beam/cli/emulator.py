"""``deepo-beam emulator``: a local server of the API, with real models and injectable faults."""

from __future__ import annotations

import importlib.util
from typing import Annotated, Any

import typer

from deepo_beam.emulator.options import Options, flag_of, help_of, parse_outage
from deepo_beam.errors import ConfigError
from deepo_beam.units import parse_size

_NEEDED = ("aiohttp", "cv2", "numpy", "pybase64", "sklearn")


def _flag(name: str, **settings: Any) -> Any:
    return typer.Option(flag_of(name), help=help_of(name), **settings)


def emulator(
    host: Annotated[str, _flag("host")] = "127.0.0.1",
    port: Annotated[int, _flag("port")] = 0,
    latency: Annotated[float, _flag("latency")] = 0.0,
    latency_jitter: Annotated[float, _flag("latency_jitter")] = 0.0,
    post_latency: Annotated[float, _flag("post_latency")] = 0.0,
    rate: Annotated[float | None, _flag("rate")] = None,
    burst: Annotated[int | None, _flag("burst")] = None,
    retry_after: Annotated[str, _flag("retry_after")] = "seconds",
    fail_posts: Annotated[float, _flag("fail_posts")] = 0.0,
    cut_replies: Annotated[float, _flag("cut_replies")] = 0.0,
    task_errors: Annotated[float, _flag("task_errors")] = 0.0,
    lose_tasks: Annotated[float, _flag("lose_tasks")] = 0.0,
    stuck_tasks: Annotated[float, _flag("stuck_tasks")] = 0.0,
    fail_polls: Annotated[float, _flag("fail_polls")] = 0.0,
    slow_polls: Annotated[float, _flag("slow_polls")] = 0.0,
    outage: Annotated[Any, _flag("outage", parser=parse_outage, metavar="START:LENGTH")] = None,
    new_version_at: Annotated[float | None, _flag("new_version_at")] = None,
    max_body: Annotated[Any, _flag("max_body", parser=parse_size, metavar="SIZE")] = None,
    api_key: Annotated[str | None, _flag("api_key")] = None,
    seed: Annotated[int, _flag("seed")] = 0,
    allow_urls: Annotated[bool, _flag("allow_urls")] = False,
) -> None:
    """Serve the Deepomatic API v0.7 on this machine, with real models and the faults that you ask for.

    Models: echo-v1, echo-boxes-v1, imagenet-inception-v3 (private too: 1, 2, 3), digits-v1, faces-v1,
    colours-v1, empty-v1. The first line on standard output is "listening on http://HOST:PORT".

    Example: deepo-beam emulator --port 8080 --latency 0.2 --fail-posts 0.05
    """
    given = dict(locals())  # first of all: nothing but the parameters
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        message = f"the emulator needs {', '.join(missing)}: run pip install 'deepo-beam[emulator]'"
        typer.echo(f"Error: {message}", err=True)
        raise typer.Exit(2)
    from deepo_beam.emulator.__main__ import run  # loads aiohttp

    try:
        run(Options(**given))
    except ConfigError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
