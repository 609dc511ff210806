"""The result of a task (``data.outputs``), checked and cleaned once, and its canonical JSON.

What leaves here can go into any table: finite numbers within their ranges, ids of 64 bits, text without lone
surrogates. Extra fields are ignored; anything less than the API promises fails the image.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from deepo_beam.api.text import clean_name, shown
from deepo_beam.api.values import BBox, Output, OutputSpec, Prediction
from deepo_beam.errors import BadResultError

# How far rounding may carry a number out of 0..1. Scores are often 32-bit floats printed as 64-bit ones;
# boxes are pixels divided by a size, and a label is worth more than a thousandth of an edge.
SCORE_TOLERANCE = 1e-6
BOX_TOLERANCE = 1e-3

_INT64 = 2**63
# Made once: json.dumps makes one for each text, which takes as long as the rest. Nothing in it can be circular.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
_FLOAT32_MAX = 3.4028234e38  # what the tables can hold


def clean_outputs(raw: object, expected: Sequence[OutputSpec] | None = None) -> tuple[Output, ...]:
    """Checked outputs of ``data.outputs`` as parsed from JSON (Deepomatic API v0.7, inference output).

    Args:
        raw: what stands under ``outputs``.
        expected: the outputs of the specification; None leaves their number and their boxes unchecked.

    Returns:
        One output for each, in order. Integers that stand for floats are floats; scores and boxes that
        rounding carried out of 0..1 are clamped (scores by up to 1e-6, boxes by up to 1e-3); ``discarded`` is
        empty where it is missing or null; names are cut to 1,024 bytes.

    Raises:
        BadResultError: names the place and what is wrong with it.
    """
    if not isinstance(raw, list) or not raw:
        raise BadResultError(f"outputs is {shown(raw)}, expected an array of at least one output")
    if expected is not None and len(raw) != len(expected):
        raise BadResultError(f"outputs has {len(raw)} entries, the specification has {len(expected)}")
    return tuple(
        _output(f"outputs[{index}]", item, expected is not None and expected[index].roi == "BBOX")
        for index, item in enumerate(raw)
    )


def encode_outputs(outputs: Sequence[Output]) -> str:
    """Outputs as compact ASCII JSON in the API's own shape; equal outputs give equal text."""
    return _encode(
        [
            {
                "labels": {
                    "discarded": [_prediction_json(p) for p in output.discarded],
                    "predicted": [_prediction_json(p) for p in output.predicted],
                }
            }
            for output in outputs
        ]
    )


def parse_outputs(text: str) -> tuple[Output, ...]:
    """The inverse of `encode_outputs`; takes any ``data.outputs`` that `clean_outputs` takes.

    Raises:
        BadResultError: the text is not JSON, or not outputs.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raw = None
    if raw is None:
        raise BadResultError(f"outputs are not JSON: {shown(text)}")
    return clean_outputs(raw)


def _output(where: str, raw: object, needs_box: bool) -> Output:
    labels = raw.get("labels") if isinstance(raw, dict) else None
    if not isinstance(labels, dict):
        raise BadResultError(f"{where}.labels is {shown(labels)}, expected an object")
    discarded = labels.get("discarded")
    return Output(
        predicted=_predictions(f"{where}.labels.predicted", labels.get("predicted"), needs_box),
        discarded=() if discarded is None else _predictions(f"{where}.labels.discarded", discarded, needs_box),
    )


def _predictions(where: str, raw: object, needs_box: bool) -> tuple[Prediction, ...]:
    if not isinstance(raw, list):
        raise BadResultError(f"{where} is {shown(raw)}, expected an array")
    cleaned = []
    flaw = None
    try:
        for item in raw:
            cleaned.append(_prediction(item, needs_box))  # noqa: PERF401 - a failure needs its position
    except BadResultError as error:
        flaw = str(error)
    if flaw:
        raise BadResultError(f"{where}[{len(cleaned)}]: {flaw}")
    return tuple(cleaned)


def _prediction(raw: object, needs_box: bool) -> Prediction:
    if not isinstance(raw, dict):
        raise BadResultError(f"it is {shown(raw)}, expected an object")
    name = raw.get("label_name")
    if not isinstance(name, str):
        raise BadResultError(f"label_name is {shown(name)}, expected text")
    roi = raw.get("roi")
    region_id = bbox = None
    if isinstance(roi, dict):
        region_id = None if roi.get("region_id") is None else _integer("roi.region_id", roi["region_id"])
        bbox = None if roi.get("bbox") is None else _box(roi["bbox"])
    elif roi is not None:
        raise BadResultError(f"roi is {shown(roi)}, expected an object")
    if needs_box and bbox is None:
        raise BadResultError("it has no roi.bbox, but its output is a detection (roi BBOX)")
    return Prediction(
        label_id=_integer("label_id", raw.get("label_id")),
        label_name=clean_name(name),
        score=_unit("score", raw.get("score"), SCORE_TOLERANCE),
        threshold=_number("threshold", raw.get("threshold"), -_FLOAT32_MAX, _FLOAT32_MAX),
        region_id=region_id,
        bbox=bbox,
    )


def _box(raw: object) -> BBox:
    if not isinstance(raw, dict):
        raise BadResultError(f"roi.bbox is {shown(raw)}, expected an object")
    xmin, ymin, xmax, ymax = (
        _unit(f"roi.bbox.{name}", raw.get(name), BOX_TOLERANCE) for name in ("xmin", "ymin", "xmax", "ymax")
    )
    if xmin > xmax or ymin > ymax:
        raise BadResultError(f"roi.bbox is inside out: x {xmin}..{xmax}, y {ymin}..{ymax}")
    return BBox(xmin, ymin, xmax, ymax)


def _unit(name: str, value: object, tolerance: float) -> float:
    return min(max(0.0, _number(name, value, -tolerance, 1.0 + tolerance)), 1.0)


def _number(name: str, value: object, low: float, high: float) -> float:
    # bool is an int in Python, not in JSON; the comparison also refuses NaN, and integers of any size.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadResultError(f"{name} is {shown(value)}, expected a number")
    if not low <= value <= high:
        bounds = "finite" if high == _FLOAT32_MAX else "within 0..1"
        raise BadResultError(f"{name} is {shown(value)}, expected it to be {bounds}")
    return float(value)


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT64 <= value < _INT64:
        raise BadResultError(f"{name} is {shown(value)}, expected an integer of 64 bits")
    return value


def _prediction_json(prediction: Prediction) -> dict[str, object]:
    encoded: dict[str, object] = {"label_id": prediction.label_id, "label_name": prediction.label_name}
    roi: dict[str, object] = {}
    if prediction.bbox is not None:
        box = prediction.bbox
        roi["bbox"] = {"xmin": box.xmin, "ymin": box.ymin, "xmax": box.xmax, "ymax": box.ymax}
    if prediction.region_id is not None:
        roi["region_id"] = prediction.region_id
    if roi:
        encoded["roi"] = roi
    return encoded | {"score": prediction.score, "threshold": prediction.threshold}
