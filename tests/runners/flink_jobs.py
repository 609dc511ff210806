"""The command on a cluster, and its tables as they can be compared."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from chaos_tools import Chaos

from deepo_beam.emulator.testing import RunningEmulator

LIMIT_S = 240  # of one job
# What differs from run to run.
OF_THE_RUN = {"task_id", "queue_ms", "submit_ms", "wait_ms", "finished_at", "predicted_at", "first_seen", "last_seen"}


@dataclass
class Job(Chaos):
    """``deepo-beam label`` with a runner of its own.

    Attributes:
        runner: the flags that choose it.
        name: of the output's folder.
    """

    runner: tuple[str, ...] = ()
    name: str = "lake"

    @property
    def lake(self) -> Path:
        return self.folder / self.name

    def start(self, *beam: str) -> subprocess.Popen[str]:
        return super().start(*self.runner, *beam)

    def label(self) -> dict:
        """To its end."""
        return ended_well(self.start())


def job(folder: Path, service: RunningEmulator, runner: list[str], *flags: str) -> Job:
    """In as many buckets as an output has by itself, so that workers share them evenly enough."""
    return Job(folder, service, random.Random(1), flags, tuple(runner), buckets=256)


def when_accepted(service: RunningEmulator, wanted: int, process: subprocess.Popen[str]) -> None:
    """Wait until the service has accepted so many calls."""
    deadline = time.monotonic() + LIMIT_S
    while service.stats()["accepted"] < wanted:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing is posted"
        time.sleep(0.1)


def at_work(there: Job, images: int, accepted: int) -> subprocess.Popen[str]:
    """The command over so many images, when the service has accepted so many calls."""
    there.make_photos(images)
    process = there.start()
    when_accepted(there.service, accepted, process)
    return process


def assert_same_tables(there: Job, here: Job, images: int) -> None:
    """Row for row those of another job, which is run now; so many images were labelled, and one was broken."""
    here.name = "here"
    here.label()
    for table, least in (("images", images + 1), ("errors", 1), ("labels", images)):
        assert rows(there.lake, table) == rows(here.lake, table)
        assert len(rows(here.lake, table)) >= least


def check_here(there: Job) -> None:
    """Every promise, by the same command in one process, which does what is left."""
    there.runner, there.flags = (), ()
    there.finish()
    there.check()


def ended_well(process: subprocess.Popen[str]) -> dict:
    """Its summary."""
    out, err = communicate(process)
    assert process.returncode == 0, err
    assert "Traceback" not in err, err
    return json.loads(out)


def communicate(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for the end of a command; one that hangs is killed."""
    try:
        return process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"it hangs: {process.communicate()}") from None


def rows(lake: Path, table: str) -> list[tuple]:
    """All rows of a table, sorted, but for what differs from run to run."""
    found = []
    for path in lake.glob(f"{table}/run_id=*/*.parquet"):
        for row in pq.read_table(path, partitioning=None).to_pylist():
            kept = {name: repr(value) for name, value in row.items() if name not in OF_THE_RUN}
            found.append(tuple(sorted(kept.items())))
    return sorted(found)


def use_of_rate(per_second: list[int], rate: float) -> float:
    """The share of a rate that was used while all workers had work: they do not start at once, nor end at once."""
    busy = [second for second, accepted in enumerate(per_second) if accepted]
    settled = per_second[busy[0] + 8 : busy[-1] - 6]
    return sum(settled) / (rate * len(settled))


def most_in(per_second: list[int], seconds: int) -> int:
    """The most calls in any window of whole seconds."""
    windows: Callable[[int], int] = lambda first: sum(per_second[first : first + seconds])  # noqa: E731
    return max(map(windows, range(max(1, len(per_second) - seconds + 1))))
