"""What each process of a run reports about itself, for the progress and the summary."""

import os
import threading
from collections.abc import Callable

import pytest
from memory_store import KillableStore

from deepo_beam.engine import Counters
from deepo_beam.errors import ObjectNotFoundError, StorageError
from deepo_beam.lake import workers
from deepo_beam.lake.workers import Heartbeat, WorkerReport, new_worker_id, read_reports, write_report

OUT, RUN = "mem://out", "run-a"


def report(worker: str = "0a1b2c3d", run_id: str = RUN, **changes: object) -> WorkerReport:
    counters = Counters(calls=7, throttled_s=1.5, billed_twice={"in_doubt": 1}, in_flight=2)
    return WorkerReport(run_id=run_id, worker=worker, host="here", pid=42, counters=counters, **changes)


@pytest.fixture
def store() -> KillableStore:
    return KillableStore()


def test_a_worker_is_named_by_eight_hex_digits() -> None:
    names = {new_worker_id() for _ in range(20)}
    assert len(names) == 20
    assert all(len(name) == 8 and int(name, 16) >= 0 for name in names)


def test_reports_are_read_back_as_they_were_written(store: KillableStore) -> None:
    written = [report("1111aaaa"), report("2222bbbb", stopped="a signal", exit_code=5)]
    for one in reversed(written):
        write_report(OUT, one, store)
    assert read_reports(OUT, RUN, store) == written


def test_a_report_replaces_the_one_before(store: KillableStore) -> None:
    write_report(OUT, report(), store)
    write_report(OUT, report(stopped="a signal", exit_code=5), store)
    assert read_reports(OUT, RUN, store) == [report(stopped="a signal", exit_code=5)]


def test_reports_of_other_runs_are_left_out(store: KillableStore) -> None:
    write_report(OUT, report("1111aaaa", run_id="run-z"), store)
    write_report(OUT, report("2222bbbb"), store)
    assert [one.worker for one in read_reports(OUT, RUN, store)] == ["2222bbbb"]
    assert read_reports(OUT, "run-none", store) == []


def test_an_output_without_workers_has_no_reports(store: KillableStore) -> None:
    assert read_reports(OUT, RUN, store) == []


def test_a_report_that_vanishes_while_they_are_read_is_passed_over() -> None:
    class Vanishing(KillableStore):
        def read_bytes(self, uri: str) -> bytes:
            if "1111aaaa" in uri:
                raise ObjectNotFoundError(uri)
            return super().read_bytes(uri)

    store = Vanishing()
    write_report(OUT, report("1111aaaa"), store)
    write_report(OUT, report("2222bbbb"), store)
    assert [one.worker for one in read_reports(OUT, RUN, store)] == ["2222bbbb"]


# --- the heartbeat -----------------------------------------------------------------------------------


@pytest.fixture
def start(store: KillableStore, monkeypatch: pytest.MonkeyPatch):
    """Starts heartbeats that beat every 5 ms and are closed at the end."""
    monkeypatch.setattr(workers, "BEAT_S", 0.005)
    begun: list[Heartbeat] = []

    def make(look: Callable[[], tuple[Counters, str | None, int]], into: KillableStore = store) -> Heartbeat:
        begun.append(Heartbeat(OUT, RUN, "0a1b2c3d", look, into))
        return begun[-1]

    yield make
    for heartbeat in begun:
        heartbeat.close()


def test_a_heartbeat_writes_what_it_sees_at_will(store: KillableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BEAT_S", 3600.0)
    heartbeat = Heartbeat(OUT, RUN, "0a1b2c3d", lambda: (Counters(calls=3), "a signal", 5), store)
    assert store.objects == {}
    heartbeat.beat()
    heartbeat.close()
    (seen,) = read_reports(OUT, RUN, store)
    assert (seen.counters, seen.stopped, seen.exit_code, seen.pid) == (Counters(calls=3), "a signal", 5, os.getpid())


def test_a_heartbeat_beats_by_itself_until_it_is_closed(store: KillableStore, start) -> None:
    beats = threading.Semaphore(0)

    def look() -> tuple[Counters, None, int]:
        beats.release()
        return Counters(), None, 0

    heartbeat = start(look)
    for _ in range(3):
        assert beats.acquire(timeout=10)
    heartbeat.close()
    assert len(store.writes) >= 2
    assert not heartbeat._thread.is_alive()


def test_a_store_that_fails_stops_no_heartbeat_but_fails_a_beat_that_was_asked_for(start) -> None:
    failed = threading.Semaphore(0)

    class Full(KillableStore):
        def write_bytes(self, uri: str, data: bytes) -> None:
            failed.release()
            raise StorageError("no space left")

    heartbeat = start(lambda: (Counters(), None, 0), Full())
    for _ in range(3):
        assert failed.acquire(timeout=10)
    with pytest.raises(StorageError, match="no space left"):
        heartbeat.beat()
