"""Night after night: new and changed files only, and another model version on request."""

import os
import time
from collections import Counter

import pyarrow.parquet as pq
import pytest
from e2e_tools import assert_adds_up, label, picture, rows, sha256, write_pictures

from deepo_beam.emulator.testing import running_emulator


def night(folder, service, *flags, code=0):
    ended = label(folder / "images", folder / "out", service, *flags)
    assert ended.code == code, ended
    assert_adds_up(ended.summary)
    return ended.summary


def dispositions(output, run_id):
    files = (output / "runs" / run_id / "listing").glob("*.parquet")
    return Counter(text for file in files for text in pq.read_table(file)["disposition"].to_pylist())


def touch(path, seconds):
    status = path.stat()
    os.utime(path, (status.st_atime + seconds, status.st_mtime + seconds))


@pytest.fixture
def labelled(tmp_path, service):
    """A folder of six images after its first night."""
    write_pictures(tmp_path / "images", 6)
    night(tmp_path, service)
    service.reset()
    return tmp_path


def test_a_file_that_was_only_touched_is_read_once_and_reused(labelled, service):
    touched = sorted((labelled / "images").iterdir())[1]
    touch(touched, 100)
    summary = night(labelled, service)
    assert (summary["reused"], summary["calls"]) == (6, 0)
    assert dispositions(labelled / "out", summary["run_id"]) == {"compare": 1, "reused": 5}
    summary = night(labelled, service)
    assert dispositions(labelled / "out", summary["run_id"]) == {"reused": 6}


def test_a_file_with_other_bytes_is_labelled_again(labelled, service):
    changed = sorted((labelled / "images").iterdir())[2]
    changed.write_bytes(picture(77))
    touch(changed, 100)
    summary = night(labelled, service)
    assert (summary["succeeded"] + summary["no_detection"], summary["reused"], summary["calls"]) == (1, 5, 1)
    assert service.stats()["accepted"] == 1
    both = [row for row in rows(labelled / "out", "images") if row["image_uri"] == str(changed)]
    assert len(both) == 2
    assert sha256(changed.read_bytes()) in {row["content_sha256"] for row in both}
    assert night(labelled, service)["reused"] == 6


def test_other_bytes_under_the_same_size_and_time_are_noticed_by_nobody(labelled, service):
    changed = sorted((labelled / "images").iterdir())[2]
    status, data = changed.stat(), bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert night(labelled, service)["reused"] == 6


def test_changes_can_be_left_alone(labelled, service):
    changed = sorted((labelled / "images").iterdir())[2]
    changed.write_bytes(picture(77))
    summary = night(labelled, service, "--detect-changes", "never")
    assert (summary["reused"], service.stats()["accepted"]) == (6, 0)


@pytest.mark.parametrize(("detect", "calls"), [("listing", 0), ("stat", 1)])
def test_a_list_without_times_is_trusted_unless_the_store_is_to_be_asked(tmp_path, service, detect, calls):
    images = write_pictures(tmp_path / "pictures", 4)
    (tmp_path / "images.txt").write_text("\n".join(images))
    arguments = (tmp_path / "images.txt", tmp_path / "out", service, "--detect-changes", detect)
    assert label(*arguments).summary["calls"] == 4
    changed = sorted((tmp_path / "pictures").iterdir())[0]
    changed.write_bytes(picture(77))
    touch(changed, 100)
    again = label(*arguments)
    assert again.code == 0, again
    assert (again.summary["calls"], again.summary["reused"]) == (calls, 4 - calls)


def test_a_bad_image_that_was_mended_is_labelled_and_one_that_was_only_touched_stays_skipped(tmp_path, service):
    write_pictures(tmp_path / "images", 2)
    bad, worse = tmp_path / "images" / "bad.png", tmp_path / "images" / "worse.png"
    bad.write_text("no image")
    worse.write_text("neither")
    assert night(tmp_path, service)["failed"] == 2
    bad.write_bytes(picture(5))
    touch(bad, 100)
    touch(worse, 100)
    summary = night(tmp_path, service)
    assert (summary["skipped"], summary["reused"], summary["calls"]) == (1, 2, 1)
    assert sorted(row["status"] == "failed" for row in rows(tmp_path / "out", "images")) == [False] * 3 + [True] * 2


@pytest.mark.parametrize(("relabel", "calls"), [("none", 0), ("outdated", 4)])
def test_a_new_version_is_told_and_labelled_only_on_request(tmp_path, relabel, calls):
    write_pictures(tmp_path / "images", 4)
    with running_emulator(new_version_at=6.0) as service:
        first = night(tmp_path, service)
        deadline = time.monotonic() + 40
        while (second := night(tmp_path, service, "--relabel", relabel))["model_version_id"] == 21:
            assert time.monotonic() < deadline
    assert first["model_version_id"] == 21
    assert (second["calls"], second["reused"]) == (calls, 4 - calls)
    assert second["other_versions"] == ({} if calls else {"21": 4})


def test_all_known_images_are_labelled_again_on_request_and_each_labelling_is_in_the_tables_once(labelled, service):
    summary = night(labelled, service, "--relabel", "all")
    assert (summary["calls"], summary["reused"]) == (6, 0)
    assert summary["possibly_billed_twice"] == 0
    assert len(rows(labelled / "out", "images")) == 12
    assert night(labelled, service, "--relabel", "outdated")["calls"] == 0


def test_labelling_all_again_in_parts_goes_on_where_the_start_before_ended(tmp_path, service):
    write_pictures(tmp_path / "images", 9)
    night(tmp_path, service, "--buckets", "1")
    service.reset()

    for _ in range(3):
        flags = ("--relabel", "all", "--max-calls", "3", "--buckets", "1")
        assert night(tmp_path, service, *flags, code=5)["calls"] == 3

    stats = service.stats()
    assert (stats["accepted"], stats["distinct_images"], stats["accepted_again"]) == (9, 9, 0)
