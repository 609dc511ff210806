"""The commands by name. Each is loaded when it is called: ``--help`` does not wait for what all of them need."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

#: The first sentences of what each says of itself, in its module ``deepo_beam.cli.<name>``.
SUMMARIES = {
    "label": "Label images and leave Parquet tables.",
    "plan": "Say what label with the same options would do and cost. Calls no inference, writes nothing.",
    "status": "Say what the run at work, or the last one, has done. Reads only.",
    "publish": "Publish what killed runs left in the journal, and on request a snapshot of everything known.",
    "verify": "Check an output against its manifests; changes nothing.",
    "compact": "Make the journal of an output small and quick to read again; label does it by itself every 32 runs.",
    "specs": "List recognition specifications, or show one with its outputs and labels.",
    "emulator": "Serve the Deepomatic API v0.7 on this machine, with real models and the faults that you ask for.",
}
SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "markdown",
}


class Commands(TyperGroup):
    """All of them, none loaded."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands.update({name: _Command(name, help=summary) for name, summary in SUMMARIES.items()})


class _Command(TyperCommand):
    def make_context(self, info_name: str | None, *arguments: Any, **settings: Any) -> Any:
        """Of the command itself, which is what is run, or says its help."""
        assert self.name is not None
        of_its_own = typer.Typer(**SETTINGS)
        of_its_own.command(self.name)(getattr(importlib.import_module(f"deepo_beam.cli.{self.name}"), self.name))
        return typer.main.get_command(of_its_own).make_context(info_name, *arguments, **settings)
