"""A run seen from another terminal."""

import json
import os
import signal
import time

from e2e_tools import assert_clear, command, finish, label, process, write_pictures

from deepo_beam.emulator.testing import running_emulator


def status(output, *flags):
    ended = command("status", output, "--json", *flags, key=None)
    return ended.code, [(run["state"], run["exit_code"]) for run in json.loads(ended.out)["runs"]]


def test_a_run_is_seen_at_work_then_cut_off_and_then_complete(tmp_path):
    write_pictures(tmp_path / "images", 30)
    output = tmp_path / "out"
    with running_emulator(latency=0.3) as service:
        flags = ("--spec", "echo-v1", "--api-url", service.url, "--buckets", "3", "--rate", "15/s")
        started = process("label", tmp_path / "images", "--output", output, *flags)
        deadline = time.monotonic() + 30
        while service.stats()["accepted"] < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status(output, "--exit-code") == (7, [("running", 7)])
        assert "is at work on " in command("status", output, key=None).out
        os.kill(started.pid, signal.SIGKILL)
        finish(started)
        assert status(output, "--wait") == (0, [("cut off", 5)])
        assert status(output, "--exit-code")[0] == 5
        assert label(tmp_path / "images", output, service).code == 0
    assert status(output, "--wait", "--exit-code") == (0, [("complete", 0)])
    assert "listed 30 = " in command("status", output, key=None).out


def test_what_is_no_output_has_no_status(tmp_path):
    assert_clear(command("status", tmp_path, key=None), 2, "dataset.json")
