"""Images about which nothing is open, found in the columns of their records: nearly all of a large output.

Pure. A million records as Python objects take half a minute, and for an image that is labelled and published
nearly all of it is thrown away; here it costs a few microseconds. All other images are for
:mod:`deepo_beam.lake.merge`, which would say the same of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from deepo_beam.lake.segment import Segment
from deepo_beam.records import Finished, Noted
from deepo_beam.types import Status

_KEYS = ("kind", "image_id", "generation", "status", "recorded_at")
_LABELLED = pa.array([Status.SUCCEEDED.value, Status.NO_DETECTION.value])
_CALLS = pa.array(["claimed", "released", "accepted"])  # of no interest, once there is an outcome
_OUTCOME = (
    "kind",
    "image_id",
    "generation",
    "recorded_at",
    "model_version_id",
    "content_sha256",
    "listed_size_bytes",
    "size_bytes",
    "listed_modified_at",
)


class Settled(NamedTuple):
    """An outcome in brief: what a plan needs to know of it.

    Attributes:
        generation: of the labelling.
        finished_us: microseconds since 1970 UTC.
        model_version_id: the version that answered; None if it was not pinned.
        content_sha256: of the bytes as read; None if they were not.
        size_bytes: as listed, else as read; None if neither is known.
        modified_us: as listed, microseconds since 1970 UTC.
        noted: listings under which its bytes were found to be these.
    """

    generation: int
    finished_us: int
    model_version_id: int | None
    content_sha256: str | None
    size_bytes: int | None
    modified_us: int | None
    noted: tuple[Noted, ...] = ()


def in_brief(finished: Finished, noted: tuple[Noted, ...] = ()) -> Settled:
    """An outcome in brief."""
    result = finished.result
    listed = result.image.size_bytes
    return Settled(
        generation=result.generation,
        finished_us=result.finished_us,
        model_version_id=result.model_version_id,
        content_sha256=result.facts.content_sha256,
        size_bytes=result.facts.size_bytes if listed is None else listed,
        modified_us=result.image.modified_us,
        noted=noted,
    )


def keys_of(segment: Segment, *, is_covered: bool) -> pa.Table:
    """Each record's image and generation, whether it leaves anything open, and whether it says what the labels are.

    Args:
        segment: of a journal.
        is_covered: a complete publish covers it.

    Raises:
        ValueError: it is damaged.
    """
    columns = segment.columns(_KEYS)
    labelled = pc.and_(pc.is_in(columns["status"], _LABELLED), pc.is_valid(columns["recorded_at"]))
    plain = pc.or_(labelled, pc.is_in(columns["kind"], _CALLS)) if is_covered else pa.repeat(False, columns.num_rows)
    return pa.table(
        {
            "image_id": columns["image_id"],
            "generation": columns["generation"],
            "plain": plain,
            "labelled": labelled.cast(pa.int32()),
        }
    )


def settled_ids(keys: Sequence[pa.Table]) -> pa.ChunkedArray:
    """The images whose records are all covered, of one generation, and hold one outcome, which is no failure.

    Images with notes are left out.

    Args:
        keys: from :func:`keys_of`, of all segments of a bucket, of one at least.
    """
    images = (
        pa.concat_tables(keys)
        .group_by("image_id")
        .aggregate([("plain", "min"), ("labelled", "sum"), ("generation", "min"), ("generation", "max")])
    )
    is_settled = pc.and_(
        pc.and_(images["plain_min"], pc.equal(images["labelled_sum"], 1)),
        pc.equal(images["generation_min"], images["generation_max"]),
    )
    return images["image_id"].filter(is_settled)


def outcome_rows(segment: Segment, names: Sequence[str], ids: pa.ChunkedArray) -> pa.Table:
    """Some columns of the outcomes of the images ``ids``, ``kind`` and ``image_id`` among them.

    Raises:
        ValueError: the segment is damaged.
    """
    columns = segment.columns(names)
    return columns.filter(pc.and_(pc.equal(columns["kind"], "finished"), pc.is_in(columns["image_id"], ids)))


def outcomes_of(segment: Segment, ids: pa.ChunkedArray) -> dict[str, Settled]:
    """Image id to outcome, of those images ``ids`` whose outcome is in this segment.

    Raises:
        ValueError: it is damaged.
    """
    if not segment.has_outcomes:
        return {}
    columns = outcome_rows(segment, _OUTCOME, ids)
    values = [
        columns["image_id"],
        columns["generation"],
        columns["recorded_at"].cast(pa.int64()),
        columns["model_version_id"],
        columns["content_sha256"],
        pc.coalesce(columns["listed_size_bytes"], columns["size_bytes"]),
        columns["listed_modified_at"].cast(pa.int64()),
    ]
    image_ids, *outcomes = (column.to_pylist() for column in values)
    return dict(zip(image_ids, starmap(Settled, zip(*outcomes, strict=True)), strict=True))
