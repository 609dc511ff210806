"""What else may die: the service, and one worker of several."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from chaos_tools import KILLS, SEED, Chaos, seeded, while_posting

from deepo_beam.emulator.testing import running_emulator

TWO_WORKERS = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes that a launcher started: each is the child of a shell."""
    listed = subprocess.run(
        ["ps", "-ww", "-e", "-o", "pid=,sess=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [
        int(pid)
        for pid, session, line in rows
        if int(session) == process.pid and "sdk_worker_main" in line and not line.startswith("/bin/sh")
    ]


def test_a_worker_that_is_killed_ends_the_run_in_a_sentence_and_the_same_command_finishes(tmp_path: Path) -> None:
    seed = 100 * SEED + 30
    with seeded(seed) as rng, running_emulator(latency=0.2, seed=seed) as service:
        chaos = Chaos(tmp_path, service, rng, ("--rate", "60/s"))
        chaos.make_photos()
        process = chaos.start(*TWO_WORKERS)
        while_posting(chaos, process)
        os.kill(rng.choice(workers_of(process)), signal.SIGKILL)
        _, err = process.communicate(timeout=90)
        assert process.returncode == 5, err
        assert "a worker process ended" in err
        chaos.finish()
        chaos.check()


def test_a_launcher_that_is_killed_takes_its_workers_with_it(tmp_path: Path) -> None:
    seed = 100 * SEED + 40
    with seeded(seed) as rng, running_emulator(latency=0.2, seed=seed) as service:
        chaos = Chaos(tmp_path, service, rng, ("--rate", "60/s"))
        chaos.make_photos()
        process = chaos.start(*TWO_WORKERS)
        while_posting(chaos, process)
        assert workers_of(process)
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 20
        while workers_of(process):
            assert time.monotonic() < deadline, "workers without a launcher go on"
            time.sleep(0.1)
        chaos.finish()
        chaos.check()


def test_a_service_that_dies_and_forgets_its_tasks_loses_no_image(tmp_path: Path) -> None:
    seed = 100 * SEED + 50
    with seeded(seed) as rng:
        with running_emulator(latency=0.5, seed=seed) as first:
            port = first.url.rpartition(":")[2]
            chaos = Chaos(tmp_path, first, rng, ("--rate", "100/s"))
            chaos.make_photos()
            process = chaos.start()
            while_posting(chaos, process)
            os.kill(first.pid, signal.SIGKILL)
            before = first
        time.sleep(1)
        with running_emulator(latency=0.1, port=port) as second:
            assert second.url == before.url
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            chaos.service = second
            chaos.check(failures=True)
            assert '"task_lost"' in out
        assert KILLS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_of_a_run_stops_them_in_order(tmp_path: Path, number: signal.Signals) -> None:
    seed = 100 * SEED + 60
    with seeded(seed) as rng, running_emulator(latency=0.3, seed=seed) as service:
        chaos = Chaos(tmp_path, service, rng, ("--rate", "40/s"))
        chaos.make_photos()
        process = chaos.start(*TWO_WORKERS)
        while_posting(chaos, process)
        os.killpg(process.pid, number)  # as a terminal and systemd do
        out, err = process.communicate(timeout=60)
        assert process.returncode == 5, out + err
        summary = json.loads(out)
        assert number.name in summary["stopped"]
        assert summary["calls"] == service.stats()["accepted"] < summary["listed"]
        assert summary["possibly_billed_twice"] == 0
        assert "Traceback" not in err
        chaos.finish()
        chaos.check()


def test_two_workers_spend_a_budget_to_the_last_call_and_no_further(tmp_path: Path) -> None:
    seed = 100 * SEED + 65
    with seeded(seed) as rng, running_emulator(latency=0.1, seed=seed) as service:
        chaos = Chaos(tmp_path, service, rng, ("--max-calls", "123"))
        chaos.make_photos()
        out, err = chaos.start(*TWO_WORKERS).communicate(timeout=90)
        summary = json.loads(out)
        assert (summary["exit_code"], summary["calls"], summary["calls_unused"]) == (5, 123, 0), err
        assert service.stats()["accepted"] == 123
        chaos.flags = ()
        chaos.finish()
        chaos.check()
