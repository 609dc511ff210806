"""Rows of labels in what ``WriteToBigQuery`` makes of rows, before anything is sent."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.coders import RowCoder
from apache_beam.io.gcp import bigquery_tools
from apache_beam.io.gcp.bigquery import StorageWriteToBigQuery
from apache_beam.typehints.schemas import named_fields_from_element_type, schema_from_element_type
from apache_beam.utils.timestamp import Timestamp

from deepo_beam.lake.schemas import LABELS
from deepo_beam.transforms import FlattenPredictions, Label
from deepo_beam.types import ImageResult


def table_schema() -> dict:
    """The columns of labels as BigQuery has them: the map is a repeated record, as Beam's Java makes one."""
    names = {"int64": "INT64", "int32": "INT64", "float": "FLOAT64", "string": "STRING", "bool": "BOOL"}
    fields = []
    for field in LABELS:
        mode = "NULLABLE" if field.nullable else "REQUIRED"
        kind = names.get(str(field.type), "TIMESTAMP")
        entry = {"name": field.name, "type": kind, "mode": mode}
        if field.name == "attributes":
            pair = [{"name": name, "type": "STRING", "mode": "REQUIRED"} for name in ("key", "value")]
            entry |= {"type": "RECORD", "mode": "REPEATED", "fields": pair}
        fields.append(entry)
    return {"fields": fields}


def label(**changes: object) -> Label:
    optional = dict.fromkeys(Label._fields)
    values = {"image_id": "0" * 32, "image_uri": "/a.jpg", "model_kind": "spec", "model_id": "echo-v1"}
    values |= {"output_index": 0, "prediction_index": 1, "label_id": 3, "label_name": "cat", "score": 0.5}
    values |= {"threshold": 0.25, "is_predicted": True, "attributes": {"site": "north"}}
    return Label(**{**optional, **values, "predicted_at": Timestamp(micros=1_760_000_000_000_001), **changes})


def test_without_a_schema_of_its_own_bigquery_is_given_that_of_the_rows() -> None:
    results = beam.Pipeline(runner="FnApiRunner") | beam.Create([]).with_output_types(ImageResult)
    rows = results | FlattenPredictions()
    schema = schema_from_element_type(rows.element_type)  # what StorageWriteToBigQuery sends to Java
    assert [field.name for field in schema.fields] == LABELS.names


@pytest.mark.parametrize("row", [label(), label(region_id=7, bbox_xmin=0.0, model_version_id=21, attributes={})])
def test_rows_are_converted_with_a_table_schema(row: Label) -> None:
    schema = bigquery_tools.get_bq_tableschema(table_schema())
    record = row._asdict() | {"attributes": [{"key": k, "value": v} for k, v in row.attributes.items()]}
    converted = bigquery_tools.beam_row_from_dict(record, schema)
    typed = StorageWriteToBigQuery.ConvertToBeamRows(table_schema(), dynamic_destinations=False).with_output_types()
    hint = typed.get_type_hints().simple_output_type("rows")
    coder = RowCoder.from_type_hint(hint, None)
    back = coder.decode(coder.encode(converted))
    assert [name for name, _ in named_fields_from_element_type(hint)] == list(Label._fields)
    found = back._asdict()
    assert {pair.key: pair.value for pair in found.pop("attributes")} == row.attributes
    assert found == {name: value for name, value in row._asdict().items() if name != "attributes"}
