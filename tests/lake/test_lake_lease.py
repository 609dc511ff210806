"""Shares of the rate and the hold of an output, through random histories of processes in virtual time.

The processes are the real ``Membership`` and ``Contest``; the store and the clock are a model: a refresh takes time,
a process pauses or dies at any step of it.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from deepo_beam.lake.lease import BEAT_S, DROP_S, LEASE_S, Contest, Lookout, Membership, Rival

RATE = 12.0


@dataclass
class World:
    """A scheduler, and a store that holds a heartbeat of each process."""

    rng: random.Random
    now: float = 0.0
    beats: dict[str, tuple[int, str]] = field(default_factory=dict)
    holder: str | None = None
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    ticket: Iterator[int] = field(default_factory=itertools.count)

    def start(self, steps: Iterator[float], at: float) -> None:
        """Run a process, a generator of pauses in seconds."""

        def step() -> None:
            for pause in steps:
                heapq.heappush(self.events, (self.now + pause, next(self.ticket), step))
                return

        heapq.heappush(self.events, (at, next(self.ticket), step))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] <= until:
            self.now, _, step = heapq.heappop(self.events)
            step()

    def delay(self) -> float:
        """Of a store that is quick, slow, or hangs; or of a process that is stopped, or a laptop that sleeps."""
        return self.rng.choice([0.0, 0.01, 0.1, 0.1, 1.0, self.rng.uniform(0, 8)] + [30.0] * (self.rng.random() < 0.1))


def sharer(world: World, name: str, rates: list[float], life_s: float) -> Iterator[float]:
    """Refreshes as a heartbeat does; ``rates``: how fast it may post in each tenth of a second."""
    me, dies_at = Membership("worker", alone=False), world.now + life_s
    for beat in itertools.count():
        if world.now > dies_at:
            return
        began = world.now
        yield world.delay()
        world.beats[name] = (beat, name)
        yield world.delay()
        wrote = world.now
        others = {other: seen for other, seen in world.beats.items() if other != name}
        yield world.delay()
        me.refreshed(others, began=began, wrote=wrote, ended=world.now)
        if world.rng.random() < 0.02:
            me.leave()
            _note_rates(me, rates, world.now)
            del world.beats[name]
            yield 4 * BEAT_S
            continue
        _note_rates(me, rates, world.now)
        yield BEAT_S


def _note_rates(me: Membership, rates: list[float], now: float) -> None:
    """For all that it knows now, of the tenths of a second to come."""
    for tenth in range(math.ceil(10 * now), min(math.ceil(10 * (now + LEASE_S + DROP_S)), len(rates))):
        rates[tenth] = RATE / me.sharers if me.lease.left_s(tenth / 10) > 0 else 0.0


@pytest.mark.parametrize("block", range(4))
def test_the_shares_of_all_that_may_post_never_exceed_the_rate(block: int) -> None:
    used = 0
    for seed in range(100 * block, 100 * (block + 1)):
        rng = random.Random(seed)
        world, rates = World(rng), []
        for number in range(rng.choice([1, 2, 3, 5])):
            rates.append([0.0] * 1500)
            world.start(sharer(world, f"worker-{number}", rates[-1], rng.uniform(5, 120)), at=rng.uniform(0, 40))
        world.run(until=150)
        for tenth, shares in enumerate(zip(*rates, strict=True)):
            assert sum(shares) <= RATE + 1e-9, f"seed {seed}: {shares} at {tenth / 10} s"
            used += sum(shares) > 0.9 * RATE
    assert used > 500, "nobody ever posts"


def test_a_newcomer_waits_one_lease_and_a_share_of_a_dead_process_is_free_after_the_drop() -> None:
    me = Membership("worker", alone=False)
    me.refreshed({"other": 1}, began=0.0, wrote=0.0, ended=0.0)
    assert me.sharers == 2
    assert me.lease.left_s(LEASE_S - 0.1) == 0.0
    for beat in range(1, 5):
        me.refreshed({"other": 1}, began=beat * BEAT_S, wrote=beat * BEAT_S, ended=beat * BEAT_S)
    assert me.lease.left_s(4 * BEAT_S) == LEASE_S
    assert me.sharers == 1


def test_who_is_not_seen_for_a_moment_is_still_there_and_who_says_that_it_left_is_not() -> None:
    me = Membership("b", alone=False)
    me.refreshed({"a": 1, "c": 1}, began=0.0, wrote=0.0, ended=0.0)
    me.refreshed({}, {"c"}, began=BEAT_S, wrote=BEAT_S, ended=BEAT_S)
    assert me.sharers == 2
    for beat in range(2, 5):
        me.refreshed({}, began=beat * BEAT_S, wrote=beat * BEAT_S, ended=beat * BEAT_S)
    assert me.sharers == 1


def member(name: str, others: str) -> Membership:
    made = Membership(name, alone=False)
    made.refreshed(dict.fromkeys(others, 1), began=0.0, wrote=0.0, ended=0.0)
    return made


@pytest.mark.parametrize(("lowered", "needed"), [(None, "abcd"), (40.0, "abc"), (25.0, "ab"), (15.0, "a"), (1.0, "a")])
def test_of_a_rate_that_refusals_keep_low_so_many_are_needed(lowered: float | None, needed: str) -> None:
    members = {name: member(name, "abcd".replace(name, "")) for name in "abcd"}
    assert [name for name, one in members.items() if one.is_needed(lowered)] == list(needed)


def test_one_that_was_not_needed_comes_back_when_there_is_much_or_nobody_is_left() -> None:
    left = member("b", "a")
    assert not left.is_needed(10.0)
    left.leave()
    left.watched({"a": 2}, began=1.0, ended=1.0)
    assert [left.is_needed(rate) for rate in (99.0, 199.0, 200.0, None)] == [False, False, True, True]
    assert left.lease.left_s(1.0) <= 0
    left.watched({"a": 2}, began=1.1 + DROP_S, ended=1.1 + DROP_S)
    assert left.is_needed(20.0)


def test_alone_there_is_no_wait_but_a_lease() -> None:
    me = Membership("worker", alone=True)
    assert me.lease.left_s(0.0) <= 0
    me.refreshed({}, began=1.0, wrote=1.5, ended=1.5)
    assert me.lease.left_s(1.5) == 4.0
    assert me.lease.left_s(5.6) < 0


def test_only_what_changed_between_two_looks_is_surely_alive() -> None:
    lookout = Lookout()
    lookout.look({"left behind": 1, "alive": 1}, began=0.0, ended=0.0)
    assert lookout.alive() == {"left behind", "alive"}
    assert lookout.moving() == frozenset()
    lookout.look({"left behind": 1, "alive": 2}, began=1.5, ended=1.6)
    assert lookout.moving() == {"alive"}
    lookout.look({"left behind": 1, "alive": 3}, began=DROP_S + 0.1, ended=DROP_S + 0.2)
    assert lookout.alive() == {"alive"}
    lookout.look({"left behind": 2}, {"alive"}, began=DROP_S + 1, ended=DROP_S + 1)
    assert lookout.moving() == {"left behind"}


def test_a_slow_look_takes_nobody_for_dead_who_may_have_changed_since_it_began() -> None:
    lookout = Lookout()
    lookout.look({"other": 1}, began=0.0, ended=0.0)
    lookout.look({"other": 1}, began=1.5, ended=60.0)
    assert lookout.alive() == {"other"}


def test_one_that_a_slow_look_saw_first_may_have_come_when_it_ended() -> None:
    lookout = Lookout()
    lookout.look({"other": 1}, began=0.0, ended=4.0)
    lookout.look({"other": 1}, began=4.0 + DROP_S, ended=4.0 + DROP_S)
    assert lookout.alive() == {"other"}
    lookout.look({"other": 1}, began=4.1 + DROP_S, ended=4.1 + DROP_S)
    assert lookout.alive() == frozenset()


# --- who holds the output ------------------------------------------------------------------------------


def contender(world: World, run_id: str, order: int, held: dict[str, list[tuple[float, float]]]) -> Iterator[float]:
    """As the launcher of a run: announce, wait, hold for a while by heartbeats, end or die."""
    contest = Contest(run_id, (order, run_id))
    for beat in itertools.count():
        began = world.now
        yield world.delay()
        world.beats[run_id] = (beat, str(order))
        yield world.delay()
        wrote = world.now
        rivals = {
            name: Rival(name, (int(seen[1]), name), seen[0]) for name, seen in world.beats.items() if name != run_id
        }
        holder = world.holder
        yield world.delay()
        contest.refreshed(rivals, holder, began=began, wrote=wrote, ended=world.now)
        if contest.winner() is not None:
            del world.beats[run_id]
            return
        if contest.may_take_s(world.now) > 0:
            yield world.delay()
            world.holder = run_id
            if contest.may_take_s(world.now) > 0:
                break
        yield BEAT_S
    yield from _holding(world, run_id, order, held)


def _holding(world: World, run_id: str, order: int, held: dict[str, list[tuple[float, float]]]) -> Iterator[float]:
    """Post while the lease lasts and nobody else is said to hold the output; as a process of the run does."""
    me = Membership("worker", alone=True)
    for beat in range(1000, 1000 + world.rng.randrange(1, 30)):
        began = world.now
        yield world.delay()
        world.beats[run_id] = (beat, str(order))
        yield world.delay()
        wrote = world.now
        if world.holder != run_id:
            return
        yield world.delay()
        me.refreshed({}, began=began, wrote=wrote, ended=world.now)
        lease = me.lease
        held.setdefault(run_id, []).append((max(lease.begins, world.now), lease.ends))
        yield BEAT_S
    if world.rng.random() < 0.5:  # else it dies, and leaves its heartbeat behind
        world.beats.pop(run_id, None)


@pytest.mark.parametrize("block", range(4))
def test_no_two_runs_may_post_at_the_same_time(block: int) -> None:
    ran = 0
    for seed in range(100 * block, 100 * (block + 1)):
        rng = random.Random(seed)
        world, held = World(rng), {}
        for number in range(rng.choice([2, 3, 6])):
            # The order is that of clocks that disagree.
            steps = contender(world, f"run-{number}", rng.randrange(100), held)
            world.start(steps, at=rng.choice([0.0, rng.uniform(0, 6), rng.uniform(0, 90)]))
        world.run(until=400)
        spans = sorted((begins, ends, run_id) for run_id, leases in held.items() for begins, ends in leases)
        for (_, ends, one), (begins, _, other) in itertools.combinations(spans, 2):
            assert one == other or begins >= ends, f"seed {seed}: {one} until {ends}, {other} from {begins}"
        ran += len(held)
    assert ran > 100, "nobody ever holds the output"


def test_of_several_that_start_together_exactly_one_holds_the_output() -> None:
    for seed in range(50):
        world, held = World(random.Random(seed)), {}
        world.delay = lambda: 0.02  # type: ignore[method-assign] # a store that is well
        for number in range(4):
            world.start(contender(world, f"run-{number}", number, held), at=0.1 * number)
        world.run(until=12)
        assert len(held) == 1
