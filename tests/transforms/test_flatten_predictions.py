"""``FlattenPredictions`` gives rows with a schema, which the rest of Beam can work with."""

from __future__ import annotations

import json
import pickle

import apache_beam as beam
from apache_beam.coders import RowCoder, registry
from apache_beam.typehints import schemas
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from pipeline_tools import Keep, pipeline

from deepo_beam.errors import ErrorCode, Stage
from deepo_beam.lake.flatten import flatten_predictions
from deepo_beam.lake.schemas import LABELS
from deepo_beam.transforms import FlattenPredictions, Label
from deepo_beam.transforms.flatten_predictions import as_label
from deepo_beam.types import Failure, ImageRef, ImageResult, ModelKind, ModelRef, Status


def prediction(name: str, score: float, *, box: bool = False) -> dict:
    label = {"label_id": len(name), "label_name": name, "score": score, "threshold": 0.25}
    if box:
        label["roi"] = {"region_id": 7, "bbox": {"xmin": 0.0, "ymin": 0.25, "xmax": 0.5, "ymax": 1.0}}
    return label


def result(*predicted: dict, discarded: tuple[dict, ...] = (), **changes: object) -> ImageResult:
    values = {
        "image": ImageRef("0" * 32, "/a.jpg", "/a.jpg", external_id="mine", attributes=(("site", "a"), ("été", "ü"))),
        "model": ModelRef(ModelKind.SPEC, "echo-v1"),
        "model_version_id": 21,
        "status": Status.SUCCEEDED if predicted else Status.NO_DETECTION,
        "outputs": json.dumps([{"labels": {"predicted": predicted, "discarded": discarded}}]),
        "finished_us": 1_760_000_000_000_001,
        **changes,
    }
    return ImageResult(**values)


FAILED = result(
    status=Status.FAILED, outputs=None, failure=Failure(Stage.READ, ErrorCode.READ_FAILED, "no", retryable=True)
)
RESULTS = [
    result(prediction("cat", 0.875), prediction("café", 0.5), discarded=(prediction("mouse", 0.125),)),
    result(prediction("face", 0.75, box=True), model_version_id=None, image=ImageRef("1" * 32, "/b.jpg", "/b.jpg")),
    result(),
    FAILED,
]
ROWS = [as_label(row) for each in RESULTS for row in flatten_predictions(each)]


def test_one_row_for_each_label_and_none_for_images_without() -> None:
    keep = Keep()
    with pipeline() as p:
        _ = p | beam.Create(RESULTS) | FlattenPredictions() | keep
    assert sorted(keep.elements) == sorted(ROWS)
    assert [row.label_name for row in ROWS] == ["cat", "café", "mouse", "face"]
    assert [row.is_predicted for row in ROWS] == [True, True, False, True]


def test_a_row_says_what_the_table_of_labels_says() -> None:
    assert list(Label._fields) == LABELS.names
    row = ROWS[3]
    assert (row.region_id, row.bbox_xmin, row.bbox_ymin, row.bbox_xmax, row.bbox_ymax) == (7, 0.0, 0.25, 0.5, 1.0)
    assert (row.model_version_id, row.external_id, row.crop, row.attributes) == (None, None, None, {})
    assert ROWS[0].attributes == {"site": "a", "été": "ü"}
    assert ROWS[0].predicted_at == Timestamp(micros=1_760_000_000_000_001)


def test_a_field_may_be_null_exactly_where_the_column_may() -> None:
    nullable = {
        field.name for field in schemas.typing_to_runner_api(Label).row_type.schema.fields if field.type.nullable
    }
    assert nullable == {field.name for field in LABELS if field.nullable}


def test_the_coder_is_a_row_coder_and_keeps_every_value() -> None:
    coder = registry.get_coder(Label)
    assert isinstance(coder, RowCoder)
    assert [coder.decode(coder.encode(row)) for row in ROWS] == ROWS


def test_the_schema_has_no_type_that_only_python_knows() -> None:
    schema = schemas.typing_to_runner_api(Label).row_type.schema
    types = {field.name: field.type for field in schema.fields}
    logical = {name: kind.logical_type.urn for name, kind in types.items() if kind.HasField("logical_type")}
    assert logical == {"predicted_at": "beam:logical_type:micros_instant:v1"}
    assert types["attributes"].HasField("map_type")
    assert "pythonsdk_any" not in str(schema)


def test_the_collection_knows_its_schema() -> None:
    rows = pipeline() | beam.Create(RESULTS) | FlattenPredictions()
    assert rows.element_type is Label
    assert schemas.schema_from_element_type(rows.element_type) is not None


def test_rows_become_dictionaries_for_sinks_that_want_them() -> None:
    keep = Keep()
    with pipeline() as p:
        _ = (
            p
            | beam.Create(RESULTS)
            | FlattenPredictions()
            | beam.Reshuffle()
            | beam.Map(lambda row: row._asdict())
            | keep
        )
    assert {row["label_name"]: row for row in keep.elements} == {row.label_name: row._asdict() for row in ROWS}


def test_fields_can_be_selected_and_grouped_by_name() -> None:
    keep = Keep()
    with pipeline() as p:
        _ = (
            p
            | beam.Create(RESULTS)
            | FlattenPredictions()
            | beam.Select("is_predicted", "label_name", "score")
            | beam.GroupBy("is_predicted").aggregate_field("score", max, "best")
            | keep
        )
    assert {(row.is_predicted, row.best) for row in keep.elements} == {(True, 0.875), (False, 0.125)}


def test_rows_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(ROWS)) == ROWS


@given(
    st.text(st.characters(), max_size=10),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(0.0, 1.0, width=32),
    st.none() | st.integers(0, 2**63 - 1),
    st.integers(0, 2**53),
)
def test_any_label_survives_the_coder(name: str, label_id: int, score: float, version: int | None, at: int) -> None:
    label = {"label_id": label_id, "label_name": name, "score": score, "threshold": score}
    (row,) = map(as_label, flatten_predictions(result(label, model_version_id=version, finished_us=at)))
    coder = registry.get_coder(Label)
    assert coder.decode(coder.encode(row)) == row
