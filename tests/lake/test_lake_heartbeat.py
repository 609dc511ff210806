"""A process's heartbeat: what it tells, and what it is told."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from memory_store import KillableStore

from deepo_beam.engine import Counters, Cut
from deepo_beam.errors import StorageError
from deepo_beam.lake import heartbeat
from deepo_beam.lake.heartbeat import IDLE_S, Activity, Heartbeat
from deepo_beam.lake.holder import Holder
from deepo_beam.lake.lease import BEAT_S, LEASE_S
from deepo_beam.lake.stops import Stop, ask_to_stop, asked_to_stop
from deepo_beam.lake.workers import WorkerReport, read_reports, write_report

OUT, RUN = "mem://out", "run-a"


@dataclass
class Worker:
    """Stands for a process's engine, and notes what it is told."""

    activity: Activity = field(default_factory=lambda: Activity(Counters(calls=3), idle=False, stop=None))
    told: list[object] = field(default_factory=list)
    heard: list[Cut] = field(default_factory=list)
    rested: int = 0

    def look(self) -> Activity:
        return self.activity

    def share_rate(self, sharers: int) -> None:
        self.told.append(sharers)

    def rest(self) -> None:
        self.rested += 1

    def hear(self, others: Cut) -> None:
        self.heard.append(others)

    def stop(self, reason: str) -> None:
        self.told.append(reason)

    def abandon(self, error: Exception) -> None:
        self.told.append(str(error))

    def crash(self, error: BaseException) -> None:
        self.told.append(error)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> KillableStore:
    store = KillableStore()
    store.write_bytes(f"{OUT}/workers/holder.json", Holder(RUN, "here", 1, "now").encode())
    return store


@pytest.fixture
def start(store: KillableStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Heartbeat]:
    """Makes heartbeats that beat when they are told to, and no more."""
    monkeypatch.setattr(heartbeat.threading.Thread, "start", lambda thread: None)
    monkeypatch.setattr(heartbeat.threading.Thread, "join", lambda thread: None)

    def make(worker: Worker, name: str = "0a1b2c3d", **how: bool) -> Heartbeat:
        report = WorkerReport.of_this_process(RUN, name, 0)
        return Heartbeat(OUT, report, worker, **{"alone": False, "locked": True, **how}, store=store, clock=clock)

    return make


def test_it_reports_what_the_process_does(start, store: KillableStore) -> None:
    worker = Worker()
    beating = start(worker)
    beating.beat()
    worker.activity = Activity(Counters(calls=5), idle=False, stop=Stop("a signal", 5))
    beating.beat()
    (seen,) = read_reports(OUT, RUN, store)
    assert (seen.beat, seen.counters.calls, seen.stopped, seen.exit_code) == (2, 5, "a signal", 5)


def test_when_the_run_is_complete_an_idle_process_leaves_once_and_beats_no_more(
    start, store: KillableStore, clock: Clock
) -> None:
    worker, left = Worker(), []
    beating = start(worker, leave=lambda: left.append(clock.now))
    worker.activity = Activity(Counters(), idle=True, stop=None)
    clock.now += IDLE_S
    beating.beat()
    assert not left  # there may be more to do
    store.write_bytes(f"{OUT}/runs/{RUN}/_SUCCESS", b"{}")
    worker.activity = Activity(Counters(), idle=False, stop=None)
    beating.beat()
    assert not left
    worker.activity = Activity(Counters(), idle=True, stop=None)
    clock.now += IDLE_S
    for _ in range(3):
        beating.beat()
    assert left == [clock.now]
    (seen,) = read_reports(OUT, RUN, store)
    assert seen.beat == 3


def test_alone_under_a_lock_it_may_post_at_once_and_for_good(start, clock: Clock) -> None:
    worker = Worker()
    beating = start(worker, alone=True)
    clock.now += 1e9
    assert beating.lease_left_s() > 0
    beating.beat()
    assert worker.told == []


def test_with_others_a_newcomer_waits_one_lease_and_shares_the_rate(start, clock: Clock) -> None:
    first, second = Worker(), Worker()
    old = start(first, "1111aaaa")
    for _ in range(5):
        old.beat()
        clock.now += BEAT_S
    assert first.told[-1] == 1
    assert old.lease_left_s() > 0
    new = start(second, "2222bbbb")
    for _ in range(4):
        old.beat()
        new.beat()
        assert new.lease_left_s() <= 0 or clock.now >= 100 + 5 * BEAT_S + LEASE_S
        clock.now += BEAT_S
    new.beat()
    assert (first.told[-1], second.told[-1]) == (2, 2)
    assert new.lease_left_s() > 0


