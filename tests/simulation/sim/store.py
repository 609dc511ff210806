"""The store: objects in a dict, operations that take time, fail before or after, and end with whoever asked."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deepo_beam.errors import ObjectNotFoundError, StorageError
from sim.clock import Actor, Clock, KilledError
from sim.scenario import Faults


@dataclass(frozen=True, slots=True)
class Name:
    """A listed object."""

    uri: str


class SimulatedStore:
    """What is durable. A write is there as a whole or not at all."""

    def __init__(self, clock: Clock, faults: Faults, rng: random.Random) -> None:
        self.clock, self.faults, self.rng = clock, faults, rng
        self.objects: dict[str, bytes] = {}
        self.well = False
        self.before_write: Callable[[Actor, str, bytes], None] = lambda actor, uri, data: None
        self.before_delete: Callable[[str], None] = lambda uri: None
        self._listed_from: dict[str, tuple[float, Actor]] = {}

    def put(self, actor: Actor, uri: str, data: bytes) -> None:
        """Now it is there."""
        self.before_write(actor, uri, data)
        if uri not in self.objects and self.faults.stale_s and "/bucket=" in uri:
            self._listed_from[uri] = (self.clock.now + self.rng.uniform(0.0, self.faults.stale_s), actor)
        self.objects[uri] = data

    def remove(self, uri: str) -> None:
        """Now it is gone."""
        self.before_delete(uri)
        self.objects.pop(uri, None)

    def names(self, actor: Actor, folder: str) -> list[str]:
        """As a list says to an actor: a segment that a zombie has just written may be missing."""
        prefix, now = folder + "/", self.clock.now
        found = sorted(uri for uri in self.objects if uri.startswith(prefix))
        if not self._listed_from or self.well:
            return found
        unseen = {
            uri
            for uri, (since, writer) in self._listed_from.items()
            if now < since and writer.zombie and writer is not actor
        }
        return [uri for uri in found if uri not in unseen]


class View:
    """The store as one actor uses it: what :class:`deepo_beam.lake.journal.Store` asks for."""

    FAILS = 0.1  # of what fails at all: nobody tries these operations again, but by starting the whole command again

    def __init__(self, store: SimulatedStore, actor: Actor, acts: Callable[[Actor], None]) -> None:
        """``acts`` is told of every operation before it begins, and may kill the actor."""
        self._store, self._actor, self._acts = store, actor, acts

    def read_bytes(self, uri: str) -> bytes:
        self._begin("reads {}", uri)
        self._pass(self._latency())
        if self._fails(self._store.faults.failed_reads):
            raise StorageError(f"{uri}: reset by peer")
        data = self._store.objects.get(uri)
        if data is None:
            raise ObjectNotFoundError(f"{uri} does not exist")
        return data

    def open_input(self, uri: str) -> io.BytesIO:
        return io.BytesIO(self.read_bytes(uri))

    def write_bytes(self, uri: str, data: bytes) -> None:
        self._change("writes {}", uri, lambda: self._store.put(self._actor, uri, data))

    def delete(self, uri: str) -> None:
        self._change("deletes {}", uri, lambda: self._store.remove(uri))

    def list_objects(self, folder: str, *, recursive: bool = True) -> Iterator[Name]:
        self._begin("lists {}", folder)
        self._pass(self._latency())
        if self._fails(self._store.faults.failed_reads):
            raise StorageError(f"{folder}: reset by peer")
        start = len(folder) + 1
        names = self._store.names(self._actor, folder)
        return iter([Name(uri) for uri in names if recursive or "/" not in uri[start:]])

    def list_folders(self, folder: str) -> list[str]:
        start = len(folder) + 1
        inside = {name.uri[start:] for name in self.list_objects(folder)}
        return sorted({f"{folder}/{rest.partition('/')[0]}" for rest in inside if "/" in rest})

    def join(self, base: str, *parts: str) -> str:
        return "/".join((base, *parts))

    def _change(self, what: str, uri: str, effect: Callable[[], None]) -> None:
        """Whoever dies meanwhile leaves it done or not done."""
        store = self._store
        self._begin(what, uri)
        fails, takes_effect = self._fails(store.faults.failed_writes), store.rng.random()
        latency = self._latency() + (5.0 * takes_effect if self._fails(store.faults.slow_writes) else 0.0)
        try:
            self._pass(takes_effect * latency)
        except KilledError:
            if store.rng.random() < 0.5:
                effect()
            raise
        if fails and takes_effect < 0.5:
            raise StorageError(f"{uri}: no space left")
        effect()
        self._pass((1.0 - takes_effect) * latency)
        if fails:
            raise StorageError(f"{uri}: the answer was lost")

    def _begin(self, what: str, uri: str) -> None:
        self._store.clock.say(self._actor.name, what, uri)
        self._acts(self._actor)
        if not self._actor.alive:
            raise KilledError(self._actor.name)

    def _pass(self, seconds: float) -> None:
        clock, actor = self._store.clock, self._actor
        clock.pass_until(clock.now + seconds)
        while actor.alive and actor.asleep_until > clock.now:
            clock.pass_until(actor.asleep_until)
        if not actor.alive:
            raise KilledError(actor.name)

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while."""
        self._pass(seconds)

    def _latency(self) -> float:
        return self._store.rng.uniform(*self._store.faults.store_s)

    def _fails(self, share: float) -> bool:
        return share > 0 and not self._store.well and self._store.rng.random() < share * self.FAILS


class InstantView(View):
    """The same for an actor that does other things meanwhile: the time was, or will be, taken elsewhere."""

    FAILS = 1.0

    def _latency(self) -> float:
        return 0.0

    def _pass(self, seconds: float) -> None:
        pass

    def _begin(self, what: str, uri: str) -> None:
        self._store.clock.say(self._actor.name, what, uri)
