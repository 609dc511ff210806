import hashlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.emulator import echo_boxes_predictions, echo_classification, echo_predictions

RULES = [echo_predictions, echo_boxes_predictions, echo_classification]
BBOX = {"bbox": {"xmin": 0.1, "ymin": 0.2, "xmax": 0.5, "ymax": 0.6}}


def all_of(output):
    return output["labels"]["predicted"] + output["labels"]["discarded"]


def test_the_rule_is_frozen_so_that_old_tables_stay_checkable():
    answers = json.dumps(
        [rule(b"image %d" % i, crop) for rule in RULES for i in range(50) for crop in (None, BBOX)],
        sort_keys=True,
    )
    assert (
        hashlib.sha256(answers.encode()).hexdigest()
        == "555e0ef9a94b6deba894ad53bc222db83f80120faaa51d00fad0bb512c5b6df7"
    )


def test_the_rule_of_the_docstring_worked_out_by_hand():
    k = hashlib.sha256(hashlib.sha256(b"photo").digest()).digest()
    count = 0 if k[0] < 16 else 1 + k[0] % 5
    steps = [1 + (k[2] + i * (1 + k[3] % 22)) % 23 for i in range(9)]
    predicted = echo_predictions(b"photo")["labels"]["predicted"]
    assert [p["label_id"] for p in predicted] == steps[:count]
    assert [p["score"] for p in predicted] == [(1024 - 80 * i - k[8 + i] % 80) / 1024 for i in range(count)]
    discarded = echo_predictions(b"photo")["labels"]["discarded"]
    assert [p["label_id"] for p in discarded] == steps[count : count + k[1] % 4]
    assert [p["score"] for p in discarded] == [(239 - 80 * j - k[13 + j] % 80) / 1024 for j in range(k[1] % 4)]


@given(st.binary(max_size=64), st.sampled_from(RULES), st.sampled_from([None, BBOX]))
def test_answers_hold_what_the_api_promises_of_outputs(image, rule, crop):
    output = rule(image, crop)
    for kind, passes in (("predicted", True), ("discarded", False)):
        predictions = output["labels"][kind]
        scores = [p["score"] for p in predictions]
        assert scores == sorted(scores, reverse=True)
        for p in predictions:
            assert 0 <= p["score"] <= 1
            assert (p["score"] >= p["threshold"]) is passes
            assert type(p["score"]) is type(p["threshold"]) is float
    assert len(output["labels"]["predicted"]) <= 5
    assert len({p["label_id"] for p in all_of(output)}) == len(all_of(output))


@given(st.binary(max_size=64), st.sampled_from(RULES))
def test_every_number_is_exact_in_json_and_as_float32(image, rule):
    output = rule(image)
    assert json.loads(json.dumps(output)) == output
    for p in all_of(output):
        for number in (p["score"], p["threshold"], *p.get("roi", {}).get("bbox", {}).values()):
            assert struct.unpack("f", struct.pack("f", number))[0] == number


@given(st.binary(max_size=64))
def test_boxes_are_the_tags_with_a_region_inside_the_image(image):
    output = echo_boxes_predictions(image)
    for number, p in enumerate(all_of(output)):
        roi = p.pop("roi")
        box = roi["bbox"]
        assert roi["region_id"] == number + 1
        assert 0 <= box["xmin"] < box["xmax"] <= 1
        assert 0 <= box["ymin"] < box["ymax"] <= 1
    assert output == echo_predictions(image)


@given(st.binary(max_size=64))
def test_a_classification_predicts_at_most_one_and_its_scores_sum_to_at_most_one(image):
    output = echo_classification(image)
    assert len(output["labels"]["predicted"]) <= 1
    assert sum(p["score"] for p in all_of(output)) <= 1
    assert all("roi" not in p for p in all_of(output))


def test_about_one_image_in_sixteen_has_no_prediction():
    none = sum(not echo_predictions(b"%d" % i)["labels"]["predicted"] for i in range(4000))
    assert 200 <= none <= 300


def test_the_crop_changes_the_answer_and_its_spelling_does_not():
    box = {"xmin": 0, "ymin": -0.0, "xmax": 1, "ymax": 0.5}
    same = {"ymax": 0.5, "xmax": 1.0, "ymin": 0.0, "xmin": 0.0}
    answers = {json.dumps(echo_predictions(b"photo", {"bbox": crop})) for crop in (box, same)}
    assert len(answers) == 1
    assert echo_predictions(b"photo") != echo_predictions(b"photo", {"bbox": box})


@pytest.mark.parametrize(
    ("crop", "said"),
    [
        ({}, "crop: give either bbox or polygon"),
        ({**BBOX, "polygon": []}, "crop: give either bbox or polygon"),
        ({"bbox": {"xmin": 0, "ymin": 0, "xmax": 1}}, "bbox: give an object of xmin"),
        ({"bbox": {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1.01}}, "bbox.ymax: give a number from 0 to 1"),
        ({"bbox": {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": True}}, "bbox.ymax: give a number"),
        ({"bbox": {"xmin": 0.5, "ymin": 0, "xmax": 0.5, "ymax": 1}}, "xmin must be below xmax"),
        ({"bbox": {"xmin": float("nan"), "ymin": 0, "xmax": 0.5, "ymax": 1}}, "bbox.xmin: give a number"),
        ({"polygon": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]}, "polygon: give a list of at least three"),
        ({"polygon": [{"x": 0, "y": 0}, {"x": 1}, {"x": 1, "y": 1}]}, r"polygon\[1\]: give an object"),
        ({"polygon": [{"x": 0, "y": 0}, {"x": 0, "y": 1}, {"x": 0, "y": 0.5}]}, "enclose nothing"),
    ],
)
def test_what_is_no_crop_is_refused_by_the_name_of_the_field(crop, said):
    with pytest.raises(ValueError, match=said):
        echo_predictions(b"photo", crop)
