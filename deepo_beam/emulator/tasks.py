"""The tasks of the emulator: made, finished, asked for, forgotten. Pure: the clock is handed in.

A task of an echo model keeps the 32 bytes that its answer depends on and is answered when it is asked for; no
image is kept. Deepomatic API v0.7, tasks: ``id, status, error, date_created, date_updated, data, subtasks``.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from deepo_beam.emulator import echo
from deepo_beam.emulator.faults import Fate, fate, seconds_to_finish
from deepo_beam.emulator.options import Options

ECHO_RULES = {
    "echo-v1": echo.tags_of,
    "echo-boxes-v1": echo.boxes_of,
    "imagenet-inception-v3": echo.classes_of,
}
"""The models that answer from a key alone, by name."""

INJECTED_ERROR = "The emulator was asked to fail this task (--task-errors)."


class TaskFailedError(Exception):
    """A task cannot be worked out (no such URL, no image); the message is its ``error``."""


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked: the name of the model and what of its answer to show."""

    model: str
    show_discarded: bool
    max_predictions: int | None


@dataclass(slots=True)
class Task:
    """One task; times by the monotonic clock. Finished from ``finished_at`` on, not while that is None."""

    id: int
    job: Job
    key: bytes
    fate: Fate
    accepted_at: float
    earliest: float
    finished_at: float | None = None
    output: echo.Output | None = None
    error: str | None = None

    @property
    def is_open(self) -> bool:
        """Someone has to work out how it ends, and to say so by :meth:`TaskStore.finish`."""
        return self.finished_at is None and self.fate is Fate.FINE


class TaskStore:
    """All tasks that the server still knows, oldest first.

    Args:
        options: latency and the faults of tasks.
        first_id: of the first task; later ones count up.
        keep: how many tasks are remembered (>= 1); beyond it the oldest are forgotten.
    """

    def __init__(self, options: Options, *, first_id: int, keep: int = 1_000_000) -> None:
        self._options = options
        self._next_id = first_id
        self._keep = keep
        self._tasks: dict[int, Task] = {}
        self._times: Counter[bytes] = Counter()
        self._open = 0  # accepted, and no one knows yet when they will be finished
        self._finishes: list[float] = []  # a heap of the times still to come

    def accept(self, job: Job, identity: bytes, now: float, *, key: bytes | None) -> tuple[Task, int]:
        """Makes a task.

        Args:
            job: what was asked.
            identity: of the image, for its fate: the same bytes and crop, or the same URL and crop.
            now: seconds.
            key: what an echo model answers from; None where the answer is handed in later by :meth:`finish`.

        Returns:
            The task, and how many tasks were made for this image before.
        """
        nth = self._times[identity]
        self._times[identity] += 1
        ends = fate(self._options, identity, nth)
        earliest = now + seconds_to_finish(self._options, identity, nth)
        task = Task(self._next_id, job, key or b"", ends, accepted_at=now, earliest=earliest)
        self._next_id += 1
        self._open += 1
        self._tasks[task.id] = task
        if len(self._tasks) > self._keep:
            del self._tasks[next(iter(self._tasks))]
        if key is not None or ends in (Fate.ERROR, Fate.LOST):
            self.finish(task, now)
        return task, nth

    def finish(
        self,
        task: Task,
        now: float,
        *,
        key: bytes = b"",
        output: echo.Output | None = None,
        error: str | None = None,
    ) -> None:
        """Hands in how a task ended (a key to echo, an output, an error); shown from ``task.earliest`` on."""
        if task.fate is Fate.STUCK or task.finished_at is not None:
            return
        task.key = key or task.key
        task.output = output
        task.error = INJECTED_ERROR if task.fate is Fate.ERROR else error
        task.finished_at = max(now, task.earliest)
        self._open -= 1
        heapq.heappush(self._finishes, task.finished_at)

    def in_flight(self, now: float) -> int:
        """How many tasks are accepted and not finished."""
        while self._finishes and self._finishes[0] <= now:
            heapq.heappop(self._finishes)
        return self._open + len(self._finishes)

    def get(self, task_id: str) -> Task | None:
        """A task by its id as text; None if the server does not know it."""
        if not (task_id.isascii() and task_id.isdigit() and len(task_id) < 20):
            return None
        task = self._tasks.get(int(task_id))
        return None if task is None or task.fate is Fate.LOST else task


def task_json(task: Task, now: float, epoch: float) -> dict[str, Any]:
    """A task as the API shows it at a moment.

    Args:
        task: which one.
        now: seconds by the monotonic clock.
        epoch: seconds since 1970 at which that clock stood at 0.
    """
    done = task.finished_at is not None and task.finished_at <= now
    updated = task.finished_at if done and task.finished_at is not None else task.accepted_at
    succeeded = done and task.error is None
    return {
        "id": str(task.id),
        "status": "success" if succeeded else "error" if done else "pending",
        "error": task.error if done else None,
        "date_created": _iso(task.accepted_at + epoch),
        "date_updated": _iso(updated + epoch),
        "data": {"outputs": [_shown(task)]} if succeeded else None,
        "subtasks": [],
    }


def _shown(task: Task) -> echo.Output:
    output = task.output if task.output is not None else ECHO_RULES[task.job.model](task.key)
    predicted = output["labels"]["predicted"][: task.job.max_predictions]
    discarded = output["labels"]["discarded"] if task.job.show_discarded else []
    if task.job.max_predictions is not None:  # the cap is on both together, the highest scores first
        discarded = discarded[: task.job.max_predictions - len(predicted)]
    return {"labels": {"predicted": predicted, "discarded": discarded}}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
