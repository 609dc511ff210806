"""What became of the tables between two runs is noticed, told and named."""

from e2e_tools import assert_adds_up, label, rows, write_pictures


def test_a_table_that_somebody_deleted_breaks_the_accounts_of_the_next_run(tmp_path, service):
    write_pictures(tmp_path / "images", 5)
    first = label(tmp_path / "images", tmp_path / "out", service)
    assert (first.code, first.summary["accounting"]) == (0, None)
    known = sorted(row["image_id"] for row in rows(tmp_path / "out", "images"))
    (lost,) = (tmp_path / "out" / "images").glob("run_id=*/part-*.parquet")
    lost.unlink()

    second = label(tmp_path / "images", tmp_path / "out", service)
    assert (second.code, second.summary["exit_code"]) == (4, 4)
    assert_adds_up(second.summary)
    assert f"{lost.relative_to(tmp_path / 'out')} is gone" in second.summary["accounting"]
    assert f"5 images ({', '.join(known)})" in second.summary["accounting"]
    assert "the accounts do not add up" in second.err
    assert service.stats()["accepted"] == 5
