"""How the work on an image ends, and what the journal and whoever asked are told. Pure; the clock is handed in."""

from __future__ import annotations

from collections.abc import Callable

from deepo_beam.engine.budget import Budget
from deepo_beam.engine.ledger import Ledger
from deepo_beam.engine.outbox import Outbox
from deepo_beam.engine.work import Counters, Entry, Job, NotAttempted, RunFacts, Settled, Unchanged
from deepo_beam.records import Accepted, Finished, Noted, Record, Released
from deepo_beam.types import Failure, ImageResult, Status, Timings


class Endings:
    """Turns jobs into records and outcomes, and gives their claims and calls back."""

    def __init__(
        self,
        run: RunFacts,
        ledger: Ledger,
        budget: Budget,
        outbox: Outbox,
        counters: Counters,
        wall_us: Callable[[float], int],
    ) -> None:
        """``wall_us`` turns monotonic seconds into microseconds since 1970 UTC, for the records."""
        self._run, self._ledger, self._budget, self._outbox = run, ledger, budget, outbox
        self._counters, self._wall_us = counters, wall_us

    def accepted(self, job: Job, task_id: str, now: float) -> None:
        """The service took its call: no end yet, but what matters most of what is known."""
        work = job.work
        accepted = Accepted(
            run_id=self._run.run_id,
            image=work.image,
            generation=work.generation,
            attempt=job.attempt,
            task_id=task_id,
            model_version_id=self._run.model_version_id,
            facts=job.facts,
            recorded_us=self._wall_us(now),
        )
        self._note(job, accepted)

    def settled(
        self,
        job: Job,
        status: Status,
        now: float,
        *,
        outputs: str | None = None,
        failure: Failure | None = None,
    ) -> None:
        """The labelling has an outcome."""
        run, work = self._run, job.work
        answered_before = work.resume if job.calls == 0 else None
        result = ImageResult(
            image=work.image,
            model=run.model,
            model_version_id=(answered_before or run).model_version_id,
            status=status,
            outputs=outputs,
            failure=failure,
            facts=job.facts,
            task_id=job.task_id,
            attempts=job.tries + job.suspected + (status is not Status.FAILED),
            calls=job.calls,
            timings=_timings(job, now),
            finished_us=self._wall_us(now),
            generation=work.generation,
        )
        self._note(job, Finished(run.run_id, result))
        self._budget.settled(work.bucket)
        self._outbox.put(work.owner, [Settled(work, result)])
        self._counters.ended(status)

    def unchanged(self, job: Job) -> None:
        """Its bytes are those of the generation before."""
        image, known = job.work.image, job.work.generation - 1
        self.given_up(job)
        self._note(job, Noted(self._run.run_id, image.image_id, known, image.size_bytes, image.modified_us))
        self._outbox.put(job.work.owner, [Unchanged(job.work)])

    def not_attempted(self, job: Job) -> None:
        """The run ends before it has an outcome."""
        self.given_up(job)
        self._counters.not_attempted += not job.cancelled
        self._outbox.put(job.work.owner, [NotAttempted(job.work)])

    def given_up(self, job: Job) -> None:
        """Nothing more is done for it."""
        self.release(job)
        self._budget.settled(job.work.bucket)

    def release(self, job: Job) -> None:
        """The claim that it holds, if any, will not be used."""
        if job.claimed:
            job.claimed = False
            self.released(job, sent=False)
            self._budget.returned(job.work.bucket)

    def released(self, job: Job, *, sent: bool) -> None:
        """Its last claim cannot have been billed; ``sent``: the call was made, and refused."""
        image_id, generation = job.work.image.image_id, job.work.generation
        self._note(job, Released(self._run.run_id, image_id, generation, job.attempt, sent=sent))

    def _note(self, job: Job, record: Record) -> None:
        self._ledger.record(Entry(job.work.owner, job.work.bucket, record))


def _timings(job: Job, now: float) -> Timings:
    """Where the time went; a task of an earlier run has waited since this one asked for it."""
    submitted_at = job.accepted_at or now
    return Timings(
        queue_ms=round(1000 * max(0.0, job.taken_at - job.queued_at)),
        submit_ms=round(1000 * max(0.0, submitted_at - job.posted_at)) if job.calls else 0,
        wait_ms=round(1000 * max(0.0, now - job.accepted_at)) if job.accepted_at else 0,
    )