def test_where_there_is_no_rate_to_share_a_newcomer_posts_as_soon_as_it_has_beaten(start, clock: Clock) -> None:
    start(Worker(), "1111aaaa", rated=False).beat()
    new = start(Worker(), "2222bbbb", rated=False)
    assert new.lease_left_s() <= 0
    new.beat()
    assert new.lease_left_s() == LEASE_S


def test_a_process_that_was_silent_for_a_lease_may_not_post_until_it_has_waited_again(start, clock: Clock) -> None:
    beating = start(Worker())
    for _ in range(5):
        beating.beat()
        clock.now += BEAT_S
    clock.now += LEASE_S
    assert beating.lease_left_s() <= 0
    beating.beat()
    assert beating.lease_left_s() <= 0


def test_an_idle_process_leaves_its_share_to_the_others_and_comes_back_as_a_newcomer(start, clock: Clock) -> None:
    busy, idle = Worker(), Worker()
    one, other = start(busy, "1111aaaa"), start(idle, "2222bbbb")
    idle.activity = Activity(Counters(), idle=True, stop=None)
    for _ in range(6):
        one.beat()
        other.beat()
        clock.now += BEAT_S
    assert clock.now - 100 > IDLE_S
    assert busy.told[-1] == 1
    assert other.lease_left_s() <= 0
    idle.activity = Activity(Counters(), idle=False, stop=None)
    other.beat()
    one.beat()
    assert other.lease_left_s() <= 0
    assert busy.told[-1] == 2


def test_a_process_that_leaves_its_share_may_not_post_from_that_moment(start, clock: Clock) -> None:
    worker = Worker()
    beating = start(worker)
    for _ in range(5):
        beating.beat()
        clock.now += BEAT_S
    assert beating.lease_left_s() > 0
    worker.activity = Activity(Counters(), idle=True, stop=None)
    clock.now += IDLE_S - BEAT_S
    beating.beat()
    assert beating.lease_left_s() <= 0


def test_a_process_that_a_low_quota_does_not_need_leaves_and_comes_back_3_s_after_it_is_needed(
    start, clock: Clock
) -> None:
    needed, surplus = Worker(), Worker()
    one, other = start(needed, "1111aaaa"), start(surplus, "2222bbbb")

    def beat(times: int) -> None:
        for _ in range(times):
            one.beat()
            other.beat()
            clock.now += BEAT_S

    beat(5)
    assert other.lease_left_s() > 0
    needed.activity = surplus.activity = Activity(Counters(), False, None, Cut(1, 10.0, True, 1.0), lowered_per_s=9.5)
    beat(4)
    assert one.lease_left_s() > 0 >= other.lease_left_s()
    assert needed.told[-1] == 1
    heard = len(surplus.heard)
    beat(1)
    assert len(surplus.heard) == heard + 1, "it knows of the quota as before"
    assert needed.rested == 0 < surplus.rested
    needed.activity = surplus.activity = Activity(Counters(), idle=False, stop=None)
    beat(1)
    assert needed.told[-1] == 1
    beat(2)
    assert needed.told[-1] == 2


def test_where_others_rest_one_that_has_posted_all_does_not_keep_them_waiting(start, clock: Clock) -> None:
    needed, surplus = Worker(), Worker()
    one, other = start(needed, "1111aaaa"), start(surplus, "2222bbbb")
    needed.activity = surplus.activity = Activity(Counters(), False, None, Cut(1, 10.0, True, 1.0), lowered_per_s=9.5)
    for _ in range(8):
        one.beat()
        other.beat()
        clock.now += BEAT_S
    needed.activity = dataclasses.replace(needed.activity, idle=True)
    ended = clock.now
    while other.lease_left_s() <= 0:
        one.beat()
        other.beat()
        clock.now += BEAT_S
    assert clock.now - ended <= 2 * BEAT_S + LEASE_S + BEAT_S


def test_the_rate_is_shared_before_the_lease_goes_on(start, store: KillableStore, clock: Clock) -> None:
    left_when_told: list[float] = []

    class Watching(Worker):
        def share_rate(self, sharers: int) -> None:
            super().share_rate(sharers)
            left_when_told.append(beating.lease_left_s())

    worker = Watching()
    beating = start(worker)
    for _ in range(5):
        beating.beat()
        clock.now += BEAT_S
    write_report(OUT, WorkerReport.of_this_process(RUN, "2222bbbb", 0), store)
    beating.beat()
    assert (worker.told[-1], left_when_told[-1]) == (2, LEASE_S - BEAT_S)
    assert beating.lease_left_s() == LEASE_S


