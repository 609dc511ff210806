"""The command on runners of this machine: Prism, and the names that a user may type for Beam's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from flink_jobs import assert_same_tables, check_here, communicate, job, rows
from runner_parts import prism

from deepo_beam.emulator.testing import RunningEmulator

IMAGES = 2000


@pytest.fixture(scope="module")
def on_prism() -> list[str]:
    return ["--runner=PrismRunner", f"--prism_location={prism()}"]


def test_prism_leaves_the_tables_of_beams_own_runner(
    tmp_path: Path, service: RunningEmulator, on_prism: list[str]
) -> None:
    there, here = job(tmp_path, service, on_prism), job(tmp_path, service, [])
    there.make_photos(IMAGES)
    (there.folder / "photos" / "broken.png").write_bytes(b"no image")
    summary = there.label()
    assert summary["listed"] == IMAGES + 1
    assert summary["calls"] == service.stats()["accepted"] == IMAGES
    assert_same_tables(there, here, IMAGES)


def test_a_job_that_fails_on_prism_says_why_and_is_not_run_again(
    tmp_path: Path, service: RunningEmulator, on_prism: list[str]
) -> None:
    there = job(tmp_path, service, on_prism)
    there.buckets = 1
    there.make_photos(20)
    there.label()
    (segment, *_) = (there.lake / "journal").glob("bucket=*/*.parquet")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:100])
    (there.folder / "photos" / "99999.gif").write_bytes((there.folder / "photos" / "00000.gif").read_bytes() + b"new")
    ended = there.start()
    out, err = communicate(ended)
    assert (ended.returncode, out) == (6, "")
    (said,) = (line for line in err.splitlines() if line.startswith("Error: "))  # workers write below it what they like
    assert segment.name in said
    assert service.stats()["accepted"] == 20
    assert len([*there.lake.glob("runs/*/config.json")]) == 2
    segment.write_bytes(whole)
    there.label()
    check_here(there)


def test_the_name_direct_runner_needs_no_download(tmp_path: Path, service: RunningEmulator) -> None:
    there = job(tmp_path, service, ["--runner=DirectRunner"])
    there.make_photos(20)
    assert there.label()["calls"] == 20
    check_here(there)


def test_two_processes_of_beams_own_runner_leave_the_tables_of_one(tmp_path: Path, service: RunningEmulator) -> None:
    two = ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    there, here = job(tmp_path, service, two), job(tmp_path, service, [])
    there.make_photos(IMAGES)
    there.label()
    check_here(there)
    here.name = "here"
    here.label()
    for table in ("images", "labels"):
        assert rows(there.lake, table) == rows(here.lake, table)
