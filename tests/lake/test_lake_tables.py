import io
import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_samples import failure, image, outputs, prediction, results, success

from deepo_beam.lake.flatten import flatten_predictions
from deepo_beam.lake.schemas import ERRORS, IMAGES, LABELS
from deepo_beam.lake.tables import FailedImage, encode_table, errors_table, images_table, labels_table
from deepo_beam.types import Facts, Status

CROP = '{"bbox":{"xmax":1.0,"xmin":0.5,"ymax":1.0,"ymin":0.5}}'
BOXES = success(2, outputs=outputs(([prediction("face", 0.75, (0.0, 0.25, 0.5, 1.0))], [])), image=image(2, crop=CROP))
RESULTS = [failure(4), BOXES, success(3), success(2)]


def failed(number: int) -> FailedImage:
    return FailedImage(failure(number), 1_600_000_000_000_000, 1_700_000_000_000_000)


def microseconds(column: pa.ChunkedArray) -> list[int | None]:
    return column.cast(pa.int64()).to_pylist()


@pytest.mark.parametrize(
    ("table", "schema"),
    [
        (labels_table(RESULTS), LABELS),
        (images_table(RESULTS), IMAGES),
        (errors_table([failed(1)]), ERRORS),
        (labels_table([]), LABELS),
        (images_table([]), IMAGES),
        (errors_table([]), ERRORS),
    ],
)
def test_tables_have_exactly_the_schema_also_when_read_back(table: pa.Table, schema: pa.Schema) -> None:
    assert table.schema.equals(schema, check_metadata=True)
    read = pq.read_table(io.BytesIO(encode_table(table)))
    assert read.equals(table)
    described = [field.metadata[b"description"] for field in read.schema]
    assert described == [field.metadata[b"description"] for field in schema]
    table.validate(full=True)


def test_the_labels_are_the_rows_of_every_result_by_uri_and_crop() -> None:
    table = labels_table(RESULTS)
    rows = [row for result in (BOXES, RESULTS[3], RESULTS[2]) for row in flatten_predictions(result)]
    times = microseconds(table["predicted_at"])
    columns = table.drop_columns(["predicted_at"]).to_pydict()
    read = [tuple(values) for values in zip(*columns.values(), times, strict=True)]
    assert [(*row[:7], tuple(row[7]), *row[8:12]) for row in read] == [row[:12] for row in rows]
    assert [row[12:] for row in read] == [row[12:] for row in rows]


def test_images_say_what_was_read_and_what_came_of_it() -> None:
    row = images_table([success(1)]).drop_columns(["modified_at", "finished_at"]).to_pylist()[0]
    assert row == {
        "image_id": image(1).image_id,
        "image_uri": "s3://lake/0001.jpg",
        "crop": None,
        "external_id": None,
        "model_kind": "spec",
        "model_id": "echo-v1",
        "model_version_id": 11,
        "attributes": [("camera", "b"), ("site", "a")],
        "status": "succeeded",
        "content_sha256": "a" * 64,
        "size_bytes": 80_000,
        "media_type": "image/jpeg",
        "width": 640,
        "height": 480,
        "exif_orientation": 6,
        "n_predictions": 1,
        "top_label": "cat",
        "top_score": 0.875,
        "task_id": "42",
        "attempts": 1,
        "calls": 1,
        "http_status": None,
        "error_code": None,
        "queue_ms": 1,
        "submit_ms": 2,
        "wait_ms": 3,
    }
    assert microseconds(images_table([success(1)])["modified_at"]) == [1_700_000_000_000_000]
    assert microseconds(images_table([success(1)])["finished_at"]) == [1_760_000_000_000_001]


def test_a_failed_image_has_a_row_without_labels_that_names_the_error() -> None:
    [row] = images_table([failure(1, facts=Facts())]).select(["status", "n_predictions", "top_label"]).to_pylist()
    assert row == {"status": "failed", "n_predictions": 0, "top_label": None}
    [row] = images_table([failure(1, facts=Facts())]).select(["http_status", "error_code", "width"]).to_pylist()
    assert row == {"http_status": 429, "error_code": "throttled", "width": None}


def test_the_top_label_is_the_best_predicted_one_of_all_outputs_and_the_first_of_equals() -> None:
    low, high, equal = prediction("low", 0.5), prediction("high", 0.75), prediction("equal", 0.75)
    discarded = prediction("discarded", 1.0)
    table = images_table([success(outputs=outputs(([low], [discarded]), ([high, equal], [])))])
    columns = ["n_predictions", "top_label", "top_score"]
    assert table.select(columns).to_pylist() == [{"n_predictions": 3, "top_label": "high", "top_score": 0.75}]


def test_an_image_without_a_detection_has_no_top_label() -> None:
    nothing = success(status=Status.NO_DETECTION, outputs=outputs(([], [prediction("mouse", 0.25)])))
    columns = ["n_predictions", "top_label", "top_score"]
    expected = {"n_predictions": 0, "top_label": None, "top_score": None}
    assert images_table([nothing]).select(columns).to_pylist() == [expected]


