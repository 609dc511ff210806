"""``errors/`` of a run as an input, and lists that may not name files of this machine."""

import json
from pathlib import Path

import pytest
from e2e_tools import (
    assert_adds_up,
    assert_clear,
    assert_labels_follow_the_rule,
    label,
    picture,
    rows,
    write_pictures,
)
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from deepo_beam.config import LabelConfig
from deepo_beam.inputs import expand_input
from deepo_beam.lake.publish import run_uri
from deepo_beam.preflight import STDIN_LIST, input_options
from deepo_beam.storage import arrow


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A folder that is also ``s3://lake``."""
    system = SubTreeFileSystem(str(tmp_path), LocalFileSystem())
    monkeypatch.setattr(arrow, "_connect", lambda _: system)
    monkeypatch.setenv("AWS_PROFILE", str(tmp_path))  # a file system of this test alone is kept for it
    (tmp_path / "lake").mkdir()
    return tmp_path / "lake"


def codes(summary):
    return summary["errors_by_code"]


# --- errors/ as an input -------------------------------------------------------------------------------


@pytest.fixture
def failed_run(service, tmp_path):
    """A run over a list of which three rows fail in their image, and three in the list itself."""
    images = write_pictures(tmp_path / "images", 2)
    bad = {"late.png": None, "empty.png": b"", "text.png": b"text"}
    for name, data in bad.items():
        if data is not None:
            (tmp_path / "images" / name).write_bytes(data)
    uris = (*images, *(f"images/{name}" for name in bad))
    lines = [json.dumps({"image_uri": uri, "colour": "red"}) for uri in uris]
    (tmp_path / "list.jsonl").write_text("\n".join([*lines, "{no json", '{"n": 1}', '{"image_uri": "nobody://a/b"}']))
    ended = label(tmp_path / "list.jsonl", tmp_path / "out", service, "--run-id", "first")
    found = {"bad_manifest_row": 2, "empty_file": 1, "invalid_uri": 1, "not_an_image": 1, "object_missing": 1}
    assert codes(ended.summary) == found
    return tmp_path, images


def mend(folder):
    """The images that failed are good ones now; returns them."""
    mended = {
        str(folder / "images" / f"{name}.png"): picture(n) for n, name in enumerate(("late", "empty", "text"), 90)
    }
    for path, data in mended.items():
        Path(path).write_bytes(data)
    return mended


def test_an_errors_folder_names_its_images_again_and_leaves_out_rows_that_name_none(failed_run, service):
    folder, images = failed_run
    mended = mend(folder)

    ended = label(folder / "out" / "errors", folder / "out", service, "--retry", "all", "--detect-changes", "never")

    assert (ended.code, ended.summary["listed"], ended.summary["calls"]) == (0, 3, 3)
    assert_labels_follow_the_rule(folder / "out", images | mended)
    again = [row for row in rows(folder / "out", "images") if row["image_uri"] in mended and row["status"] != "failed"]
    assert [row["attributes"] for row in again] == [[("colour", "red")]] * 3


def test_an_errors_folder_without_retry_all_skips_what_failed_for_good_and_says_so(failed_run, service):
    folder, _ = failed_run

    ended = label(folder / "out" / "errors", folder / "out", service, "--detect-changes", "never")

    assert (ended.code, ended.summary["listed"], ended.summary["skipped"], ended.summary["calls"]) == (0, 3, 3, 0)
    assert_adds_up(ended.summary)


def test_one_run_of_errors_or_one_file_of_it_is_an_input_too(failed_run, service):
    folder, _ = failed_run
    mend(folder)
    partition = folder / "out" / "errors" / "run_id=first"
    (file,) = partition.glob("*.parquet")
    for number, source in enumerate((partition, file)):
        ended = label(source, folder / f"other-{number}", service)
        assert (ended.code, ended.summary["listed"], ended.summary["succeeded"]) == (0, 3, 3), ended


def test_an_errors_folder_of_bad_rows_alone_exits_2_and_says_that_the_list_is_to_be_mended(service, tmp_path):
    (tmp_path / "list.jsonl").write_text("{no json\n[1]\n")
    assert codes(label(tmp_path / "list.jsonl", tmp_path / "out", service).summary) == {"bad_manifest_row": 2}

    ended = label(tmp_path / "out" / "errors", tmp_path / "out", service, "--retry", "all")

    assert_clear(ended, 2, str(tmp_path / "out" / "errors"), "no image that could be tried again", "lists")


# --- files of this machine in lists from elsewhere -----------------------------------------------------------


def test_a_list_in_a_bucket_may_not_name_files_of_this_machine(bucket, service, tmp_path):
    (uri, data), *_ = write_pictures(tmp_path / "images", 1).items()
    (bucket / "own.png").write_bytes(picture(7))
    (bucket / "list.txt").write_text(f"{uri}\nfile://{uri}\nown.png\n/etc/passwd\n")

    ended = label("s3://lake/list.txt", tmp_path / "out", service)

    assert (ended.code, codes(ended.summary), ended.summary["calls"]) == (0, {"scheme_refused": 3}, 1)
    error = rows(tmp_path / "out", "errors")[0]
    assert (error["stage"], error["retryable"]) == ("list", False)
    for word in ("s3://lake/list.txt:", "names a file", "--allow-scheme file"):
        assert word in error["error_message"]

    by_errors = label(tmp_path / "out" / "errors", tmp_path / "out", service, "--retry", "all")
    assert_clear(by_errors, 2, "no image that could be tried again", "--allow-scheme file")

    allowed = label("s3://lake/list.txt", tmp_path / "out", service, "--allow-scheme", "file")
    assert (allowed.code, codes(allowed.summary), allowed.summary["duplicate"]) == (0, {"not_an_image": 1}, 1)
    assert_labels_follow_the_rule(tmp_path / "out", {uri: data, "s3://lake/own.png": picture(7)})


def test_what_a_run_read_from_standard_input_may_name_anything_wherever_its_output_is(bucket, tmp_path):
    (uri, *_) = write_pictures(tmp_path / "images", 1)
    config = LabelConfig(output="s3://lake/out", run_id="night", spec="echo-v1")
    for run_id in ("night", "other"):
        (bucket / "out" / "runs" / run_id).mkdir(parents=True)
        (bucket / "out" / "runs" / run_id / STDIN_LIST).write_text(f"{uri}\n")

    def listed(run_id):
        text = run_uri(config.output_uri, run_id, STDIN_LIST)
        return next(expand_input(text, index=0, options=input_options(config)))

    assert (listed("night").image_uri, listed("night").problem) == (uri, None)
    assert listed("other").problem.code == "scheme_refused"


def test_a_scheme_that_is_never_refused_is_not_allowed_either(service, tmp_path):
    ended = label(tmp_path, tmp_path / "out", service, "--allow-scheme", "ftp")
    assert_clear(ended, 2, "allow_scheme", "'ftp' needs no allowance", "file")
