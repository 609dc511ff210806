"""Who dies, and when: after so many actions, or so many steps into a publish; or is only taken to be dead."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from sim.clock import Actor
from sim.process import Process

if TYPE_CHECKING:
    from sim.launcher import Launcher
    from sim.life import Life

_LONGEST_ZOMBIE_S = 30.0


class Chaos:
    """At most one stroke a start, ``kills`` in all."""

    def __init__(self, life: Life, rng: random.Random) -> None:
        self._life, self._rng = life, rng
        self._left = life.scenario.kills
        self._countdown: int | None = None
        self._at_publish: int | None = None
        self.zombies: list[Process] = []

    def prepare(self) -> None:
        """A start is about to begin."""
        self._countdown = self._at_publish = None
        if self._left and not self._life.quiet and self._rng.random() < 0.8:
            self._left -= 1
            if self._rng.random() < 0.35:
                self._at_publish = self._rng.randrange(16)
            else:
                self._countdown = int(2.0 ** self._rng.uniform(0.0, 9.5))

    def acts(self, actor: Actor) -> None:
        """Somebody is about to do something: perhaps it is the last."""
        if self._countdown is not None:
            self._countdown -= 1
            if self._countdown <= 0:
                self._countdown = None
                self._strike(actor)

    def publishing(self, launcher: Launcher) -> None:
        """From now on the command publishes."""
        if self._at_publish is not None:
            self._countdown = self._at_publish + 1

    def outlives(self, process: Process) -> None:
        """A process goes on although its run has ended, or given it up; not for ever."""
        process.zombie = True
        self.zombies.append(process)
        self._life.clock.say(process.name, "is a zombie now")
        self._life.clock.after(self._rng.uniform(0.2, _LONGEST_ZOMBIE_S), process.kill)

    def falls_asleep(self, actor: Actor, seconds: float) -> None:
        """Its machine is paused, and goes on as if nothing had been."""
        self._life.clock.say(actor.name, "falls asleep for {:.1f} s", seconds)
        actor.asleep_until = self._life.clock.now + seconds

    def _strike(self, actor: Actor) -> None:
        launcher, rng, scenario = self._life.launcher, self._rng, self._life.scenario
        if launcher is None or not launcher.alive:
            return
        if not scenario.in_process and rng.random() < 0.3:
            seconds = rng.choice([2.0, 4.0, 8.0, 30.0]) * rng.uniform(0.8, 1.2)
            self.falls_asleep(rng.choice([launcher, *launcher.processes]), seconds)
            return
        workers = [process for process in launcher.processes if process.alive and process.attempts]
        if scenario.in_process or not workers or rng.random() < 0.4:
            leaving = rng.choice(workers) if workers and scenario.zombies and not scenario.in_process else None
            launcher.kill(leaving=leaving)
            if leaving is not None:
                if rng.random() < 0.5:
                    self.falls_asleep(leaving, rng.uniform(5.0, 15.0))
                self.outlives(leaving)
            return
        victim = actor if isinstance(actor, Process) and actor in workers else rng.choice(workers)
        if scenario.zombies and rng.random() < 0.6:
            launcher.lose(victim, dead=False)
            self.outlives(victim)
        else:
            launcher.lose(victim, dead=True)
