"""The command on a real Flink cluster: the same tables as in one process, and the quota kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flink_cluster import FlinkCluster
from flink_jobs import job, most_in, rows, use_of_rate

from deepo_beam.emulator.testing import RunningEmulator, running_emulator

IMAGES = 2000


@pytest.fixture
def service() -> Iterator[RunningEmulator]:
    with running_emulator(latency=0.2) as emulator:
        yield emulator


def test_the_tables_are_those_of_one_process_row_for_row(
    tmp_path: Path, service: RunningEmulator, flink: FlinkCluster
) -> None:
    there, here = job(tmp_path, service, flink.flags(2)), job(tmp_path, service, [])
    there.make_photos(IMAGES)
    (there.folder / "photos" / "broken.png").write_bytes(b"no image")
    summary = there.label()
    assert summary["listed"] == IMAGES + 1
    assert summary["calls"] == service.stats()["accepted"] == IMAGES
    labelled_by = {json.loads(path.read_text())["worker"] for path in there.lake.glob("workers/*.json")}
    assert len(labelled_by) == 2

    here.name = "here"
    here.label()
    for table, least in (("images", IMAGES + 1), ("errors", 1), ("labels", IMAGES)):
        assert rows(there.lake, table) == rows(here.lake, table)
        assert len(rows(here.lake, table)) >= least


@pytest.mark.parametrize("parallelism", [2, 4])
def test_the_rate_is_used_and_never_exceeded(
    tmp_path: Path, service: RunningEmulator, flink: FlinkCluster, parallelism: int
) -> None:
    rate, seconds = 50, 5
    there = job(tmp_path, service, flink.flags(parallelism), "--rate", f"{rate}/s")
    there.make_photos(IMAGES)
    summary = there.label()
    assert summary["succeeded"] + summary["no_detection"] == IMAGES
    per_second = service.stats()["accepted_per_second"]
    print(parallelism, use_of_rate(per_second, rate), most_in(per_second, seconds), per_second)
    assert 0.95 <= use_of_rate(per_second, rate) <= 1.0 + 2 / rate
    assert most_in(per_second, seconds) <= rate * seconds + parallelism + 1
