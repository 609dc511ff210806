"""Results are checked and cleaned once; what passes can go into any table."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.api import BBox, Output, OutputSpec, Prediction, clean_outputs, encode_outputs, parse_outputs
from deepo_beam.errors import BadResultError

PREDICTION = {"label_id": 1, "label_name": "cat", "score": 0.9, "threshold": 0.5}
BOX = {"xmin": 0.1, "ymin": 0.2, "xmax": 0.3, "ymax": 0.4}
DETECTION = OutputSpec("BBOX", False, ())
TAGGING = OutputSpec("NONE", False, ())


def outputs_of(**changes: Any) -> list[Any]:
    return [{"labels": {"predicted": [PREDICTION | changes], "discarded": []}}]


def only(raw: list[Any]) -> Prediction:
    return clean_outputs(raw)[0].predicted[0]


def test_a_result_of_the_documented_shape_is_read_whole() -> None:
    raw = [
        {
            "labels": {
                "predicted": [PREDICTION | {"roi": {"region_id": 7, "bbox": BOX}}],
                "discarded": [PREDICTION | {"score": 0.1}],
            }
        }
    ]
    assert clean_outputs(raw) == (
        Output(
            predicted=(Prediction(1, "cat", 0.9, 0.5, 7, BBox(0.1, 0.2, 0.3, 0.4)),),
            discarded=(Prediction(1, "cat", 0.1, 0.5),),
        ),
    )


def test_integers_that_stand_for_floats_become_floats() -> None:
    prediction = only(outputs_of(score=1, threshold=0))
    assert (prediction.score, prediction.threshold) == (1.0, 0.0)
    assert isinstance(prediction.score, float)
    assert isinstance(prediction.threshold, float)


def test_unknown_fields_are_ignored_everywhere() -> None:
    raw = outputs_of(new=1, roi={"bbox": BOX | {"angle": 3}, "mask": []})
    raw[0]["labels"]["new"] = raw[0]["new"] = {}
    assert clean_outputs(raw)[0].predicted[0].bbox == BBox(0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize("discarded", [{}, {"discarded": None}, {"discarded": []}])
def test_discarded_that_is_missing_or_null_is_empty(discarded: dict[str, Any]) -> None:
    assert clean_outputs([{"labels": {"predicted": [], **discarded}}]) == (Output((), ()),)


@pytest.mark.parametrize(
    "score",
    [math.nan, math.inf, -math.inf, 1.5, -0.01, 1.00001, 10**400, -(10**400), True, False, None, "0.5", []],
)
def test_a_score_that_is_no_number_within_0_and_1_fails_the_image(score: Any) -> None:
    with pytest.raises(BadResultError, match=r"outputs\[0\]\.labels\.predicted\[0\]: score is "):
        clean_outputs(outputs_of(score=score))


@pytest.mark.parametrize("score", [1.0 + 1.2e-7, -1e-9])
def test_a_score_that_rounding_carried_out_of_range_is_clamped(score: float) -> None:
    assert only(outputs_of(score=score)).score in (0.0, 1.0)


@pytest.mark.parametrize("threshold", [math.nan, math.inf, 10**400, True, None, "x"])
def test_a_threshold_that_is_no_finite_number_fails_the_image(threshold: Any) -> None:
    with pytest.raises(BadResultError, match="threshold is "):
        clean_outputs(outputs_of(threshold=threshold))


@pytest.mark.parametrize("label_id", [1.0, "1", True, None, 2**63, -(2**63) - 1])
def test_a_label_id_that_is_no_integer_of_64_bits_fails_the_image(label_id: Any) -> None:
    with pytest.raises(BadResultError, match="label_id is "):
        clean_outputs(outputs_of(label_id=label_id))


@pytest.mark.parametrize("roi", [None, {}, {"region_id": 1}, {"bbox": None}])
def test_a_prediction_without_a_box_fails_a_detection_and_nothing_else(roi: Any) -> None:
    raw = outputs_of(roi=roi)
    assert clean_outputs(raw, [TAGGING]) == clean_outputs(raw)
    with pytest.raises(BadResultError, match=r"no roi\.bbox, but its output is a detection"):
        clean_outputs(raw, [DETECTION])


@pytest.mark.parametrize(
    "change",
    [{"xmin": math.nan}, {"ymax": math.inf}, {"xmax": 1.01}, {"ymin": -0.002}, {"xmin": None}, {"ymin": "0"}],
)
def test_a_box_with_a_number_outside_0_and_1_fails_the_image(change: dict[str, Any]) -> None:
    with pytest.raises(BadResultError, match=rf"roi\.bbox\.{next(iter(change))} is "):
        clean_outputs(outputs_of(roi={"bbox": BOX | change}))


@pytest.mark.parametrize("roi", [[], "x", 3, {"bbox": []}, {"bbox": "x"}, {"region_id": "7"}])
def test_a_roi_of_another_shape_fails_the_image(roi: Any) -> None:
    with pytest.raises(BadResultError, match="roi"):
        clean_outputs(outputs_of(roi=roi))


def test_a_box_that_rounding_carried_out_of_the_image_is_clamped() -> None:
    box = only(outputs_of(roi={"bbox": {"xmin": -0.0009, "ymin": 0, "xmax": 1.0009, "ymax": 1}})).bbox
    assert box == BBox(0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("change", [{"xmin": 0.31}, {"ymax": 0.1}])
def test_a_box_that_is_inside_out_fails_the_image(change: dict[str, float]) -> None:
    with pytest.raises(BadResultError, match="inside out"):
        clean_outputs(outputs_of(roi={"bbox": BOX | change}))


@pytest.mark.parametrize(
    "raw", [None, {}, [], [None], [{}], [{"labels": []}], [{"labels": {}}], [{"labels": {"predicted": [3]}}]]
)
def test_a_result_of_another_shape_fails_the_image(raw: Any) -> None:
    with pytest.raises(BadResultError, match="outputs"):
        clean_outputs(raw)


def test_a_result_with_another_number_of_outputs_than_the_specification_fails_the_image() -> None:
    with pytest.raises(BadResultError, match="outputs has 1 entries, the specification has 2"):
        clean_outputs(outputs_of(), [TAGGING, TAGGING])


def test_the_message_names_the_prediction_that_is_wrong() -> None:
    raw = [{"labels": {"predicted": [], "discarded": [PREDICTION, PREDICTION | {"label_name": None}]}}]
    with pytest.raises(BadResultError, match=r"^outputs\[0\]\.labels\.discarded\[1\]: label_name is null"):
        clean_outputs(raw)


def test_lone_surrogates_in_names_become_replacement_characters() -> None:
    raw = json.loads(
        '[{"labels":{"predicted":[{"label_id":1,"label_name":"a\\ud800b\\ud83d\\ude00","score":1,"threshold":0}]}}]'
    )
    assert only(raw).label_name == "a\ufffdb\U0001f600"


@pytest.mark.parametrize(("character", "kept"), [("a", 1024), ("é", 512), ("€", 341), ("\U0001f600", 256)])
def test_names_are_cut_to_1_kb_between_two_characters(character: str, kept: int) -> None:
    assert only(outputs_of(label_name=character * 1_000_000)).label_name == character * kept


unit = st.floats(0.0, 1.0, allow_subnormal=False)
int64 = st.integers(-(2**63), 2**63 - 1)
boxes = st.builds(lambda x, y: BBox(min(x), min(y), max(x), max(y)), st.tuples(unit, unit), st.tuples(unit, unit))
predictions = st.builds(
    Prediction,
    label_id=int64,
    label_name=st.text(max_size=20),
    score=unit,
    threshold=st.floats(-1e6, 1e6),
    region_id=st.none() | int64,
    bbox=st.none() | boxes,
)
predicted = st.lists(predictions, max_size=3).map(tuple)
outputs = st.lists(st.builds(Output, predicted, predicted), min_size=1, max_size=3).map(tuple)


@given(outputs)
def test_outputs_survive_the_way_to_text_and_back(value: tuple[Output, ...]) -> None:
    text = encode_outputs(value)
    assert parse_outputs(text) == value
    assert text.isascii()
    assert encode_outputs(parse_outputs(text)) == text


def test_the_text_is_in_the_shape_of_the_api() -> None:
    value = clean_outputs(outputs_of(roi={"region_id": 7, "bbox": BOX}))
    assert json.loads(encode_outputs(value)) == outputs_of(roi={"region_id": 7, "bbox": BOX})


@pytest.mark.parametrize("text", ["", "{", "null", "[" * 100_000, "[]", '{"outputs":[]}'])
def test_text_that_is_no_outputs_is_refused(text: str) -> None:
    with pytest.raises(BadResultError, match="outputs"):
        parse_outputs(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_whatever_replaces_a_part_of_a_result_it_is_read_or_refused(data: st.DataObject) -> None:
    raw = copy.deepcopy(outputs_of(roi={"region_id": 7, "bbox": dict(BOX)}))
    node: Any = raw
    for _ in range(data.draw(st.integers(0, 5))):
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], (dict, list)) or not node[key]:
            break
        node = node[key]
    key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
    node[key] = data.draw(json_values)
    try:
        cleaned = clean_outputs(raw, [DETECTION])
    except BadResultError as error:
        assert len(str(error)) < 300  # noqa: PT017 - either way is right, and each has its promise
    else:
        assert parse_outputs(encode_outputs(cleaned)) == cleaned
