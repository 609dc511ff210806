"""Killed at any moment, the same command goes on, and pays for nothing twice without saying so."""

import json
import os
import signal
import threading
import time

import pytest
from e2e_tools import (
    assert_adds_up,
    assert_labels_follow_the_rule,
    finish,
    label,
    process,
    rows,
    write_pictures,
)

from deepo_beam import bulk
from deepo_beam.cli import stopping
from deepo_beam.emulator.testing import running_emulator
from deepo_beam.engine.core import Core
from deepo_beam.transforms import labelling_process

COUNT = 200
RATE = 40  # per second: the run takes 5 s at least


def start(folder, service, *flags):
    """``deepo-beam label`` as a process of its own, in the middle of its work."""
    images = write_pictures(folder / "images", COUNT)
    flags = ("--spec", "echo-v1", "--api-url", service.url, "--buckets", "3", "--json", *flags)
    started = process("label", folder / "images", "--output", folder / "out", "--rate", f"{RATE}/s", *flags)
    deadline = time.monotonic() + 30
    while service.stats()["accepted"] < 15 and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if started.poll() is not None or service.stats()["accepted"] < 15:
        started.kill()
        raise AssertionError(f"the run is not in the middle of its work: {started.communicate()}")
    return images, started


def go_on(folder, service):
    """The same command again, until its end."""
    ended = label(folder / "images", folder / "out", service, "--rate", f"{RATE}/s")
    assert ended.code == 0, ended
    assert_adds_up(ended.summary)
    assert (ended.summary["listed"], ended.summary["not_attempted"], ended.summary["failed"]) == (COUNT, 0, 0)
    return ended.summary


def test_ctrl_c_stops_in_order_with_5_and_the_same_command_finishes_without_paying_twice(tmp_path):
    with running_emulator(latency=0.3) as service:
        images, started = start(tmp_path, service)
        started.send_signal(signal.SIGINT)
        ended = finish(started, limit_s=20)
        known = service.stats()["accepted"]

        assert ended.code == 5, ended
        assert "Traceback" not in ended.err
        assert "SIGINT" in ended.summary["stopped"]
        assert f"stopped: {ended.summary['stopped']}" in ended.err
        assert ended.summary["exit_code"] == 5
        assert_adds_up(ended.summary)
        assert ended.summary["calls"] == known < COUNT
        assert ended.summary["not_attempted"] == COUNT - known
        assert len(rows(tmp_path / "out", "images")) == known

        summary = go_on(tmp_path, service)
        stats = service.stats()

    assert (summary["calls"], summary["reused"]) == (COUNT - known, known)
    assert (stats["accepted"], stats["accepted_again"], summary["possibly_billed_twice"]) == (COUNT, 0, 0)
    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_after_kill_9_the_same_command_labels_every_image_once_and_tells_what_may_be_billed_twice(tmp_path):
    with running_emulator(latency=0.3) as service:
        images, started = start(tmp_path, service)
        os.kill(started.pid, signal.SIGKILL)
        assert finish(started).code == -signal.SIGKILL
        assert rows(tmp_path / "out", "images") == []
        posted = service.stats()["accepted"]

        summary = go_on(tmp_path, service)
        stats = service.stats()

    assert len(rows(tmp_path / "out", "images")) == COUNT
    assert_labels_follow_the_rule(tmp_path / "out", images)
    assert stats["distinct_images"] == COUNT
    assert stats["accepted_again"] <= summary["possibly_billed_twice"]
    assert stats["accepted_again"] <= min(posted, 2 * RATE + 2)  # what is posted within one flush of the journal
    assert set(summary["billed_twice_by_kind"]) <= {"in_doubt"}


def test_a_signal_at_the_worst_moment_stops_the_run_all_the_same(service, tmp_path, monkeypatch):
    """It is heard in whatever the main thread does; here that is inside of the engine's lock."""
    write_pictures(tmp_path / "images", 20)
    looked = Core.outstanding
    sent = []

    def look(core, owner):
        if not sent:
            sent.append(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        return looked(core, owner)

    monkeypatch.setattr(Core, "outstanding", look)
    monkeypatch.setattr(labelling_process, "_stop_reason", None)  # is put back, too

    ended = label(tmp_path / "images", tmp_path / "out", service, "--rate", "2/s", limit_s=10)

    assert ended.code == 5
    assert "SIGTERM" in ended.summary["stopped"]
    assert_adds_up(ended.summary)


def test_a_signal_that_another_thread_took_is_heard_while_the_main_one_waits(monkeypatch):
    """As the kernel may give it: Python's own handlers would run when the wait is over."""
    heard = threading.Event()
    monkeypatch.setattr(labelling_process, "_stop_reason", None)
    monkeypatch.setattr(bulk, "stop_run", lambda plan, reason: heard.set())
    with stopping.on_signals(None):
        threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()
        assert heard.wait(10)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_heard_by_a_command_whose_reader_it_ended_too(service, tmp_path, number):
    """As ``deepo-beam label ... 2>&1 | tee log``, and as a terminal that is closed."""
    _, started = start(tmp_path, service)
    started.stderr.close()
    started.send_signal(number)
    ended = started.wait(30)
    assert ended == 5
    assert json.loads(started.stdout.read())["stopped"].startswith(f"stopped by {number.name}")


def test_a_publish_that_was_cut_off_is_completed_by_the_next_run_byte_for_byte(service, tmp_path):
    images = write_pictures(tmp_path / "images", 6)
    run = (tmp_path / "images", tmp_path / "out", service)
    assert label(*run, "--run-id", "first").code == 0
    left = [path for path in (tmp_path / "out").glob("*/run_id=first/*") if "labels" not in str(path)]
    left += [tmp_path / "out" / "runs" / "first" / name for name in ("manifest.json", "summary.json", "_SUCCESS")]
    before = {path: path.read_bytes() for path in left if path.name != "summary.json"}
    for path in left:
        path.unlink()

    again = label(*run)

    assert (again.code, again.summary["calls"], again.summary["reused"], again.summary["published"]) == (0, 0, 6, 0)
    assert "completed run first" in again.err
    assert {path: path.read_bytes() for path in before} == before
    assert_labels_follow_the_rule(tmp_path / "out", images)
