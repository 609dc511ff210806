"""What an operator sees of labelling in the runner's own pages: metrics in the namespace ``deepo_beam``.

A runner shows those of bundles that came to their end, and some also those of bundles at work. The summary of a run
is not made from them: what a bundle attempt that died had done is in the journal, but in no metric.

Counters: ``calls`` (inference posts put on the wire), ``retries`` (those that repeat one), ``throttled`` (those
answered by 429), ``polls`` (calls to the task list), ``succeeded``, ``no_detection``, ``failed`` (images),
``failed_<error_code>``, and ``cumulativeThrottlingSeconds``: whole seconds of pauses after a 429, by Beam's own name,
by which Dataflow knows that more workers would not help.
Distributions, of each image that was settled: ``queue_ms`` (before its post), ``submit_ms`` (its post), ``wait_ms``
(from the accepted post to its answer), ``image_bytes`` (as read).
Gauges, of the process that told last: ``in_flight`` (tasks), ``rate_share_percent`` (its part of ``--rate``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from apache_beam.metrics.metric import Metrics

from deepo_beam.engine import Counters
from deepo_beam.types import ImageResult

NAMESPACE = "deepo_beam"


class LabelMetrics:
    """Used by the thread of a bundle, as Beam asks."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._queue, self._submit, self._wait, self._bytes = (
            Metrics.distribution(NAMESPACE, name) for name in ("queue_ms", "submit_ms", "wait_ms", "image_bytes")
        )

    def settled(self, results: Iterable[ImageResult]) -> None:
        """These images have an outcome."""
        counts: Counter[str] = Counter()
        for result in results:
            counts[result.status.value] += 1
            if result.failure is not None:
                counts[f"failed_{result.failure.code.value}"] += 1
            self._queue.update(result.timings.queue_ms)
            self._submit.update(result.timings.submit_ms)
            self._wait.update(result.timings.wait_ms)
            if result.facts.size_bytes is not None:
                self._bytes.update(result.facts.size_bytes)
        self._count(counts)

    def worked(self, before: Counters, now: Counters, sharers: int) -> None:
        """What the process did between two looks, and by how many (>= 1) the rate is shared."""
        counts = {
            "calls": now.calls - before.calls,
            "retries": now.retries - before.retries,
            "throttled": now.refused - before.refused,
            "cumulativeThrottlingSeconds": int(now.throttled_s) - int(before.throttled_s),
            "polls": now.polls - before.polls,
        }
        self._count(counts)
        Metrics.gauge(NAMESPACE, "in_flight").set(now.in_flight)
        Metrics.gauge(NAMESPACE, "rate_share_percent").set(round(100 / sharers))

    def _count(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            if count:
                Metrics.counter(NAMESPACE, name).inc(count)
