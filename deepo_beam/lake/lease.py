"""Who is alive, who may post, and which share of the rate is whose. Pure; the clock is handed in.

Every process of a run keeps a heartbeat object, which it rewrites every ``BEAT_S``. A *refresh* is: write one's own,
then list the others'. Alive is what changed between one's own looks, so no two clocks are ever compared.

A process may post while its lease lasts, ``LEASE_S`` from the *start* of its last refresh; a newcomer only when it has
been announced for one lease. So whoever posts has either seen the newcomer by then, or its lease has run out. Others
drop a process that did not change for ``DROP_S``, which is longer: by then it posts no more.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass

BEAT_S = 1.5
LEASE_S = 4.5
DROP_S = 5.0

_FEW_PER_S = 15.0  # calls of one process, below which it learns little of a quota by itself
_MANY_PER_S = 100.0  # of one, above which another comes back: a newcomer's share is used by nobody for one lease

_NEVER = float("-inf")


@dataclass(slots=True)
class _Sighting:
    beat: Hashable
    changed_at: float
    moved: bool = False  # it changed between two looks: it is alive for sure, and not merely left behind


class Lookout:
    """What one process has seen of the others' heartbeats."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._seen: dict[str, _Sighting] = {}
        self._looked_at = _NEVER

    def look(self, beats: Mapping[str, Hashable], gone: Collection[str] = (), *, began: float, ended: float) -> None:
        """Note what is there.

        A slow look is taken for what it is surely true of: what changed did so before it ended, and what did not
        change had not done so when it began. What is merely not seen is as if unchanged: some stores replace an object
        by deleting it first.

        Args:
            beats: of the others by name; a value that changes with each of their refreshes.
            gone: names of others that say that they are no more of them.
            began: when the look did, seconds of the clock of leases.
            ended: when it did.
        """
        self._looked_at = began
        for name in gone:
            self._seen.pop(name, None)
        for name, beat in beats.items():
            sighting = self._seen.get(name)
            if sighting is None:
                self._seen[name] = _Sighting(beat, ended)
            elif sighting.beat != beat:
                self._seen[name] = _Sighting(beat, ended, moved=True)

    def alive(self) -> frozenset[str]:
        """Those that may be alive: changed, or first seen, within ``DROP_S`` before the last look."""
        return frozenset(name for name, seen in self._seen.items() if self._looked_at - seen.changed_at <= DROP_S)

    def moving(self) -> frozenset[str]:
        """Those of :meth:`alive` that were seen to change."""
        return frozenset(name for name in self.alive() if self._seen[name].moved)


class Membership:
    """One process's place among those that share a rate."""

    def __init__(self, name: str, *, alone: bool) -> None:
        """Not announced yet, under a name of its own; ``alone``: no rate is shared, so a newcomer need not wait."""
        self._name = name
        self._wait_s = 0.0 if alone else LEASE_S
        self._lookout = Lookout()
        self._announced_at = _NEVER
        self._began = _NEVER
        self._left = False
        self._number = 0  # among the sharers, by name
        self.sharers = 1

    def refreshed(
        self,
        others: Mapping[str, Hashable],
        gone: Collection[str] = (),
        *,
        began: float,
        wrote: float,
        ended: float,
    ) -> None:
        """One refresh was made.

        Args:
            others: heartbeats of the other sharers by name, as listed after the write.
            gone: names of others that share no more.
            began: when the refresh did (seconds of the clock of leases).
            wrote: when the own heartbeat was certainly there.
            ended: when the list was certainly complete.
        """
        if wrote > self._began + LEASE_S:  # the first, or others may have dropped this process meanwhile
            self._announced_at = wrote
        self._began, self._left = began, False
        self.watched(others, gone, began=wrote, ended=ended)

    def watched(
        self, others: Mapping[str, Hashable], gone: Collection[str] = (), *, began: float, ended: float
    ) -> None:
        """The others were looked at, as by :meth:`Lookout.look`; that is all that one does which has left."""
        self._lookout.look(others, gone, began=began, ended=ended)
        alive = self._lookout.alive()
        self.sharers, self._number = 1 + len(alive), sum(name < self._name for name in alive)

    def is_needed(self, lowered_per_s: float | None) -> bool:
        """Whether this process should share the rate at all; of one that has left, whether it should come back.

        Where a service that refused has brought the rate so low that each would make few calls, the calls of many that
        do not know of each other fall together, and each has to find the quota by itself: there few make them all.

        Args:
            lowered_per_s: calls/s (> 0) of all, while refusals keep them below what is allowed; else None.
        """
        if lowered_per_s is None:
            return True
        if self._left:
            return self.sharers <= max(1.0, lowered_per_s / _MANY_PER_S)
        return self._number < max(1.0, lowered_per_s / _FEW_PER_S)

    def moving(self) -> frozenset[str]:
        """The other sharers that are alive for sure: a dead one's last word is not heard again and again."""
        return self._lookout.moving()

    def leave(self) -> None:
        """Post nothing more; to be called before others are told. The next refresh announces it anew."""
        self._began, self._left = _NEVER, True

    @property
    def lease(self) -> Lease:
        """When this process may post, with a rate divided by ``sharers``."""
        return Lease(self._announced_at + self._wait_s, self._began + LEASE_S)


@dataclass(frozen=True, slots=True)
class Lease:
    """From when and until when something may be done, seconds of the clock of leases."""

    begins: float
    ends: float

    def left_s(self, now: float) -> float:
        """Seconds for which it may be done; <= 0: not now."""
        return self.ends - now if now >= self.begins else 0.0


@dataclass(frozen=True, slots=True)
class Rival:
    """Another run that wants the output, or has it; ``order`` decides between those that wait."""

    run_id: str
    order: tuple[int, str]
    beat: Hashable


class Contest:
    """One run's way to hold an output, where there is no lock that the system keeps.

    Of several that announce themselves within one lease, the one with the smallest ``order`` gets it. A run that
    waited for one lease has seen every other that had announced itself before, and every later one will see it hold.
    """

    def __init__(self, run_id: str, order: tuple[int, str]) -> None:
        """Not announced yet."""
        self._run_id = run_id
        self._order = order
        self._membership = Membership(run_id, alone=False)
        self._lookout = Lookout()
        self._rivals: dict[str, Rival] = {}

    def refreshed(
        self, rivals: Mapping[str, Rival], holder: str | None, *, began: float, wrote: float, ended: float
    ) -> None:
        """One refresh was made; as :meth:`Membership.refreshed`.

        Args:
            rivals: heartbeats of other runs' processes by name.
            holder: the run that is said to hold the output, None if none is.
            began: when the refresh did.
            wrote: when the own heartbeat was certainly there.
            ended: when ``rivals`` and ``holder`` were read.
        """
        self._membership.refreshed({}, began=began, wrote=wrote, ended=ended)
        self._lookout.look({name: rival.beat for name, rival in rivals.items()}, began=wrote, ended=ended)
        self._rivals = {
            name: rival for name, rival in rivals.items() if rival.run_id == holder or rival.order < self._order
        }

    def winner(self) -> Rival | None:
        """A run that holds the output, or will: this one has lost."""
        names = sorted(self._rivals.keys() & self._lookout.moving())
        return self._rivals[names[0]] if names else None

    def may_take_s(self, now: float) -> float:
        """Seconds within which this run may say that it holds the output; <= 0: not yet."""
        if self._rivals.keys() & self._lookout.alive():
            return 0.0
        return self._membership.lease.left_s(now)
