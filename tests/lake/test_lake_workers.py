"""What each process of a run reports about itself, for the progress and the summary."""

import pytest
from memory_store import KillableStore

from deepo_beam.engine import Counters, Cut
from deepo_beam.errors import ObjectNotFoundError, StorageError
from deepo_beam.lake.workers import (
    LAUNCHER,
    WorkerReport,
    new_worker_id,
    read_all_reports,
    read_reports,
    reports_of_others,
    write_report,
)

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
    cut = Cut(3, 87.5, sure=True, calm_s=0.25)
    written = [report("1111aaaa"), report("2222bbbb", stopped="a signal", exit_code=5), report("3333cccc", cut=cut)]
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


def test_what_only_holds_the_output_labels_nothing(store: KillableStore) -> None:
    write_report(OUT, report(LAUNCHER), store)
    write_report(OUT, report("launcher-0a1b2c3d"), store)
    write_report(OUT, report(), store)
    assert read_reports(OUT, RUN, store) == [report()]
    assert len(read_all_reports(OUT, store)) == 3


def test_a_heartbeat_that_cannot_be_read_is_named(store: KillableStore) -> None:
    store.write_bytes(f"{OUT}/workers/{RUN}-0a1b2c3d.json", b'{"run_id": "run-a", "mood": "fine"}')
    with pytest.raises(StorageError, match=r"0a1b2c3d\.json is no heartbeat .* another version"):
        read_all_reports(OUT, store)


def test_what_processes_of_other_runs_said_is_found_unread(store: KillableStore) -> None:
    for name in ("old-0a1b2c3d", "old-launcher-0a1b2c3d", f"{RUN}-b-0a1b2c3d"):
        store.write_bytes(f"{OUT}/workers/{name}.json", b"by another version")
    for own in ("0a1b2c3d", "launcher-0a1b2c3d"):
        write_report(OUT, report(own), store)
    store.write_bytes(f"{OUT}/workers/holder.json", b"")
    others = reports_of_others(OUT, RUN, store)
    assert [uri.rpartition("/")[2] for uri in others] == [
        "old-0a1b2c3d.json",
        "old-launcher-0a1b2c3d.json",
        f"{RUN}-b-0a1b2c3d.json",
    ]
