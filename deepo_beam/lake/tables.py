"""From results to the tables ``labels``, ``images`` and ``errors``, and their Parquet bytes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from deepo_beam.lake.flatten import flatten_predictions, predictions
from deepo_beam.lake.rows import Row, facts_row
from deepo_beam.lake.schemas import ERRORS, IMAGES, LABELS, record_batch
from deepo_beam.text import clean_text
from deepo_beam.types import ImageResult

_SORT_KEYS = ("image_uri", "crop", "image_id", "output_index", "prediction_index")
# DuckDB's own row group; readers share out work by row groups, and writers hold one in memory.
_ROWS_PER_GROUP = 61_440


class FailedImage(NamedTuple):
    """A failed result, and since when the image fails.

    Attributes:
        result: with status failed.
        first_seen_us, last_seen_us: microseconds since 1970 UTC: when it first failed since it last
            succeeded, and when it last did.
    """

    result: ImageResult
    first_seen_us: int
    last_seen_us: int


def labels_table(results: Iterable[ImageResult]) -> pa.Table:
    """One row per label: the columns :data:`deepo_beam.lake.schemas.LABELS`.

    Args:
        results: in any order, of any status, one for each image and generation.

    Returns:
        Rows sorted by image_uri, crop (null last), output_index, prediction_index.
    """
    ordered = sorted(results, key=_order)
    return _table(LABELS, list(chain.from_iterable(map(flatten_predictions, ordered))))


def images_table(results: Iterable[ImageResult]) -> pa.Table:
    """One row per result: the columns :data:`deepo_beam.lake.schemas.IMAGES`.

    ``n_predictions``, ``top_label`` and ``top_score`` are over the predicted labels of all outputs, discarded
    ones left out; of equal scores the earlier label is the top.

    Args:
        results: in any order, of any status, one for each image and generation.

    Returns:
        Rows sorted by image_uri, crop (null last).
    """
    return _table(IMAGES, [_image_row(result) for result in sorted(results, key=_order)])


def errors_table(failed: Iterable[FailedImage]) -> pa.Table:
    """One row per failed image: the columns :data:`deepo_beam.lake.schemas.ERRORS`.

    Args:
        failed: in any order, one for each image and generation.

    Returns:
        Rows sorted by image_uri, crop (null last).

    Raises:
        ValueError: a result has no failure.
    """
    ordered = sorted(failed, key=lambda entry: _order(entry.result))
    return _table(ERRORS, [_error_row(entry) for entry in ordered])


class TableFile:
    """A Parquet file that is made of many small tables, with one row group of them in memory.

    zstd, statistics, row groups of at most 61,440 rows, each sorted by URI, crop (null last) and label. Equal
    tables in the same order give equal bytes.
    """

    def __init__(self, schema: pa.Schema) -> None:
        """Empty."""
        self.rows = 0
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, schema, compression="zstd", write_statistics=True)
        self._parts: list[pa.Table] = []
        self._waiting = 0

    def add(self, table: pa.Table) -> None:
        """Append rows of this file's schema."""
        self._parts.append(table)
        self._waiting += table.num_rows
        self.rows += table.num_rows
        if self._waiting >= _ROWS_PER_GROUP // 2:
            self._write_group()

    def close(self) -> bytes:
        """The whole file."""
        self._write_group()
        self._writer.close()
        return bytes(self._sink.getvalue())

    def _write_group(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._parts)
            keys = [(name, "ascending") for name in _SORT_KEYS if name in table.column_names]
            self._writer.write_table(table.sort_by(keys) if keys else table, row_group_size=_ROWS_PER_GROUP)
        self._parts, self._waiting = [], 0


def encode_table(table: pa.Table) -> bytes:
    """A table as a Parquet file, see :class:`TableFile`."""
    file = TableFile(table.schema)
    file.add(table)
    return file.close()


def _table(schema: pa.Schema, rows: list[Any]) -> pa.Table:
    return pa.Table.from_batches([record_batch(schema, rows)], schema)


def _order(result: ImageResult) -> tuple[str, bool, str, str, int, int, str]:
    """By URI and crop; the rest only so that equal input in any order gives equal tables."""
    image = result.image
    return (
        clean_text(image.image_uri),  # as it will be stored
        image.crop is None,
        image.crop or "",
        image.image_id,
        result.generation,
        result.finished_us,
        result.task_id or "",
    )


def _identity_row(result: ImageResult) -> Row:
    image = result.image
    return {
        "image_id": image.image_id,
        "image_uri": image.image_uri,
        "crop": image.crop,
        "external_id": image.external_id,
        "model_kind": result.model.kind.value,
        "model_id": result.model.id,
        "model_version_id": result.model_version_id,
        "attributes": image.attributes,
    }


def _image_row(result: ImageResult) -> Row:
    row = _identity_row(result)
    row |= facts_row(result.facts)
    row |= _predictions_row(result)
    row |= {
        "status": result.status.value,
        "task_id": result.task_id,
        "attempts": result.attempts,
        "calls": result.calls,
        "queue_ms": result.timings.queue_ms,
        "submit_ms": result.timings.submit_ms,
        "wait_ms": result.timings.wait_ms,
        "finished_at": result.finished_us,
    }
    if (failure := result.failure) is not None:
        row["http_status"], row["error_code"] = failure.http_status, failure.code.value
    return row


def _predictions_row(result: ImageResult) -> Row:
    predicted = [prediction for *_, is_predicted, prediction in predictions(result) if is_predicted]
    best = max(predicted, key=itemgetter("score"), default=None)
    row: Row = {"n_predictions": len(predicted)}
    if best is not None:
        row["top_label"], row["top_score"] = best["label_name"], best["score"]
    return row


def _error_row(entry: FailedImage) -> Row:
    result = entry.result
    if (failure := result.failure) is None:
        raise ValueError(f"image {result.image.image_uri} has status {result.status.value} and no failure")
    return _identity_row(result) | {
        "stage": failure.stage.value,
        "error_code": failure.code.value,
        "error_message": failure.message,
        "retryable": failure.retryable,
        "attempts": result.attempts,
        "http_status": failure.http_status,
        "task_id": result.task_id,
        "source": result.image.source,
        "first_seen": entry.first_seen_us,
        "last_seen": entry.last_seen_us,
    }