def test_what_a_refused_process_knows_of_the_quota_is_heard_by_all_others(start, clock: Clock) -> None:
    workers = [Worker() for _ in range(3)]
    beating = [start(worker, f"{number:08x}") for number, worker in enumerate(workers)]
    for each in beating:
        each.beat()
    assert [worker.heard for worker in workers] == [[], [], []]
    for worker, refused_at in zip(workers[:2], (90.0, 110.0), strict=True):
        worker.activity = Activity(Counters(), idle=False, stop=None, cut=Cut(1, refused_at, sure=True, calm_s=0.5))
    for each in beating:
        each.beat()
    assert workers[2].heard == [Cut(1, 100.0, sure=True, calm_s=0.5)]
    assert workers[1].heard == [Cut(1, 90.0, sure=True, calm_s=0.5)]  # not its own
    assert workers[0].heard == []


def test_what_a_dead_process_knew_of_the_quota_is_heard_no_more(start, clock: Clock) -> None:
    cut = Cut(1, 25.0, sure=False, calm_s=0.5)
    old, survivor = Worker(activity=Activity(Counters(), idle=False, stop=None, cut=cut)), Worker()
    dying, living = start(old, "1111aaaa"), start(survivor, "2222bbbb")
    for _ in range(3):
        dying.beat()
        living.beat()
        clock.now += BEAT_S
    heard = len(survivor.heard)
    assert heard
    for _ in range(8):
        living.beat()
        clock.now += BEAT_S
    assert len(survivor.heard) <= heard + 4  # until it is known to be dead


def test_a_newcomer_hears_of_the_quota_before_it_may_post(start, clock: Clock) -> None:
    old, new = Worker(activity=Activity(Counters(), idle=False, stop=None, cut=Cut(7, 50.0, True, 9.0))), Worker()
    known, beating = start(old, "1111aaaa"), start(new, "2222bbbb")
    for _ in range(2):
        known.beat()
        beating.beat()
        clock.now += BEAT_S
    assert beating.lease_left_s() <= 0
    assert new.heard == [Cut(7, 50.0, sure=True, calm_s=9.0)]


def test_a_process_of_a_run_that_another_has_replaced_posts_no_more(start, store: KillableStore, clock: Clock) -> None:
    worker = Worker()
    beating = start(worker, alone=True, locked=False)
    beating.beat()
    assert beating.lease_left_s() == LEASE_S
    store.write_bytes(f"{OUT}/workers/holder.json", Holder("run-b", "there", 7, "later").encode())
    clock.now += BEAT_S
    beating.beat()
    assert worker.told[-1] == (
        "run run-a was silent for too long: run run-b, pid 7 on there since later holds the output now and goes on"
    )
    assert beating.lease_left_s() == LEASE_S - BEAT_S  # and is not renewed


def test_a_launcher_that_let_the_output_go_stops_its_workers(start, store: KillableStore) -> None:
    worker = Worker()
    store.delete(f"{OUT}/workers/holder.json")
    start(worker, locked=False).beat()
    assert "does not hold the output any more" in worker.told[-1]


def test_what_stops_one_process_stops_all_of_the_run(start, store: KillableStore) -> None:
    sick, well = Worker(), Worker()
    one, other = start(sick, "1111aaaa"), start(well, "2222bbbb")
    sick.activity = Activity(Counters(), idle=False, stop=Stop("the key was refused", 6))
    one.beat()
    other.beat()
    assert "the key was refused" in well.told
    assert asked_to_stop(OUT, RUN, store) == Stop("the key was refused", 6)


def test_what_the_launcher_asks_for_is_told(start, store: KillableStore) -> None:
    worker = Worker()
    assert asked_to_stop(OUT, RUN, store) is None
    ask_to_stop(OUT, RUN, Stop("Ctrl-C"), store)
    start(worker).beat()
    assert worker.told[0] == "Ctrl-C"


def test_processes_of_other_runs_share_no_rate(start, store: KillableStore) -> None:
    write_report(OUT, WorkerReport.of_this_process("run-z", "9999ffff", 0), store)
    worker = Worker()
    start(worker).beat()
    assert worker.told == [1]


def test_a_missed_beat_is_no_end_but_a_bug_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.005)
    crashed, failures = threading.Event(), iter([StorageError("no space left"), StorageError("again"), KeyError("bug")])

    class Failing(KillableStore):
        def write_bytes(self, uri: str, data: bytes) -> None:
            raise next(failures)

    class Crashing(Worker):
        def crash(self, error: BaseException) -> None:
            super().crash(error)
            crashed.set()

    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    worker, report = Crashing(), WorkerReport.of_this_process(RUN, "0a1b2c3d", 0)
    beating = Heartbeat(OUT, report, worker, alone=True, locked=True, store=Failing())
    assert crashed.wait(10)
    beating.close()
    assert [repr(error) for error in worker.told] == ["KeyError('bug')"]


def test_the_report_is_json_that_others_can_read(start, store: KillableStore) -> None:
    start(Worker()).beat()
    values = json.loads(store.objects[f"{OUT}/workers/{RUN}-0a1b2c3d.json"])
    assert values["counters"]["calls"] == 3
