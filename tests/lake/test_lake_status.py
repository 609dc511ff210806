"""What a run is doing, or has done, is read from what it leaves."""

import dataclasses
import json
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepo_beam.cli.status import status_lines
from deepo_beam.engine import Counters
from deepo_beam.lake import status as statuses
from deepo_beam.lake.holder import Holder
from deepo_beam.lake.lock import find_holder, lock_for_run
from deepo_beam.lake.status import look_at_runs
from deepo_beam.lake.summary import Summary
from deepo_beam.lake.workers import WorkerReport, write_report

HOLDER = Holder("c", "here", 17, "2026-11-24T00:30:00Z")


def begin(output: Path, run_id: str, started_s: int) -> None:
    folder = output / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    os.utime(folder / "config.json", (started_s, started_s))
    write_report(str(output), WorkerReport(run_id, "0a1b2c3d", "here", 17, Counters(calls=9)))


def end(output: Path, run_id: str, **numbers: int) -> None:
    summary = Summary(run_id, str(output), "spec echo-v1", 11, **numbers)
    (output / "runs" / run_id / "summary.json").write_text(json.dumps(dataclasses.asdict(summary)))
    (output / "runs" / run_id / "_SUCCESS").write_text("\n")


@contextmanager
def held(output: Path):
    lock = lock_for_run(str(output), HOLDER)
    try:
        yield
    finally:
        lock.close()


def look(output: Path) -> list[tuple[str, str, int]]:
    return [(run.run_id, run.state, run.exit_code) for run in look_at_runs(str(output))]


def test_an_output_without_runs_has_none(tmp_path: Path) -> None:
    assert look(tmp_path) == []


def test_the_newest_run_is_told_by_when_it_began_not_by_its_name(tmp_path: Path) -> None:
    begin(tmp_path, "b", 100)
    end(tmp_path, "b")
    begin(tmp_path, "a", 200)
    end(tmp_path, "a", listed=3, exit_code=5)
    assert look(tmp_path) == [("a", "complete", 5)]


def test_a_run_at_work_is_told_with_the_one_completed_before_it(tmp_path: Path) -> None:
    begin(tmp_path, "a", 100)
    end(tmp_path, "a")
    begin(tmp_path, "b", 200)  # killed
    begin(tmp_path, "c", 300)
    with held(tmp_path):
        assert look(tmp_path) == [("c", "running", 7), ("a", "complete", 0)]
        (run, _) = look_at_runs(str(tmp_path))
    first, second = status_lines(run, "out", now_s=400.0)
    assert first == "run c of out is at work on here, pid 17"
    assert "9 calls" in second
    assert "100 s" in second


def test_a_run_that_nobody_works_on_and_has_no_tables_was_cut_off(tmp_path: Path) -> None:
    begin(tmp_path, "a", 100)
    assert look(tmp_path) == [("a", "cut off", 5)]
    (run,) = look_at_runs(str(tmp_path))
    lines = status_lines(run, "out", now_s=400.0)
    assert lines == [
        "run a of out was cut off before it had tables: the next label goes on",
        "  0 labelled, 9 calls, as last told",
    ]
    (tmp_path / "runs" / "a" / "publish.json").write_text("{}")
    (run,) = look_at_runs(str(tmp_path))
    assert (
        "was cut off while it published: the next label, or `deepo-beam publish out`" in status_lines(run, "out", 0)[0]
    )


def test_a_complete_run_is_told_as_at_its_end(tmp_path: Path) -> None:
    begin(tmp_path, "a", 100)
    end(tmp_path, "a", listed=3, succeeded=3)
    (run,) = look_at_runs(str(tmp_path))
    assert status_lines(run, "out", 0)[1].startswith("  listed 3 = 3 succeeded + ")


@pytest.mark.parametrize(("beats", "state"), [(True, "running"), (False, "cut off")])
def test_where_no_lock_can_tell_a_run_is_alive_if_it_reports_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beats: bool, state: str
) -> None:
    begin(tmp_path, "a", 100)
    monkeypatch.setattr(statuses.storage, "is_local", lambda uri: False)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if beats:
            write_report(str(tmp_path), WorkerReport("a", "0a1b2c3d", "here", 17, Counters(calls=10)))

    (run,) = look_at_runs(str(tmp_path), sleep)
    assert (run.state, slept) == (state, [3.0])


def test_a_holder_is_found_without_holding(tmp_path: Path) -> None:
    assert find_holder(str(tmp_path / "nowhere")) is None
    assert not (tmp_path / "nowhere").exists()
    with held(tmp_path):
        assert find_holder(str(tmp_path)) == HOLDER
        (tmp_path / "lock").write_text("{")  # it is just writing
        assert find_holder(str(tmp_path)) == Holder("", "", 0, "")
    assert find_holder(str(tmp_path)) is None
