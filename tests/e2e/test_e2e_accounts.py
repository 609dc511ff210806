"""What became of the tables between two runs is noticed, told and named."""

import json

from e2e_tools import assert_adds_up, assert_clear, command, label, rows, write_pictures


def test_a_table_that_somebody_deleted_breaks_the_accounts_of_the_next_run(tmp_path, service):
    write_pictures(tmp_path / "images", 5)
    first = label(tmp_path / "images", tmp_path / "out", service)
    assert (first.code, first.summary["accounting"]) == (0, None)
    known = sorted(row["image_id"] for row in rows(tmp_path / "out", "images"))
    (lost,) = (tmp_path / "out" / "images").glob("run_id=*/part-*.parquet")
    path = str(lost.relative_to(tmp_path / "out"))
    ended = command("verify", tmp_path / "out")
    assert (ended.code, ": all is well; checked: runs 1, " in ended.out) == (0, True), ended
    lost.unlink()
    ended = command("verify", tmp_path / "out", "--json")
    assert (ended.code, [one["path"] for one in json.loads(ended.out)["findings"]]) == (4, [path])

    second = label(tmp_path / "images", tmp_path / "out", service)
    assert (second.code, second.summary["exit_code"]) == (4, 4)
    assert_adds_up(second.summary)
    assert f"{path} is gone" in second.summary["accounting"]
    assert f"5 images ({', '.join(known)})" in second.summary["accounting"]
    assert "the accounts do not add up" in second.err
    assert service.stats()["accepted"] == 5


def test_what_a_cut_off_write_left_is_found_on_disk_and_stays(tmp_path, service):
    write_pictures(tmp_path / "images", 2)
    label(tmp_path / "images", tmp_path / "out", service)
    left = tmp_path / "out" / "runs" / ".0a1b.tmp"
    left.write_bytes(b"half")
    ended = command("verify", tmp_path / "out")
    assert ended.code == 4
    assert ended.out.splitlines()[0].startswith("temporary runs/.0a1b.tmp: ")
    assert left.exists()


def test_what_is_no_output_cannot_be_verified(tmp_path):
    assert_clear(command("verify", tmp_path / "nothing"), 2, "nothing", "dataset.json")
    assert not (tmp_path / "nothing").exists()
