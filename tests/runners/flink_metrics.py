"""Beam's metrics as Flink's REST has them: an accumulator with JSON of base64 of Beam's own encodings."""

from __future__ import annotations

import base64
import json

from apache_beam.coders.coder_impl import create_InputStream
from apache_beam.coders.coders import VarIntCoder
from flink_cluster import FlinkCluster


def metrics_of(cluster: FlinkCluster, job: str, namespace: str) -> dict[str, list[int]]:
    """By name: of a counter its sum over all tasks.

    Of a distribution, by the task that was listed last, count, sum, least and most; of a gauge, time (ms) and value.
    """
    found: dict[str, list[int]] = {}
    for accumulator in cluster.get(f"/jobs/{job}/accumulators")["user-task-accumulators"]:
        if accumulator["name"] != "__metricscontainers":
            continue
        for metric in json.loads(accumulator["value"])["metrics"]["attempted"]:
            labels = metric.get("labels", {})
            if labels.get("NAMESPACE") != namespace:
                continue
            numbers = _numbers(base64.b64decode(metric["payload"]))
            counted = "sum_int64" in metric["urn"]
            before = found.get(labels["NAME"], [0])
            found[labels["NAME"]] = [before[0] + numbers[0]] if counted else numbers
    return found


def _numbers(payload: bytes) -> list[int]:
    stream, coder = create_InputStream(payload), VarIntCoder().get_impl()
    numbers = []
    while stream.size() > 0:
        numbers.append(coder.decode_from_stream(stream, nested=True))
    return numbers
