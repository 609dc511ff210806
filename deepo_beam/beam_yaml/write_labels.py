"""``WriteLabels``: rows of labels into Parquet files with the columns of ``labels``."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.io import WriteToParquet
from apache_beam.pvalue import PCollection
from apache_beam.typehints.schemas import named_fields_from_element_type
from apache_beam.utils.timestamp import Timestamp

from deepo_beam import storage
from deepo_beam.errors import ConfigError
from deepo_beam.lake.schemas import LABELS


class WriteLabels(beam.PTransform[PCollection[Any], PCollection[str]]):
    """Writes labels to Parquet files: ``part-00000-of-00002.parquet`` and so on, with the columns of ``labels``.

    Shape: PCollection[Label] (or rows with its columns, in any order) -> PCollection[str], the files.

    Args:
        path: The folder, which no run has written to.

    Raises:
        ConfigError: the rows have other columns than labels have, or the folder has Parquet files already.
        StorageError: the folder cannot be listed.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path.rstrip("/")

    def expand(self, labels: PCollection[Any]) -> PCollection[str]:
        """By Beam's own sink, which writes aside and renames."""
        _check_columns(labels.element_type)
        _check_folder(self._path)
        prefix = storage.join(self._path, "part")
        write = WriteToParquet(prefix, LABELS, codec="zstd", file_name_suffix=".parquet")
        return labels | "AsRecord" >> beam.Map(_record) | "WriteParquet" >> write


def _record(label: Any) -> dict[str, Any]:
    """A row in the types that Arrow takes. Pure."""
    record = {name: getattr(label, name) for name in LABELS.names}
    record["attributes"] = sorted(record["attributes"].items())
    if isinstance(record["predicted_at"], Timestamp):
        record["predicted_at"] = record["predicted_at"].micros
    return record


def _check_columns(element_type: Any) -> None:
    try:
        names = {name for name, _ in named_fields_from_element_type(element_type)}
    except (TypeError, ValueError):
        raise ConfigError("WriteLabels: these are no rows with a schema; it writes what LabelImages gives") from None
    columns = set(LABELS.names)
    for what, wrong in (("lack", columns - names), ("have, beside those of labels,", names - columns)):
        if wrong:
            raise ConfigError(
                f"WriteLabels: the rows {what} {', '.join(sorted(wrong))}; it writes the columns of labels, all of them"
                " and no others: WriteToParquet writes rows of your own"
            )


def _check_folder(path: str) -> None:
    for found in storage.list_objects(path, recursive=False):
        if found.uri.endswith(".parquet"):
            raise ConfigError(
                f"WriteLabels: there is {found.uri} already, and labels of two runs in one folder are there twice:"
                " name another folder, or delete it"
            )
