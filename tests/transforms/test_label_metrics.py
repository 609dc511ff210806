"""Beam's metrics of labelling, as a runner shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from deepo_beam.emulator.testing import RunningEmulator, running_emulator
from deepo_beam.transforms import LabelImages
from deepo_beam.transforms.label_metrics import NAMESPACE

Pictures = Callable[[int], list[str]]


def metrics_of(result: Any) -> dict[str, Any]:
    found = result.metrics().query()
    every = [*found["counters"], *found["distributions"], *found["gauges"]]
    return {metric.key.metric.name: metric.committed for metric in every if metric.key.metric.namespace == NAMESPACE}


def test_a_runner_is_told_by_beams_own_name_how_long_refusals_kept_it_from_posting(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "any")
    with running_emulator(rate=10, latency=0.05) as service:
        pipeline = beam.Pipeline(runner="FnApiRunner")
        _ = pipeline | beam.Create(pictures(40)) | LabelImages(spec="echo-v1", api_url=service.url)
        result = pipeline.run()
        result.wait_until_finish()
    seen = metrics_of(result)
    assert seen["throttled"] >= 1
    assert 1 <= seen["cumulativeThrottlingSeconds"] <= 10


def test_an_operator_sees_calls_outcomes_times_sizes_and_the_share_of_the_rate(
    service: RunningEmulator, pictures: Pictures, tmp_path: Path
) -> None:
    paths = pictures(30)
    (tmp_path / "photos" / "no.png").write_bytes(b"no image")
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create([*paths, str(tmp_path / "photos" / "no.png")]) | LabelImages(spec="echo-v1")
    result = pipeline.run()
    result.wait_until_finish()
    seen = metrics_of(result)
    assert seen["calls"] == service.stats()["accepted"] == 30
    assert seen["succeeded"] + seen.get("no_detection", 0) == 30
    assert (seen["failed"], seen["failed_not_an_image"]) == (1, 1)
    assert seen["polls"] >= 1
    assert {"retries", "throttled", "cumulativeThrottlingSeconds"} & seen.keys() == set()
    for name in ("queue_ms", "submit_ms", "wait_ms"):
        assert seen[name].count == 31
    assert seen["image_bytes"].sum == sum(Path(path).stat().st_size for path in paths) + len(b"no image")
    assert seen["in_flight"].value == 0
    assert seen["rate_share_percent"].value == 100
