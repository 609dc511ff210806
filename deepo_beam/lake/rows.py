"""Values as rows: column name to value, for :func:`deepo_beam.lake.schemas.record_batch`."""

from __future__ import annotations

from typing import Any, TypeAlias

from deepo_beam.records import Claimed, Finished, Noted, Record, Released
from deepo_beam.types import Facts, ImageRef, ImageResult

Row: TypeAlias = dict[str, Any]


def record_row(record: Record) -> Row:
    """A record as a row of :data:`deepo_beam.lake.schemas.JOURNAL`; columns that it leaves out are null."""
    if isinstance(record, Finished):
        return {"kind": "finished", "run_id": record.run_id, **_result_row(record.result)}
    row: Row = {"run_id": record.run_id, "image_id": record.image_id, "generation": record.generation}
    if isinstance(record, Noted):
        listed = {"listed_size_bytes": record.size_bytes, "listed_modified_at": record.modified_us}
        return row | listed | {"kind": "noted"}
    row["attempt"] = record.attempt
    if isinstance(record, Released):
        return row | {"kind": "released", "sent": record.sent}
    if isinstance(record, Claimed):
        return row | {"kind": "claimed", "reason": record.reason.value, "recorded_at": record.recorded_us}
    row |= _image_row(record.image) | facts_row(record.facts)
    return row | {
        "kind": "accepted",
        "task_id": record.task_id,
        "model_version_id": record.model_version_id,
        "recorded_at": record.recorded_us,
    }


def _image_row(image: ImageRef) -> Row:
    return {
        "image_id": image.image_id,
        "image_uri": image.image_uri,
        "crop": image.crop,
        "external_id": image.external_id,
        "attributes": image.attributes,
        "source": image.source,
        "listed_size_bytes": image.size_bytes,
        "listed_modified_at": image.modified_us,
    }


def facts_row(facts: Facts) -> Row:
    """The columns of ``journal`` and ``images`` that say what reading an image told."""
    row: Row = {
        "content_sha256": facts.content_sha256,
        "size_bytes": facts.size_bytes,
        "modified_at": facts.modified_us,
    }
    if (info := facts.info) is not None:
        row["media_type"], row["exif_orientation"] = info.media_type, info.exif_orientation
        row["width"], row["height"] = info.width, info.height
    return row


def _result_row(result: ImageResult) -> Row:
    row = _image_row(result.image)
    row |= facts_row(result.facts)
    row |= {
        "model_version_id": result.model_version_id,
        "task_id": result.task_id,
        "attempts": result.attempts,
        "calls": result.calls,
        "generation": result.generation,
        "model_kind": result.model.kind.value,
        "model_id": result.model.id,
        "status": result.status.value,
        "outputs": result.outputs,
        "queue_ms": result.timings.queue_ms,
        "submit_ms": result.timings.submit_ms,
        "wait_ms": result.timings.wait_ms,
        "recorded_at": result.finished_us,
    }
    if (failure := result.failure) is not None:
        row["stage"], row["error_code"] = failure.stage.value, failure.code.value
        row["error_message"], row["retryable"] = failure.message, failure.retryable
        row["http_status"] = failure.http_status
    return row
