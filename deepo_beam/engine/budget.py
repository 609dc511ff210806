"""How many calls may still be claimed. Pure.

Every bucket has an allotment, which is spent by claims: one claim is one call at most, and claims are durable before
their calls, so whoever labels the bucket again knows what was spent. What a finished bucket leaves may go to the
others of the same process, if nobody else could label that bucket again.
"""

from __future__ import annotations

from collections import Counter, deque

from deepo_beam.engine.work import Job


class Budget:
    """The calls of one process, and the jobs that wait for one to become free."""

    def __init__(self, *, pooled: bool) -> None:
        """Without limit: only buckets with an allotment have one.

        Args:
            pooled: what a finished bucket leaves goes to the others.
        """
        self._pooled = pooled
        self._left: Counter[int] = Counter()  # of buckets with an allotment only
        self._unsent: Counter[int] = Counter()
        self._open: Counter[int] = Counter()  # labellings without an outcome
        self._pool = 0
        self._waiting: deque[Job] = deque()
        self._gained = False

    def opened(self, bucket: int) -> None:
        """A labelling of this bucket is to be done."""
        self._open[bucket] += 1

    def allot(self, bucket: int, calls: int) -> None:
        """Give ``calls`` (>= 0) to a bucket, once; its labellings are opened before.

        A second allotment of the same bucket is about the same calls, and is ignored.
        """
        if bucket not in self._left:
            self._left[bucket] = calls
            self._leave(bucket)

    def settled(self, bucket: int) -> None:
        """A labelling has an outcome, or is given up; the last one leaves what is left to the others."""
        self._open[bucket] -= 1
        self._leave(bucket)

    def claim(self, job: Job) -> bool:
        """Take a call for a job; False: there is none, and the job waits here for one."""
        bucket = job.work.bucket
        if bucket not in self._left:
            return True
        if self._left[bucket]:
            self._left[bucket] -= 1
        elif self._pool:
            self._pool -= 1
        else:
            self._waiting.append(job)
            return False
        self._unsent[bucket] += 1
        return True

    def sent(self, bucket: int) -> None:
        """A claimed call goes out: it is spent."""
        if bucket in self._left:
            self._unsent[bucket] -= 1

    def returned(self, bucket: int) -> None:
        """A claimed call will not be made."""
        if bucket in self._left:
            self._unsent[bucket] -= 1
            self._left[bucket] += 1
            self._gained = True
            self._leave(bucket)

    def affordable(self) -> list[Job]:
        """The waiting jobs for which there is a call now; they are to claim it as all others do."""
        if not self._gained:
            return []
        self._gained = False
        left, pool = self._left.copy(), self._pool
        ready, waiting = [], deque[Job]()
        for job in self._waiting:
            bucket = job.work.bucket
            if left[bucket]:
                left[bucket] -= 1
            elif pool:
                pool -= 1
            else:
                waiting.append(job)
                continue
            ready.append(job)
        self._waiting = waiting
        return ready

    def hopeless(self) -> list[Job]:
        """The waiting jobs for which no call can become free any more."""
        if not self._waiting:
            return []
        shared = self._pool + self._left.total() + self._unsent.total()
        hope = self._left + self._unsent
        kept, dropped = deque[Job](), []
        for job in self._waiting:
            bucket = job.work.bucket
            if self._pooled and shared:
                shared -= 1
            elif not self._pooled and hope[bucket]:
                hope[bucket] -= 1
            else:
                dropped.append(job)
                continue
            kept.append(job)
        self._waiting = kept
        return dropped

    def withdraw(self) -> list[Job]:
        """Take back every job that waits."""
        jobs = list(self._waiting)
        self._waiting.clear()
        return jobs

    def _leave(self, bucket: int) -> None:
        if self._pooled and self._left[bucket] and not self._open[bucket]:
            self._pool += self._left[bucket]
            self._left[bucket] = 0
            self._gained = True
