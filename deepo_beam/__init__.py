"""Label images in bulk with Deepomatic models, on Apache Beam, into Parquet tables.

The names below are imported when they are first used, so that ``import deepo_beam`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from deepo_beam._version import __version__

if TYPE_CHECKING:
    from deepo_beam.config import LabelConfig
    from deepo_beam.errors import DeepoBeamError
    from deepo_beam.lake.flatten import flatten_predictions
    from deepo_beam.lake.reading import read_labels, read_table
    from deepo_beam.transforms import FlattenPredictions, Label, LabelImages, ListImages, PublishTables
    from deepo_beam.types import Failure, ImageRef, ImageResult, Status

_HOMES = {
    "DeepoBeamError": "deepo_beam.errors",
    "Failure": "deepo_beam.types",
    "FlattenPredictions": "deepo_beam.transforms",
    "ImageRef": "deepo_beam.types",
    "ImageResult": "deepo_beam.types",
    "Label": "deepo_beam.transforms",
    "LabelConfig": "deepo_beam.config",
    "LabelImages": "deepo_beam.transforms",
    "ListImages": "deepo_beam.transforms",
    "PublishTables": "deepo_beam.transforms",
    "Status": "deepo_beam.types",
    "flatten_predictions": "deepo_beam.lake.flatten",
    "read_labels": "deepo_beam.lake.reading",
    "read_table": "deepo_beam.lake.reading",
}

__all__ = [
    "DeepoBeamError",
    "Failure",
    "FlattenPredictions",
    "ImageRef",
    "ImageResult",
    "Label",
    "LabelConfig",
    "LabelImages",
    "ListImages",
    "PublishTables",
    "Status",
    "__version__",
    "flatten_predictions",
    "read_labels",
    "read_table",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'deepo_beam' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return list(__all__)
