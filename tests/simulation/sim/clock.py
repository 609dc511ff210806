"""Virtual time: events in order, and whoever acts in them.

Whatever takes time in the middle of production code (an operation of the store) lets everything else happen until it
is over: :meth:`Clock.pass_until` runs the events that are due, nested. So steps of one actor fall between any two
operations of another, without threads.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable


class KilledError(BaseException):
    """The actor is gone: nothing in the code under test may catch this."""


class Actor:
    """Somebody who acts, until killed; ``zombie``: others think that it has been; its machine may sleep."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.zombie = False
        self.asleep_until = 0.0


class Clock:
    """Events by time, those of one moment in the order in which they were asked for."""

    MOST_EVENTS = 60_000

    def __init__(self, *, trace: bool = False) -> None:
        self.now = 0.0
        self.events = 0
        self._trace = trace
        self._queue: list[tuple[float, int, Actor | None, Callable[[], None]]] = []
        self._ticket = 0

    def after(self, seconds: float, then: Callable[[], None], actor: Actor | None = None) -> None:
        """Let something happen later, if its actor is still alive then."""
        self._ticket += 1
        heapq.heappush(self._queue, (self.now + seconds, self._ticket, actor, then))

    def pass_until(self, time: float) -> None:
        """Let everything happen that is due by then."""
        queue = self._queue
        while queue and queue[0][0] <= time:
            self._step()
        self.now = max(self.now, time)

    def wait_for(self, done: Callable[[], bool], most_s: float) -> None:
        """Let things happen until ``done``; AssertionError if that takes too long, or nothing is left to happen."""
        until = self.now + most_s
        while not done():
            assert self._queue, "hangs: nothing is left to happen"
            assert self._queue[0][0] <= until, f"hangs: not done after {most_s:.0f} s"
            self._step()

    def say(self, who: str, what: str, *values: object) -> None:
        """A line of the trace."""
        if self._trace:
            print(f"{self.now:10.3f} {who:<14} {what.format(*values)}")

    def _step(self) -> None:
        time, _, actor, then = heapq.heappop(self._queue)
        self.now = max(self.now, time)
        if actor is not None and actor.alive and actor.asleep_until > self.now:
            self.after(actor.asleep_until - self.now, then, actor)
        elif actor is None or actor.alive:
            self.events += 1
            assert self.events < self.MOST_EVENTS, f"no end after {self.events} events"
            then()
