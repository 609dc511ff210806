"""The command on a real Flink cluster: the same tables as in one process, and the quota kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flink_cluster import FlinkCluster
from flink_jobs import assert_same_tables, job, most_in, use_of_rate
from flink_metrics import metrics_of

from deepo_beam.emulator.testing import RunningEmulator
from deepo_beam.transforms.label_metrics import NAMESPACE

IMAGES = 2000


def test_the_tables_are_those_of_one_process_row_for_row_and_metrics_are_on_flinks_rest(
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

    seen = metrics_of(flink, flink.last_job(), NAMESPACE)
    assert seen["calls"] == [IMAGES]
    assert seen["succeeded"][0] + seen.get("no_detection", [0])[0] == IMAGES
    assert seen["failed"] == seen["failed_not_an_image"] == [1]
    assert {
        "polls",
        "queue_ms",
        "submit_ms",
        "wait_ms",
        "image_bytes",
        "in_flight",
        "rate_share_percent",
    } <= seen.keys()

    assert_same_tables(there, here, IMAGES)


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
