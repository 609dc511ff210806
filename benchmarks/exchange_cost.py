"""What one call costs in CPU time, by the hot path and by the ordinary route.

    python -m benchmarks.exchange_cost --body-bytes 20000

A process of its own answers every request with the same bytes, over one kept connection of this machine. Prints
microseconds of CPU a call (user and system, the client's alone), a line per round.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import time
from unittest import mock

from deepo_beam.api import ApiSettings, Credentials
from deepo_beam.api.exchange import HotPath
from deepo_beam.api.transport import Transport

REPLY = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 14\r\nServer: bench\r\n"
    b'Date: Thu, 26 Nov 2026 10:00:00 GMT\r\n\r\n{"task_id": 1}'
)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--body-bytes", type=int, default=20_000)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["DEEPOMATIC_API_KEY"] = "a-key-of-no-one"
    listener = socket.create_server(("127.0.0.1", 0))
    multiprocessing.get_context("fork").Process(target=_answer, args=(listener,), daemon=True).start()
    settings = ApiSettings(host=f"http://127.0.0.1:{listener.getsockname()[1]}")
    transport = Transport(settings, Credentials(), pool_size=1)
    body = bytes(options.body_bytes)
    _cost(transport, body, 300)
    for number in range(options.rounds):
        hot = _cost(transport, body, options.calls)
        with mock.patch.object(HotPath, "send", return_value=None):
            ordinary = _cost(transport, body, options.calls)
        print(f"round {number + 1}: hot path {hot:.0f} us, ordinary route {ordinary:.0f} us")


def _cost(transport: Transport, body: bytes, calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        transport.exchange("POST", "/recognition/public/echo-v1/inference", body, "application/json")
    return (time.process_time() - began) / calls * 1e6


def _answer(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    while received := connection.recv(1 << 20):
        head, _, body = received.partition(b"\r\n\r\n")
        missing = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]) - len(body)
        while missing > 0:
            missing -= len(connection.recv(1 << 20))
        connection.sendall(REPLY)


if __name__ == "__main__":
    main()
