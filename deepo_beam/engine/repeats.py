"""Whether one more call is made for an image after one that came to nothing. Pure."""

from __future__ import annotations

from deepo_beam.engine.settings import EngineSettings
from deepo_beam.engine.work import Job
from deepo_beam.records import Reason


def is_exhausted(job: Job, now: float, settings: EngineSettings) -> bool:
    """Enough calls that were refused, or enough time, while the service answered others."""
    late = job.first_failed_at is not None and now - job.first_failed_at > settings.stuck_max_s
    tries = job.work.failed_attempts + job.tries + job.suspected
    return job.tries > 0 and (tries >= settings.attempts or late)


def may_repost(job: Job, reason: Reason, settings: EngineSettings) -> bool:
    """Once more although it may have been billed: counted in ``job``, and limited."""
    if job.reposts >= settings.max_reposts:
        return False
    job.reposts += 1
    job.reason = reason
    return True


def may_rerun(job: Job, settings: EngineSettings) -> bool:
    """Once more after a task that the service ended in error: counted in ``job``, and limited."""
    tries = job.work.failed_attempts + job.tries
    if job.task_reruns >= settings.max_task_reruns or tries >= settings.attempts:
        return False
    job.task_reruns += 1
    job.reason = Reason.TASK_ERROR
    return True
