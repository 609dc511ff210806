"""The service: what it does to a post and to a poll, and what it has really done."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

from deepo_beam.api import Output, Prediction, Task, TaskState
from deepo_beam.errors import (
    AnswerLostError,
    ApiError,
    AuthenticationError,
    PayloadTooLargeError,
    ServerError,
    ServiceUnavailableError,
    ThrottledError,
)
from sim.scenario import Faults


@dataclass(slots=True)
class SimulatedTask:
    """One call that was accepted, and billed."""

    image_id: str
    content: str
    generation: int
    run_id: str
    accepted_at: float
    done_at: float
    state: TaskState
    known: bool


class Service:
    """Accepts calls, and remembers them better than it admits."""

    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self.faults = faults
        self.tasks: dict[str, SimulatedTask] = {}
        self.accepted: defaultdict[str, list[SimulatedTask]] = defaultdict(list)
        self.well = False
        self._rng = rng
        self._due = 0.0

    def post(self, image_id: str, content: str, generation: int, run_id: str, now: float) -> str | ApiError:
        """What is answered to a call that arrives now."""
        faults, rng = self.faults, self._rng
        task = (image_id, content, generation, run_id)
        if self.well:
            return self._accept(*task, now)
        if _within(faults.revoked, now):
            return AuthenticationError("who are you?", status=401)
        if _within(faults.outage, now):
            return ServiceUnavailableError("down")
        if (refused := self._throttled(now)) is not None:
            return refused
        draw = rng.random()
        if draw < faults.unavailable:
            return ServiceUnavailableError("busy")
        if rng.random() < faults.too_large:
            return PayloadTooLargeError("too large", status=413)
        if rng.random() < faults.broken:
            if rng.random() < 0.5:
                self._accept(*task, now)
            return ServerError("broken", status=500)
        task_id = self._accept(*task, now)
        return AnswerLostError("cut") if rng.random() < faults.cut else task_id

    def poll(self, ids: tuple[str, ...], now: float) -> list[Task] | ApiError:
        """What is answered to a poll that arrives now: what is known, in any order."""
        assert 1 <= len(ids) <= 100
        faults, rng = self.faults, self._rng
        if self.well:
            return [self._task(task_id, now) for task_id in ids if self.tasks[task_id].known]
        if _within(faults.revoked, now):
            return AuthenticationError("who are you?", status=401)
        if _within(faults.outage, now):
            return ServiceUnavailableError("down")
        if rng.random() < faults.failed_polls:
            return ServerError("broken", status=502)
        known = [self._task(task_id, now) for task_id in ids if self.tasks[task_id].known]
        rng.shuffle(known)
        return known

    def refuses_the_key(self, now: float) -> bool:
        """Preflight would say so."""
        return not self.well and _within(self.faults.revoked, now)

    def get_well(self) -> None:
        """From now on nothing fails."""
        self.well = True

    def _throttled(self, now: float) -> ThrottledError | None:
        rate = self.faults.service_rate
        if rate is None:
            return None
        if now < self._due - max(2.0, 0.1 * rate) / rate:
            return ThrottledError("slow down", retry_after=self._rng.choice([None, 0.5]))
        self._due = max(now, self._due) + 1 / rate
        return None

    def _accept(self, image_id: str, content: str, generation: int, run_id: str, now: float) -> str:
        faults, rng = self.faults, self._rng
        task_id = str(len(self.tasks) + 1)
        sick = not self.well
        task = SimulatedTask(
            image_id=image_id,
            content=content,
            generation=generation,
            run_id=run_id,
            accepted_at=now,
            done_at=float("inf") if sick and rng.random() < faults.stuck else now + rng.uniform(*faults.latency),
            state=TaskState.ERROR if sick and rng.random() < faults.task_errors else TaskState.SUCCESS,
            known=not (sick and rng.random() < faults.lost),
        )
        self.tasks[task_id] = task
        self.accepted[image_id].append(task)
        return task_id

    def _task(self, task_id: str, now: float) -> Task:
        task = self.tasks[task_id]
        if now < task.done_at:
            return Task(task_id, TaskState.PENDING)
        if task.state is TaskState.ERROR:
            return Task(task_id, TaskState.ERROR, error="cannot decode")
        return Task(task_id, TaskState.SUCCESS, outputs=answer(task.image_id, task.content))


def answer(image_id: str, content: str) -> tuple[Output, ...]:
    """What the service answers for an image: nothing for one in sixteen."""
    if image_id.endswith("0"):
        return (Output(()),)
    return (Output((Prediction(int(image_id[-1], 16), label_of(image_id, content), 0.75, 0.5),)),)


def label_of(image_id: str, content: str) -> str:
    """The one label of an image."""
    return f"{image_id[:8]} {content}"


def _within(span: tuple[float, float] | None, now: float) -> bool:
    return span is not None and span[0] <= now < span[0] + span[1]
