"""One run at a time on an output on local disk, and every process of it."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepo_beam.errors import OutputHeldError, PreflightError, RunStoppedError
from deepo_beam.lake.holder import Holder
from deepo_beam.lake.lock import OutputLock, lock_for_run, lock_for_worker

HOLD = """
import sys
from deepo_beam.lake.holder import Holder
from deepo_beam.lake.lock import lock_for_run, lock_for_worker
output, run_id, kind = sys.argv[1:]
holder = Holder.this_process(run_id)
lock = lock_for_run(output, holder) if kind == "run" else lock_for_worker(output, holder, launched=kind == "worker")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def process(lake: Path, run_id: str, kind: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(lake), run_id, kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "held\n"
        try:
            yield running
        finally:
            running.kill()


def run(lake: Path, run_id: str = "run-b") -> OutputLock:
    return lock_for_run(str(lake), Holder.this_process(run_id))


def worker(lake: Path, run_id: str, *, launched: bool = True) -> OutputLock:
    return lock_for_worker(str(lake), Holder.this_process(run_id), launched=launched)


def test_the_second_run_is_told_who_holds_the_output_until_the_first_is_gone(tmp_path: Path) -> None:
    with process(tmp_path, "run-a", "run") as first:
        with pytest.raises(OutputHeldError, match=f"run run-a, pid {first.pid} on .* since") as refused:
            run(tmp_path)
        assert refused.value.exit_code == 7
    lock = run(tmp_path)
    assert str(os.getpid()) in (tmp_path / "lock").read_text()
    lock.close()


def test_a_worker_joins_its_own_run_only(tmp_path: Path) -> None:
    lock = run(tmp_path, "run-a")
    worker(tmp_path, "run-a").close()
    with pytest.raises(OutputHeldError, match="run run-a"):
        worker(tmp_path, "run-z")
    lock.close()


def test_a_worker_that_outlives_its_launcher_still_holds_the_output_and_is_waited_for(tmp_path: Path) -> None:
    with process(tmp_path, "run-a", "run") as launcher, process(tmp_path, "run-a", "worker") as orphan:
        launcher.kill()
        launcher.wait()
        began = time.monotonic()
        subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {orphan.pid}"])
        lock = run(tmp_path)
        assert time.monotonic() - began > 0.8
        lock.close()


def test_a_worker_that_starts_when_its_launcher_is_gone_does_nothing(tmp_path: Path) -> None:
    run(tmp_path, "run-a").close()
    (tmp_path / "dataset.json").touch()
    with pytest.raises(RunStoppedError, match="the launcher of run run-a is gone"):
        worker(tmp_path, "run-a")
    run(tmp_path, "run-b").close()


def test_a_worker_on_a_machine_that_does_not_have_the_output_makes_none_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=f"a worker on {socket.gethostname()} has no .*that the launcher"):
        worker(tmp_path / "lake", "run-a")
    assert not list(tmp_path.iterdir())


def test_workers_without_a_launcher_hold_the_output_together(tmp_path: Path) -> None:
    with process(tmp_path, "run-a", "pipeline"):
        worker(tmp_path, "run-a", launched=False).close()
        with pytest.raises(OutputHeldError, match="run run-a"):
            run(tmp_path)
        with pytest.raises(OutputHeldError, match="run run-a"):
            worker(tmp_path, "run-b", launched=False)


def test_the_holder_on_another_machine_is_not_taken_for_dead(tmp_path: Path) -> None:
    with process(tmp_path, "run-a", "run"):
        other = Holder("run-a", f"not-{socket.gethostname()}", 999_999_999, "2026-11-26T00:00:00Z")
        (tmp_path / "lock").write_bytes(other.encode())
        began = time.monotonic()
        with pytest.raises(OutputHeldError, match="not-"):
            run(tmp_path)
        assert time.monotonic() - began < 5


def test_the_holder_of_another_user_is_not_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_allowed(pid: int, signal: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with process(tmp_path, "run-a", "run"):
        monkeypatch.setattr(os, "kill", not_allowed)
        began = time.monotonic()
        with pytest.raises(OutputHeldError, match="run run-a"):
            run(tmp_path)
        assert time.monotonic() - began < 5
        monkeypatch.undo()


def test_a_run_that_another_one_overtook_while_it_took_the_lock_does_not_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def overtaken(descriptor: int, kind: int) -> None:
        if kind & fcntl.LOCK_SH:
            raise BlockingIOError
        flock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with pytest.raises(OutputHeldError, match="one that has just begun"):
        run(tmp_path)


def test_an_output_that_came_to_nothing_is_taken_away_again(tmp_path: Path) -> None:
    lock = run(tmp_path / "lake")
    assert (tmp_path / "lake" / "lock").exists()
    lock.close()
    assert not (tmp_path / "lake").exists()
    lock = run(tmp_path / "lake")
    (tmp_path / "lake" / "dataset.json").write_text("{}")
    lock.close()
    assert (tmp_path / "lake" / "lock").exists()


def test_an_output_that_cannot_be_made_is_left_to_whoever_writes_to_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run(tmp_path / "file" / "lake").close()
    worker(tmp_path / "file" / "lake", "run-a", launched=False).close()
