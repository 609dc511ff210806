"""From rows of the journal to the tables ``labels`` and ``images``, without a result in Python between them. Pure."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from deepo_beam.lake.answers import predictions_table
from deepo_beam.lake.schemas import IMAGES, LABELS

_COUNTS = ("attempts", "calls", "queue_ms", "submit_ms", "wait_ms")  # 0 where a segment has none


class RowTables(NamedTuple):
    """Rows of the tables of these names, in no order."""

    labels: pa.Table
    images: pa.Table


def tables_of_rows(rows: pa.Table) -> RowTables:
    """What :func:`deepo_beam.lake.tables.labels_table` and ``images_table`` make of the results in these rows.

    Args:
        rows: of labelled images, in the columns :data:`deepo_beam.lake.unpublished.ROW_COLUMNS`.

    Raises:
        ValueError: the outputs of one are no outputs.
    """
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    columns["attributes"] = columns["attributes"].fill_null(pa.scalar([], IMAGES.field("attributes").type))
    columns |= {name: columns[name].fill_null(0) for name in _COUNTS}
    predictions = predictions_table(columns["outputs"].to_pylist())
    images = columns | _summary_columns(predictions, rows.num_rows) | {"finished_at": columns["recorded_at"]}
    images["http_status"] = pa.nulls(rows.num_rows, IMAGES.field("http_status").type)
    whose = predictions["image"]
    labels = {name: columns[name].take(whose) for name in LABELS.names if name in columns}
    labels |= {name: predictions[name] for name in LABELS.names if name in predictions.column_names}
    labels["predicted_at"] = columns["recorded_at"].take(whose)
    return RowTables(_table(LABELS, labels), _table(IMAGES, images))


def _table(schema: pa.Schema, columns: dict[str, pa.Array]) -> pa.Table:
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _summary_columns(predictions: pa.Table, images: int) -> dict[str, pa.Array]:
    """``n_predictions``, ``top_label`` and ``top_score`` of so many images: of equal scores the first is the top."""
    predicted = predictions.filter(predictions["is_predicted"])
    by_image = predicted.group_by("image", use_threads=False).aggregate([("score", "max"), ("score", "count")])
    place = pc.index_in(predicted["image"], by_image["image"])
    is_top = pc.equal(predicted["score"], by_image["score_max"].take(place))
    tops = predicted.select(["image", "label_name", "score"]).filter(is_top)
    every = pa.array(range(images), tops["image"].type)
    top = pc.index_in(every, tops["image"])  # the first of them
    counts = by_image["score_count"].take(pc.index_in(every, by_image["image"]))
    return {
        "n_predictions": pc.fill_null(counts, 0),
        "top_label": tops["label_name"].take(top),
        "top_score": tops["score"].take(top),
    }
