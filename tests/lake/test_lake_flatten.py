import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_samples import failure, image, outputs, prediction, success

from deepo_beam.lake.flatten import LabelRow, flatten_predictions
from deepo_beam.lake.schemas import LABELS

scores = st.floats(0, 1)
boxes = st.none() | st.tuples(scores, scores, scores, scores)
some_predictions = st.lists(st.builds(prediction, st.text(max_size=5), scores, boxes), max_size=3)
some_outputs = st.lists(st.tuples(some_predictions, some_predictions), max_size=3)


def test_a_row_has_the_columns_of_the_table_in_their_order() -> None:
    assert list(LabelRow._fields[:-1]) == LABELS.names[:-1]
    assert (LabelRow._fields[-1], LABELS.names[-1]) == ("predicted_us", "predicted_at")


def test_a_row_says_all_that_is_known_of_a_label() -> None:
    box = (0.1, 0.2, 0.3, 0.4)
    result = success(
        image=image(1, crop="{}", external_id="x-1", attributes=(("site", "a"),)),
        outputs=outputs(([prediction("face", 0.75, box)], [])),
    )
    [row] = flatten_predictions(result)
    assert row == LabelRow(
        image_id=image(1).image_id,
        image_uri="s3://lake/0001.jpg",
        crop="{}",
        external_id="x-1",
        model_kind="spec",
        model_id="echo-v1",
        model_version_id=11,
        attributes=(("site", "a"),),
        output_index=0,
        prediction_index=0,
        label_id=4,
        label_name="face",
        score=0.75,
        threshold=0.5,
        is_predicted=True,
        region_id=7,
        bbox_xmin=0.1,
        bbox_ymin=0.2,
        bbox_xmax=0.3,
        bbox_ymax=0.4,
        predicted_us=1_760_000_000_000_001,
    )


def test_predicted_labels_come_before_discarded_ones_and_the_index_runs_over_both() -> None:
    cat, dog, mouse = prediction("cat", 0.9), prediction("dog", 0.8), prediction("mouse", 0.1)
    rows = flatten_predictions(success(outputs=outputs(([cat, dog], [mouse]), ([], [mouse]))))
    assert [(r.output_index, r.prediction_index, r.label_name, r.is_predicted) for r in rows] == [
        (0, 0, "cat", True),
        (0, 1, "dog", True),
        (0, 2, "mouse", False),
        (1, 0, "mouse", False),
    ]


@pytest.mark.parametrize(
    ("roi", "expected"),
    [
        ({"bbox": {"xmin": 0.0, "ymin": 0.25, "xmax": 0.5, "ymax": 1.0}}, (None, 0.0, 0.25, 0.5, 1.0)),
        ({"region_id": 7}, (7, None, None, None, None)),
    ],
)
def test_a_region_may_be_named_without_a_box_and_a_box_without_a_region(roi: dict, expected: tuple) -> None:
    (row,) = flatten_predictions(success(outputs=outputs(([prediction("cat", 0.5) | {"roi": roi}], []))))
    assert (row.region_id, row.bbox_xmin, row.bbox_ymin, row.bbox_xmax, row.bbox_ymax) == expected


def test_a_label_without_a_region_has_no_box() -> None:
    row = flatten_predictions(success())[0]
    assert (row.region_id, row.bbox_xmin, row.bbox_ymin, row.bbox_xmax, row.bbox_ymax) == (None,) * 5


def test_a_failed_image_has_no_labels() -> None:
    assert flatten_predictions(failure()) == []


def test_an_answer_without_the_list_of_discarded_labels_is_read() -> None:
    answer = json.dumps([{"labels": {"predicted": [prediction("cat", 1.0)]}}])
    assert len(flatten_predictions(success(outputs=answer))) == 1


def test_a_lone_surrogate_that_a_json_escape_hid_is_replaced() -> None:
    [row, _] = flatten_predictions(success(outputs=success().outputs.replace("cat", "\\ud800")))
    assert row.label_name == "\ufffd"


@given(some_outputs)
def test_every_label_of_the_answer_is_one_row_and_rows_are_in_order(lists: list) -> None:
    rows = flatten_predictions(success(outputs=outputs(*lists)))
    answered = [label for predicted, discarded in lists for label in predicted + discarded]
    assert [(row.label_name, row.score) for row in rows] == [(p["label_name"], p["score"]) for p in answered]
    assert [(row.output_index, row.prediction_index) for row in rows] == [
        (index, place) for index, (predicted, rest) in enumerate(lists) for place in range(len(predicted + rest))
    ]
    assert sum(row.is_predicted for row in rows) == sum(len(predicted) for predicted, _ in lists)
