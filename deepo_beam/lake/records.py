"""The journal's records (:mod:`deepo_beam.records`) as bytes: a segment is one small Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import Any, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepo_beam.errors import ErrorCode, Stage
from deepo_beam.lake.rows import record_row
from deepo_beam.lake.schemas import JOURNAL, record_batch
from deepo_beam.lake.segment import Segment
from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Record, Released
from deepo_beam.types import (
    Facts,
    Failure,
    ImageInfo,
    ImageRef,
    ImageResult,
    ModelKind,
    ModelRef,
    Status,
    Timings,
)

# Asking an Enum takes as long as all the rest of a record.
_MODEL_KINDS = {kind.value: kind for kind in ModelKind}
_STATUSES = {status.value: status for status in Status}
_REASONS = {reason.value: reason for reason in Reason}
_STAGES = {stage.value: stage for stage in Stage}
_ERROR_CODES = {code.value: code for code in ErrorCode}

E = TypeVar("E", bound=Enum)
Columns: TypeAlias = Mapping[str, Sequence[Any]]

KINDS = frozenset(("claimed", "released", "accepted", "finished", "noted"))

# No descriptions in a segment: they would be most of its bytes.
_SEGMENT_SCHEMA = pa.schema([field.remove_metadata() for field in JOURNAL], metadata=JOURNAL.metadata)


def encode_records(records: Sequence[Record], rows: pa.Table | None = None) -> bytes:
    """Records as a Parquet file with the columns :data:`deepo_beam.lake.schemas.JOURNAL`.

    Not kept of an image, since they do not describe it for good: ``location`` (it may hold a signature),
    ``input_index``, ``line`` and ``problem`` (the failure of the result says it).

    Args:
        records: in any order; an empty sequence gives a valid file without rows.
        rows: more of them, in the columns of :data:`deepo_beam.lake.schemas.JOURNAL`; they come first.

    Returns:
        The bytes of the file; equal records give equal bytes.
    """
    more = [record_row(record) for record in records]
    # What no record has is left out: a segment of claims has 7 columns and costs a quarter of one with all.
    used = {name for row in more for name, value in row.items() if value is not None}
    used |= {field.name for field in _SEGMENT_SCHEMA if rows and rows[field.name].null_count < rows.num_rows}
    fields = [field for field in _SEGMENT_SCHEMA if field.name in used or not field.nullable]
    schema = pa.schema(fields, metadata=_SEGMENT_SCHEMA.metadata)
    table = pa.Table.from_batches([record_batch(schema, more)])
    if rows:
        table = pa.concat_tables([rows.select(schema.names).cast(schema), table])
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        schema,
        compression="snappy",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def decode_records(data: bytes, kinds: Set[str] = KINDS) -> list[Record]:
    """The records of a segment, in its order: :func:`decode_segment` of its bytes.

    Raises:
        ValueError: the bytes are no segment, are damaged, or have a format version that is not known.
    """
    return decode_segment(Segment(data), kinds)


def decode_segment(
    segment: Segment,
    kinds: Set[str] = KINDS,
    *,
    without: pa.ChunkedArray | None = None,
    only: pa.ChunkedArray | None = None,
) -> list[Record]:
    """The records of a segment, in its order.

    Args:
        segment: to decode.
        kinds: of the records that are wanted; the others are hardly paid for.
        without: the ids of images whose records are not wanted; None: all are.
        only: the ids of those whose records alone are wanted; None: all are.

    Raises:
        ValueError: it is damaged, or holds what is no record.
    """
    if not segment.has_outcomes and kinds == {"finished"}:
        return []
    wanted = None
    if only is not None:
        wanted = pc.is_in(segment.columns(["image_id"])["image_id"], only)
    elif without is not None and len(without):
        wanted = pc.invert(pc.is_in(segment.columns(["image_id"])["image_id"], without))
    if wanted is not None and not pc.any(wanted).as_py():
        return []
    table = segment.columns(JOURNAL.names)
    if wanted is not None:
        table = table.filter(wanted)
    if not kinds >= KINDS:
        table = table.filter(pc.is_in(table["kind"], pa.array(sorted(kinds))))
    columns = {name: _python_values(table[name]) for name in table.column_names}
    return [_record(columns, index) for index in range(table.num_rows)]


def _python_values(column: pa.ChunkedArray) -> Sequence[Any]:
    if column.null_count == len(column):
        return [None] * len(column)
    if pa.types.is_timestamp(column.type):  # a datetime would cost ten times as much, and cannot hold all
        column = column.cast(pa.int64())
    values: Sequence[Any] = column.to_pylist()
    return values


def _record(columns: Columns, index: int) -> Record:
    kind = columns["kind"][index]
    if kind == "finished":
        return Finished(_need(columns, "run_id", index), _result(columns, index))
    if kind == "accepted":
        return _accepted(columns, index)
    if kind in ("claimed", "released"):
        return _claim(columns, index)
    if kind == "noted":
        return Noted(
            _need(columns, "run_id", index),
            _need(columns, "image_id", index),
            _need(columns, "generation", index),
            columns["listed_size_bytes"][index],
            columns["listed_modified_at"][index],
        )
    raise ValueError(f"row {index}: {kind!r} is no kind of record")


def _need(columns: Columns, name: str, index: int) -> Any:
    value = columns[name][index]
    if value is None:
        raise ValueError(f"row {index}: a record of kind {columns['kind'][index]} needs column {name}")
    return value


def _known(table: Mapping[str, E], text: Any) -> E:
    try:
        return table[text]
    except KeyError:
        raise ValueError(f"{text!r} is none of {', '.join(table)}") from None


def _claim(columns: Columns, index: int) -> Claimed | Released:
    run_id, image_id = _need(columns, "run_id", index), _need(columns, "image_id", index)
    generation, attempt = _need(columns, "generation", index), _need(columns, "attempt", index)
    if columns["kind"][index] == "released":
        return Released(run_id, image_id, generation, attempt, sent=_need(columns, "sent", index))
    reason, recorded_us = _known(_REASONS, columns["reason"][index]), _need(columns, "recorded_at", index)
    return Claimed(run_id, image_id, generation, attempt, reason, recorded_us)


def _accepted(columns: Columns, index: int) -> Accepted:
    return Accepted(
        run_id=_need(columns, "run_id", index),
        image=_image(columns, index),
        generation=_need(columns, "generation", index),
        attempt=_need(columns, "attempt", index),
        task_id=_need(columns, "task_id", index),
        model_version_id=columns["model_version_id"][index],
        facts=_facts(columns, index),
        recorded_us=_need(columns, "recorded_at", index),
    )


def _result(columns: Columns, index: int) -> ImageResult:
    return ImageResult(
        image=_image(columns, index),
        model=ModelRef(_known(_MODEL_KINDS, columns["model_kind"][index]), _need(columns, "model_id", index)),
        model_version_id=columns["model_version_id"][index],
        status=_known(_STATUSES, columns["status"][index]),
        outputs=columns["outputs"][index],
        failure=_failure(columns, index),
        facts=_facts(columns, index),
        task_id=columns["task_id"][index],
        attempts=columns["attempts"][index] or 0,
        calls=columns["calls"][index] or 0,
        timings=Timings(
            columns["queue_ms"][index] or 0, columns["submit_ms"][index] or 0, columns["wait_ms"][index] or 0
        ),
        finished_us=_need(columns, "recorded_at", index),
        generation=_need(columns, "generation", index),
    )


def _image(columns: Columns, index: int) -> ImageRef:
    uri = _need(columns, "image_uri", index)
    return ImageRef(
        image_id=_need(columns, "image_id", index),
        image_uri=uri,
        location=uri,
        crop=columns["crop"][index],
        external_id=columns["external_id"][index],
        attributes=tuple(columns["attributes"][index] or ()),
        size_bytes=columns["listed_size_bytes"][index],
        modified_us=columns["listed_modified_at"][index],
        source=columns["source"][index],
    )


def _facts(columns: Columns, index: int) -> Facts:
    info = None
    if (media_type := columns["media_type"][index]) is not None:
        width, height = _need(columns, "width", index), _need(columns, "height", index)
        info = ImageInfo(media_type, width, height, columns["exif_orientation"][index])
    return Facts(
        info=info,
        content_sha256=columns["content_sha256"][index],
        size_bytes=columns["size_bytes"][index],
        modified_us=columns["modified_at"][index],
    )


def _failure(columns: Columns, index: int) -> Failure | None:
    code = columns["error_code"][index]
    if code is None:
        return None
    return Failure(
        stage=_known(_STAGES, columns["stage"][index]),
        code=_known(_ERROR_CODES, code),
        message=_need(columns, "error_message", index),
        retryable=_need(columns, "retryable", index),
        http_status=columns["http_status"][index],
    )
