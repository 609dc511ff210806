"""An output that is there already, as commands take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deepo_beam.lake.dataset import Dataset

OutputArgument = Annotated[str, typer.Argument(metavar="DIR", help="An output of label.")]


def open_output(text: str) -> tuple[str, Dataset]:
    """The normalised URI of an output, and what it is about.

    Raises:
        ConfigError: it is no output.
        StorageError: it cannot be read.
    """
    from deepo_beam.errors import ConfigError
    from deepo_beam.identity import normalise_uri
    from deepo_beam.lake.dataset import find_dataset

    try:
        uri = normalise_uri(text).rstrip("/")
    except ValueError as error:
        raise ConfigError(f"{text!r}: {error}") from None
    dataset = find_dataset(uri)
    if dataset is None:
        raise ConfigError(f"{text} is no output of deepo-beam: it has no dataset.json")
    return uri, dataset
