"""From a result to rows: one for each label."""

from __future__ import annotations

import json
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from deepo_beam.text import clean_text
from deepo_beam.types import ImageResult

_LABEL = itemgetter("label_id", "label_name", "score", "threshold")
_BOX = itemgetter("xmin", "ymin", "xmax", "ymax")
_NO_BOX = (None,) * 4


class LabelRow(NamedTuple):
    """A row of ``labels``: the columns of :data:`deepo_beam.lake.schemas.LABELS`, in its order.

    Plain Python values, hashable: ``attributes`` are (name, text) pairs, which Arrow takes as a map and
    ``dict`` for Beam; the time is an integer, which Arrow takes as a timestamp and Beam as
    ``Timestamp(micros=...)``.
    """

    image_id: str
    image_uri: str
    crop: str | None
    external_id: str | None
    model_kind: str
    model_id: str
    model_version_id: int | None
    attributes: tuple[tuple[str, str], ...]
    output_index: int
    prediction_index: int
    label_id: int
    label_name: str
    score: float
    threshold: float
    is_predicted: bool
    region_id: int | None
    bbox_xmin: float | None
    bbox_ymin: float | None
    bbox_xmax: float | None
    bbox_ymax: float | None
    predicted_us: int


def flatten_predictions(result: ImageResult) -> list[LabelRow]:
    """The labels of a result, one row each: by output, in it predicted before discarded, each as answered.

    ``outputs`` of the result are those of the Deepomatic API v0.7, "Inference output", validated before: a
    list of ``{"labels": {"predicted": [...], "discarded": [...]}}``.

    Args:
        result: of any status; one without outputs (failed) gives no rows.

    Returns:
        Rows in which ``prediction_index`` counts from 0 in each output, over both lists. Scores, thresholds
        and box edges are 0 to 1; region and box are None where the output has no regions.
    """
    image, model = result.image, result.model
    identity = (
        image.image_id,
        image.image_uri,
        image.crop,
        image.external_id,
        model.kind.value,
        model.id,
        result.model_version_id,
        image.attributes,
    )
    return [
        _row(identity, output_index, prediction_index, is_predicted, prediction, result.finished_us)
        for output_index, prediction_index, is_predicted, prediction in predictions(result)
    ]


def predictions(result: ImageResult) -> Iterator[tuple[int, int, bool, dict[str, Any]]]:
    """Each prediction as answered, after its output_index, prediction_index and is_predicted."""
    outputs = json.loads(result.outputs) if result.outputs else []
    for output_index, output in enumerate(outputs):
        labels = output["labels"]
        predicted = labels["predicted"]
        count = len(predicted)
        for prediction_index, prediction in enumerate(predicted + labels.get("discarded", [])):
            yield output_index, prediction_index, prediction_index < count, prediction


def _row(
    identity: tuple[Any, ...],
    output_index: int,
    prediction_index: int,
    is_predicted: bool,
    prediction: dict[str, Any],
    predicted_us: int,
) -> LabelRow:
    label_id, name, score, threshold = _LABEL(prediction)
    # A JSON escape may hide a lone surrogate until it is loaded.
    label = (output_index, prediction_index, label_id, clean_text(name), score, threshold, is_predicted)
    roi = prediction.get("roi") or {}  # a service may name a region and no box, or the other way round
    region = (roi.get("region_id"), *(_BOX(roi["bbox"]) if roi.get("bbox") else _NO_BOX))
    return LabelRow._make((*identity, *label, *region, predicted_us))
