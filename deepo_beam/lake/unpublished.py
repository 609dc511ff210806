"""Labels that are the only outcome of their image, as rows of the journal: nearly all that a publish adds. Pure.

A row that goes by Arrow columns from its segment to its tables costs a third of one that is a record, a state and a
result on the way. All other outcomes go by :mod:`deepo_beam.lake.merge`, which would say the same of these.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from deepo_beam.lake.settled import FINISHED, is_labelled
from deepo_beam.types import ModelKind

OUTCOME_KEYS = ("kind", "image_id")  # what tells whose outcomes a segment has
# What the tables say of a labelled image; ``kind`` and ``error_code`` tell that it is one.
ROW_COLUMNS = (
    *("kind", "image_id", "image_uri", "crop", "external_id", "model_kind", "model_id", "model_version_id"),
    *("attributes", "status", "content_sha256", "size_bytes", "modified_at", "media_type", "width", "height"),
    *("exif_orientation", "outputs", "task_id", "attempts", "calls", "error_code"),
    *("queue_ms", "submit_ms", "wait_ms", "recorded_at"),
)
_MODEL_KINDS = pa.array([kind.value for kind in ModelKind])
_NEEDED = ("image_uri", "model_id")
_HEADER = ("media_type", "width", "height")


def split_outcomes(covered: Sequence[pa.Table], uncovered: Sequence[pa.Table]) -> tuple[pa.Table, pa.ChunkedArray]:
    """Part the outcomes that a publish adds.

    Args:
        covered: the columns :data:`OUTCOME_KEYS` of the segments that publishes before it cover.
        uncovered: the columns :data:`ROW_COLUMNS` of those that it covers, of one at least.

    Returns:
        The rows that are the only outcome of their image, and no failure; the ids of all other images with an outcome
        that is not covered.
    """
    outcomes = _outcomes(pa.concat_tables(uncovered))
    ids = outcomes["image_id"]
    wrong = _flaws(outcomes)
    if covered and len(earlier := _outcomes(pa.concat_tables(covered))):
        wrong.append(pc.is_in(ids, earlier["image_id"]))
    counts = pc.value_counts(ids)
    if len(counts) < len(ids):
        wrong.append(pc.is_in(ids, counts.field("values").filter(pc.greater(counts.field("counts"), 1))))
    plain = is_labelled(outcomes)
    for flaw in wrong:
        plain = pc.and_not(plain, flaw)
    if pc.all(plain).as_py():  # nearly always, and a copy of all columns costs as much as all before
        return outcomes, ids[:0]
    return outcomes.filter(plain), ids.filter(pc.invert(plain))


def _outcomes(columns: pa.Table) -> pa.Table:
    return columns.filter(pc.equal(columns["kind"], FINISHED))


def _flaws(outcomes: pa.Table) -> list[pa.ChunkedArray]:
    """Which rows are damaged or of failures, by kinds; kinds of which there are none are left out."""
    missing = [pc.is_null(outcomes[name]) for name in _NEEDED if outcomes[name].null_count]
    told = outcomes["error_code"]
    failed = [pc.is_valid(told)] if told.null_count < len(told) else []
    nulls = {outcomes[name].null_count for name in _HEADER}
    if nulls not in ({0}, {len(told)}):  # of an image all of it is known, or none
        missing += [pc.xor(pc.is_null(outcomes[_HEADER[0]]), pc.is_null(outcomes[name])) for name in _HEADER[1:]]
    return [*missing, *failed, pc.invert(pc.is_in(outcomes["model_kind"], _MODEL_KINDS))]
