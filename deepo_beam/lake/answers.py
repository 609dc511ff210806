"""The outputs of thousands of images as columns, one row for each prediction. Pure.

Parsed by Arrow: as Python objects they cost more than twice as much, with boxes four times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from deepo_beam.text import clean_text

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_BOX = pa.struct([(edge, pa.float64()) for edge in _EDGES])
_ROI = pa.struct([("region_id", pa.int64()), ("bbox", _BOX)])
_PREDICTION = pa.struct(
    [
        ("label_id", pa.int64()),
        ("label_name", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("roi", _ROI),
    ]
)
_LABELS = pa.struct([("predicted", pa.list_(_PREDICTION)), ("discarded", pa.list_(_PREDICTION))])
_ANSWER = pa.schema([("outputs", pa.list_(pa.struct([("labels", _LABELS)])))])


def predictions_table(outputs: Sequence[str | None]) -> pa.Table:
    """The predictions of many answers, as :func:`deepo_beam.lake.flatten.flatten_predictions` has them.

    Args:
        outputs: of each image, those of the Deepomatic API v0.7 as validated before; None for none.

    Returns:
        Columns ``image`` (place in ``outputs``), ``output_index``, ``prediction_index``, ``label_id``, ``label_name``,
        ``score``, ``threshold``, ``is_predicted``, ``region_id``, ``bbox_xmin``, ``bbox_ymin``, ``bbox_xmax``,
        ``bbox_ymax``; numbers with 64 bits. All that are predicted come first; they, and the discarded ones, are in the
        order of the answers.

    Raises:
        ValueError: one is not such outputs.
    """
    answers = _parse(outputs).column("outputs").combine_chunks()
    images, output_indices = _places(answers)
    answered = answers.flatten()
    predicted = pc.struct_field(answered, ["labels", "predicted"])
    discarded = pc.struct_field(answered, ["labels", "discarded"])
    first = pa.nulls(len(answered), pa.int64()).fill_null(0)
    after_predicted = pc.fill_null(pc.list_value_length(predicted), 0).cast(pa.int64())
    return pa.concat_tables(
        [
            _flat(predicted, images, output_indices, first, is_predicted=True),
            _flat(discarded, images, output_indices, after_predicted, is_predicted=False),
        ]
    )


def _parse(outputs: Sequence[str | None]) -> pa.Table:
    texts = [text or "[]" for text in outputs]
    try:
        return _read(texts)
    except pa.ArrowInvalid:  # an escaped lone surrogate, which Python takes
        return _read(clean_text(json.dumps(json.loads(text), ensure_ascii=False)) for text in texts)


def _read(texts: Iterable[str]) -> pa.Table:
    data = "".join(f'{{"outputs":{text}}}\n' for text in texts).encode()
    if not data:
        return _ANSWER.empty_table()
    return pj.read_json(
        pa.BufferReader(data),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(data)),
        parse_options=pj.ParseOptions(explicit_schema=_ANSWER, unexpected_field_behavior="ignore"),
    )


def _places(lists: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """Of each value in these lists: in which list it is, and where in it."""
    parents = pc.list_parent_indices(lists)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64())
    starts = pc.subtract(pc.cumulative_sum(lengths), lengths)
    return parents, pc.subtract(pa.array(range(len(parents)), pa.int64()), starts.take(parents))


def _flat(
    lists: pa.ListArray, images: pa.Array, output_indices: pa.Array, first: pa.Array, *, is_predicted: bool
) -> pa.Table:
    parents, places = _places(lists)
    values = pc.list_flatten(lists)
    columns = {
        "image": images.take(parents),
        "output_index": output_indices.take(parents),
        "prediction_index": pc.add(places, first.take(parents)),
        **{name: pc.struct_field(values, [name]) for name in ("label_id", "label_name", "score", "threshold")},
        "is_predicted": pa.repeat(is_predicted, len(values)),
        "region_id": pc.struct_field(values, ["roi", "region_id"]),
        **{f"bbox_{edge}": pc.struct_field(values, ["roi", "bbox", edge]) for edge in _EDGES},
    }
    return pa.table(columns)
