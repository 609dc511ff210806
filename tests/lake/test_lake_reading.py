"""The union of the runs, and of each image the newest labelling: by Python and by SQL, for any history."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_samples import DATASET, failure, outputs, success
from memory_store import KillableStore

from deepo_beam.errors import ConfigError
from deepo_beam.lake.dataset import write_dataset
from deepo_beam.lake.manifest import PublishedFile, write_manifest
from deepo_beam.lake.reading import read_table
from deepo_beam.lake.schemas import LABELS
from deepo_beam.lake.tables import encode_table, images_table, labels_table
from deepo_beam.types import ImageResult, Status

OUT = "mem://out"
SQL = files("deepo_beam.lake").joinpath("latest.sql").read_text()


def output_of(runs: dict[str, list[ImageResult]]) -> KillableStore:
    """An output with these runs, all complete."""
    store = KillableStore()
    write_dataset(OUT, DATASET, store)
    for run, results in runs.items():
        named = []
        for name, table in {"images": images_table(results), "labels": labels_table(results)}.items():
            path = f"{name}/run_id={run}/part-00000.parquet"
            store.write_bytes(f"{OUT}/{path}", encode_table(table))
            named.append(PublishedFile(path, table.num_rows, 0, ""))
        write_manifest(f"{OUT}/runs/{run}/manifest.json", {}, named, store)
        store.write_bytes(f"{OUT}/runs/{run}/_SUCCESS", b"")
    return store


def result(number: int, kind: str, at: int) -> ImageResult:
    if kind == "failed":
        return failure(number, finished_us=at)
    if kind == "no_detection":
        return success(number, status=Status.NO_DETECTION, outputs=outputs(([], [])), finished_us=at)
    return success(number, finished_us=at)


kinds = st.sampled_from(["succeeded", "no_detection", "failed"])
runs = st.dictionaries(st.integers(0, 4), st.tuples(kinds, st.integers(1, 3)), max_size=5)


@given(st.lists(runs, max_size=4))
def test_the_newest_labelling_of_each_image_is_the_same_by_python_and_by_sql(history: list[dict]) -> None:
    found = {f"run-{n}": [result(image, *how) for image, how in run.items()] for n, run in enumerate(history)}
    store = output_of(found)
    newest: dict[int, tuple[int, str, str]] = {}
    for run, results in found.items():
        for each in results:
            image, place = int(each.image.image_id, 16), (each.finished_us, run, each.status.value)
            if each.status is not Status.FAILED:
                newest[image] = max(newest.get(image, place), place)
    expected = {(f"{image:032x}", run) for image, (_, run, status) in newest.items() if status == "succeeded"}

    rows = read_table(OUT, "labels", latest=True, store=store)

    assert {(row["image_id"], row["run_id"]) for row in rows.to_pylist()} == expected
    assert rows.num_rows == 2 * len(expected), "a label that was predicted, and one that was discarded"
    tables = {"labels": read_table(OUT, "labels", store=store), "images": read_table(OUT, "images", store=store)}
    database = duckdb.connect()
    for name, table in tables.items():
        database.register(name, table)
    by_sql = database.sql(SQL).arrow().read_all()
    assert by_sql.column_names == rows.column_names
    order = [(name, "ascending") for name in ("image_id", "prediction_index")]
    assert by_sql.sort_by(order).to_pylist() == rows.sort_by(order).to_pylist()


def test_the_union_has_every_column_and_the_run_of_each_row() -> None:
    store = output_of({"run-a": [success(1)], "run-b": [success(1), success(2)]})
    rows = read_table(OUT, "labels", store=store)
    assert rows.column_names == [*LABELS.names, "run_id"]
    assert rows["run_id"].to_pylist() == ["run-a"] * 2 + ["run-b"] * 4
    assert read_table(OUT, "images", columns=["run_id", "status"], store=store).column_names == ["run_id", "status"]


def test_a_run_that_is_not_complete_is_left_out() -> None:
    store = output_of({"run-a": [success(1)], "run-b": [success(2)]})
    store.delete(f"{OUT}/runs/run-b/_SUCCESS")
    assert set(read_table(OUT, "images", store=store)["run_id"].to_pylist()) == {"run-a"}


def test_an_output_without_a_run_has_the_columns_and_no_row() -> None:
    assert read_table(OUT, "errors", store=output_of({})).num_rows == 0
    assert read_table(OUT, "labels", latest=True, store=output_of({})).column_names == [*LABELS.names, "run_id"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"table": "label"}, "there is no table 'label': labels, images and errors"),
        ({"table": "labels", "columns": ["lable_name"]}, "labels has no column 'lable_name': it has image_id, "),
        ({"table": "errors", "latest": True}, "errors has no newest labelling"),
    ],
)
def test_what_cannot_be_read_is_named(how: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_table(OUT, store=output_of({}), **how)


def test_a_folder_that_is_no_output_is_refused() -> None:
    with pytest.raises(ConfigError, match="mem://out is no output of deepo-beam label"):
        read_table(OUT, "labels", store=KillableStore())
