"""What ends a job on a real Flink cluster before its work is done: kills, cancels, errors; nothing is lost by it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from flink_cluster import FlinkCluster
from flink_jobs import at_work, check_here, communicate, job

from deepo_beam.emulator.testing import RunningEmulator

IMAGES = 600


def test_a_killed_worker_costs_no_image_and_no_call_that_is_not_told(
    tmp_path: Path, service: RunningEmulator, flink: FlinkCluster
) -> None:
    there = job(tmp_path, service, flink.flags(2), "--rate", "40/s")
    process = at_work(there, IMAGES, 150)
    os.kill(there.rng.choice(flink.workers(flink.alive()[0])), signal.SIGKILL)
    out, err = communicate(process)
    assert process.returncode == 0, err  # Flink ran it again
    summary = json.loads(out)
    assert summary["succeeded"] + summary["no_detection"] == IMAGES
    check_here(there)


def test_a_killed_task_manager_costs_no_image_and_no_call_that_is_not_told(
    tmp_path: Path, service: RunningEmulator, flink: FlinkCluster
) -> None:
    there = job(tmp_path, service, flink.flags(2), "--rate", "40/s")
    process = at_work(there, IMAGES, 150)
    victim = there.rng.choice(flink.alive())
    assert flink.workers(victim)
    victim.kill()
    victim.wait()
    out, err = communicate(process)  # its workers are orphans, which go on until they notice
    flink.end_orphans()
    flink.start_manager()
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["succeeded"] + summary["no_detection"] == IMAGES
    check_here(there)


def test_a_job_that_is_cancelled_in_flinks_pages_can_be_resumed(
    tmp_path: Path, service: RunningEmulator, flink: FlinkCluster
) -> None:
    there = job(tmp_path, service, flink.flags(2), "--rate", "20/s")
    process = at_work(there, IMAGES, 60)
    flink.cancel(flink.last_job())
    out, err = communicate(process)
    assert (process.returncode, out) == (5, ""), err
    assert "Traceback" not in err
    assert "the next run goes on" in err
    posted = service.stats()["accepted"]
    time.sleep(2)
    assert service.stats()["accepted"] == posted < IMAGES
    check_here(there)


def test_ctrl_c_of_the_launcher_stops_all_workers_in_order(
    tmp_path: Path, service: RunningEmulator, flink: FlinkCluster
) -> None:
    there = job(tmp_path, service, flink.flags(2), "--rate", "20/s")
    process = at_work(there, IMAGES, 60)
    process.send_signal(signal.SIGINT)
    out, err = communicate(process)
    assert process.returncode == 5, err
    summary = json.loads(out)
    assert "SIGINT" in summary["stopped"]
    assert summary["calls"] == service.stats()["accepted"] < IMAGES
    assert summary["possibly_billed_twice"] == 0
    assert not flink.running_jobs()
    check_here(there)


def test_a_worker_without_a_key_says_so(tmp_path: Path, service: RunningEmulator, flink: FlinkCluster) -> None:
    there = job(tmp_path, service, flink.flags(2, DEEPOMATIC_API_KEY=" "))
    there.make_photos(10)
    process = there.start()
    out, err = communicate(process)
    assert (process.returncode, out) == (6, "")
    assert err.splitlines()[-1] == (
        "Error: the environment variable DEEPOMATIC_API_KEY is empty: put the API key into it"
    )
    assert service.stats()["accepted"] == 0
