"""Images about which nothing is open, found in the columns of their records: nearly all of a large output.

Pure. A million records as Python objects take half a minute, and for an image that is labelled and published
nearly all of it is thrown away; here it costs a few microseconds. So does one that was just labelled in the ordinary
way, when it is counted. All other images are for :mod:`deepo_beam.lake.merge`, which would say the same of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from deepo_beam.lake.segment import Segment
from deepo_beam.records import Finished, Noted, Reason
from deepo_beam.types import Status

KEYS = ("kind", "image_id", "generation", "status", "recorded_at")  # what tells that an image is settled
_COUNTED = ("kind", "image_id", "status", "model_version_id", "outputs")
FRESH_KEYS = (*KEYS, "run_id", "reason", "model_version_id", "outputs")  # and what a tally counts of a run's labels
_OPEN, _IN_TABLES, _FRESH = (pa.scalar(number, pa.int8()) for number in range(3))
_FIRST = pa.array([Reason.FIRST.value])
# Scalars of Arrow: for so few rows making them costs as much as comparing with them.
_CLAIMED, _ACCEPTED, FINISHED, _ONE = map(pa.scalar, ("claimed", "accepted", "finished", 1))
_LABELLED = pa.array([Status.SUCCEEDED.value, Status.NO_DETECTION.value])
_CALLS = pa.array(["claimed", "released", "accepted"])  # of no interest, once there is an outcome
# Once in the outputs for each label: counted without parsing, for it only decides how rows are shared out among files.
LABEL_MARK = '"label_id":'
_WHOLE_IMAGE = [
    *(("state", "min"), ("state", "max"), ("labelled", "sum"), ("claim", "sum")),
    *(("generation", "min"), ("generation", "max")),
]
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


class Fresh(NamedTuple):
    """Labels by one run at its first call, which are in no table yet: what a tally needs to know of them.

    Attributes:
        status: ``succeeded`` or ``no_detection``.
        model_version_id: the version that answered; None if it was not pinned.
        labels: rows that they make in ``labels`` (>= 0).
    """

    status: str
    model_version_id: int | None
    labels: int


class Found(NamedTuple):
    """Image ids by what columns alone tell of them.

    Attributes:
        settled: their records are all covered, of one generation, and hold one outcome, which is no failure.
        fresh: their records are not covered, all of the run in question and of one generation; one is a claim for a
            first call, one an outcome that is no failure, and the others say that the call was accepted.
        others: there are images that are neither; those with notes are.
    """

    settled: pa.ChunkedArray
    fresh: pa.ChunkedArray
    others: bool


_NO_IDS = pa.chunked_array([], pa.string())
NONE_FOUND = Found(_NO_IDS, _NO_IDS, others=True)


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


def find_settled(covered: Sequence[pa.Table], uncovered: Sequence[pa.Table], run_id: str | None = None) -> Found:
    """Sort the images of a bucket.

    Args:
        covered: the columns :data:`KEYS` of the segments that complete publishes cover.
        uncovered: those of all others; with a ``run_id`` :data:`FRESH_KEYS`.
        run_id: of the run whose labels are looked for; None: of no run.
    """
    keys = [_keys_in_tables(pa.concat_tables(covered))] if covered else []
    if uncovered:
        keys.append(_fresh_keys(pa.concat_tables(uncovered), run_id))
    if not keys:
        return NONE_FOUND
    images = pa.concat_tables(keys).group_by("image_id", use_threads=False).aggregate(_WHOLE_IMAGE)
    ids = images["image_id"]
    one_outcome = pc.and_(
        pc.equal(images["labelled_sum"], _ONE), pc.equal(images["generation_min"], images["generation_max"])
    )
    settled = fresh = _NO_IDS
    if covered:
        in_tables = pc.and_(pc.equal(images["state_min"], _IN_TABLES), pc.equal(images["state_max"], _IN_TABLES))
        settled = ids.filter(pc.and_(one_outcome, in_tables))
    if run_id is not None:
        called_once = pc.and_(pc.equal(images["state_min"], _FRESH), pc.equal(images["claim_sum"], _ONE))
        fresh = ids.filter(pc.and_(one_outcome, called_once))
    return Found(settled, fresh, others=len(settled) + len(fresh) < len(ids))


def _keys_in_tables(columns: pa.Table) -> pa.Table:
    """Each record's image and generation, and what it says by itself."""
    labelled = is_labelled(columns)
    plain = pc.or_(labelled, pc.is_in(columns["kind"], _CALLS))
    return _keys(columns, pc.if_else(plain, _IN_TABLES, _OPEN), labelled)


def _fresh_keys(columns: pa.Table, run_id: str | None) -> pa.Table:
    labelled = is_labelled(columns)
    if run_id is None:
        return _keys(columns, pa.repeat(_OPEN, columns.num_rows), labelled)
    call = pc.or_(pc.is_in(columns["reason"], _FIRST), pc.equal(columns["kind"], _ACCEPTED))
    plain = pc.and_(pc.or_(labelled, call), pc.equal(columns["run_id"], run_id))
    return _keys(columns, pc.if_else(plain, _FRESH, _OPEN), labelled)


def _keys(columns: pa.Table, state: pa.ChunkedArray, labelled: pa.ChunkedArray) -> pa.Table:
    values = (columns["image_id"], columns["generation"], state, labelled, pc.equal(columns["kind"], _CLAIMED))
    return pa.table(values, names=("image_id", "generation", "state", "labelled", "claim"))


def is_labelled(columns: pa.Table) -> pa.ChunkedArray:
    """Which records say what the labels of their image are, by the columns ``status`` and ``recorded_at``."""
    labelled, times = pc.is_in(columns["status"], _LABELLED), columns["recorded_at"]
    return pc.and_(labelled, pc.is_valid(times)) if times.null_count else labelled


def fresh_of(uncovered: Sequence[pa.Table], ids: pa.ChunkedArray) -> dict[str, Fresh]:
    """Image id to outcome, of the images ``ids`` that were found fresh in these columns :data:`FRESH_KEYS`."""
    if not len(ids):
        return {}
    rows = _outcomes_among(pa.concat_tables(uncovered).select(_COUNTED), ids)
    labels = pc.fill_null(pc.count_substring(rows["outputs"], LABEL_MARK), 0)
    values = [rows["image_id"], rows["status"], rows["model_version_id"], labels]
    image_ids, *outcomes = (column.to_pylist() for column in values)
    return dict(zip(image_ids, map(Fresh, *outcomes), strict=True))


def outcome_rows(segment: Segment, names: Sequence[str], ids: pa.ChunkedArray) -> pa.Table:
    """Some columns of the outcomes of the images ``ids``, ``kind`` and ``image_id`` among them.

    Raises:
        ValueError: the segment is damaged.
    """
    return _outcomes_among(segment.columns(names), ids)


def _outcomes_among(columns: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    return columns.filter(pc.and_(pc.equal(columns["kind"], FINISHED), pc.is_in(columns["image_id"], ids)))


def outcomes_of(segment: Segment, ids: pa.ChunkedArray) -> dict[str, Settled]:
    """Image id to outcome, of those images ``ids`` whose outcome is in this segment.

    Raises:
        ValueError: it is damaged.
    """
    if not len(ids) or not segment.has_outcomes:
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
