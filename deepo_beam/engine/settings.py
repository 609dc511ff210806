"""The numbers that the engine works by, in one place, with their reasons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How one process labels.

    Attributes:
        rate_per_s: calls per second that this process may make (> 0), None for no limit.
        max_in_flight: task ids posted and not finished (>= 1), None to size by observed latency.
        max_buffer_bytes: image bytes held before their post (>= 1).
        max_senders: threads that read and post (>= 1).
        attempts: failed tries over all runs after which an image is given up (>= 1).
        max_reposts: calls repeated although one may have been billed, per image (>= 0).
        max_task_reruns: times that a task that ended in error is run again, per image (>= 0).
        load_attempts: tries to read an image (>= 1).
        retry_base_s, retry_cap_s: full-jitter backoff between tries of an image.
        stuck_min_s, stuck_max_s: a task is given up as stuck at 20 x the observed p95, within these.
        lost_grace_s: an id missing from the list is polled again for this long before it counts as lost.
        flush_interval_s: at most this long until a fact is durable, while the store answers.
        flush_stall_s: a flush that is not done after this stops further posts.
        store_deadline_s: a store that fails for this long ends the run.
        outage_posts: that many posts failing in a row mean that the service is down.
        outage_deadline_s: a service that is down, or throttles everything, for this long ends the run.
        max_failure_rate: a larger share of failed images (0..1) ends the run, None for no limit.
        pooled_budget: calls that a finished bucket leaves go to the others of this process: only where no other
            process could label that bucket again.
        drain_s: after a stop, how long to wait for what is in flight.
    """

    rate_per_s: float | None = None
    max_in_flight: int | None = None
    max_buffer_bytes: int = 256_000_000
    max_senders: int = 128
    attempts: int = 5
    max_reposts: int = 2
    max_task_reruns: int = 1
    load_attempts: int = 3
    retry_base_s: float = 0.5
    retry_cap_s: float = 30.0
    stuck_min_s: float = 60.0
    stuck_max_s: float = 300.0
    lost_grace_s: float = 2.0
    flush_interval_s: float = 2.0
    flush_stall_s: float = 5.0
    store_deadline_s: float = 60.0
    outage_posts: int = 20
    outage_deadline_s: float = 900.0
    max_failure_rate: float | None = None
    pooled_budget: bool = True
    drain_s: float = 30.0
