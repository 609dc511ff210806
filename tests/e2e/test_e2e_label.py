"""The promise to the user: every image labelled once, every row of the tables as the echo rule says."""

import functools
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from e2e_tools import (
    MEDIA_TYPES,
    assert_adds_up,
    assert_labels_follow_the_rule,
    by_name,
    expected_labels,
    kind_of,
    label,
    rows,
    sha256,
    size_of,
    write_pictures,
)

IDENTITY = ("image_id", "image_uri", "crop", "external_id", "model_kind", "model_id", "model_version_id", "attributes")


@pytest.fixture(scope="module")
def first_run(healthy_service, tmp_path_factory):
    """30 images of six formats, labelled once: the output, the images and the summary."""
    folder = tmp_path_factory.mktemp("first")
    images = write_pictures(folder / "images", 30)
    healthy_service.reset()
    ended = label(folder / "images", folder / "out", healthy_service, "--run-id", "first")
    assert ended.code == 0, ended
    return folder / "out", images, ended.summary, healthy_service.stats()


# --- one run -------------------------------------------------------------------------------------------


def test_every_row_of_labels_is_what_the_rule_says_for_that_files_bytes(first_run):
    output, images, summary, stats = first_run

    assert_labels_follow_the_rule(output, images)
    assert (stats["accepted"], stats["distinct_images"], stats["accepted_again"]) == (30, 30, 0)
    assert summary["calls"] == 30


def test_images_has_one_row_an_image_with_its_hash_size_type_and_dimensions(first_run):
    output, images, _, _ = first_run
    found = {row["image_uri"]: row for row in rows(output, "images")}

    assert sorted(found) == sorted(images)
    assert len(rows(output, "images")) == 30
    for number, (uri, data) in enumerate(images.items()):
        row = found[uri]
        assert (row["content_sha256"], row["size_bytes"]) == (sha256(data), len(data))
        assert (row["media_type"], (row["width"], row["height"])) == (MEDIA_TYPES[kind_of(number)], size_of(number))
        labels = expected_labels(uri, data)
        assert row["status"] == ("succeeded" if labels else "no_detection")
        assert row["n_predictions"] == len(labels)
        assert (row["top_label"], row["top_score"]) == ((labels[0][5], labels[0][6]) if labels else (None, None))
        assert (row["attempts"], row["calls"], row["error_code"]) == (1, 1, None)
        assert (row["model_kind"], row["model_id"], row["model_version_id"]) == ("spec", "echo-v1", 21)


def test_the_summary_adds_up_and_agrees_with_the_tables(first_run):
    output, images, summary, _ = first_run

    assert_adds_up(summary)
    with_labels = {uri for uri, data in images.items() if expected_labels(uri, data)}
    assert summary["listed"] == 30
    assert summary["succeeded"] == len(with_labels)
    assert summary["no_detection"] == 30 - len(with_labels) > 0
    assert summary["published"] == len(rows(output, "images"))
    assert summary["labels"] == len(rows(output, "labels"))
    assert rows(output, "errors") == []
    assert (summary["exit_code"], summary["stopped"]) == (0, None)


def test_a_complete_run_leaves_success_a_summary_and_a_manifest_of_every_file(first_run):
    output, _, summary, _ = first_run
    run = output / "runs" / "first"
    manifest = json.loads((run / "manifest.json").read_text())

    assert (run / "_SUCCESS").exists()
    assert json.loads((run / "summary.json").read_text()) == summary
    listed = {entry["path"]: entry for entry in manifest["files"]}
    on_disk = {str(path.relative_to(output)): path for path in output.glob("*/run_id=first/*")}
    assert sorted(listed) == sorted(on_disk)
    for name, path in on_disk.items():
        data = path.read_bytes()
        wanted = (hashlib.sha256(data).hexdigest(), len(data), pq.ParquetFile(path).metadata.num_rows)
        assert tuple(listed[name][key] for key in ("sha256", "size_bytes", "rows")) == wanted
    assert manifest["config"]["spec"] == "echo-v1"


def test_the_key_is_in_no_file_of_the_output(service, tmp_path):
    write_pictures(tmp_path / "images", 1)
    key = "f3e91c0ab1d2secret"
    assert label(tmp_path / "images", tmp_path / "out", service, key=key).code == 0

    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if key.encode() in path.read_bytes()]


# --- run after run -------------------------------------------------------------------------------------


