"""One run at a time on an output in an object store: announced, waited for, kept by heartbeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from memory_store import KillableStore

from deepo_beam.errors import OutputHeldError, RunStoppedError
from deepo_beam.lake import holding
from deepo_beam.lake.holder import Holder
from deepo_beam.lake.holding import OutputLease, check_held, holder_of
from deepo_beam.lake.lease import BEAT_S, DROP_S, LEASE_S
from deepo_beam.lake.workers import LAUNCHER, WorkerReport, read_all_reports, write_report

OUT = "mem://out"


@dataclass
class Time:
    """Goes on only while somebody sleeps; ``meanwhile`` is what others do then."""

    now: float = 50.0
    meanwhile: list[Callable[[], None]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for action in self.meanwhile:
            action()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store() -> KillableStore:
    return KillableStore()


@pytest.fixture(autouse=True)
def _no_beats_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BEAT_S", BEAT_S)
    monkeypatch.setattr(holding.threading.Thread, "start", lambda thread: None)
    monkeypatch.setattr(holding.threading.Thread, "join", lambda thread: None)


def lease(run_id: str, store: KillableStore, time: Time, worker: str = LAUNCHER) -> OutputLease:
    return OutputLease(OUT, Holder.this_process(run_id), worker, store, clock=time.clock, sleep=time.sleep)


def beating(run_id: str, store: KillableStore, started_us: int) -> Callable[[], None]:
    """What another run's process writes, one more each time."""
    beats = iter(range(1, 1000))

    def beat() -> None:
        report = WorkerReport(run_id, "launcher", "there", 7, holding_counters(), next(beats), started_us)
        write_report(OUT, report, store)

    return beat


def holding_counters():
    return WorkerReport.of_this_process("x", "y", 0).counters


def test_an_output_is_held_after_one_lease_and_free_again_at_once(store: KillableStore, time: Time) -> None:
    held = lease("run-a", store, time)
    assert LEASE_S <= time.now - 50 <= LEASE_S + BEAT_S
    assert holder_of(OUT, store).run_id == "run-a"
    held.close()
    assert store.below(f"{OUT}/workers") == {}
    lease("run-b", store, time)
    assert holder_of(OUT, store).run_id == "run-b"


def test_the_second_is_refused_and_told_who_holds_it(store: KillableStore, time: Time) -> None:
    lease("run-a", store, time)
    time.meanwhile.append(beating("run-a", store, 2**60))  # its clock goes wrong: that must not matter
    with pytest.raises(OutputHeldError, match=r"run run-a, pid .* since") as refused:
        lease("run-b", store, time)
    assert refused.value.exit_code == 7
    assert {report.run_id for report in read_all_reports(OUT, store)} == {"run-a"}


def test_after_a_kill_the_next_run_waits_until_it_is_surely_dead_and_takes_over(
    store: KillableStore, time: Time
) -> None:
    lease("run-a", store, time)
    began = time.now
    lease("run-b", store, time)
    assert DROP_S < time.now - began < DROP_S + 2 * BEAT_S
    assert {report.run_id for report in read_all_reports(OUT, store)} == {"run-b"}
    with pytest.raises(RunStoppedError, match=r"run run-b, pid .* holds the output now"):
        check_held("s3" + OUT, "run-a", _As(store))
    check_held("s3" + OUT, "run-b", _As(store))


def test_a_worker_of_a_killed_launcher_still_holds_the_output(store: KillableStore, time: Time) -> None:
    lease("run-a", store, time)

    def worker_beats() -> None:
        reports = [report for report in read_all_reports(OUT, store) if report.worker == "0a1b2c3d"]
        beat = reports[0].beat + 1 if reports else 0
        write_report(OUT, WorkerReport("run-a", "0a1b2c3d", "there", 7, holding_counters(), beat), store)

    time.meanwhile.append(worker_beats)
    with pytest.raises(OutputHeldError, match="run run-a"):
        lease("run-b", store, time)


def test_of_two_that_wait_the_earlier_one_goes_on(store: KillableStore, time: Time) -> None:
    time.meanwhile.append(beating("run-early", store, 1))
    with pytest.raises(OutputHeldError, match="run run-early"):
        lease("run-late", store, time)
    time.meanwhile[:] = [beating("run-later-still", store, 2**60)]
    lease("run-late", store, time)


def test_a_holder_whose_write_came_too_late_does_not_hold(store: KillableStore, time: Time) -> None:
    class Slow(KillableStore):
        def write_bytes(self, uri: str, data: bytes) -> None:
            super().write_bytes(uri, data)
            if uri.endswith("holder.json") and len([w for w in self.writes if w == uri]) == 1:
                time.now += 2 * LEASE_S

    slow = Slow()
    began = time.now
    lease("run-a", slow, time)
    assert len([uri for uri in slow.writes if uri.endswith("holder.json")]) == 2
    assert time.now - began > 3 * LEASE_S


def test_workers_of_a_run_without_launcher_hold_it_together(store: KillableStore, time: Time) -> None:
    one = lease("run-a", store, time, "launcher-1111aaaa")
    other = lease("run-a", store, time, "launcher-2222bbbb")
    one.close()
    assert holder_of(OUT, store).run_id == "run-a"
    other.close()


@dataclass
class _As:
    """The same store under a scheme that is not local."""

    store: KillableStore

    def read_bytes(self, uri: str) -> bytes:
        return self.store.read_bytes(uri.removeprefix("s3"))

    def join(self, base: str, *parts: str) -> str:
        return self.store.join(base, *parts)


def test_a_launcher_that_slept_leaves_the_hold_of_its_successor(store: KillableStore, time: Time) -> None:
    slept = lease("run-a", store, time)
    lease("run-b", store, time)
    slept.close()
    assert holder_of(OUT, store).run_id == "run-b"
