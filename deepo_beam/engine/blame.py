"""Who is at fault when a call fails: the service or the image. Pure; the clock is handed in.

A failed call is only *suspected* of its image until the service accepts another one; when twenty in a row
fail, the service is down, and the suspicion is dropped.
"""

from __future__ import annotations

from deepo_beam.engine.breaker import Breaker
from deepo_beam.engine.work import Job


class Blame:
    """The suspects, and the breaker that acquits them."""

    def __init__(self, outage_posts: int) -> None:
        """``outage_posts`` (>= 1) failures in a row mean that the service is down."""
        self.breaker = Breaker(outage_posts)
        self._suspects: list[Job] = []

    def failed(self, job: Job, now: float) -> None:
        """A call failed as it would in an outage."""
        job.suspected += 1
        job.first_failed_at = now if job.first_failed_at is None else job.first_failed_at
        self._suspects.append(job)
        self.breaker.failed(now, probe=job.probe)
        if self.breaker.open:
            for suspect in self._suspects:
                suspect.suspected, suspect.first_failed_at = 0, None
            self._suspects.clear()

    def accepted(self) -> None:
        """The service took a call, so the failures before it were their images' own."""
        self.breaker.answered()
        for job in self._suspects:
            job.tries, job.suspected = job.tries + job.suspected, 0
        self._suspects.clear()