def test_a_second_run_calls_nothing_and_a_third_only_what_is_new(service, tmp_path):
    images = write_pictures(tmp_path / "images", 8)
    run = functools.partial(label, tmp_path / "images", tmp_path / "out", service)
    assert run().summary["calls"] == 8
    tables = [rows(tmp_path / "out", table) for table in ("labels", "images", "errors")]

    second = run()

    assert second.code == 0
    assert (second.summary["calls"], second.summary["reused"], second.summary["published"]) == (0, 8, 0)
    assert service.stats()["accepted"] == 8
    assert [rows(tmp_path / "out", table) for table in ("labels", "images", "errors")] == tables
    images |= write_pictures(tmp_path / "images", 1, first=8)

    third = run()

    assert (third.summary["calls"], third.summary["reused"], third.summary["listed"]) == (1, 8, 9)
    assert_adds_up(third.summary)
    assert (service.stats()["accepted"], service.stats()["accepted_again"]) == (9, 0)
    assert_labels_follow_the_rule(tmp_path / "out", images)


# --- which images --------------------------------------------------------------------------------------


def chosen(folder, output, service, *flags):
    """The names of the images that a run with these flags labels."""
    ended = label(folder, output, service, *flags)
    assert (ended.code, ended.summary["listed"]) == (0, 3)
    return sorted(by_name(output, "images"))


def test_limit_takes_the_first_in_the_order_of_their_uris_each_time(service, tmp_path):
    images = write_pictures(tmp_path / "images", 12)
    names = sorted(uri.rpartition("/")[2] for uri in images)

    first = chosen(tmp_path / "images", tmp_path / "out", service, "--limit", 3)
    again = label(tmp_path / "images", tmp_path / "out", service, "--limit", 3)

    assert first == names[:3]
    assert (again.summary["listed"], again.summary["reused"], again.summary["calls"]) == (3, 3, 0)


def test_a_sample_is_the_same_each_time_and_another_with_another_seed(service, tmp_path):
    write_pictures(tmp_path / "images", 12)

    first = chosen(tmp_path / "images", tmp_path / "out", service, "--sample", 3)
    again = label(tmp_path / "images", tmp_path / "out", service, "--sample", 3)
    other = chosen(tmp_path / "images", tmp_path / "other", service, "--sample", 3, "--seed", 7)

    assert (again.summary["listed"], again.summary["reused"], again.summary["calls"]) == (3, 3, 0)
    assert first != other


def test_ids_and_other_columns_of_a_list_are_in_all_three_tables(service, tmp_path):
    good, *_ = write_pictures(tmp_path / "images", 1)
    missing = str(tmp_path / "images" / "gone.png")
    table = pa.table(
        {
            "url": [good, missing],
            "sku": ["A-1", "B-2"],
            "camera": ["front", None],
            "price": [9.5, 7.25],
            "taken": pa.array([0, 1_000_000], pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(table, tmp_path / "list.parquet")

    columns = ("--uri-column", "url", "--id-column", "sku")
    assert label(tmp_path / "list.parquet", tmp_path / "out", service, *columns).code == 0

    ours = {
        good: ("A-1", [("camera", "front"), ("price", "9.5"), ("taken", "1970-01-01T00:00:00+00:00")]),
        missing: ("B-2", [("price", "7.25"), ("taken", "1970-01-01T00:00:01+00:00")]),
    }
    where = {"labels": {good}, "images": {good, missing}, "errors": {missing}}
    for name, uris in where.items():
        found = rows(tmp_path / "out", name)
        assert {row["image_uri"] for row in found} == uris
        for row in found:
            assert (row["external_id"], row["attributes"]) == ours[row["image_uri"]]
            assert tuple(row)[: len(IDENTITY)] == IDENTITY


def test_the_errors_of_a_run_are_an_input_once_the_images_are_mended(service, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    mended, data = next(iter(images.items()))
    (tmp_path / "list.csv").write_text("image_uri,shelf\n" + "".join(f"{uri},{uri[-6:]}\n" for uri in images))
    Path(mended).write_bytes(b"not yet an image")
    assert label(tmp_path / "list.csv", tmp_path / "out", service).summary["failed"] == 1
    Path(mended).write_bytes(data)

    ended = label(tmp_path / "out" / "errors", tmp_path / "out", service, "--retry", "all")

    assert (ended.code, ended.summary["listed"], ended.summary["calls"]) == (0, 1, 1)
    assert_labels_follow_the_rule(tmp_path / "out", images)
    twice = [row for row in rows(tmp_path / "out", "images") if row["image_uri"] == mended]
    assert sorted(row["status"] == "failed" for row in twice) == [False, True]
    assert [row["attributes"] for row in twice] == [[("shelf", mended[-6:])]] * 2
