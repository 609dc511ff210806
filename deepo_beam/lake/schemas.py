"""The columns of every file in an output, as data: Arrow schemas with a description on each column.

Schemas are frozen: a column may be added, none is renamed, retyped or removed. Types are those that DuckDB,
Spark, BigQuery and pandas read alike: text, fixed-width numbers, ``timestamp[us, UTC]`` and
``map<string, string>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from deepo_beam.text import clean_text

FORMAT_VERSION = 1
FORMAT_VERSION_KEY = "deepo_beam.format_version"

_TEXT, _TIME = pa.string(), pa.timestamp("us", tz="UTC")
_INT8, _INT16, _INT32, _INT64 = pa.int8(), pa.int16(), pa.int32(), pa.int64()
_FLOAT, _BOOL, _MAP = pa.float32(), pa.bool_(), pa.map_(pa.string(), pa.string())


def _column(name: str, kind: pa.DataType, description: str) -> pa.Field:
    """A column; a name that ends in ``?`` may be null."""
    nullable = name.endswith("?")
    return pa.field(name.rstrip("?"), kind, nullable=nullable, metadata={"description": description})


def _schema(*columns: pa.Field) -> pa.Schema:
    return pa.schema(columns, metadata={FORMAT_VERSION_KEY: str(FORMAT_VERSION)})


_IDENTITY = (
    _column("image_id", _TEXT, "32 hex digits, derived from URI and crop."),
    _column("image_uri", _TEXT, "The normalised URI of the image."),
    _column("crop?", _TEXT, "Canonical JSON of the bbox or polygon that was sent; null: the whole image."),
    _column("external_id?", _TEXT, "The user's own id, from the list of images."),
    _column("model_kind", _TEXT, "What was asked: `spec` or `version`."),
    _column("model_id", _TEXT, "The id of that specification or version."),
    _column("model_version_id?", _INT64, "The version that answered; null if it was not pinned."),
    _column("attributes", _MAP, "The other columns of the list, as text, as they were when labelled."),
)

LABELS: pa.Schema = _schema(
    *_IDENTITY,
    _column("output_index", _INT32, "Which output of the model, from 0."),
    _column("prediction_index", _INT32, "Place within the output, from 0: predicted first, then discarded."),
    _column("label_id", _INT64, "The model's id of the label."),
    _column("label_name", _TEXT, "The model's name of the label."),
    _column("score", _FLOAT, "0 to 1."),
    _column("threshold", _FLOAT, "0 to 1: the model's threshold for this label when it answered."),
    _column("is_predicted", _BOOL, "False: discarded, its score is below the threshold."),
    _column("region_id?", _INT64, "The detected region; null if the output has no regions."),
    _column("bbox_xmin?", _FLOAT, "Left edge, 0 to 1 of the width of the image as sent."),
    _column("bbox_ymin?", _FLOAT, "Top edge, 0 to 1 of the height of the image as sent."),
    _column("bbox_xmax?", _FLOAT, "Right edge, 0 to 1 of the width of the image as sent."),
    _column("bbox_ymax?", _FLOAT, "Bottom edge, 0 to 1 of the height of the image as sent."),
    _column("predicted_at", _TIME, "When the answer was recorded."),
)

IMAGES: pa.Schema = _schema(
    *_IDENTITY,
    _column("status", _TEXT, "`succeeded` (at least one prediction), `no_detection` or `failed`."),
    _column("content_sha256?", _TEXT, "64 hex digits over the bytes as read; null if they were not."),
    _column("size_bytes?", _INT64, "Size of the bytes as read; of an image that is too large to be read, as listed."),
    _column("modified_at?", _TIME, "Modification time of the object as read."),
    _column("media_type?", _TEXT, "By content, such as `image/jpeg`."),
    _column("width?", _INT32, "Pixels, in stored orientation."),
    _column("height?", _INT32, "Pixels, in stored orientation."),
    _column("exif_orientation?", _INT8, "1 to 8; null if the file has none."),
    _column("n_predictions", _INT32, "Predicted labels over all outputs; discarded ones are not counted."),
    _column("top_label?", _TEXT, "The predicted label with the highest score over all outputs."),
    _column("top_score?", _FLOAT, "Its score."),
    _column("task_id?", _TEXT, "The last task of the service for this image."),
    _column("attempts", _INT32, "Tries in the run that settled the image, failed and successful."),
    _column("calls", _INT32, "Inference calls put on the wire for it in that run."),
    _column("http_status?", _INT16, "Of the reply that failed it."),
    _column("error_code?", _TEXT, "Why it failed, see `errors`."),
    _column("queue_ms?", _INT32, "Milliseconds before the post."),
    _column("submit_ms?", _INT32, "Milliseconds that the post took."),
    _column("wait_ms?", _INT32, "Milliseconds from the accepted post to the answer."),
    _column("finished_at", _TIME, "When the outcome was recorded."),
)

ERRORS: pa.Schema = _schema(
    *_IDENTITY,
    _column("stage", _TEXT, "`list`, `read`, `validate`, `submit`, `poll` or `parse`."),
    _column("error_code", _TEXT, "A stable code."),
    _column("error_message", _TEXT, "For people; cut, without secrets."),
    _column("retryable", _BOOL, "A later run tries the image again by default."),
    _column("attempts", _INT32, "Tries in the run that gave up."),
    _column("http_status?", _INT16, "Of the reply that failed it."),
    _column("task_id?", _TEXT, "The last task of the service for this image."),
    _column("source?", _TEXT, "The input that named the image, and the line: `photos.csv:17`."),
    _column("first_seen", _TIME, "When the image first failed since it last succeeded."),
    _column("last_seen", _TIME, "When it last failed."),
)

LISTING: pa.Schema = _schema(
    _column("image_id", _TEXT, "32 hex digits, derived from URI and crop."),
    _column("image_uri", _TEXT, "The normalised URI of the image."),
    _column("crop?", _TEXT, "Canonical JSON of the bbox or polygon to send; null: the whole image."),
    _column("external_id?", _TEXT, "The user's own id, from the list of images."),
    _column("source?", _TEXT, "The input that named the image, and the line: `photos.csv:17`."),
    _column("line", _INT64, "The line of that input; 0 if it has none."),
    _column("size_bytes?", _INT64, "Size as listed."),
    _column("modified_at?", _TIME, "Modification time as listed."),
    _column(
        "disposition",
        _TEXT,
        "`label` (by this run), `compare` (label it if its bytes are new), `reused`, `skipped` or `duplicate`.",
    ),
    _column("conflict?", _BOOL, "A duplicate whose attributes or own id differ from those of the first."),
)

JOURNAL: pa.Schema = _schema(
    _column("kind", _TEXT, "`claimed`, `accepted`, `released`, `finished` or `noted`; says which columns are filled."),
    _column("run_id", _TEXT, "The run that wrote the record."),
    _column("image_id", _TEXT, "32 hex digits, derived from URI and crop."),
    _column("generation", _INT32, "0, and one more for every deliberate new try of a finished image."),
    _column(
        "attempt?", _INT32, "Ordinal of the claimed call within the generation, from 1; null in `finished` and `noted`."
    ),
    _column("sent?", _BOOL, "Of `released`: the call was put on the wire, and refused."),
    _column("reason?", _TEXT, "Why a call was claimed: `first`, or what became of the one before."),
    _column("image_uri?", _TEXT, "The normalised URI of the image."),
    _column("crop?", _TEXT, "Canonical JSON of the bbox or polygon that was sent; null: the whole image."),
    _column("external_id?", _TEXT, "The user's own id, from the list of images."),
    _column("attributes?", _MAP, "The other columns of the list, as text."),
    _column("source?", _TEXT, "The input that named the image, and the line."),
    _column("listed_size_bytes?", _INT64, "Size as listed, which may differ from the size as read."),
    _column("listed_modified_at?", _TIME, "Modification time as listed."),
    _column("model_kind?", _TEXT, "What was asked: `spec` or `version`."),
    _column("model_id?", _TEXT, "The id of that specification or version."),
    _column("model_version_id?", _INT64, "The version asked or that answered; null if it was not pinned."),
    _column("task_id?", _TEXT, "The task of the service."),
    _column("status?", _TEXT, "`succeeded`, `no_detection` or `failed`."),
    _column("outputs?", _TEXT, "The answer's `outputs`, validated, as compact JSON; null if failed."),
    _column("stage?", _TEXT, "The step that failed."),
    _column("error_code?", _TEXT, "Why it failed: a stable code."),
    _column("error_message?", _TEXT, "Why it failed, for people."),
    _column("retryable?", _BOOL, "A later run may try it again."),
    _column("http_status?", _INT16, "Of the reply that failed it."),
    _column("media_type?", _TEXT, "By content, such as `image/jpeg`."),
    _column("width?", _INT32, "Pixels, in stored orientation."),
    _column("height?", _INT32, "Pixels, in stored orientation."),
    _column("exif_orientation?", _INT8, "1 to 8; null if the file has none."),
    _column("content_sha256?", _TEXT, "64 hex digits over the bytes as read."),
    _column("size_bytes?", _INT64, "Size of the bytes as read; of an image that is too large to be read, as listed."),
    _column("modified_at?", _TIME, "Modification time of the object as read."),
    _column("attempts?", _INT32, "Tries of the image in this run, failed and successful; only in `finished`."),
    _column("calls?", _INT32, "Inference calls put on the wire for it in this run; only in `finished`."),
    _column("queue_ms?", _INT32, "Milliseconds before the post."),
    _column("submit_ms?", _INT32, "Milliseconds that the post took."),
    _column("wait_ms?", _INT32, "Milliseconds from the accepted post to the answer."),
    _column("recorded_at?", _TIME, "When, by the clock of the process that wrote it; null in `released` and `noted`."),
)


def record_batch(schema: pa.Schema, rows: Sequence[Mapping[str, Any] | tuple[Any, ...]]) -> pa.RecordBatch:
    """Python rows as a record batch, texts cleaned by :func:`deepo_beam.text.clean_text`.

    Args:
        schema: one of the schemas of this module, or a copy without descriptions.
        rows: as mappings from column name to value (one that is missing is null), or as tuples with a value
            for each column; times as microseconds since 1970 UTC, maps as (name, text) pairs.

    Raises:
        pyarrow.ArrowInvalid, OverflowError: a value is out of its column's range.
    """
    kind = pa.struct(list(schema))  # one conversion of whole rows takes half the time of one for each column
    try:
        array = pa.array(rows, kind)
    except UnicodeEncodeError:  # a lone surrogate somewhere: rare, so it is not searched for beforehand
        array = pa.array([_clean_row(schema, row) for row in rows], kind)
    return pa.RecordBatch.from_arrays(array.flatten(), schema=schema)


def _clean_row(schema: pa.Schema, row: Mapping[str, Any] | tuple[Any, ...]) -> dict[str, Any]:
    values = row if isinstance(row, Mapping) else dict(zip(schema.names, row, strict=True))
    return {name: _clean(value) for name, value in values.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, tuple):  # by way of a dict: a map in which two names became one is unreadable
        return sorted({clean_text(name): clean_text(text) for name, text in value}.items())
    return value


def markdown_table(schema: pa.Schema) -> str:
    """A schema as a Markdown table: column, type, whether it may be null, meaning. Ends with a newline."""
    lines = ["| column | type | null | meaning |", "|---|---|---|---|"]
    for field in schema:
        description = field.metadata[b"description"].decode().replace("|", "\\|")
        null = "yes" if field.nullable else ""
        lines.append(f"| `{field.name}` | {field.type} | {null} | {description} |")
    return "\n".join(lines) + "\n"
