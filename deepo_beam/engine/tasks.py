"""The tasks that are waited for, and what a poll says of them. Pure; the clock is handed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deepo_beam.api import Task, TaskState, encode_outputs
from deepo_beam.engine.polls import PollSchedule
from deepo_beam.engine.settings import EngineSettings
from deepo_beam.engine.work import Job
from deepo_beam.errors import ApiError, ErrorCode, Stage
from deepo_beam.text import clean_text
from deepo_beam.types import Failure, Status

_SLOW_FACTOR = 5  # x p95: from then on a task does not count in the window
_STUCK_FACTOR = 20  # x p95: from then on it is given up
_UNREADABLE_BESIDE_OTHERS = 3  # answers for one task alone, while others were answered
_UNREADABLE_AT_ALL = 20


@dataclass(frozen=True, slots=True)
class Answered:
    """The task succeeded; ``outputs`` is JSON in the API's own shape."""

    status: Status
    outputs: str


@dataclass(frozen=True, slots=True)
class Spoiled:
    """Nothing will come of this task that could be used."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """The service ended the task in error."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class TaskLost:
    """The service does not know the task any more."""

    failure: Failure


Verdict = Answered | Spoiled | TaskFailed | TaskLost


class Tasks:
    """Jobs by the id of the task that they wait for."""

    def __init__(self, settings: EngineSettings) -> None:
        """None yet."""
        self._settings = settings
        self._waiting: dict[str, list[Job]] = {}
        self._slow = 0
        self._count = 0
        self.polls = PollSchedule()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        return iter([job for jobs in self._waiting.values() for job in jobs])

    @property
    def in_window(self) -> int:
        """Tasks that are not unusually slow."""
        return self._count - self._slow

    def add(self, job: Job, task_id: str, now: float, *, known: bool = False) -> None:
        """Wait for a task; ``known``: it was accepted by an earlier run."""
        job.task_id, job.accepted_at, job.missing_since = task_id, now, None
        job.unanswered_s = self.polls.unanswered_s(now)
        self._waiting.setdefault(task_id, []).append(job)
        self._count += 1
        if known:
            self.polls.add_known(task_id, now)
        else:
            self.polls.add(task_id, now)

    def is_of_another(self, task_id: str, job: Job) -> bool:
        """This id is waited for already, for another image."""
        image_id = job.work.image.image_id
        return any(other.work.image.image_id != image_id for other in self._waiting.get(task_id, ()))

    def remove(self, job: Job) -> None:
        """Wait for it no more."""
        assert job.task_id is not None
        jobs = self._waiting[job.task_id]
        jobs.remove(job)
        if not jobs:
            del self._waiting[job.task_id]
        self._count -= 1
        self._slow -= job.slow
        job.slow = False

    def next_poll(self, now: float) -> tuple[str, ...] | float:
        """Up to 100 task ids to ask for now, or the time to ask again."""
        while True:
            due = self.polls.take(now)
            if isinstance(due, float):
                return due
            ids = tuple(dict.fromkeys(task_id for task_id in due if task_id in self._waiting))
            if ids:
                return ids

    def answered(self, ids: Iterable[str], tasks: Iterable[Task], now: float) -> Iterator[tuple[Job, Verdict]]:
        """What a poll for ``ids`` settles; an id without a task is unknown to the service."""
        ids = tuple(ids)
        self.polls.answered(len(ids), now)
        found: Mapping[str, Task] = {task.id: task for task in tasks}
        for task_id in ids:
            for job in list(self._waiting.get(task_id, ())):
                verdict = self._judge(job, found.get(task_id), now)
                if verdict is not None:
                    self.remove(job)
                    yield job, verdict

    def unreadable(self, ids: Sequence[str], error: ApiError, now: float) -> Iterator[tuple[Job, Verdict]]:
        """What is settled when there was an answer for ``ids`` that cannot be read.

        It may be one task's fault, which shows when that is asked for alone; or the service's, which shows when no
        other call is answered either.
        """
        if len(ids) > 1:
            return
        for job in list(self._waiting.get(ids[0], ())):
            job.unreadable += 1
            if job.unreadable == 1:
                job.unreadable_since = now
            others_answered = self.polls.answered_at > job.unreadable_since
            if job.unreadable >= (_UNREADABLE_BESIDE_OTHERS if others_answered else _UNREADABLE_AT_ALL):
                self.remove(job)
                message = clean_text(f"the answer for task {ids[0]} cannot be read: {error}", max_chars=1000)
                yield job, Spoiled(Failure(Stage.PARSE, ErrorCode.BAD_RESULT, message, retryable=False))

    def _judge(self, job: Job, task: Task | None, now: float) -> Verdict | None:
        if task is None:
            return self._judge_missing(job, now)
        job.missing_since = None
        if task.problem is not None:
            message = clean_text(str(task.problem), max_chars=1000)
            return Spoiled(Failure(Stage.PARSE, task.problem.code, message, task.problem.retryable))
        if task.state is TaskState.PENDING:
            verdict = self._judge_age(job, now)
            if verdict is None:
                self.polls.again(task.id, self._age_s(job, now), now)
            return verdict
        if task.outputs is None:
            message = clean_text(task.error or "the task ended in error", max_chars=1000)
            return TaskFailed(Failure(Stage.POLL, ErrorCode.TASK_ERROR, message, retryable=True))
        if job.calls:
            self.polls.observed(self._age_s(job, now), now)  # an outage of polls is no latency
        predicted = any(output.predicted for output in task.outputs)
        return Answered(Status.SUCCEEDED if predicted else Status.NO_DETECTION, encode_outputs(task.outputs))

    def _age_s(self, job: Job, now: float) -> float:
        """Time in which the service answered no poll is not held against the task."""
        return now - job.accepted_at - (self.polls.unanswered_s(now) - job.unanswered_s)

    def _judge_missing(self, job: Job, now: float) -> Verdict | None:
        assert job.task_id is not None
        if job.missing_since is None:
            job.missing_since = now
        if now - job.missing_since < self._settings.lost_grace_s:
            self.polls.missing(job.task_id, now)
            return None
        message = f"the service does not know task {job.task_id} any more"
        return TaskLost(Failure(Stage.POLL, ErrorCode.TASK_LOST, message, retryable=True))

    def _judge_age(self, job: Job, now: float) -> Verdict | None:
        age, p95 = self._age_s(job, now), self.polls.p95_s()
        if age > _SLOW_FACTOR * p95 and not job.slow:
            job.slow = True
            self._slow += 1
        settings = self._settings
        if age <= max(settings.stuck_min_s, min(settings.stuck_max_s, _STUCK_FACTOR * p95)):
            return None
        message = f"task {job.task_id} was still pending after {age:.0f} s"
        return Spoiled(Failure(Stage.POLL, ErrorCode.TASK_STUCK, message, retryable=True))
