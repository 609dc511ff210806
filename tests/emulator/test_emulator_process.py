import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from deepo_beam.emulator.testing import running_emulator

COMMAND = [sys.executable, "-m", "deepo_beam.emulator"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_within_a_second_even_with_calls_under_way(number):
    with subprocess.Popen(
        [*COMMAND, "--slow-polls", "30"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        url = line.removeprefix("listening on ").strip()
        body = {"inputs": [{"image": {"source": "data:image/*;base64,QUJD"}}]}
        headers = {"X-API-KEY": "k"}
        for model in ("digits-v1", "echo-v1"):  # the first starts a training
            requests.post(f"{url}/v0.7/recognition/public/{model}/inference", json=body, headers=headers, timeout=5)
        with pytest.raises(requests.Timeout):
            requests.get(f"{url}/v0.7/tasks/1", headers=headers, timeout=0.2)
        sent = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=5) == 0
        assert time.monotonic() - sent < 1
        assert process.stderr.read() == ""


def test_cut_replies_and_clients_that_go_away_leave_nothing_on_standard_error():
    with subprocess.Popen(
        [*COMMAND, "--cut-replies", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        url = process.stdout.readline().removeprefix("listening on ").strip()
        path = "/v0.7/recognition/public/echo-v1/inference"
        body = {"inputs": [{"image": {"source": "data:image/*;base64,QUJD"}}]}
        with pytest.raises(requests.ConnectionError):
            requests.post(url + path, json=body, headers={"X-API-KEY": "k"}, timeout=5)
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: h\r\nX-API-KEY: k\r\nContent-Length: 5000\r\n\r\n"
            connection.sendall(head.encode() + b"half")
        assert requests.get(f"{url}/_emulator/stats", timeout=5).json()["accepted"] == 1
        process.terminate()
        assert process.wait(timeout=5) == 0
        assert process.stderr.read() == ""


def test_it_listens_within_seconds_and_the_launcher_ends_it():
    started = time.monotonic()
    with running_emulator(latency=0.1, allow_urls=True, max_body=None) as emulator:
        assert time.monotonic() - started < 3  # 0.45 s on an idle machine
        assert emulator.stats()["accepted"] == 0
        emulator.reset()
        os.kill(emulator.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(emulator.pid, 0)


def test_a_port_that_is_taken_and_a_wrong_flag_exit_2_with_a_message():
    with running_emulator() as emulator:
        taken = subprocess.run(
            [*COMMAND, "--port", emulator.url.rpartition(":")[2]], capture_output=True, text=True, timeout=10
        )
        assert taken.returncode == 2
        assert "cannot listen on 127.0.0.1" in taken.stderr
    with pytest.raises(RuntimeError, match="did not start"), running_emulator(fail_posts=2):
        pass


def test_two_starts_share_no_task_ids():
    ids = []
    for _ in range(2):
        with running_emulator() as emulator:
            reply = requests.post(
                f"{emulator.url}/v0.7/recognition/public/echo-v1/inference",
                json={"inputs": [{"image": {"source": "data:image/*;base64,QUJD"}}]},
                headers={"X-API-KEY": "k"},
                timeout=5,
            )
            ids.append(int(reply.json()["task_id"]))
    assert abs(ids[0] - ids[1]) > 1000


def test_the_rule_is_importable_without_aiohttp_or_any_model():
    script = (
        "import sys\n"
        "for name in ('aiohttp', 'cv2', 'sklearn', 'numpy', 'PIL', 'pybase64'):\n"
        "    sys.modules[name] = None\n"
        "from deepo_beam.emulator import echo_predictions\n"
        "assert set(echo_predictions(b'x')) == {'labels'}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=10)