def test_errors_say_where_and_since_when() -> None:
    table = errors_table([failed(1)])
    assert table.select(ERRORS.names[8:16]).to_pylist() == [
        {
            "stage": "submit",
            "error_code": "throttled",
            "error_message": "too many",
            "retryable": True,
            "attempts": 1,
            "http_status": 429,
            "task_id": "42",
            "source": None,
        }
    ]
    assert microseconds(table["first_seen"]) == [1_600_000_000_000_000]
    assert microseconds(table["last_seen"]) == [1_700_000_000_000_000]


def test_a_success_is_no_error() -> None:
    with pytest.raises(ValueError, match=r"s3://lake/0001\.jpg has status succeeded and no failure"):
        errors_table([FailedImage(success(1), 0, 0)])


one_of_each_image = st.lists(
    results.map(lambda result: success(image=result.image, facts=result.facts)),
    max_size=5,
    unique_by=lambda result: result.image.image_id,
)


@settings(max_examples=25)
@given(one_of_each_image, st.randoms(use_true_random=False))
def test_equal_results_in_any_order_give_equal_files(some: list, rng: random.Random) -> None:
    shuffled = rng.sample(some, len(some))
    for make in (labels_table, images_table):
        assert encode_table(make(shuffled)) == encode_table(make(some))


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, "", "a", "b"])), max_size=6, unique=True))
def test_rows_are_sorted_by_uri_and_crop_and_place(places: list) -> None:
    two = outputs(([prediction("a", 1.0)], [prediction("b", 0.0)]), ([prediction("c", 1.0)], []))
    table = labels_table([success(image=image(number, crop=crop), outputs=two) for number, crop in places])
    columns = ["image_uri", "crop", "output_index", "prediction_index"]
    keys = [tuple(row.values()) for row in table.select(columns).to_pylist()]
    assert keys == sorted(keys, key=lambda key: (key[0], key[1] is None, key[1] or "", *key[2:]))
    assert len(keys) == 3 * len(places)


def test_a_file_is_zstd_with_statistics_and_bounded_row_groups() -> None:
    table = pa.table({"n": pa.array(range(300_000))})
    file = pq.ParquetFile(io.BytesIO(encode_table(table)))
    groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
    assert max(group.num_rows for group in groups) <= 128_000
    assert sum(group.num_rows for group in groups) == 300_000
    assert {group.column(0).compression for group in groups} == {"ZSTD"}
    assert groups[-1].column(0).statistics.max == 299_999


def test_lone_surrogates_do_not_keep_a_table_from_being_written() -> None:
    strange = image(1, image_uri="/photos/caf\udce9.jpg", attributes=(("a\ud800", "b"),))
    [row] = images_table([success(image=strange)]).select(["image_uri", "attributes"]).to_pylist()
    assert row == {"image_uri": "/photos/caf\ufffd.jpg", "attributes": [("a\ufffd", "b")]}


def test_duckdb_reads_the_types_that_were_promised(tmp_path: Path) -> None:
    tables = {
        "labels": labels_table(RESULTS),
        "images": images_table(RESULTS),
        "errors": errors_table([failed(4)]),
    }
    for name, table in tables.items():
        folder = tmp_path / name / "run_id=r1"
        folder.mkdir(parents=True)
        (folder / "part-00000.parquet").write_bytes(encode_table(table))

    def types(name: str) -> dict[str, str]:
        found = duckdb.sql(f"describe select * from '{tmp_path}/{name}/*/*.parquet'").fetchall()
        return {column: kind for column, kind, *_ in found}

    labels, images, errors = types("labels"), types("images"), types("errors")
    for table in (labels, images, errors):
        assert table["attributes"] == "MAP(VARCHAR, VARCHAR)"
        assert (table["image_id"], table["model_version_id"], table["run_id"]) == (
            "VARCHAR",
            "BIGINT",
            "VARCHAR",
        )
    assert (labels["score"], labels["output_index"], labels["is_predicted"]) == (
        "FLOAT",
        "INTEGER",
        "BOOLEAN",
    )
    assert (labels["bbox_xmin"], labels["region_id"]) == ("FLOAT", "BIGINT")
    assert (images["exif_orientation"], images["http_status"], images["width"]) == (
        "TINYINT",
        "SMALLINT",
        "INTEGER",
    )
    assert {labels["predicted_at"], images["finished_at"], errors["first_seen"]} == {"TIMESTAMP WITH TIME ZONE"}
    top = duckdb.sql(
        f"select label_name, attributes['site'] from '{tmp_path}/labels/*/*.parquet'"
        " where is_predicted order by score desc, image_uri limit 1"
    )
    assert top.fetchall() == [("cat", "a")]
