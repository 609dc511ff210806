"""Other thresholds decide old answers again, from their scores alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_samples import failure, outputs, prediction, success

from deepo_beam.errors import ConfigError
from deepo_beam.lake.tables import images_table, labels_table
from deepo_beam.lake.thresholds import KnownLabel, apply_thresholds, choose_thresholds, parse_thresholds
from deepo_beam.types import Status

KNOWN = [KnownLabel(3, "cat", 0.5), KnownLabel(5, "mouse", 0.25), KnownLabel(7, "3", 0.5), KnownLabel(9, "cats", 0.5)]
scores = st.floats(0, 1, allow_nan=False)


def labels(result) -> list[tuple]:
    rows = labels_table([result]).to_pylist()
    return [(row["label_name"], row["threshold"], row["is_predicted"]) for row in rows]


def test_a_higher_threshold_discards_and_the_image_follows() -> None:
    result = apply_thresholds(success(outputs=outputs(([prediction("cat", 0.875)], []))), {3: 1.0})
    assert labels(result) == [("cat", 1.0, False)]
    assert result.status is Status.NO_DETECTION
    (row,) = images_table([result]).to_pylist()
    assert (row["status"], row["n_predictions"], row["top_label"]) == ("no_detection", 0, None)


def test_a_lower_threshold_takes_in_what_was_discarded_in_the_order_of_the_scores() -> None:
    answer = outputs(([prediction("cat", 0.5)], [prediction("mouse", 0.75), prediction("bat", 0.25)]))
    result = apply_thresholds(success(outputs=answer, status=Status.SUCCEEDED), {5: 0.75})
    assert labels(result) == [("mouse", 0.75, True), ("cat", 0.5, True), ("bat", 0.5, False)]
    (row,) = images_table([result]).to_pylist()
    assert (row["n_predictions"], row["top_label"]) == (2, "mouse")


def test_labels_and_outputs_that_are_not_named_keep_what_the_model_decided() -> None:
    answer = outputs(([prediction("cat", 0.1)], []), ([prediction("mouse", 0.9)], []))
    result = apply_thresholds(success(outputs=answer), {5: 1.0})
    assert labels(result) == [("cat", 0.5, True), ("mouse", 1.0, False)]
    assert result.status is Status.SUCCEEDED


def test_a_failure_stays_a_failure() -> None:
    assert apply_thresholds(failure(), {3: 0.1}) == failure()


@given(st.lists(scores, max_size=6), scores, st.integers(0, 6))
def test_every_label_is_predicted_just_if_its_score_is_not_below_its_threshold(given_scores, threshold, cut) -> None:
    told = [prediction("cat", score) for score in given_scores]
    result = apply_thresholds(success(outputs=outputs((told[:cut], told[cut:]))), {3: threshold})
    (decided,) = json.loads(result.outputs)
    predicted, discarded = decided["labels"]["predicted"], decided["labels"]["discarded"]
    assert sorted(one["score"] for one in predicted + discarded) == sorted(given_scores)
    assert all(one["score"] >= threshold for one in predicted)
    assert not any(one["score"] >= threshold for one in discarded)
    for ordered in (predicted, discarded):
        assert [one["score"] for one in ordered] == sorted((one["score"] for one in ordered), reverse=True)
    assert (result.status is Status.SUCCEEDED) == bool(predicted)
    assert apply_thresholds(result, {3: threshold}) == result


def test_a_label_is_named_by_its_name_or_else_by_its_id() -> None:
    assert choose_thresholds([("mouse", 0.5), ("9", 0.75), ("3", 0.5)], KNOWN, all_scores=False) == {
        5: 0.5,
        9: 0.75,
        7: 0.5,  # a label called 3 stands before the one with that id
    }


def test_a_label_may_have_an_equals_sign_in_its_name() -> None:
    assert parse_thresholds(["a=b=0.5"]) == [("a=b", 0.5)]


@pytest.mark.parametrize("text", ["cat", "cat=", "=0.5", "cat=high", "cat=1.5", "cat=-0.1", "cat=nan"])
def test_what_is_no_threshold_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"cat=0\.7"):
        parse_thresholds([text])


def test_a_label_that_no_answer_names_is_refused_and_near_ones_are_named() -> None:
    with pytest.raises(ConfigError, match="'kat'; did you mean 'cat' or 'cats'"):
        choose_thresholds([("kat", 0.5)], KNOWN, all_scores=True)
    with pytest.raises(ConfigError, match="there is no label yet"):
        choose_thresholds([("kat", 0.5)], [], all_scores=True)


def test_one_label_with_two_thresholds_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        choose_thresholds([("mouse", 0.5), ("5", 0.75)], KNOWN, all_scores=True)


def test_a_threshold_below_the_models_own_needs_all_scores() -> None:
    assert choose_thresholds([("cat", 0.4)], KNOWN, all_scores=True) == {3: 0.4}
    assert choose_thresholds([("cat", 0.5)], KNOWN, all_scores=False) == {3: 0.5}
    with pytest.raises(ConfigError, match=r"cat=0\.4 is below the model's own 0\.5.*--show-discarded"):
        choose_thresholds([("cat", 0.4)], KNOWN, all_scores=False)


@given(scores)
def test_the_models_own_threshold_as_the_tables_hold_it_is_not_below_itself(threshold: float) -> None:
    (row,) = labels_table(
        [success(outputs=outputs(([{**prediction("cat", 0.9), "threshold": threshold}], [])))]
    ).to_pylist()
    known = [KnownLabel(3, "cat", row["threshold"])]
    assert choose_thresholds([("cat", threshold)], known, all_scores=False) == {3: threshold}
