"""Outcomes on their way back to those who asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from deepo_beam.engine.work import Outcome


class Outbox:
    """For every owner: how many outcomes are still to come, and those that are there."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._expected: dict[int, int] = {}
        self._ready: dict[int, list[Outcome]] = {}

    def expect(self, owner: int) -> None:
        """One more outcome is to come."""
        self._expected[owner] = self._expected.get(owner, 0) + 1

    def put(self, owner: int, outcomes: Iterable[Outcome]) -> None:
        """Outcomes are there; those of a forgotten owner are dropped."""
        if owner in self._expected:
            ready = self._ready.setdefault(owner, [])
            before = len(ready)
            ready.extend(outcomes)
            self._expected[owner] -= len(ready) - before

    def take(self, owner: int) -> list[Outcome]:
        """What is there, once."""
        return self._ready.pop(owner, [])

    def outstanding(self, owner: int) -> int:
        """Outcomes still to come."""
        return self._expected.get(owner, 0)

    def forget(self, owner: int) -> None:
        """Its outcomes interest nobody."""
        self._expected.pop(owner, None)
        self._ready.pop(owner, None)
